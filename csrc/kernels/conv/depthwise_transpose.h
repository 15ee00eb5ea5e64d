// The transpose of a depthwise convolution with 3x3 or 5x5 taps, a step of 2 and zero padding. The
// four phases of x are computed together from what they share of y, which is read where it is, and
// are interleaved in registers. Sums run over the taps in order. Workspace: a row of zeros of y.
#pragma once

#include "ops/conv.h"

namespace fastnn::FASTNN_ISA {

bool is_depthwise_transpose(const ConvGeometry& g);

template <class T>
void depthwise_transpose(const ConvBackwardInputArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
