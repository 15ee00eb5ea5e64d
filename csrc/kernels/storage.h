// Elements as they are stored: as T itself, or, where T is float, as bfloat16 (uint16_t).
#pragma once

#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA {

FASTNN_INLINE float from_stored(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  __builtin_memcpy(&y, &bits, sizeof y);
  return y;
}
template <class T>
FASTNN_INLINE T from_stored(T x) {
  return x;
}

// To the nearest, ties to even; a NaN stays one.
FASTNN_INLINE uint16_t round_to_bfloat16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
  return static_cast<uint16_t>(((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
}
FASTNN_INLINE uint16_t round_to_bfloat16(uint16_t x) { return x; }

template <class S>
void round_row(const S* __restrict x, uint16_t* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = round_to_bfloat16(x[i]);
}

FASTNN_INLINE int64_t count_of(AllLanes<float>) { return Vec<float>::kSize; }
FASTNN_INLINE int64_t count_of(FirstLanes<float> lanes) { return lanes.n; }

template <class Lanes, class T>
FASTNN_INLINE Vec<T> load_stored(Lanes lanes, const T* p) {
  return lanes.load(p);
}
template <class Lanes>
FASTNN_INLINE Vec<float> load_stored(Lanes lanes, const uint16_t* p) {
#if defined(FASTNN_ISA_AVX512)
  const __mmask16 mask = native::first_n(count_of(lanes), 0.0f);
  const __m512i wide = _mm512_maskz_cvtepu16_epi32(mask, _mm256_maskz_loadu_epi16(mask, p));
  return Vec<float>(_mm512_castsi512_ps(_mm512_maskz_slli_epi32(mask, wide, 16)));
#else
  constexpr int64_t kSize = Vec<float>::kSize;
  const int64_t n = count_of(lanes);
  float wide[kSize];
  for (int64_t i = 0; i < kSize; ++i) wide[i] = i < n ? from_stored(p[i]) : 0.0f;
  return Vec<float>::load(wide);
#endif
}

// The first n lanes, or all if there are fewer.
template <class T>
FASTNN_INLINE void store_stored(T* p, int64_t n, Vec<T> v) {
  v.store(p, n);
}
FASTNN_INLINE void store_stored(uint16_t* p, int64_t n, Vec<float> v) {
#if defined(FASTNN_ISA_AVX512)
  const __mmask16 mask = native::first_n(n, 0.0f);
  const __m512i bits = _mm512_castps_si512(v.v), one = _mm512_set1_epi32(1);
  const __m512i odd = _mm512_and_si512(_mm512_maskz_srli_epi32(mask, bits, 16), one);
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i kept = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v.v, v.v, _CMP_UNORD_Q),
                                            bits, _mm512_set1_epi32(0x400000));
  const __m512i high = _mm512_maskz_srli_epi32(mask, kept, 16);
  _mm256_mask_storeu_epi16(p, mask, _mm512_maskz_cvtepi32_epi16(mask, high));
#else
  float wide[Vec<float>::kSize];
  v.store(wide);
  round_row(wide, p, n < Vec<float>::kSize ? n : Vec<float>::kSize);
#endif
}
template <class Lanes, class T>
FASTNN_INLINE void store_stored(Lanes lanes, Vec<T> v, T* p) {
  lanes.store(v, p);
}
template <class Lanes>
FASTNN_INLINE void store_stored(Lanes lanes, Vec<float> v, uint16_t* p) {
  store_stored(p, count_of(lanes), v);
}

}  // namespace fastnn::FASTNN_ISA
