// Convolution with one input channel a group: every output plane is a small filter over one input
// plane. The plane is copied with its padding a block at a time and read from there, in tiles of
// rows and vectors that stay in registers over the taps.
// Workspace a thread: a block of at most kPlaneBlock elements (is_depthwise makes sure of it).
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kPlaneBlock = int64_t{1} << 18;  // elements
inline constexpr int64_t kMostFilters = 4;  // on one plane; more make a matrix product after all

// One input channel and few filters a group, and a block that fits.
template <class T>
bool is_depthwise(const Axis (&axes)[3], int64_t in_channels, int64_t filters);

template <class T>
void convolve_depthwise(const Convolution<T>& conv);

// grad_w (groups * filters, channels, taps of the two axes): the correlation of each channel of
// grad_y with the `channels` channels of x in its group, of which there are few. Adds over the
// images in order.
template <class T>
struct DepthwiseWeights {
  int64_t batch, groups, channels, filters;
  Axis axes[3];
  PaddingMode mode;
  const T* x;
  const T* grad_y;
  T* grad_w;
};

// Few input channels a group, and a block that fits.
template <class T>
bool is_correlation(const Axis (&axes)[3], int64_t in_channels);

template <class T>
void depthwise_backward_weight(const DepthwiseWeights<T>& args);

}  // namespace fastnn::FASTNN_ISA
