// Attention of a few queries over many keys: decoding token by token, where the time is that of
// reading keys and values once. The rows, all queries of all heads that share a key, take them as
// they lie in memory, without packing. The keys are split into at most kMaxParts parts by their
// number alone (Dao et al., "Flash-Decoding", 2023); parts are computed in chunks of kChunk keys
// and merged in order.
//
// Workspace: a part of a head keeps rows * (value_width + 2) numbers; a thread rows * (width + 2
// value_width + kChunk) and a little more.
#pragma once

#include "kernels/attention/scores.h"

namespace fastnn::FASTNN_ISA {

// Whether decode_attention takes this problem: few rows, so that packing keys and values for the
// register tile would cost more than it gains; keys and values with contiguous columns; no dropout.
// A matter of one item's shape and layout, never of the batch.
template <class T>
bool is_decoding(const AttentionProblem<T>& p);

template <class T>
void decode_attention(const AttentionForwardArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
