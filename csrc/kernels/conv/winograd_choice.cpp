#include "kernels/conv/winograd_choice.h"

#include "kernels/conv/im2col.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostChannels = 1600;  // in: bounds the workspace

bool is_dense(const Axis& axis) {
  return axis.step == 1 && (axis.taps == 1 || axis.tap_step == 1 || axis.tap_step == -1);
}

// A single row of taps along one axis: that axis, and the schemes for it.
WinogradScheme row_scheme(const Axis& axis, bool across) {
  if (axis.step == 2 && axis.tap_step == 1) {
    const bool wide = across && axis.taps == 3 && axis.positions > 9;
    return wide ? WinogradScheme::k1x3Step2 : WinogradScheme::kNone;
  }
  if (!is_dense(axis) || axis.positions <= 8) return WinogradScheme::kNone;
  if (axis.taps == 2) return across ? WinogradScheme::k1x2 : WinogradScheme::k2x1;
  if (axis.taps == 3) return across ? WinogradScheme::k1x3 : WinogradScheme::k3x1;
  if (axis.taps == 5 && across) return WinogradScheme::k1x5;
  if (axis.taps == 7) return across ? WinogradScheme::k1x7 : WinogradScheme::k7x1;
  return WinogradScheme::kNone;
}

// As many taps in height and width as the phases of a transposed convolution have.
WinogradScheme mixed_scheme(const Axis& height, const Axis& width) {
  if (!is_dense(height) || !is_dense(width) || min_of(height.positions, width.positions) <= 8) {
    return WinogradScheme::kNone;
  }
  if (height.taps == 3 && width.taps == 2) return WinogradScheme::k3x2;
  if (height.taps == 2 && width.taps == 3) return WinogradScheme::k2x3;
  if (height.taps == 5 && width.taps == 2) return WinogradScheme::k5x2;
  if (height.taps == 5 && width.taps == 3) return WinogradScheme::k5x3;
  return WinogradScheme::kNone;
}

// 1x1: no product is saved, but neither are lanes lost as in a matrix product with positions
// across, whose last vector is partial, and a step of 2 costs no more.
template <class T>
WinogradScheme pointwise_scheme(const Convolution<T>& conv) {
  constexpr int64_t kLeastChannels = 64, kLeastProduct = 8192;
  const Axis &height = conv.axes[1], &width = conv.axes[2];
  const int64_t positions = height.positions * width.positions;
  const bool wasteful = !fills_tiles<T>(positions);
  const bool suits = wasteful && height.step == width.step && width.step <= 2;
  const bool large = min_of(conv.in_channels, conv.out_channels) >= kLeastChannels &&
                     conv.in_channels * conv.out_channels >= kLeastProduct;
  if (!suits || !large) return WinogradScheme::kNone;
  return width.step == 2 ? WinogradScheme::k1x1Step2 : WinogradScheme::k1x1;
}

}  // namespace

template <class T>
WinogradScheme scheme_for(const Convolution<T>& conv) {
  const Axis &depth = conv.axes[0], &height = conv.axes[1], &width = conv.axes[2];
  const bool planar = depth.taps == 1 && depth.positions == 1 && depth.source == 1 &&
                      depth.first == 0 && conv.output[0] == 1;
  if (!planar) return WinogradScheme::kNone;
  if (height.taps == 1 && width.taps == 1) return pointwise_scheme(conv);
  if (height.taps == 1 && height.step == 1) return row_scheme(width, true);
  if (width.taps == 1 && width.step == 1) return row_scheme(height, false);
  if (height.taps != width.taps) return mixed_scheme(height, width);
  const int64_t taps = width.taps, least = min_of(height.positions, width.positions);
  if (height.step == 2 && width.step == 2) {
    if (height.tap_step != 1 || width.tap_step != 1 || least <= 3) return WinogradScheme::kNone;
    return taps == 3   ? WinogradScheme::k3x3Step2
           : taps == 4 ? WinogradScheme::k4x4Step2
                       : WinogradScheme::kNone;
  }
  if (!is_dense(height) || !is_dense(width)) return WinogradScheme::kNone;
  if (taps == 3 && least > 2) {
    return least > 8   ? WinogradScheme::k3x3
           : least > 6 ? WinogradScheme::kMedium3x3
                       : WinogradScheme::kSmall3x3;
  }
  if (taps == 5 && least > 2) return WinogradScheme::k5x5;
  if (taps == 2 && least > 3) {
    return least > 9 ? WinogradScheme::k2x2 : WinogradScheme::kSmall2x2;
  }
  return WinogradScheme::kNone;
}

int64_t most_channels(WinogradScheme scheme) {
  switch (scheme) {
    case WinogradScheme::k1x1:
    case WinogradScheme::k1x1Step2:
      return kMostChannels * 16;  // one point instead of 16 or more
    case WinogradScheme::kSmall3x3:
    case WinogradScheme::kSmall2x2:
    case WinogradScheme::k3x3Step2:
      return kMostChannels;
    case WinogradScheme::k2x2:
      return 256;
    case WinogradScheme::k3x2:
    case WinogradScheme::k2x3:
      return 384;
    default:
      return 512;
  }
}

template WinogradScheme scheme_for(const Convolution<float>&);

}  // namespace fastnn::FASTNN_ISA
