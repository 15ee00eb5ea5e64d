// The two-dimensional transforms that a convolution may take: F(m, r) of winograd_transform.h in
// height and in width.
#pragma once

#include "kernels/conv/winograd_transform.h"

namespace fastnn::FASTNN_ISA {

// Named by taps, height first.
enum class WinogradScheme {
  kNone,
  k1x1,
  k1x1Step2,
  k3x3,
  kMedium3x3,
  kSmall3x3,
  k5x5,
  k2x2,
  kSmall2x2,
  k2x1,
  k1x2,
  k3x2,
  k2x3,
  k5x2,
  k5x3,
  k1x3,
  k3x1,
  k1x5,
  k1x7,
  k7x1,
  k3x3Step2,
  k4x4Step2,
  k1x3Step2
};

// One dimension of a tile.
struct WinogradTile {
  int64_t taps, out, in, points, step;
};

// Each for as many channels, or filters, as a vector has lanes. A pixel is a vector, rows lie
// `pitch` elements apart, points `stride`.
template <class T>
struct WinogradTransforms {
  WinogradTile height, width;
  // `tiles` neighbouring ones, vector by vector in `target`.
  void (*input)(const T* pixels, int64_t pitch, T* target, int64_t stride, int64_t tiles);
  // Of the taps, `tap_stride` apart, the first `lanes` filters.
  void (*weights)(const T* taps, int64_t tap_stride, T* target, int64_t stride, int64_t lanes);
  // `tiles` neighbouring ones, whose products lie `tile_stride` apart.
  void (*output)(const T* products, int64_t stride, int64_t tile_stride, Vec<T> bias, T* pixels,
                 int64_t pitch, int64_t tiles);

  int64_t points() const { return height.points * width.points; }
  int64_t taps() const { return height.taps * width.taps; }
};

template <class T>
const WinogradTransforms<T>& winograd_transforms(WinogradScheme scheme);

}  // namespace fastnn::FASTNN_ISA
