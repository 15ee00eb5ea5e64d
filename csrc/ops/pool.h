// Pooling over three spatial dimensions of contiguous (planes, depth, height, width) arrays;
// `planes` is batch x channels, and 1d and 2d pooling have depth (and height) 1. No two arrays may
// overlap.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// One spatial dimension of a sliding window: output o covers o * stride - padding + k * dilation
// for k < kernel, where that lies in [0, in).
struct PoolAxis {
  int64_t in, out, kernel, stride, padding, dilation;
};

// Windows that slide: those whose neighbours are computed together, as lanes. Others are computed
// one at a time, and their maxima keep indices instead of taps.
inline constexpr int64_t kMaxSlidingColumns = 256;  // width.kernel
inline constexpr int64_t kMaxSlidingExtent = 4096;  // (width.kernel - 1) * width.dilation + 1
inline constexpr int64_t kMaxSlidingRows = 128;     // depth.kernel * the extent in height
inline constexpr int64_t kMaxSlidingStride = 16;    // every stride

// A tap is the number of an element inside its window, in row-major order. Windows of up to 255
// elements may keep one byte an output: what the backward pass needs.
inline constexpr uint8_t kNoTap = 255;  // the window lies in the padding alone

// y = the window's largest element, NaN if there is one; -inf for a window without an element.
// The first of equals wins, the last of NaNs (as in PyTorch).
template <class T>
struct MaxPoolForwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  const T* x;
  T* y;
  int64_t* indices;  // where y came from, flat in its plane and always valid; may be null
  uint8_t* taps;     // the same as a tap; null, or windows slide and have up to 255 elements
};

template <class T>
struct MaxPoolBackwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  const T* grad_y;
  const uint8_t* taps;
  T* grad_x;
};

// y = sum of the window / divisor. The divisor counts the window's elements, those in the padding
// too if `count_padding`, unless divisor_override is not 0. Dilation is 1.
template <class T>
struct AvgPoolForwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t divisor_override;
  const T* x;
  T* y;
};

template <class T>
struct AvgPoolBackwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t divisor_override;
  const T* grad_y;
  T* grad_x;
};

// Larger windows of adaptive max pooling keep indices, which are found row by row.
inline constexpr int64_t kMaxAdaptiveTaps = 16;

// Output o of `out` covers [floor(o * in / out), ceil((o + 1) * in / out)).
struct AdaptiveAxis {
  int64_t in, out;
};

template <class T>
struct AdaptiveAvgPoolForwardArgs {
  int64_t planes;
  AdaptiveAxis depth, height, width;
  const T* x;
  T* y;
};

template <class T>
struct AdaptiveAvgPoolBackwardArgs {
  int64_t planes;
  AdaptiveAxis depth, height, width;
  const T* grad_y;
  T* grad_x;
};

template <class T>
struct AdaptiveMaxPoolForwardArgs {
  int64_t planes;
  AdaptiveAxis depth, height, width;
  const T* x;
  T* y;
  int64_t* indices;  // flat in the plane; may be null
};

// grad_x[indices[i]] += grad_y[i] in every plane; the backward pass of every maximum that kept
// indices.
template <class T>
struct AdaptiveMaxPoolBackwardArgs {
  int64_t planes, inputs, outputs;  // elements of a plane of grad_x and of grad_y
  const T* grad_y;
  const int64_t* indices;
  T* grad_x;
};

struct FractionalSize {
  int64_t in, out, kernel;  // out - 1 + kernel <= in
};

// The largest element of windows that start at random places (fractional_max_pool.cpp); indices as
// for max pooling.
template <class T>
struct FractionalMaxPoolForwardArgs {
  int64_t planes;
  FractionalSize depth, height, width;
  const T* samples;  // (planes, 3) in [0, 1]: depth, height, width
  const T* x;
  T* y;
  int64_t* indices;
};

// y = (kernel elements * mean of the window's x^power)^(1 / power); the divisor of the mean as in
// average pooling.
template <class T>
struct LpPoolForwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t divisor_override;
  double power;
  const T* x;
  T* y;
};

// `shares` is scratch of grad_y's size.
template <class T>
struct LpPoolBackwardArgs {
  int64_t planes;
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t divisor_override;
  double power;
  const T* x;
  const T* y;
  const T* grad_y;
  T* shares;
  T* grad_x;
};

// y[indices[i]] = x[i] in every plane, zeros elsewhere; indices lie in [0, outputs).
template <class T>
struct MaxUnpoolForwardArgs {
  int64_t planes, inputs, outputs;  // elements of a plane of x and of y
  const T* x;
  const int64_t* indices;
  T* y;
};

template <class T>
struct MaxUnpoolBackwardArgs {
  int64_t planes, inputs, outputs;
  const T* grad_y;
  const int64_t* indices;
  T* grad_x;
};

#define FASTNN_POOL_KERNELS(KERNEL)                                   \
  KERNEL(max_pool3d_forward, MaxPoolForwardArgs)                      \
  KERNEL(max_pool3d_backward, MaxPoolBackwardArgs)                    \
  KERNEL(avg_pool3d_forward, AvgPoolForwardArgs)                      \
  KERNEL(avg_pool3d_backward, AvgPoolBackwardArgs)                    \
  KERNEL(adaptive_avg_pool3d_forward, AdaptiveAvgPoolForwardArgs)     \
  KERNEL(adaptive_avg_pool3d_backward, AdaptiveAvgPoolBackwardArgs)   \
  KERNEL(adaptive_max_pool3d_forward, AdaptiveMaxPoolForwardArgs)     \
  KERNEL(adaptive_max_pool3d_backward, AdaptiveMaxPoolBackwardArgs)   \
  KERNEL(fractional_max_pool3d_forward, FractionalMaxPoolForwardArgs) \
  KERNEL(lp_pool3d_forward, LpPoolForwardArgs)                        \
  KERNEL(lp_pool3d_backward, LpPoolBackwardArgs)                      \
  KERNEL(max_unpool3d_forward, MaxUnpoolForwardArgs)                  \
  KERNEL(max_unpool3d_backward, MaxUnpoolBackwardArgs)

FASTNN_KERNELS(PoolKernels, pool, FASTNN_POOL_KERNELS)

}  // namespace fastnn
