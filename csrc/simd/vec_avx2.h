// Primitives on 256-bit registers (AVX2 and FMA): 8 floats or 4 doubles. See vec.h.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace fastnn::FASTNN_ISA::native {

typedef int32_t Int32x8 __attribute__((vector_size(32)));
typedef int64_t Int64x4 __attribute__((vector_size(32)));
typedef uint32_t Uint32x8 __attribute__((vector_size(32)));
typedef uint64_t Uint64x4 __attribute__((vector_size(32)));

template <class T>
struct Types;
template <>
struct Types<float> {
  using Float = __m256;
  using Int = Int32x8;
  using Unsigned = Uint32x8;
  using IntLane = int32_t;
  using Mask = Int32x8;  // all bits set where true
  static constexpr int64_t kSize = 8;
};
template <>
struct Types<double> {
  using Float = __m256d;
  using Int = Int64x4;
  using Unsigned = Uint64x4;
  using IntLane = int64_t;
  using Mask = Int64x4;
  static constexpr int64_t kSize = 4;
};

FASTNN_INLINE __m256i bits(Int32x8 a) { return reinterpret_cast<__m256i>(a); }
FASTNN_INLINE __m256i bits(Int64x4 a) { return reinterpret_cast<__m256i>(a); }
FASTNN_INLINE __m256 as_float(Int32x8 a) { return reinterpret_cast<__m256>(a); }
FASTNN_INLINE __m256d as_float(Int64x4 a) { return reinterpret_cast<__m256d>(a); }
FASTNN_INLINE Int32x8 as_int(__m256 a) { return reinterpret_cast<Int32x8>(a); }
FASTNN_INLINE Int64x4 as_int(__m256d a) { return reinterpret_cast<Int64x4>(a); }

FASTNN_INLINE __m256 broadcast(float x) { return _mm256_set1_ps(x); }
FASTNN_INLINE __m256d broadcast(double x) { return _mm256_set1_pd(x); }
FASTNN_INLINE Int32x8 broadcast(int32_t x) {
  return reinterpret_cast<Int32x8>(_mm256_set1_epi32(x));
}
FASTNN_INLINE Int64x4 broadcast(int64_t x) {
  return reinterpret_cast<Int64x4>(_mm256_set1_epi64x(x));
}
FASTNN_INLINE Int32x8 iota(int32_t) { return Int32x8{0, 1, 2, 3, 4, 5, 6, 7}; }
FASTNN_INLINE Int64x4 iota(int64_t) { return Int64x4{0, 1, 2, 3}; }

