// The gradient of the weights by Winograd's F(r, m) in height and width: r taps from tiles of m =
// 7 - r gradients of y in each dimension, so that 3x3 takes 36 products a tile of 4x4 instead of
// 144. In float32, where is_winograd_gradient says so; a NaN or an infinity reaches all taps.
//
// Taps that lie a stride apart make a filter of their own over every stride-th input, and more than
// kMostWinogradTaps are cut into several: each such part of the kernel counts as further input
// channels. Parts that differ in their number of taps, as the two of a row of 3 with stride 2, are
// computed one kind after the other where that takes fewer products than filling them up. For each
// of the points the transformed gradients (filters, tiles) are multiplied by the transformed inputs
// (tiles, channels), both with channels in the lanes, and added over all tiles in chunks of them:
// one chain of fma a chunk, the chunks in order, which keeps the rounding errors of long sums
// apart. The error is what bench/conv_error.py reports. Workspace: of one group points * filters *
// channels sums, at most kMaxSums bytes, a chunk's transforms, at most kMaxChunk bytes, and a
// thread the pixels of a row of tiles.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

template <class T>
bool is_winograd_gradient(const Convolution<T>& forward);

// forward.y is not used.
template <class T>
void winograd_gradient(const Convolution<T>& forward, const T* grad_y, T* grad_w);

}  // namespace fastnn::FASTNN_ISA
