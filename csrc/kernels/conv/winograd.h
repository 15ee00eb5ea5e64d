// Convolution by Winograd's F(m, r) in each dimension, which takes fewer products:
//   3x3  36 a tile of 4x4 outputs instead of 144; on smaller maps 24 a tile of 4x2 instead of 72,
//        or 16 a tile of 2x2 instead of 36
//   5x5  36 a tile of 2x2 instead of 100
//   rows or columns of taps: of 2, 6 a tile of 5 instead of 10; of 3, 6 a tile of 4 instead of 12;
//        of 5, 6 a tile of 2 instead of 10; of 7, 11 a tile of 3 instead of 21
//   1x1 as many products, where the lanes that channels fill outweigh the transposition
//   3x3 with stride 2  25 a tile of 2x2 instead of 36; 4x4, 64 a tile of 3x3 instead of 144; rows
//   of
//        3, 11 a tile of 5 instead of 15
//   what else the phases of a transposed convolution are: 2x2, 36 a tile of 5x5 instead of 100;
//        3x2, 36 a tile of 4x5 instead of 120; 5x2 and 5x3, 36 a tile of 2x5 or 2x4 instead of 100
//        or 120
// In float32, where winograd_scheme says so; a NaN or an infinity reaches the whole tile.
// The error, max |y - y64| / max |y64|, grows with the channels: bench/conv_error.py reports it.
//
// Channels are kept in the lanes of the vectors: a block of tiles is transposed as it is read and
// as it is written, so that maps of any width fill the vectors. For each of the points, the
// transformed inputs (tiles, channels) are multiplied by the transformed weights (channels,
// filters). Workspace: transformed weights, points * channels * filters (rounded up to kGroup)
// elements of every group, at most kMaxWinogradWeights bytes, unless conv.prepared has them; and a
// thread points * (channels + kGroup) * kBlockTiles elements and the pixels of a row of tiles: at
// most 10 MiB. Where all tiles are one block the weights of kGroup filters at a time, a thread,
// take the place of all: at most 14 MiB together.
#pragma once

#include "kernels/conv/convolution.h"
#include "kernels/conv/winograd_schemes.h"

namespace fastnn::FASTNN_ISA {

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
