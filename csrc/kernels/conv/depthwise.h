// Convolution with one input channel a group: every output plane is a small filter over one input
// plane. The plane is copied with its padding a block at a time and read from there, in tiles of
// rows and vectors that stay in registers over the taps.
// Workspace a thread: a block of at most kPlaneBlock elements (is_depthwise makes sure of it).
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kMostFilters = 4;  // on one plane; more make a matrix product after all

// One input channel and few filters a group, and a block that fits.
template <class T>
bool is_depthwise(const Axis (&axes)[3], int64_t in_channels, int64_t filters);

template <class T>
void convolve_depthwise(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
