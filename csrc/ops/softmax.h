// Softmax and its kin over the middle dimension of an array (outer, length, inner), C-contiguous.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// y has x's shape; for logsumexp it is (outer, inner). y and x do not overlap.
template <class T>
struct SoftmaxForwardArgs {
  int64_t outer, length, inner;
  const T* x;
  T* y;
};

// y is the forward's output. All of the same shape; grad_x overlaps nothing.
template <class T>
struct SoftmaxBackwardArgs {
  int64_t outer, length, inner;
  const T* grad_y;
  const T* y;
  T* grad_x;
};

// grad_y and y, the forward's output, are (outer, inner); x and grad_x (outer, length, inner).
template <class T>
struct LogSumExpBackwardArgs {
  int64_t outer, length, inner;
  const T* grad_y;
  const T* x;
  const T* y;
  T* grad_x;
};

#define FASTNN_SOFTMAX_KERNELS(KERNEL)              \
  KERNEL(softmax_forward, SoftmaxForwardArgs)       \
  KERNEL(softmax_backward, SoftmaxBackwardArgs)     \
  KERNEL(log_softmax_forward, SoftmaxForwardArgs)   \
  KERNEL(log_softmax_backward, SoftmaxBackwardArgs) \
  KERNEL(logsumexp_forward, SoftmaxForwardArgs)     \
  KERNEL(logsumexp_backward, LogSumExpBackwardArgs)

FASTNN_KERNELS(SoftmaxKernels, softmax, FASTNN_SOFTMAX_KERNELS)

}  // namespace fastnn
