// Primitives on 128-bit registers of AArch64: 4 floats or 2 doubles. See vec.h.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

namespace fastnn::FASTNN_ISA::native {

template <class T>
struct Types;
template <>
struct Types<float> {
  using Float = float32x4_t;
  using Int = int32x4_t;
  using Unsigned = uint32x4_t;
  using IntLane = int32_t;
  using Mask = uint32x4_t;  // all bits set where true
  static constexpr int64_t kSize = 4;
};
template <>
struct Types<double> {
  using Float = float64x2_t;
  using Int = int64x2_t;
  using Unsigned = uint64x2_t;
  using IntLane = int64_t;
  using Mask = uint64x2_t;
  static constexpr int64_t kSize = 2;
};

FASTNN_INLINE float32x4_t broadcast(float x) { return vdupq_n_f32(x); }
FASTNN_INLINE float64x2_t broadcast(double x) { return vdupq_n_f64(x); }
FASTNN_INLINE int32x4_t broadcast(int32_t x) { return vdupq_n_s32(x); }
FASTNN_INLINE int64x2_t broadcast(int64_t x) { return vdupq_n_s64(x); }
FASTNN_INLINE int32x4_t iota(int32_t) { return int32x4_t{0, 1, 2, 3}; }
FASTNN_INLINE int64x2_t iota(int64_t) { return int64x2_t{0, 1}; }

FASTNN_INLINE uint32x4_t equal(int32x4_t a, int32x4_t b) { return vceqq_s32(a, b); }
FASTNN_INLINE uint64x2_t equal(int64x2_t a, int64x2_t b) { return vceqq_s64(a, b); }
FASTNN_INLINE uint32x4_t greater(int32x4_t a, int32x4_t b) { return vcgtq_s32(a, b); }
FASTNN_INLINE uint64x2_t greater(int64x2_t a, int64x2_t b) { return vcgtq_s64(a, b); }
FASTNN_INLINE uint32x4_t equal(float32x4_t a, float32x4_t b) { return vceqq_f32(a, b); }
FASTNN_INLINE uint64x2_t equal(float64x2_t a, float64x2_t b) { return vceqq_f64(a, b); }
FASTNN_INLINE uint32x4_t not_equal(float32x4_t a, float32x4_t b) { return ~vceqq_f32(a, b); }
FASTNN_INLINE uint64x2_t not_equal(float64x2_t a, float64x2_t b) { return ~vceqq_f64(a, b); }
FASTNN_INLINE uint32x4_t less(float32x4_t a, float32x4_t b) { return vcltq_f32(a, b); }
FASTNN_INLINE uint64x2_t less(float64x2_t a, float64x2_t b) { return vcltq_f64(a, b); }
FASTNN_INLINE uint32x4_t less_equal(float32x4_t a, float32x4_t b) { return vcleq_f32(a, b); }
FASTNN_INLINE uint64x2_t less_equal(float64x2_t a, float64x2_t b) { return vcleq_f64(a, b); }

FASTNN_INLINE float32x4_t select(uint32x4_t m, float32x4_t a, float32x4_t b) {
  return vbslq_f32(m, a, b);
}
FASTNN_INLINE float64x2_t select(uint64x2_t m, float64x2_t a, float64x2_t b) {
  return vbslq_f64(m, a, b);
}
FASTNN_INLINE int32x4_t select(uint32x4_t m, int32x4_t a, int32x4_t b) {
  return vbslq_s32(m, a, b);
}
FASTNN_INLINE int64x2_t select(uint64x2_t m, int64x2_t a, int64x2_t b) {
  return vbslq_s64(m, a, b);
}
FASTNN_INLINE bool any(uint32x4_t m) { return vmaxvq_u32(m) != 0; }
FASTNN_INLINE bool any(uint64x2_t m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
FASTNN_INLINE bool all(uint32x4_t m) { return vminvq_u32(m) != 0; }
FASTNN_INLINE bool all(uint64x2_t m) { return vminvq_u32(vreinterpretq_u32_u64(m)) != 0; }
FASTNN_INLINE uint32x4_t first_n(int64_t n, float) {
  const int64_t lanes = n < 0 ? 0 : n > 4 ? 4 : n;
  return vcgtq_s32(broadcast(static_cast<int32_t>(lanes)), iota(int32_t()));
}
FASTNN_INLINE uint64x2_t first_n(int64_t n, double) {
  return vcgtq_s64(broadcast(n), iota(int64_t()));
}

FASTNN_INLINE float32x4_t load(const float* p) { return vld1q_f32(p); }
FASTNN_INLINE float64x2_t load(const double* p) { return vld1q_f64(p); }
FASTNN_INLINE float32x4_t load(const float* p, uint32x4_t m) {
  return float32x4_t{m[0] ? p[0] : 0.0f, m[1] ? p[1] : 0.0f, m[2] ? p[2] : 0.0f,
                     m[3] ? p[3] : 0.0f};
}
FASTNN_INLINE float64x2_t load(const double* p, uint64x2_t m) {
  return float64x2_t{m[0] ? p[0] : 0.0, m[1] ? p[1] : 0.0};
}
FASTNN_INLINE float32x4_t load(const float* p, int64_t n, float32x4_t fill) {
  if (n >= 4) return load(p);
  if (n > 0) fill = vld1q_lane_f32(p, fill, 0);
  if (n > 1) fill = vld1q_lane_f32(p + 1, fill, 1);
  if (n > 2) fill = vld1q_lane_f32(p + 2, fill, 2);
  return fill;
}
FASTNN_INLINE float64x2_t load(const double* p, int64_t n, float64x2_t fill) {
  if (n >= 2) return load(p);
  return n > 0 ? vld1q_lane_f64(p, fill, 0) : fill;
}
FASTNN_INLINE float32x4_t load_strided(const float* p, int64_t stride) {
  return float32x4_t{p[0], p[stride], p[2 * stride], p[3 * stride]};
}
FASTNN_INLINE float64x2_t load_strided(const double* p, int64_t stride) {
  return float64x2_t{p[0], p[stride]};
}
// Entry (index & 15) of a table.
FASTNN_INLINE float32x4_t lookup(const float (&table)[16], int32x4_t index) {
  return float32x4_t{table[index[0] & 15], table[index[1] & 15], table[index[2] & 15],
                     table[index[3] & 15]};
}
FASTNN_INLINE void store(float* p, float32x4_t a) { vst1q_f32(p, a); }
FASTNN_INLINE void store(double* p, float64x2_t a) { vst1q_f64(p, a); }
FASTNN_INLINE void store(float* p, uint32x4_t m, float32x4_t a) {
  if (m[0]) p[0] = a[0];
  if (m[1]) p[1] = a[1];
  if (m[2]) p[2] = a[2];
  if (m[3]) p[3] = a[3];
}
FASTNN_INLINE void store(double* p, uint64x2_t m, float64x2_t a) {
  if (m[0]) p[0] = a[0];
  if (m[1]) p[1] = a[1];
}
FASTNN_INLINE void store(float* p, int64_t n, float32x4_t a) {
  if (n >= 4) return store(p, a);
  if (n > 0) vst1q_lane_f32(p, a, 0);
  if (n > 1) vst1q_lane_f32(p + 1, a, 1);
  if (n > 2) vst1q_lane_f32(p + 2, a, 2);
}
FASTNN_INLINE void store(double* p, int64_t n, float64x2_t a) {
  if (n >= 2) return store(p, a);
  if (n > 0) vst1q_lane_f64(p, a, 0);
}

FASTNN_INLINE float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) {
  return vfmaq_f32(c, a, b);
}
FASTNN_INLINE float64x2_t fma(float64x2_t a, float64x2_t b, float64x2_t c) {
  return vfmaq_f64(c, a, b);
}
FASTNN_INLINE float32x4_t fnma(float32x4_t a, float32x4_t b, float32x4_t c) {
  return vfmsq_f32(c, a, b);
}
FASTNN_INLINE float64x2_t fnma(float64x2_t a, float64x2_t b, float64x2_t c) {
  return vfmsq_f64(c, a, b);
}
FASTNN_INLINE float32x4_t sqrt(float32x4_t a) { return vsqrtq_f32(a); }
FASTNN_INLINE float64x2_t sqrt(float64x2_t a) { return vsqrtq_f64(a); }

// FMIN and FMAX treat NaN and signed zeros unlike other processors: compare and select instead.
FASTNN_INLINE float32x4_t min(float32x4_t a, float32x4_t b) { return select(less(a, b), a, b); }
FASTNN_INLINE float64x2_t min(float64x2_t a, float64x2_t b) { return select(less(a, b), a, b); }
FASTNN_INLINE float32x4_t max(float32x4_t a, float32x4_t b) { return select(less(b, a), a, b); }
FASTNN_INLINE float64x2_t max(float64x2_t a, float64x2_t b) { return select(less(b, a), a, b); }
FASTNN_INLINE float32x4_t min_nan(float32x4_t a, float32x4_t b) {
  return select(less(a, b) | not_equal(a, a), a, b);
}
FASTNN_INLINE float64x2_t min_nan(float64x2_t a, float64x2_t b) {
  return select(less(a, b) | not_equal(a, a), a, b);
}
FASTNN_INLINE float32x4_t max_nan(float32x4_t a, float32x4_t b) {
  return select(less(b, a) | not_equal(a, a), a, b);
}
FASTNN_INLINE float64x2_t max_nan(float64x2_t a, float64x2_t b) {
  return select(less(b, a) | not_equal(a, a), a, b);
}

FASTNN_INLINE int32x4_t round_to_int(float32x4_t a) { return vcvtnq_s32_f32(a); }
FASTNN_INLINE int64x2_t round_to_int(float64x2_t a) { return vcvtnq_s64_f64(a); }
FASTNN_INLINE float32x4_t to_float(int32x4_t a) { return vcvtq_f32_s32(a); }
FASTNN_INLINE float64x2_t to_float(int64x2_t a) { return vcvtq_f64_s64(a); }
template <int kBits>
FASTNN_INLINE int32x4_t shift_right(int32x4_t a) {
  return vshrq_n_s32(a, kBits);
}
template <int kBits>
FASTNN_INLINE int64x2_t shift_right(int64x2_t a) {
  return vshrq_n_s64(a, kBits);
}

FASTNN_INLINE float first_lane(float32x4_t a) { return vgetq_lane_f32(a, 0); }
FASTNN_INLINE double first_lane(float64x2_t a) { return vgetq_lane_f64(a, 0); }
// Lane i receives lane i ^ kDistance.
template <int kDistance>
FASTNN_INLINE float32x4_t exchange(float32x4_t a) {
  if constexpr (kDistance == 2) {
    return vextq_f32(a, a, 2);
  } else {
    return vrev64q_f32(a);
  }
}
template <int kDistance>
FASTNN_INLINE float64x2_t exchange(float64x2_t a) {
  return vextq_f64(a, a, 1);
}

template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[4]) {
  const float64x2_t ab_even = vreinterpretq_f64_f32(vtrn1q_f32(rows[0].v, rows[1].v));
  const float64x2_t ab_odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[0].v, rows[1].v));
  const float64x2_t cd_even = vreinterpretq_f64_f32(vtrn1q_f32(rows[2].v, rows[3].v));
  const float64x2_t cd_odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[2].v, rows[3].v));
  rows[0].v = vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even));
  rows[1].v = vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd));
  rows[2].v = vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even));
  rows[3].v = vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd));
}
template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[2]) {
  const float64x2_t a = rows[0].v, b = rows[1].v;
  rows[0].v = vtrn1q_f64(a, b);
  rows[1].v = vtrn2q_f64(a, b);
}

