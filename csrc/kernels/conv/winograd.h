// 3x3 convolution with step 1 by Winograd's F(4x4, 3x3): 36 products a tile of 4x4 outputs instead
// of 144. In float32, where is_winograd says so; a NaN or an infinity reaches the whole tile.
// The error, max |y - y64| / max |y64| on normal inputs, is 2.4e-6 for 64, 3.2e-6 for 256
// and 7.5e-6 for 512 input channels; that of the direct sum is 0.9e-6, 1.4e-6 and 3.1e-6.
//
// Tiles are taken a block at a time, from several images where they are small. For each of the 36
// points, the block's transformed inputs (channels, tiles) are multiplied by the transformed
// weights (filters, channels) with the GEMM engine's register tile. Workspace: transformed weights,
// 36 * filters * channels elements of every group (at most kMaxWinogradWeights bytes), and a thread
// 36 * (channels + filters) * kBlockTiles elements and the block's patches: at most 16 MiB.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

template <class T>
bool is_winograd(const Convolution<T>& conv);

template <class T>
void convolve_winograd(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
