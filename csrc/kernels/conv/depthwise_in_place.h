// Depthwise convolution with 3x3 or 5x5 taps and a step of 1 or 2 that reads its planes where they
// are: the edges are masked, nothing is copied. A tile of rows is taken along its columns; what the
// taps of a row see is shifted out of two neighbouring vectors. Only where loads have masks, and
// for zero padding. Sums in the order of depthwise.h. Workspace: one row of zeros, of the input's
// width.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

// For a convolution that is_depthwise.
template <class T>
bool is_in_place(const Convolution<T>& conv);

template <class T>
void convolve_in_place(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
