// gelu(x) = x Phi(x) and its derivative, Phi being the normal distribution function (Hendrycks,
// Gimpel 2016). gelu(-inf) is 0.
//
// float: Phi(-t) and the derivative at -t for t >= 0 are polynomials of degree 5 on sixteen
// intervals, the last of which is beyond what a float can show of them. Errors: |x| 2^-23.9 and
// 2^-22.9; towards -5.6 Phi keeps 12 bits. double: by erf and exp.
#pragma once

#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace gelu_table {

// Minimax, interval by interval: coefficients of the powers of t - k kWidth, k = 0 .. 15.
struct Distribution {
  static constexpr float kWidth = 25.0f / 64;
  alignas(64) static constexpr float kCoefficients[6][16] = {
      {0x1p-1f, 0x1.6463dep-2f, 0x1.bd1654p-3f, 0x1.ee130ap-4f, 0x1.e4067ap-5f, 0x1.a03158p-6f,
       0x1.38c94ap-7f, 0x1.99979cp-9f, 0x1.d21afep-11f, 0x1.cc0838p-13f, 0x1.892c6ep-15f,
       0x1.229f3ap-17f, 0x1.7333b2p-20f, 0x1.994c46p-23f, 0x1.8554dap-26f, 0.0f},
      {-0x1.988452p-2f, -0x1.7a824p-2f, -0x1.2d130ep-2f, -0x1.9b2e7ep-3f, -0x1.e21644p-4f,
       -0x1.e53b46p-5f, -0x1.a347c6p-6f, -0x1.3705cap-7f, -0x1.8c2222p-9f, -0x1.b12278p-11f,
       -0x1.96923ep-13f, -0x1.47a126p-15f, -0x1.c54e88p-18f, -0x1.0d37ecp-20f, -0x1.12865ap-23f,
       0.0f},
      {-0x1.8615e8p-22f, 0x1.27b374p-4f, 0x1.d66b4p-4f, 0x1.e1d998p-4f, 0x1.78a224p-4f,
       0x1.d9de3ep-5f, 0x1.eb5aeap-6f, 0x1.a93aeap-7f, 0x1.35786cp-8f, 0x1.7ca582p-10f,
       0x1.8cf49ep-12f, 0x1.5fce72p-14f, 0x1.096ffap-16f, 0x1.55714ap-19f, 0x1.76c8d8p-22f, 0.0f},
      {0x1.10608ap-4f, 0x1.aba96ep-5f, 0x1.38d8c4p-6f, -0x1.9942b2p-7f, -0x1.cf3e04p-6f,
       -0x1.c7430ep-6f, -0x1.39fd8cp-6f, -0x1.4fbfdep-7f, -0x1.215e42p-8f, -0x1.9a029ep-10f,
       -0x1.e30cb4p-12f, -0x1.dcac14p-14f, -0x1.8bf42p-16f, -0x1.15da02p-18f, -0x1.4a4ba8p-21f,
       0.0f},
      {-0x1.2de8d4p-14f, -0x1.16254ap-6f, -0x1.73f59ap-6f, -0x1.04501ap-6f, -0x1.1bc92ep-8f,
       0x1.f86c16p-9f, 0x1.954998p-8f, 0x1.3cbf1ap-8f, 0x1.5e3552p-9f, 0x1.2b9682p-10f,
       0x1.9b9f5ep-12f, 0x1.cf22e4p-14f, 0x1.afc496p-16f, 0x1.5018bcp-18f, 0x1.b73eecp-21f, 0.0f},
      {-0x1.3e99b6p-7f, -0x1.a6665p-8f, 0x1.638d3ep-11f, 0x1.6b9018p-8f, 0x1.6b4846p-8f,
       0x1.59f12cp-9f, -0x1.a300ccp-16f, -0x1.1f6df2p-10f, -0x1.05b0c6p-10f, -0x1.276e8p-11f,
       -0x1.ed5184p-13f, -0x1.432dbp-14f, -0x1.55c1d6p-16f, -0x1.286a9cp-18f, -0x1.aa0b94p-21f,
       0.0f}};
};
struct Derivative {
  static constexpr float kWidth = 28.0f / 64;
  alignas(64) static constexpr float kCoefficients[6][16] = {
      {0x1p-1f, 0x1.60cd4cp-3f, -0x1.8329cp-5f, -0x1.034858p-3f, -0x1.c65a8ap-4f, -0x1.0be62ep-4f,
       -0x1.dc4238p-6f, -0x1.4c0642p-7f, -0x1.71da7ap-9f, -0x1.4c7894p-11f, -0x1.e54b02p-14f,
       -0x1.20b036p-16f, -0x1.18b67ep-19f, -0x1.bf09a8p-23f, -0x1.23e752p-26f, 0.0f},
      {-0x1.98845p-1f, -0x1.4fb474p-1f, -0x1.57e0aep-2f, -0x1.7f0b68p-5f, 0x1.777a9ep-4f,
       0x1.9ff208p-4f, 0x1.fdc822p-5f, 0x1.bb5228p-6f, 0x1.251cp-7f, 0x1.2f9012p-9f,
       0x1.f444bep-12f, 0x1.4b138p-14f, 0x1.621eeap-17f, 0x1.3364p-20f, 0x1.b26c66p-24f, 0.0f},
      {-0x1.551fe6p-18f, 0x1.3541ccp-2f, 0x1.8a304p-2f, 0x1.020492p-2f, 0x1.21f39cp-4f,
       -0x1.0075acp-5f, -0x1.8b7d32p-5f, -0x1.eee43cp-6f, -0x1.9ce32p-7f, -0x1.fd1c78p-9f,
       -0x1.e334c8p-11f, -0x1.6875e8p-13f, -0x1.abee5ap-16f, -0x1.977d72p-19f, -0x1.38f39cp-22f,
       0.0f},
      {0x1.10723ep-2f, 0x1.4db286p-3f, -0x1.1f0f98p-5f, -0x1.24f19ep-3f, -0x1.daa6ccp-4f,
       -0x1.4889a4p-5f, 0x1.c3047cp-8f, 0x1.077bf8p-6f, 0x1.459e3ep-7f, 0x1.fcfe56p-9f,
       0x1.1f70cap-10f, 0x1.ed0c68p-13f, 0x1.4932fep-15f, 0x1.5b418ep-18f, 0x1.24186cp-21f, 0.0f},
      {-0x1.a5d788p-11f, -0x1.a8e5bap-4f, -0x1.98a6dep-4f, -0x1.373f4ep-6f, 0x1.3e703p-5f,
       0x1.3d39acp-5f, 0x1.db46b6p-7f, -0x1.2aa012p-10f, -0x1.12571p-8f, -0x1.44c50cp-9f,
       -0x1.d4efccp-11f, -0x1.e1f332p-13f, -0x1.74c8d6p-15f, -0x1.be31f6p-18f, -0x1.a3f45p-21f,
       0.0f},
      {-0x1.d5b544p-5f, -0x1.b00ff6p-6f, 0x1.b8493cp-6f, 0x1.386032p-5f, 0x1.90209cp-7f,
       -0x1.294d6cp-7f, -0x1.556a6ep-7f, -0x1.eebc1p-9f, 0x1.228aaap-12f, 0x1.e3f98ap-11f,
       0x1.01aa18p-11f, 0x1.4bc47p-13f, 0x1.2e06a8p-15f, 0x1.9b9d4ap-18f, 0x1.b010d8p-21f, 0.0f}};
};

