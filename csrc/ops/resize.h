// Padding, interpolation, sampling and shuffling of contiguous arrays. No two arrays may overlap.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

enum class PadMode : int { kConstant, kReflect, kReplicate, kCircular };

inline constexpr int kMaxPadRank = 32;

// y is x with `before` elements in front of each axis (fewer if negative) and as many behind as
// make it `out` long. The first axes, which are not padded, may be merged into one.
template <class T>
struct PadForwardArgs {
  int rank;  // at least 1
  int64_t in[kMaxPadRank], out[kMaxPadRank], before[kMaxPadRank];
  PadMode mode;  // reflect: the border is not repeated, and |padding| < in
  T value;
  const T* x;
  T* y;
};

// The first axis is not padded: in[0] == out[0].
template <class T>
struct PadBackwardArgs {
  int rank;  // at least 2
  int64_t in[kMaxPadRank], out[kMaxPadRank], before[kMaxPadRank];
  PadMode mode;
  const T* grad_y;
  T* grad_x;
};

// Where the outputs along one axis come from: first[o], or
// (1 - weight[o]) * first[o] + weight[o] * second[o], with weight 0 where the two are the same; all
// indices lie in [0, in).
template <class T>
struct ResizeAxis {
  int64_t in, out;
  const int64_t* first;
  const int64_t* second;  // null for nearest
  const T* weight;        // null for nearest
};

// (planes, depth, height, width), linear along each axis or nearest along each.
template <class T>
struct InterpolateForwardArgs {
  int64_t planes;
  ResizeAxis<T> depth, height, width;
  const T* x;
  T* y;
};

template <class T>
struct InterpolateBackwardArgs {
  int64_t planes;
  ResizeAxis<T> depth, height, width;
  const T* grad_y;
  T* grad_x;
};

// From (planes * factor^2, height, width) to (planes, height * factor, width * factor):
// y[p, h * factor + i, w * factor + j] = x[p * factor^2 + i * factor + j, h, w].
// pixel_unshuffle is the way back; height and width are those of the small side.
template <class T>
struct PixelShuffleArgs {
  int64_t planes, factor, height, width;
  const T* x;
  T* y;
};

// From (batch, groups, channels, inner) to (batch, channels, groups, inner).
template <class T>
struct ChannelShuffleArgs {
  int64_t batch, groups, channels, inner;
  const T* x;
  T* y;
};

// Along one axis of (outer, in, inner): y[o] = sum over k < counts[o] of
// weights[o * taps + k] * x[first[o] + k]. Weights of 0 are left out.
template <class T>
struct ResampleArgs {
  int64_t outer, in, out, inner, taps;
  const int64_t *first, *counts;
  const T* weights;
  const T* x;
  T* y;
};

enum class SampleMode : int { kLinear, kNearest, kCubic };
enum class SamplePadding : int { kZeros, kBorder, kReflection };

// x is (batch, channels, depth, height, width), with depth 1 if dims is 2; the grid is
// (batch, points, dims) with coordinates (x, y) or (x, y, z) in [-1, 1]; y is
// (batch, channels, points).
struct GridSampleShape {
  int64_t batch, channels, depth, height, width, points, dims;
  SampleMode mode;
  SamplePadding padding;
  bool align_corners;
};

template <class T>
struct GridSampleForwardArgs {
  GridSampleShape shape;
  const T* x;
  const T* grid;
  T* y;
};

template <class T>
struct GridSampleBackwardInputArgs {
  GridSampleShape shape;
  const T* grid;
  const T* grad_y;
  T* grad_x;
};

template <class T>
struct GridSampleBackwardGridArgs {
  GridSampleShape shape;
  const T* x;
  const T* grid;
  const T* grad_y;
  T* grad_grid;
};

#define FASTNN_RESIZE_KERNELS(KERNEL)                             \
  KERNEL(pad_forward, PadForwardArgs)                             \
  KERNEL(pad_backward, PadBackwardArgs)                           \
  KERNEL(interpolate_forward, InterpolateForwardArgs)             \
  KERNEL(interpolate_backward, InterpolateBackwardArgs)           \
  KERNEL(resample_forward, ResampleArgs)                          \
  KERNEL(grid_sample_forward, GridSampleForwardArgs)              \
  KERNEL(grid_sample_backward_input, GridSampleBackwardInputArgs) \
  KERNEL(grid_sample_backward_grid, GridSampleBackwardGridArgs)   \
  KERNEL(pixel_shuffle_forward, PixelShuffleArgs)                 \
  KERNEL(pixel_unshuffle_forward, PixelShuffleArgs)               \
  KERNEL(channel_shuffle_forward, ChannelShuffleArgs)

FASTNN_KERNELS(ResizeKernels, resize, FASTNN_RESIZE_KERNELS)

}  // namespace fastnn
