// Convolution with step 1 by Winograd's F(m, r) in each dimension: 3x3 with 36 products a tile of
// 4x4 outputs instead of 144, or on small maps 16 products a tile of 2x2 instead of 36; 5x5 with 36
// products a tile of 2x2 instead of 100; rows of 3 taps with 6 a tile of 4 instead of 12; 2x2, the
// phases of a transposed convolution with stride 2, with 36 a tile of 5x5 instead of 100. In
// float32, where winograd_scheme says so; a NaN or an infinity reaches the whole tile.
// The error, max |y - y64| / max |y64|, grows with the channels: bench/conv_error.py reports it.
//
// Channels are kept in the lanes of the vectors: a block of tiles is transposed as it is read and
// as it is written, so that maps of any width fill the vectors. For each of the points, the
// transformed inputs (tiles, channels) are multiplied by the transformed weights (channels,
// filters). Workspace: transformed weights, points * channels * filters (rounded up to kGroup)
// elements of every group, at most kMaxWinogradWeights bytes, unless conv.prepared has them; and a
// thread points * (channels + kGroup) * kBlockTiles elements and the pixels of a row of tiles: at
// most 8 MiB.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

enum class WinogradScheme { kNone, k3x3, kSmall3x3, k5x5, k1x3, k2x2, kSmall2x2 };

template <class T>
WinogradScheme winograd_scheme(const Convolution<T>& conv);

// Elements of the transformed weights.
template <class T>
int64_t winograd_weights(const Convolution<T>& conv);

template <class T>
void transform_winograd_weights(const Convolution<T>& conv, T* target);

template <class T>
void convolve_winograd(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
