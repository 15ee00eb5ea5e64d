// Transposed convolution whose windows tile the result: as far apart as they are large. Every
// element of x comes from one position of y, so that all taps of all channels are the filters of
// one 1x1 convolution, whose results are brought into their order.
//
// Workspace: the results of some images, at most kMaxTilingResults, and a bias a filter, beside the
// 1x1 convolution's.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

bool is_tiling_transpose(const ConvGeometry& geometry);

// The 1x1 convolution, from y's channels to a filter for each tap of each of x's; without its
// arrays but the weights.
template <class T>
Convolution<T> tiling_convolution(const ConvGeometry& geometry, const T* w);

template <class T>
void tiling_transpose(const ConvBackwardInputArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
