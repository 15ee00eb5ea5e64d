// Depthwise convolution with step 1 and 3x3 or 5x5 taps that reads its planes where they are: the
// edges are masked, nothing is copied. For narrow planes, only where loads have masks, and for zero
// padding. Sums in the order of depthwise.h. No workspace.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

// For a convolution that is_depthwise.
template <class T>
bool is_in_place(const Convolution<T>& conv);

template <class T>
void convolve_in_place(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
