// 3x3 convolution with step 1 by Winograd's F(4x4, 3x3), 36 products a tile of 4x4 outputs instead
// of 144, or on small maps F(2x2, 3x3), 16 products a tile of 2x2 instead of 36. In float32, where
// winograd_tile says so; a NaN or an infinity reaches the whole tile.
// The error, max |y - y64| / max |y64|, grows with the channels: bench/conv_error.py reports it.
//
// Channels are kept in the lanes of the vectors: a block of tiles is transposed as it is read and
// as it is written, so that maps of any width fill the vectors. For each of the points, the
// transformed inputs (tiles, channels) are multiplied by the transformed weights (channels,
// filters). Workspace: transformed weights, (tile + 2)^2 * channels * filters (rounded up to
// kGroup) elements of every group, at most kMaxWinogradWeights bytes, unless conv.prepared has
// them; and a thread (tile + 2)^2 * (channels + kGroup) * kBlockTiles elements and the pixels of a
// row of tiles: at most 8 MiB.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

// 4 or 2, the side of the tiles, or 0: not for this convolution.
template <class T>
int winograd_tile(const Convolution<T>& conv);

// Elements of the transformed weights.
template <class T>
int64_t winograd_weights(const Convolution<T>& conv);

template <class T>
void transform_winograd_weights(const Convolution<T>& conv, T* target);

template <class T>
void convolve_winograd(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
