// Convolution of a few channels to a few: for one block of the output the planes of all input
// channels are copied with their padding, and a tile of output channels and vectors along a row
// stays in registers over channels and taps. Nothing is packed, which for so few filters would cost
// more than the products; only the weights of few_inputs.h are brought together.
// Workspace a thread: the block's planes, at most kPlaneBlock elements (depthwise.h).
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

template <class T>
bool is_direct(const Convolution<T>& conv);

template <class T>
void convolve_direct(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
