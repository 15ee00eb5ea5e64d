// The gradient of the weights for few input channels a group: the correlation of each channel of
// grad_y with the `channels` channels of x in its group. 3x3 and 5x5 taps with steps of 1 or 2 and
// zero padding read the planes where they are, others a copy with the padding (plane.h). Sums of
// one image run side by side in lanes; the images are added in order.
// Workspace: a row of zeros of the input, or a thread a block of at most kPlaneBlock elements.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

// grad_w (groups * filters, channels, taps of the two axes).
template <class T>
struct DepthwiseWeights {
  int64_t batch, groups, channels, filters;
  Axis axes[3];
  PaddingMode mode;
  const T* x;
  const T* grad_y;
  T* grad_w;
};

template <class T>
bool is_depthwise_gradient(const DepthwiseWeights<T>& args);

template <class T>
void depthwise_gradient(const DepthwiseWeights<T>& args);

}  // namespace fastnn::FASTNN_ISA
