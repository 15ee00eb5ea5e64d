// The two-dimensional transforms of the gradient of the weights: a tile of gradients of y is the
// filter that is moved over the inputs which it meets, grad_w the result, so that F(r, m) of
// winograd_transform.h gives r taps from tiles of m gradients.
#pragma once

#include "kernels/conv/winograd_transform.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kWinogradPoints = 6;
inline constexpr int64_t kMostWinogradTaps = 5;

// Gradients a tile along a dimension of which `taps` taps are computed together; one tap needs no
// transform.
inline int64_t gradient_tile(int64_t taps) { return taps == 1 ? 1 : kWinogradPoints - taps + 1; }
inline int64_t gradient_points(int64_t taps) { return taps == 1 ? 1 : kWinogradPoints; }

// Each for as many channels as a vector has lanes. A pixel is a vector, rows lie `pitch` elements
// apart, results `stride`.
template <class T>
struct GradientTransforms {
  void (*input)(const T* pixels, int64_t pitch, T* target, int64_t stride);
  void (*gradient)(const T* pixels, int64_t pitch, T* target, int64_t stride, Mask<T> lanes);
  void (*output)(const T* sums, int64_t stride, T* taps, int64_t tap_stride);
};

// For 1 .. kMostWinogradTaps taps in each dimension.
template <class T>
GradientTransforms<T> gradient_transforms(int64_t height_taps, int64_t width_taps);

}  // namespace fastnn::FASTNN_ISA
