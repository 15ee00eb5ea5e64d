// Primitives on 512-bit registers (F, BW, DQ, VL, CD): 16 floats or 8 doubles. See vec.h.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace fastnn::FASTNN_ISA::native {

typedef int32_t Int32x16 __attribute__((vector_size(64)));
typedef int64_t Int64x8 __attribute__((vector_size(64)));
typedef uint32_t Uint32x16 __attribute__((vector_size(64)));
typedef uint64_t Uint64x8 __attribute__((vector_size(64)));

template <class T>
struct Types;
template <>
struct Types<float> {
  using Float = __m512;
  using Int = Int32x16;
  using Unsigned = Uint32x16;
  using IntLane = int32_t;
  using Mask = __mmask16;
  static constexpr int64_t kSize = 16;
};
template <>
struct Types<double> {
  using Float = __m512d;
  using Int = Int64x8;
  using Unsigned = Uint64x8;
  using IntLane = int64_t;
  using Mask = __mmask8;
  static constexpr int64_t kSize = 8;
};

FASTNN_INLINE __m512i bits(Int32x16 a) { return reinterpret_cast<__m512i>(a); }
FASTNN_INLINE __m512i bits(Int64x8 a) { return reinterpret_cast<__m512i>(a); }

FASTNN_INLINE __mmask16 first_n(int64_t n, float) {
  const int64_t lanes = n < 0 ? 0 : n > 16 ? 16 : n;
  return static_cast<__mmask16>((1u << lanes) - 1u);
}
FASTNN_INLINE __mmask8 first_n(int64_t n, double) {
  const int64_t lanes = n < 0 ? 0 : n > 8 ? 8 : n;
  return static_cast<__mmask8>((1u << lanes) - 1u);
}
FASTNN_INLINE bool any(__mmask16 m) { return m != 0; }
FASTNN_INLINE bool any(__mmask8 m) { return m != 0; }
FASTNN_INLINE bool all(__mmask16 m) { return m == 0xffff; }
FASTNN_INLINE bool all(__mmask8 m) { return m == 0xff; }

FASTNN_INLINE __m512 broadcast(float x) { return _mm512_set1_ps(x); }
FASTNN_INLINE __m512d broadcast(double x) { return _mm512_set1_pd(x); }
FASTNN_INLINE Int32x16 broadcast(int32_t x) {
  return reinterpret_cast<Int32x16>(_mm512_set1_epi32(x));
}
FASTNN_INLINE Int64x8 broadcast(int64_t x) {
  return reinterpret_cast<Int64x8>(_mm512_set1_epi64(x));
}
FASTNN_INLINE Int32x16 iota(int32_t) {
  return Int32x16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}
FASTNN_INLINE Int64x8 iota(int64_t) { return Int64x8{0, 1, 2, 3, 4, 5, 6, 7}; }

