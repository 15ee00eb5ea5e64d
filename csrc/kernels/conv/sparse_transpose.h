// The transposed convolution where only one of the phases has taps, as that of 1x1 with a stride:
// its results for some images are computed as they are, and written row by row together with the
// bias that holds between them. Workspace: those results, at most kMaxSparseResults bytes.
#pragma once

#include "ops/conv.h"

namespace fastnn::FASTNN_ISA {

bool is_sparse_transpose(const ConvGeometry& g);

template <class T>
void sparse_transpose(const ConvBackwardInputArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
