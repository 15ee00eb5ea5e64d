// Convolution over three spatial dimensions (depth, height, width); fewer are dimensions of size 1.
#pragma once

#include <cstdint>

#include "ops/activations.h"
#include "ops/kernel.h"

namespace fastnn {

// What lies outside the input. For reflect the padding is below the input's size, for circular at
// most equal to it.
enum class PaddingMode { kZeros, kReflect, kReplicate, kCircular };

// The cross-correlation y[n, k, o] = sum over c, r of w[k, c, r] * x[n, c, o * stride - padding +
// r * dilation], in each of `groups` groups of channels. All arrays are C-contiguous:
// x (batch, in_channels, input...), w (out_channels, in_channels / groups, kernel...),
// y (batch, out_channels, output...). `padding` is what lies before the first element; what lies
// behind the last follows from `output`.
struct ConvGeometry {
  int64_t batch, groups, in_channels, out_channels;
  int64_t input[3], kernel[3], output[3];
  int64_t stride[3], padding[3], dilation[3];
  PaddingMode mode;
  bool fast;  // Winograd is allowed
};

// What follows a convolution: y = activation(conv + bias + residual).
template <class T>
struct ConvEpilogue {
  const T* residual;  // of y's shape, or null; overlaps nothing
  FusedActivation activation;
};

// y = conv(x, w) + bias, and the epilogue. y overlaps nothing.
template <class T>
struct ConvForwardArgs {
  ConvGeometry geometry;
  const T* x;
  const T* w;
  const T* prepared;  // from conv3d_prepare, or null
  const T* bias;      // (out_channels) or null
  T* y;
  ConvEpilogue<T> epilogue;
};

// x = the transpose of the convolution, applied to y, + bias: the gradient with respect to the
// input, and the forward of the transposed convolution. Only for zero padding.
template <class T>
struct ConvBackwardInputArgs {
  ConvGeometry geometry;
  const T* y;
  const T* w;
  const T* prepared;  // from conv3d_prepare with `transposed`, or null
  const T* bias;      // (in_channels) or null
  T* x;
  ConvEpilogue<T> epilogue;
};

// Brings w into the form that the convolution of this geometry, or its transpose, works with, for
// use in many calls. `form` names it: equal forms of the same weights, groups and (if transposed)
// stride, padding and dilation hold the same. 0 is none: the weights are used as they are. With
// `prepared` null only form and elements are set. The layout belongs to one instruction set.
template <class T>
struct ConvPrepareArgs {
  ConvGeometry geometry;
  bool transposed;
  const T* w;
  T* prepared;
  int64_t* form;
  int64_t* elements;
};

// The gradient with respect to the weights.
template <class T>
struct ConvBackwardWeightArgs {
  ConvGeometry geometry;
  const T* grad_y;
  const T* x;
  T* grad_w;
};

// sums[c] = sum over n and i of x[n, c, i]; x contiguous (batch, channels, positions). The gradient
// with respect to the bias.
template <class T>
struct ConvBackwardBiasArgs {
  int64_t batch, channels, positions;
  const T* x;
  T* sums;
};

// The patches of x as columns: columns (batch, in_channels * kernel elements, output positions).
// out_channels, groups and mode are not used.
template <class T>
struct UnfoldArgs {
  ConvGeometry geometry;
  const T* x;
  T* columns;
};

// x[n, c, i] = the sum of the elements of columns that unfold copies from there.
template <class T>
struct FoldArgs {
  ConvGeometry geometry;
  const T* columns;
  T* x;
};

#define FASTNN_CONV_KERNELS(KERNEL)                      \
  KERNEL(conv3d_forward, ConvForwardArgs)                \
  KERNEL(conv3d_prepare, ConvPrepareArgs)                \
  KERNEL(conv3d_backward_input, ConvBackwardInputArgs)   \
  KERNEL(conv3d_backward_weight, ConvBackwardWeightArgs) \
  KERNEL(conv3d_backward_bias, ConvBackwardBiasArgs)     \
  KERNEL(unfold_forward, UnfoldArgs)                     \
  KERNEL(fold_forward, FoldArgs)

FASTNN_KERNELS(ConvKernels, conv, FASTNN_CONV_KERNELS)

}  // namespace fastnn
