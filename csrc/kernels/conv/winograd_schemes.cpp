#include "kernels/conv/winograd_schemes.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T, class Height, class Width>
void transform_inputs(const T* pixels, int64_t pitch, T* target, int64_t stride, int64_t tiles) {
  constexpr int64_t kSize = Vec<T>::kSize, kTileStep = Width::kOut * Width::kStep;
  for (int64_t t = 0; t < tiles; ++t, pixels += kTileStep * kSize, target += kSize) {
    transform_planes<T, Height::kIn, Height::kPoints, Width::kIn, Width::kPoints>(
        [=](int i, int j) { return Vec<T>::load(pixels + i * pitch + j * kSize); },
        [](const auto& d, auto& t) { Height::input(d, t); },
        [](const auto& d, auto& t) { Width::input(d, t); },
        [=](int i, int j, Vec<T> v) { v.store(target + (i * Width::kPoints + j) * stride); });
  }
}

template <class T, class Height, class Width>
void transform_weights(const T* taps, int64_t tap_stride, T* target, int64_t stride,
                       int64_t lanes) {
  transform_planes<T, Height::kTaps, Height::kPoints, Width::kTaps, Width::kPoints>(
      [=](int r, int s) { return Vec<T>::load(taps + (r * Width::kTaps + s) * tap_stride, lanes); },
      [](const auto& g, auto& t) { Height::weights(g, t); },
      [](const auto& g, auto& t) { Width::weights(g, t); },
      [=](int i, int j, Vec<T> u) { u.store(target + (i * Width::kPoints + j) * stride); });
}

template <class T, class Height, class Width>
void transform_products(const T* products, int64_t stride, int64_t tile_stride, Vec<T> bias,
                        T* pixels, int64_t pitch, int64_t tiles) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t t = 0; t < tiles; ++t, products += tile_stride, pixels += Width::kOut * kSize) {
    transform_planes<T, Height::kPoints, Height::kOut, Width::kPoints, Width::kOut>(
        [=](int i, int j) { return Vec<T>::load(products + (i * Width::kPoints + j) * stride); },
        [](const auto& m, auto& y) { Height::output(m, y); },
        [](const auto& m, auto& y) { Width::output(m, y); },
        [=](int i, int j, Vec<T> y) { (y + bias).store(pixels + i * pitch + j * kSize); });
  }
}

template <class F>
constexpr WinogradTile tile_of() {
  return {F::kTaps, F::kOut, F::kIn, F::kPoints, F::kStep};
}

template <class T, class Height, class Width>
constexpr WinogradTransforms<T> transforms() {
  return {tile_of<Height>(), tile_of<Width>(), &transform_inputs<T, Height, Width>,
          &transform_weights<T, Height, Width>, &transform_products<T, Height, Width>};
}

}  // namespace

template <class T>
const WinogradTransforms<T>& winograd_transforms(WinogradScheme scheme) {
  using One = WinogradOneTap<1>;
  using Two = WinogradSixPoints<2>;
  using OneStep2 = WinogradOneTap<1, 2>;
  using SmallTwo = WinogradFourPoints<2>;
  using Three = WinogradSixPoints<3>;
  using SmallThree = WinogradFourPoints<3>;
  using Five = WinogradSixPoints<5>;
  using Seven = WinogradSum<1, WinogradSixPoints<4>, WinogradFivePoints>;
  using ThreeStep2 = WinogradSum<2, WinogradThreePoints, WinogradOneTap<2>>;
  using FourStep2 = WinogradSum<2, SmallTwo, SmallTwo>;
  using WideThreeStep2 = WinogradSum<2, Two, WinogradOneTap<5>>;
  // In the order of WinogradScheme, from k1x1 on.
  static constexpr WinogradTransforms<T> kTransforms[] = {
      transforms<T, One, One>(),
      transforms<T, OneStep2, OneStep2>(),
      transforms<T, Three, Three>(),
      transforms<T, Three, SmallThree>(),
      transforms<T, SmallThree, SmallThree>(),
      transforms<T, Five, Five>(),
      transforms<T, Two, Two>(),
      transforms<T, SmallTwo, SmallTwo>(),
      transforms<T, Two, One>(),
      transforms<T, One, Two>(),
      transforms<T, Three, Two>(),
      transforms<T, Two, Three>(),
      transforms<T, Five, Two>(),
      transforms<T, Five, Three>(),
      transforms<T, One, Three>(),
      transforms<T, Three, One>(),
      transforms<T, One, Five>(),
      transforms<T, One, Seven>(),
      transforms<T, Seven, One>(),
      transforms<T, ThreeStep2, ThreeStep2>(),
      transforms<T, FourStep2, FourStep2>(),
      transforms<T, One, WideThreeStep2>(),
  };
  return kTransforms[static_cast<int>(scheme) - 1];
}

template const WinogradTransforms<float>& winograd_transforms(WinogradScheme);

}  // namespace fastnn::FASTNN_ISA
