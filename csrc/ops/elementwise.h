// Element-wise operations on contiguous elements.
#pragma once

#include <cstdint>

#include "ops/activations.h"
#include "ops/kernel.h"

namespace fastnn {

// y[i] = f(x[i]). y may be x.
template <class T>
struct UnaryForwardArgs {
  int64_t n;
  const T* x;
  T* y;
  ActivationParameters p;
};

// grad_x[i] = grad_y[i] * f'(.), where f' is taken at `saved`: the forward's input or output,
// whichever the kernel names. grad_x may be grad_y or saved.
template <class T>
struct UnaryBackwardArgs {
  int64_t n;
  const T* grad_y;
  const T* saved;
  T* grad_x;
  ActivationParameters p;
};

// x and y are (outer, channels, inner): y = x where x > 0, else weight[channel] * x. With one
// channel, outer is 1. y may be x.
template <class T>
struct PreluForwardArgs {
  int64_t outer, channels, inner;
  const T* x;
  const T* weight;
  T* y;
};

// grad_x or grad_weight may be null.
template <class T>
struct PreluBackwardArgs {
  int64_t outer, channels, inner;
  const T* grad_y;
  const T* x;
  const T* weight;
  T* grad_x;
  T* grad_weight;
};

// x is (outer, 2, inner), y is (outer, inner): y = x[:, 0] * sigmoid(x[:, 1]).
template <class T>
struct GluForwardArgs {
  int64_t outer, inner;
  const T* x;
  T* y;
};

template <class T>
struct GluBackwardArgs {
  int64_t outer, inner;
  const T* grad_y;
  const T* x;
  T* grad_x;
};

// y = sum of x (outer, length, inner) over its middle dimension / divisor.
template <class T>
struct AxisSumArgs {
  int64_t outer, length, inner;
  const T* x;
  double divisor;
  T* y;
};

#define FASTNN_ACTIVATION_KERNELS(KERNEL, name, ...) \
  KERNEL(name##_forward, UnaryForwardArgs)           \
  KERNEL(name##_backward, UnaryBackwardArgs)

#define FASTNN_ELEMENTWISE_KERNELS(KERNEL)              \
  FASTNN_ACTIVATIONS(FASTNN_ACTIVATION_KERNELS, KERNEL) \
  KERNEL(axis_sum, AxisSumArgs)                         \
  KERNEL(prelu_forward, PreluForwardArgs)               \
  KERNEL(prelu_backward, PreluBackwardArgs)             \
  KERNEL(glu_forward, GluForwardArgs)                   \
  KERNEL(glu_backward, GluBackwardArgs)

FASTNN_KERNELS(ElementwiseKernels, elementwise, FASTNN_ELEMENTWISE_KERNELS)

}  // namespace fastnn
