// The gradient of the weights with channels in the lanes: for each tap, grad_w (filters, channels)
// += grad_y (filters, positions) * x shifted (positions, channels).
//
// A strip's padded input is transposed once to (positions, channels), where the operand of a tap is
// a shifted view and needs no packing. Positions between the end of a row and the next count with
// a gradient of zero. Each element is one chain of fma over a part's positions in order.
// Workspace: a copy of grad_w a part, under 32 MiB, and a thread the strip's input (at most
// kMostStrip elements), kTileRows gradients a position and the offsets of the taps.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

template <class T>
bool is_strip_gradient(const Convolution<T>& forward);

// grad_w of `parts` parts of the batch, added in order. forward.y is not used.
template <class T>
void strip_gradient(const Convolution<T>& forward, const T* grad_y, int64_t parts, T* grad_w);

}  // namespace fastnn::FASTNN_ISA