FASTNN_INLINE Int32x8 equal(Int32x8 a, Int32x8 b) {
  return reinterpret_cast<Int32x8>(_mm256_cmpeq_epi32(bits(a), bits(b)));
}
FASTNN_INLINE Int64x4 equal(Int64x4 a, Int64x4 b) {
  return reinterpret_cast<Int64x4>(_mm256_cmpeq_epi64(bits(a), bits(b)));
}
FASTNN_INLINE Int32x8 greater(Int32x8 a, Int32x8 b) {
  return reinterpret_cast<Int32x8>(_mm256_cmpgt_epi32(bits(a), bits(b)));
}
FASTNN_INLINE Int64x4 greater(Int64x4 a, Int64x4 b) {
  return reinterpret_cast<Int64x4>(_mm256_cmpgt_epi64(bits(a), bits(b)));
}
FASTNN_INLINE Int32x8 equal(__m256 a, __m256 b) { return as_int(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)); }
FASTNN_INLINE Int64x4 equal(__m256d a, __m256d b) {
  return as_int(_mm256_cmp_pd(a, b, _CMP_EQ_OQ));
}
FASTNN_INLINE Int32x8 not_equal(__m256 a, __m256 b) {
  return as_int(_mm256_cmp_ps(a, b, _CMP_NEQ_UQ));
}
FASTNN_INLINE Int64x4 not_equal(__m256d a, __m256d b) {
  return as_int(_mm256_cmp_pd(a, b, _CMP_NEQ_UQ));
}
FASTNN_INLINE Int32x8 less(__m256 a, __m256 b) { return as_int(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
FASTNN_INLINE Int64x4 less(__m256d a, __m256d b) { return as_int(_mm256_cmp_pd(a, b, _CMP_LT_OQ)); }
FASTNN_INLINE Int32x8 less_equal(__m256 a, __m256 b) {
  return as_int(_mm256_cmp_ps(a, b, _CMP_LE_OQ));
}
FASTNN_INLINE Int64x4 less_equal(__m256d a, __m256d b) {
  return as_int(_mm256_cmp_pd(a, b, _CMP_LE_OQ));
}

FASTNN_INLINE __m256 select(Int32x8 m, __m256 a, __m256 b) {
  return _mm256_blendv_ps(b, a, as_float(m));
}
FASTNN_INLINE __m256d select(Int64x4 m, __m256d a, __m256d b) {
  return _mm256_blendv_pd(b, a, as_float(m));
}
FASTNN_INLINE Int32x8 select(Int32x8 m, Int32x8 a, Int32x8 b) {
  return as_int(select(m, as_float(a), as_float(b)));
}
FASTNN_INLINE Int64x4 select(Int64x4 m, Int64x4 a, Int64x4 b) {
  return as_int(select(m, as_float(a), as_float(b)));
}
FASTNN_INLINE bool any(Int32x8 m) { return _mm256_movemask_ps(as_float(m)) != 0; }
FASTNN_INLINE bool any(Int64x4 m) { return _mm256_movemask_pd(as_float(m)) != 0; }
FASTNN_INLINE bool all(Int32x8 m) { return _mm256_movemask_ps(as_float(m)) == 0xff; }
FASTNN_INLINE bool all(Int64x4 m) { return _mm256_movemask_pd(as_float(m)) == 0xf; }
FASTNN_INLINE Int32x8 first_n(int64_t n, float) {
  const int64_t lanes = n < 0 ? 0 : n > 8 ? 8 : n;
  return greater(broadcast(static_cast<int32_t>(lanes)), iota(int32_t()));
}
FASTNN_INLINE Int64x4 first_n(int64_t n, double) { return greater(broadcast(n), iota(int64_t())); }

FASTNN_INLINE __m256 load(const float* p) { return _mm256_loadu_ps(p); }
FASTNN_INLINE __m256d load(const double* p) { return _mm256_loadu_pd(p); }
FASTNN_INLINE __m256 load(const float* p, Int32x8 m) { return _mm256_maskload_ps(p, bits(m)); }
FASTNN_INLINE __m256d load(const double* p, Int64x4 m) { return _mm256_maskload_pd(p, bits(m)); }
FASTNN_INLINE __m256 load(const float* p, int64_t n, __m256 fill) {
  const Int32x8 m = first_n(n, 0.0f);
  return select(m, load(p, m), fill);
}
FASTNN_INLINE __m256d load(const double* p, int64_t n, __m256d fill) {
  const Int64x4 m = first_n(n, 0.0);
  return select(m, load(p, m), fill);
}
// Scalar loads: gathers are no faster at this width.
FASTNN_INLINE __m256 load_strided(const float* p, int64_t stride) {
  return _mm256_setr_ps(p[0], p[stride], p[2 * stride], p[3 * stride], p[4 * stride], p[5 * stride],
                        p[6 * stride], p[7 * stride]);
}
FASTNN_INLINE __m256d load_strided(const double* p, int64_t stride) {
  return _mm256_setr_pd(p[0], p[stride], p[2 * stride], p[3 * stride]);
}
// Entry (index & 15) of a table; the permutation looks at three bits of the index.
FASTNN_INLINE __m256 lookup(const float (&table)[16], Int32x8 index) {
  const __m256 low = _mm256_permutevar8x32_ps(load(table), bits(index));
  const __m256 high = _mm256_permutevar8x32_ps(load(table + 8), bits(index));
  return _mm256_blendv_ps(low, high, as_float(index << 28));
}
FASTNN_INLINE void store(float* p, __m256 a) { _mm256_storeu_ps(p, a); }
FASTNN_INLINE void store(double* p, __m256d a) { _mm256_storeu_pd(p, a); }
FASTNN_INLINE void store(float* p, Int32x8 m, __m256 a) { _mm256_maskstore_ps(p, bits(m), a); }
FASTNN_INLINE void store(double* p, Int64x4 m, __m256d a) { _mm256_maskstore_pd(p, bits(m), a); }
FASTNN_INLINE void store(float* p, int64_t n, __m256 a) { store(p, first_n(n, 0.0f), a); }
FASTNN_INLINE void store(double* p, int64_t n, __m256d a) { store(p, first_n(n, 0.0), a); }

FASTNN_INLINE __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
FASTNN_INLINE __m256d fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
FASTNN_INLINE __m256 fnma(__m256 a, __m256 b, __m256 c) { return _mm256_fnmadd_ps(a, b, c); }
FASTNN_INLINE __m256d fnma(__m256d a, __m256d b, __m256d c) { return _mm256_fnmadd_pd(a, b, c); }
FASTNN_INLINE __m256 sqrt(__m256 a) { return _mm256_sqrt_ps(a); }
FASTNN_INLINE __m256d sqrt(__m256d a) { return _mm256_sqrt_pd(a); }
FASTNN_INLINE __m256 min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
FASTNN_INLINE __m256d min(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
FASTNN_INLINE __m256 max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
FASTNN_INLINE __m256d max(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
// The instructions return b when either is NaN; lanes with a NaN in a take a.
FASTNN_INLINE __m256 min_nan(__m256 a, __m256 b) { return select(not_equal(a, a), a, min(a, b)); }
FASTNN_INLINE __m256d min_nan(__m256d a, __m256d b) {
  return select(not_equal(a, a), a, min(a, b));
}
FASTNN_INLINE __m256 max_nan(__m256 a, __m256 b) { return select(not_equal(a, a), a, max(a, b)); }
FASTNN_INLINE __m256d max_nan(__m256d a, __m256d b) {
  return select(not_equal(a, a), a, max(a, b));
}

// There is no conversion between double and int64. Adding 1.5 * 2^52 leaves the rounded integer
// in the low bits of the sum.
FASTNN_INLINE Int32x8 round_to_int(__m256 a) {
  return reinterpret_cast<Int32x8>(_mm256_cvtps_epi32(a));
}
FASTNN_INLINE Int64x4 round_to_int(__m256d a) {
  const __m256d shifter = broadcast(0x1.8p52);
  return as_int(a + shifter) - as_int(shifter);
}
FASTNN_INLINE __m256 to_float(Int32x8 a) { return _mm256_cvtepi32_ps(bits(a)); }
FASTNN_INLINE __m256d to_float(Int64x4 a) {
  const __m256d shifter = broadcast(0x1.8p52);
  return as_float(a + as_int(shifter)) - shifter;
}
template <int kBits>
FASTNN_INLINE Int32x8 shift_right(Int32x8 a) {
  return a >> kBits;
}
// There is no arithmetic shift of int64: shift in zeros, then extend the sign.
template <int kBits>
FASTNN_INLINE Int64x4 shift_right(Int64x4 a) {
  const Int64x4 sign = broadcast(int64_t{1} << (63 - kBits));
  const Int64x4 shifted = reinterpret_cast<Int64x4>(_mm256_srli_epi64(bits(a), kBits));
  return (shifted ^ sign) - sign;
}

FASTNN_INLINE float first_lane(__m256 a) { return _mm256_cvtss_f32(a); }
FASTNN_INLINE double first_lane(__m256d a) { return _mm256_cvtsd_f64(a); }
// Lane i receives lane i ^ kDistance.
template <int kDistance>
FASTNN_INLINE __m256 exchange(__m256 a) {
  if constexpr (kDistance == 4) {
    return _mm256_permute2f128_ps(a, a, 1);
  } else {
    return _mm256_permute_ps(a, kDistance == 2 ? 0x4e : 0xb1);
  }
}
template <int kDistance>
FASTNN_INLINE __m256d exchange(__m256d a) {
  if constexpr (kDistance == 2) {
    return _mm256_permute2f128_pd(a, a, 1);
  } else {
    return _mm256_permute_pd(a, 0x5);
  }
}

template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[8]) {
  __m256 blocks[8];  // 4 x 4 transposes inside the halves of rows 0-3 and 4-7
  FASTNN_UNROLL
  for (int i = 0; i < 8; i += 4) {
    const __m256 ab_low = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
    const __m256 ab_high = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
    const __m256 cd_low = _mm256_unpacklo_ps(rows[i + 2].v, rows[i + 3].v);
    const __m256 cd_high = _mm256_unpackhi_ps(rows[i + 2].v, rows[i + 3].v);
    blocks[i] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
    blocks[i + 1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
    blocks[i + 2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
    blocks[i + 3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
  }
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) {
    rows[i].v = _mm256_permute2f128_ps(blocks[i], blocks[i + 4], 0x20);
    rows[i + 4].v = _mm256_permute2f128_ps(blocks[i], blocks[i + 4], 0x31);
  }
}
template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[4]) {
  const __m256d ab_low = _mm256_unpacklo_pd(rows[0].v, rows[1].v);
  const __m256d ab_high = _mm256_unpackhi_pd(rows[0].v, rows[1].v);
  const __m256d cd_low = _mm256_unpacklo_pd(rows[2].v, rows[3].v);
  const __m256d cd_high = _mm256_unpackhi_pd(rows[2].v, rows[3].v);
  rows[0].v = _mm256_permute2f128_pd(ab_low, cd_low, 0x20);
  rows[1].v = _mm256_permute2f128_pd(ab_high, cd_high, 0x20);
  rows[2].v = _mm256_permute2f128_pd(ab_low, cd_low, 0x31);
  rows[3].v = _mm256_permute2f128_pd(ab_high, cd_high, 0x31);
}

// (a, b) become the even and the odd lanes of a followed by b.
FASTNN_INLINE void deinterleave(__m256& a, __m256& b) {
  const __m256 low = _mm256_permute2f128_ps(a, b, 0x20);
  const __m256 high = _mm256_permute2f128_ps(a, b, 0x31);
  a = _mm256_shuffle_ps(low, high, 0x88);
  b = _mm256_shuffle_ps(low, high, 0xdd);
}
FASTNN_INLINE void deinterleave(__m256d& a, __m256d& b) {
  const __m256d low = _mm256_permute2f128_pd(a, b, 0x20);
  const __m256d high = _mm256_permute2f128_pd(a, b, 0x31);
  a = _mm256_unpacklo_pd(low, high);
  b = _mm256_unpackhi_pd(low, high);
}
// The inverse: a[0] b[0] a[1] b[1] ...
FASTNN_INLINE void interleave(__m256& a, __m256& b) {
  const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
  a = _mm256_permute2f128_ps(low, high, 0x20);
  b = _mm256_permute2f128_ps(low, high, 0x31);
}
FASTNN_INLINE void interleave(__m256d& a, __m256d& b) {
  const __m256d low = _mm256_unpacklo_pd(a, b), high = _mm256_unpackhi_pd(a, b);
  a = _mm256_permute2f128_pd(low, high, 0x20);
  b = _mm256_permute2f128_pd(low, high, 0x31);
}
// Lanes kFirst, kFirst + 1, ... of a followed by b: a shift of bytes in each half, from the half
// before.
template <int kFirstByte>
FASTNN_INLINE __m256i bytes_from(__m256i a, __m256i b) {
  const __m256i middle = _mm256_permute2x128_si256(a, b, 0x21);
  if constexpr (kFirstByte == 16) {
    return middle;
  } else if constexpr (kFirstByte < 16) {
    return _mm256_alignr_epi8(middle, a, kFirstByte);
  } else {
    return _mm256_alignr_epi8(b, middle, kFirstByte - 16);
  }
}
template <int kFirst>
FASTNN_INLINE __m256 lanes_from(__m256 a, __m256 b) {
  return _mm256_castsi256_ps(
      bytes_from<4 * kFirst>(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
template <int kFirst>
FASTNN_INLINE __m256d lanes_from(__m256d a, __m256d b) {
  return _mm256_castsi256_pd(
      bytes_from<8 * kFirst>(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
}

}  // namespace fastnn::FASTNN_ISA::native