// (a, b) become the even and the odd lanes of a followed by b.
FASTNN_INLINE void deinterleave(float32x4_t& a, float32x4_t& b) {
  const float32x4_t first = a;
  a = vuzp1q_f32(first, b);
  b = vuzp2q_f32(first, b);
}
FASTNN_INLINE void deinterleave(float64x2_t& a, float64x2_t& b) {
  const float64x2_t first = a;
  a = vuzp1q_f64(first, b);
  b = vuzp2q_f64(first, b);
}
// The inverse: a[0] b[0] a[1] b[1] ...
FASTNN_INLINE void interleave(float32x4_t& a, float32x4_t& b) {
  const float32x4_t first = a;
  a = vzip1q_f32(first, b);
  b = vzip2q_f32(first, b);
}
FASTNN_INLINE void interleave(float64x2_t& a, float64x2_t& b) { deinterleave(a, b); }
// Lanes kFirst, kFirst + 1, ... of a followed by b.
template <int kFirst>
FASTNN_INLINE float32x4_t lanes_from(float32x4_t a, float32x4_t b) {
  return vextq_f32(a, b, kFirst);
}
template <int kFirst>
FASTNN_INLINE float64x2_t lanes_from(float64x2_t a, float64x2_t b) {
  return vextq_f64(a, b, kFirst);
}

}  // namespace fastnn::FASTNN_ISA::native