FASTNN_INLINE __m512 load(const float* p) { return _mm512_loadu_ps(p); }
FASTNN_INLINE __m512d load(const double* p) { return _mm512_loadu_pd(p); }
FASTNN_INLINE __m512 load(const float* p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }
FASTNN_INLINE __m512d load(const double* p, __mmask8 m) { return _mm512_maskz_loadu_pd(m, p); }
FASTNN_INLINE __m512 load(const float* p, int64_t n, __m512 fill) {
  return _mm512_mask_loadu_ps(fill, first_n(n, 0.0f), p);
}
FASTNN_INLINE __m512d load(const double* p, int64_t n, __m512d fill) {
  return _mm512_mask_loadu_pd(fill, first_n(n, 0.0), p);
}
FASTNN_INLINE __m512d load_strided(const double* p, int64_t stride) {
  const __m512i index = bits(iota(int64_t()) * stride);
  return _mm512_mask_i64gather_pd(_mm512_setzero_pd(), __mmask8{0xff}, index, p, 8);
}
FASTNN_INLINE __m512 load_strided(const float* p, int64_t stride) {
  const __m512i index = bits(iota(int64_t()) * stride);
  const __m256 zero = _mm256_setzero_ps();
  const __m256 low = _mm512_mask_i64gather_ps(zero, __mmask8{0xff}, index, p, 4);
  const __m256 high = _mm512_mask_i64gather_ps(zero, __mmask8{0xff}, index, p + 8 * stride, 4);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
// Entry (index & 15) of a table.
FASTNN_INLINE __m512 lookup(const float (&table)[16], Int32x16 index) {
  return _mm512_maskz_permutexvar_ps(__mmask16{0xffff}, bits(index), load(table));
}
FASTNN_INLINE void store(float* p, __m512 a) { _mm512_storeu_ps(p, a); }
FASTNN_INLINE void store(double* p, __m512d a) { _mm512_storeu_pd(p, a); }
FASTNN_INLINE void store(float* p, __mmask16 m, __m512 a) { _mm512_mask_storeu_ps(p, m, a); }
FASTNN_INLINE void store(double* p, __mmask8 m, __m512d a) { _mm512_mask_storeu_pd(p, m, a); }
FASTNN_INLINE void store(float* p, int64_t n, __m512 a) { store(p, first_n(n, 0.0f), a); }
FASTNN_INLINE void store(double* p, int64_t n, __m512d a) { store(p, first_n(n, 0.0), a); }

FASTNN_INLINE __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
FASTNN_INLINE __m512d fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
FASTNN_INLINE __m512 fnma(__m512 a, __m512 b, __m512 c) { return _mm512_fnmadd_ps(a, b, c); }
FASTNN_INLINE __m512d fnma(__m512d a, __m512d b, __m512d c) { return _mm512_fnmadd_pd(a, b, c); }
FASTNN_INLINE __m512 sqrt(__m512 a) { return _mm512_maskz_sqrt_ps(__mmask16{0xffff}, a); }
FASTNN_INLINE __m512d sqrt(__m512d a) { return _mm512_maskz_sqrt_pd(__mmask8{0xff}, a); }

// The zero-masked forms with a full mask stand in for the plain ones where GCC's header passes an
// uninitialised register (and then warns about it); they compile to the plain instruction.
FASTNN_INLINE __m512 min(__m512 a, __m512 b) {
  return _mm512_maskz_min_ps(__mmask16{0xffff}, a, b);
}
FASTNN_INLINE __m512d min(__m512d a, __m512d b) {
  return _mm512_maskz_min_pd(__mmask8{0xff}, a, b);
}
FASTNN_INLINE __m512 max(__m512 a, __m512 b) {
  return _mm512_maskz_max_ps(__mmask16{0xffff}, a, b);
}
FASTNN_INLINE __m512d max(__m512d a, __m512d b) {
  return _mm512_maskz_max_pd(__mmask8{0xff}, a, b);
}
// The instruction returns b when either is NaN; lanes with a NaN in a keep a.
FASTNN_INLINE __m512 min_nan(__m512 a, __m512 b) {
  return _mm512_mask_min_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
FASTNN_INLINE __m512d min_nan(__m512d a, __m512d b) {
  return _mm512_mask_min_pd(a, _mm512_cmp_pd_mask(a, a, _CMP_ORD_Q), a, b);
}
FASTNN_INLINE __m512 max_nan(__m512 a, __m512 b) {
  return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
FASTNN_INLINE __m512d max_nan(__m512d a, __m512d b) {
  return _mm512_mask_max_pd(a, _mm512_cmp_pd_mask(a, a, _CMP_ORD_Q), a, b);
}

FASTNN_INLINE __mmask16 equal(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FASTNN_INLINE __mmask8 equal(__m512d a, __m512d b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FASTNN_INLINE __mmask16 not_equal(__m512 a, __m512 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
FASTNN_INLINE __mmask8 not_equal(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ);
}
FASTNN_INLINE __mmask16 less(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FASTNN_INLINE __mmask8 less(__m512d a, __m512d b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
FASTNN_INLINE __mmask16 less_equal(__m512 a, __m512 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
FASTNN_INLINE __mmask8 less_equal(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
FASTNN_INLINE __mmask16 equal(Int32x16 a, Int32x16 b) {
  return _mm512_cmpeq_epi32_mask(bits(a), bits(b));
}
FASTNN_INLINE __mmask8 equal(Int64x8 a, Int64x8 b) {
  return _mm512_cmpeq_epi64_mask(bits(a), bits(b));
}
FASTNN_INLINE __mmask16 greater(Int32x16 a, Int32x16 b) {
  return _mm512_cmpgt_epi32_mask(bits(a), bits(b));
}
FASTNN_INLINE __mmask8 greater(Int64x8 a, Int64x8 b) {
  return _mm512_cmpgt_epi64_mask(bits(a), bits(b));
}

FASTNN_INLINE __m512 select(__mmask16 m, __m512 a, __m512 b) {
  return _mm512_mask_blend_ps(m, b, a);
}
FASTNN_INLINE __m512d select(__mmask8 m, __m512d a, __m512d b) {
  return _mm512_mask_blend_pd(m, b, a);
}
FASTNN_INLINE Int32x16 select(__mmask16 m, Int32x16 a, Int32x16 b) {
  return reinterpret_cast<Int32x16>(_mm512_mask_blend_epi32(m, bits(b), bits(a)));
}
FASTNN_INLINE Int64x8 select(__mmask8 m, Int64x8 a, Int64x8 b) {
  return reinterpret_cast<Int64x8>(_mm512_mask_blend_epi64(m, bits(b), bits(a)));
}

FASTNN_INLINE Int32x16 round_to_int(__m512 a) {
  return reinterpret_cast<Int32x16>(_mm512_maskz_cvtps_epi32(__mmask16{0xffff}, a));
}
FASTNN_INLINE Int64x8 round_to_int(__m512d a) {
  return reinterpret_cast<Int64x8>(_mm512_maskz_cvtpd_epi64(__mmask8{0xff}, a));
}
FASTNN_INLINE __m512 to_float(Int32x16 a) {
  return _mm512_maskz_cvtepi32_ps(__mmask16{0xffff}, bits(a));
}
FASTNN_INLINE __m512d to_float(Int64x8 a) {
  return _mm512_maskz_cvtepi64_pd(__mmask8{0xff}, bits(a));
}
template <int kBits>
FASTNN_INLINE Int32x16 shift_right(Int32x16 a) {
  return a >> kBits;
}
template <int kBits>
FASTNN_INLINE Int64x8 shift_right(Int64x8 a) {
  return a >> kBits;
}
FASTNN_INLINE __m512 scale_by_pow2(__m512 a, __m512 n) {
  return _mm512_maskz_scalef_ps(__mmask16{0xffff}, a, n);
}
FASTNN_INLINE __m512d scale_by_pow2(__m512d a, __m512d n) {
  return _mm512_maskz_scalef_pd(__mmask8{0xff}, a, n);
}
// a less the nearest integer; 0 of an infinity.
FASTNN_INLINE __m512 minus_nearest(__m512 a) {
  return _mm512_maskz_reduce_ps(__mmask16{0xffff}, a, _MM_FROUND_TO_NEAREST_INT);
}
FASTNN_INLINE __m512d minus_nearest(__m512d a) {
  return _mm512_maskz_reduce_pd(__mmask8{0xff}, a, _MM_FROUND_TO_NEAREST_INT);
}

FASTNN_INLINE float first_lane(__m512 a) { return _mm512_cvtss_f32(a); }
FASTNN_INLINE double first_lane(__m512d a) { return _mm512_cvtsd_f64(a); }

template <int kPattern>
FASTNN_INLINE __m512 shuffle_128(__m512 a, __m512 b) {
  return _mm512_maskz_shuffle_f32x4(__mmask16{0xffff}, a, b, kPattern);
}
template <int kPattern>
FASTNN_INLINE __m512d shuffle_128(__m512d a, __m512d b) {
  return _mm512_maskz_shuffle_f64x2(__mmask8{0xff}, a, b, kPattern);
}
// Lane i receives lane i ^ kDistance.
template <int kDistance>
FASTNN_INLINE __m512 exchange(__m512 a) {
  if constexpr (kDistance >= 4) {
    return shuffle_128 < kDistance == 8 ? 0x4e : 0xb1 > (a, a);
  } else {
    return _mm512_maskz_permute_ps(__mmask16{0xffff}, a, kDistance == 2 ? 0x4e : 0xb1);
  }
}
template <int kDistance>
FASTNN_INLINE __m512d exchange(__m512d a) {
  if constexpr (kDistance >= 2) {
    return shuffle_128 < kDistance == 4 ? 0x4e : 0xb1 > (a, a);
  } else {
    return _mm512_maskz_permute_pd(__mmask8{0xff}, a, 0x55);
  }
}

FASTNN_INLINE __m512 unpack_low(__m512 a, __m512 b) {
  return _mm512_maskz_unpacklo_ps(__mmask16{0xffff}, a, b);
}
FASTNN_INLINE __m512 unpack_high(__m512 a, __m512 b) {
  return _mm512_maskz_unpackhi_ps(__mmask16{0xffff}, a, b);
}
FASTNN_INLINE __m512d unpack_low(__m512d a, __m512d b) {
  return _mm512_maskz_unpacklo_pd(__mmask8{0xff}, a, b);
}
FASTNN_INLINE __m512d unpack_high(__m512d a, __m512d b) {
  return _mm512_maskz_unpackhi_pd(__mmask8{0xff}, a, b);
}

// A row holds four blocks of 128 bits: first transposes inside the blocks of each group of rows,
// then of the 4 x 4 blocks.
template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[16]) {
  __m512 blocks[16];
  FASTNN_UNROLL
  for (int i = 0; i < 16; i += 4) {
    const __m512d ab_low = _mm512_castps_pd(unpack_low(rows[i].v, rows[i + 1].v));
    const __m512d ab_high = _mm512_castps_pd(unpack_high(rows[i].v, rows[i + 1].v));
    const __m512d cd_low = _mm512_castps_pd(unpack_low(rows[i + 2].v, rows[i + 3].v));
    const __m512d cd_high = _mm512_castps_pd(unpack_high(rows[i + 2].v, rows[i + 3].v));
    blocks[i] = _mm512_castpd_ps(unpack_low(ab_low, cd_low));
    blocks[i + 1] = _mm512_castpd_ps(unpack_high(ab_low, cd_low));
    blocks[i + 2] = _mm512_castpd_ps(unpack_low(ab_high, cd_high));
    blocks[i + 3] = _mm512_castpd_ps(unpack_high(ab_high, cd_high));
  }
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m512 even_top = shuffle_128<0x88>(blocks[i], blocks[i + 4]);
    const __m512 even_bottom = shuffle_128<0x88>(blocks[i + 8], blocks[i + 12]);
    const __m512 odd_top = shuffle_128<0xdd>(blocks[i], blocks[i + 4]);
    const __m512 odd_bottom = shuffle_128<0xdd>(blocks[i + 8], blocks[i + 12]);
    rows[i].v = shuffle_128<0x88>(even_top, even_bottom);
    rows[i + 4].v = shuffle_128<0x88>(odd_top, odd_bottom);
    rows[i + 8].v = shuffle_128<0xdd>(even_top, even_bottom);
    rows[i + 12].v = shuffle_128<0xdd>(odd_top, odd_bottom);
  }
}
template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[8]) {
  __m512d blocks[8];
  FASTNN_UNROLL
  for (int i = 0; i < 8; i += 2) {
    blocks[i] = unpack_low(rows[i].v, rows[i + 1].v);
    blocks[i + 1] = unpack_high(rows[i].v, rows[i + 1].v);
  }
  FASTNN_UNROLL
  for (int i = 0; i < 2; ++i) {
    const __m512d even_top = shuffle_128<0x88>(blocks[i], blocks[i + 2]);
    const __m512d even_bottom = shuffle_128<0x88>(blocks[i + 4], blocks[i + 6]);
    const __m512d odd_top = shuffle_128<0xdd>(blocks[i], blocks[i + 2]);
    const __m512d odd_bottom = shuffle_128<0xdd>(blocks[i + 4], blocks[i + 6]);
    rows[i].v = shuffle_128<0x88>(even_top, even_bottom);
    rows[i + 2].v = shuffle_128<0x88>(odd_top, odd_bottom);
    rows[i + 4].v = shuffle_128<0xdd>(even_top, even_bottom);
    rows[i + 6].v = shuffle_128<0xdd>(odd_top, odd_bottom);
  }
}

// (a, b) become the even and the odd lanes of a followed by b.
FASTNN_INLINE void deinterleave(__m512& a, __m512& b) {
  const __m512i even = bits(iota(int32_t()) * 2), odd = bits(iota(int32_t()) * 2 + 1);
  const __m512 first = a;
  a = _mm512_permutex2var_ps(first, even, b);
  b = _mm512_permutex2var_ps(first, odd, b);
}
FASTNN_INLINE void deinterleave(__m512d& a, __m512d& b) {
  const __m512i even = bits(iota(int64_t()) * 2), odd = bits(iota(int64_t()) * 2 + 1);
  const __m512d first = a;
  a = _mm512_permutex2var_pd(first, even, b);
  b = _mm512_permutex2var_pd(first, odd, b);
}
// The inverse: a[0] b[0] a[1] b[1] ...
FASTNN_INLINE void interleave(__m512& a, __m512& b) {
  const Int32x16 low{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  const __m512 first = a;
  a = _mm512_permutex2var_ps(first, bits(low), b);
  b = _mm512_permutex2var_ps(first, bits(low + 8), b);
}
FASTNN_INLINE void interleave(__m512d& a, __m512d& b) {
  const Int64x8 low{0, 8, 1, 9, 2, 10, 3, 11};
  const __m512d first = a;
  a = _mm512_permutex2var_pd(first, bits(low), b);
  b = _mm512_permutex2var_pd(first, bits(low + 4), b);
}
// Lanes kFirst, kFirst + 1, ... of a followed by b.
template <int kFirst>
FASTNN_INLINE __m512 lanes_from(__m512 a, __m512 b) {
  return _mm512_castsi512_ps(_mm512_maskz_alignr_epi32(__mmask16{0xffff}, _mm512_castps_si512(b),
                                                       _mm512_castps_si512(a), kFirst));
}
template <int kFirst>
FASTNN_INLINE __m512d lanes_from(__m512d a, __m512d b) {
  return _mm512_castsi512_pd(_mm512_maskz_alignr_epi64(__mmask8{0xff}, _mm512_castpd_si512(b),
                                                       _mm512_castpd_si512(a), kFirst));
}

}  // namespace fastnn::FASTNN_ISA::native
