#include "kernels/conv/winograd_gradient_transform.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <int kTaps>
struct TransformOf {
  using Type = WinogradSixPoints<kWinogradPoints - kTaps + 1>;
};
template <>
struct TransformOf<1> {
  using Type = WinogradOneTap<1>;
};

template <class T, class Height, class Width>
void transform_input(const T* pixels, int64_t pitch, T* target, int64_t stride) {
  transform_planes<T, Height::kIn, Height::kIn, Width::kIn, Width::kIn>(
      [=](int i, int j) { return Vec<T>::load(pixels + i * pitch + j * Vec<T>::kSize); },
      [](const auto& d, auto& t) { Height::input(d, t); },
      [](const auto& d, auto& t) { Width::input(d, t); },
      [=](int i, int j, Vec<T> t) { t.store(target + (i * Width::kIn + j) * stride); });
}

template <class T, class Height, class Width>
void transform_gradient(const T* pixels, int64_t pitch, T* target, int64_t stride, Mask<T> lanes) {
  transform_planes<T, Height::kTaps, Height::kIn, Width::kTaps, Width::kIn>(
      [=](int i, int j) { return Vec<T>::load(pixels + i * pitch + j * Vec<T>::kSize); },
      [](const auto& g, auto& t) { Height::weights(g, t); },
      [](const auto& g, auto& t) { Width::weights(g, t); },
      [=](int i, int j, Vec<T> t) { t.store(target + (i * Width::kIn + j) * stride, lanes); });
}

template <class T, class Height, class Width>
void transform_output(const T* sums, int64_t stride, T* taps, int64_t tap_stride) {
  transform_planes<T, Height::kIn, Height::kOut, Width::kIn, Width::kOut>(
      [=](int i, int j) { return Vec<T>::load(sums + (i * Width::kIn + j) * stride); },
      [](const auto& m, auto& y) { Height::output(m, y); },
      [](const auto& m, auto& y) { Width::output(m, y); },
      [=](int i, int j, Vec<T> y) { y.store(taps + (i * Width::kOut + j) * tap_stride); });
}

template <class T, int kHeightTaps, int kWidthTaps>
constexpr GradientTransforms<T> transforms() {
  using Height = typename TransformOf<kHeightTaps>::Type;
  using Width = typename TransformOf<kWidthTaps>::Type;
  return {&transform_input<T, Height, Width>, &transform_gradient<T, Height, Width>,
          &transform_output<T, Height, Width>};
}

template <class T, int kHeightTaps>
GradientTransforms<T> choose(int64_t width_taps) {
  static constexpr GradientTransforms<T> kTransforms[kMostWinogradTaps] = {
      transforms<T, kHeightTaps, 1>(), transforms<T, kHeightTaps, 2>(),
      transforms<T, kHeightTaps, 3>(), transforms<T, kHeightTaps, 4>(),
      transforms<T, kHeightTaps, 5>()};
  return kTransforms[width_taps - 1];
}

}  // namespace

template <class T>
GradientTransforms<T> gradient_transforms(int64_t height_taps, int64_t width_taps) {
  switch (height_taps) {
    case 1:
      return choose<T, 1>(width_taps);
    case 2:
      return choose<T, 2>(width_taps);
    case 3:
      return choose<T, 3>(width_taps);
    case 4:
      return choose<T, 4>(width_taps);
    default:
      return choose<T, 5>(width_taps);
  }
}

template GradientTransforms<float> gradient_transforms<float>(int64_t, int64_t);

}  // namespace fastnn::FASTNN_ISA
