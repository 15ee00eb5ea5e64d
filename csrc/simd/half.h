// The lower half of a vector, where that is cheaper than all of it: processors with units of 256
// bits spend two passes on a 512-bit instruction.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

#if defined(FASTNN_ISA_AVX512)
inline constexpr bool kHasHalf = true;

template <class T>
struct Half;

template <>
struct Half<float> {
  __m256 v;
  static FASTNN_INLINE Half zero() { return {_mm256_setzero_ps()}; }
  static FASTNN_INLINE Half broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static FASTNN_INLINE Half of(Vec<float> x) {
    return {__builtin_shufflevector(x.v, x.v, 0, 1, 2, 3, 4, 5, 6, 7)};
  }
  static FASTNN_INLINE Half load(const float* p, int64_t n) {
    return {_mm256_maskz_loadu_ps(native::first_n(n, 0.0), p)};
  }
  FASTNN_INLINE void store(float* p, int64_t n) const {
    _mm256_mask_storeu_ps(p, native::first_n(n, 0.0), v);
  }
};
FASTNN_INLINE Half<float> fma(Half<float> a, Half<float> b, Half<float> c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}

template <>
struct Half<double> {
  __m256d v;
  static FASTNN_INLINE Half zero() { return {_mm256_setzero_pd()}; }
  static FASTNN_INLINE Half broadcast(double x) { return {_mm256_set1_pd(x)}; }
  static FASTNN_INLINE Half of(Vec<double> x) {
    return {__builtin_shufflevector(x.v, x.v, 0, 1, 2, 3)};
  }
  static FASTNN_INLINE Half load(const double* p, int64_t n) {
    return {_mm256_maskz_loadu_pd(native::first_n(n, 0.0), p)};
  }
  FASTNN_INLINE void store(double* p, int64_t n) const {
    _mm256_mask_storeu_pd(p, native::first_n(n, 0.0), v);
  }
};
FASTNN_INLINE Half<double> fma(Half<double> a, Half<double> b, Half<double> c) {
  return {_mm256_fmadd_pd(a.v, b.v, c.v)};
}

template <class T>
FASTNN_INLINE Half<T> operator+(Half<T> a, Half<T> b) {
  return {a.v + b.v};
}
#else
inline constexpr bool kHasHalf = false;
#endif

}  // namespace fastnn::FASTNN_ISA
