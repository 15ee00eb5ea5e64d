// Convolution as a matrix product: y (channels, positions) = weights (channels, taps) * patches
// (taps, positions) for every image and group, with the patches packed straight into the panels of
// the GEMM engine.
//
// The weights are packed once and shared by all images, unless one cell needs them or they pass
// kMaxPackedWeights. With step > 1 in y the product is one phase of a larger output and is
// scattered from a block in cache.
// Workspace: packed weights (at most kMaxPackedWeights) and, a thread, gemm_scratch plus, for a
// phase, kPhaseBlock elements: under 32 MiB + 8 MiB a thread.
#pragma once

#include "kernels/conv/patch.h"
#include "kernels/conv/weights.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kMaxPackedWeights = int64_t{32} << 20;  // bytes
inline constexpr int64_t kPhaseBlock = int64_t{1} << 18;         // elements

// Where the product goes: position i of a dimension lies at first + i * step of y.
struct Phase {
  int64_t first[3], step[3];
};

template <class T>
struct Im2col {
  int64_t batch, groups;
  int64_t in_channels, out_channels;  // of one group
  Axis axes[3];
  PaddingMode mode;
  Phase phase;
  int64_t output[3];  // y's sizes
  const T* x;         // (batch, groups * in_channels, axes.source...)
  Weights<T> weights; // of the first group
  int64_t group_weights;  // elements from one group's weights to the next
  const T* bias;      // (groups * out_channels) or null
  T* y;               // (batch, groups * out_channels, output...)
};

template <class T>
void convolve_im2col(const Im2col<T>& conv);

}  // namespace fastnn::FASTNN_ISA
