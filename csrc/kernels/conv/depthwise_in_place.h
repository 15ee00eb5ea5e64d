// Depthwise convolution with 3x3 or 5x5 taps and a step of 1 or 2, or one of several channels to
// one filter with 3x3 taps, that reads its planes where they are: the edges are masked, nothing is
// copied. A tile of rows is taken along its columns, a channel after the other; what the taps of a
// row see is shifted out of two neighbouring vectors. Only where loads have masks, and for zero
// padding. Each element is one chain of fma over channels and taps in order. Workspace: one row of
// zeros, of the input's width.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

// For a convolution that is_depthwise, or is_planar (plane_filter.h) with one filter a group.
template <class T>
bool is_in_place(const Convolution<T>& conv);

template <class T>
void convolve_in_place(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