// 0 <= t <= 15 kWidth
template <class Table>
FASTNN_INLINE Vec<float> evaluate(Vec<float> t) {
  constexpr float kShifter = math::Constants<float>::kShifter;
  const Vec<float> shifted = fma(t, Vec<float>(1 / Table::kWidth), Vec<float>(kShifter));
  const IntVec<float> k = bit_cast_to_int(shifted);
  const Vec<float> d = fnma(shifted - kShifter, Vec<float>(Table::kWidth), t);
  Vec<float> y = lookup(Table::kCoefficients[5], k);
  FASTNN_UNROLL
  for (int power = 4; power >= 0; --power) y = fma(y, d, lookup(Table::kCoefficients[power], k));
  return y;
}

}  // namespace gelu_table

// max(x, 0) - |x| Phi(-|x|)
FASTNN_INLINE Vec<float> gelu(Vec<float> x) {
  using Table = gelu_table::Distribution;
  const Vec<float> t = min(Vec<float>(15 * Table::kWidth), abs(x));
  return fnma(t, gelu_table::evaluate<Table>(t), max(Vec<float>::zero(), x));
}
FASTNN_INLINE Vec<float> gelu_derivative(Vec<float> x) {
  using Table = gelu_table::Derivative;
  const Vec<float> t = min(Vec<float>(15 * Table::kWidth), abs(x));
  const Vec<float> left = gelu_table::evaluate<Table>(t);
  return select(x < Vec<float>::zero(), left, 1.0f - left);
}

FASTNN_INLINE Vec<double> normal_distribution(Vec<double> x) {
  const Vec<double> half(0.5);
  return fma(half, erf(0.707106781186547524 * x), half);
}
FASTNN_INLINE Vec<double> gelu(Vec<double> x) {
  return max(Vec<double>(-1e3), x) * normal_distribution(x);
}
FASTNN_INLINE Vec<double> gelu_derivative(Vec<double> x) {
  const Vec<double> near = max(Vec<double>(-1e3), min(Vec<double>(1e3), x));
  const Vec<double> density = 0.398942280401432678 * exp(-0.5 * near * near);
  return fma(near, density, normal_distribution(near));
}

}  // namespace fastnn::FASTNN_ISA
