// Primitives in the 16-byte vector extension of GCC and Clang, for any processor: 4 floats or 2
// doubles, no intrinsics, no fused multiply-add. See vec.h.
#pragma once

#include <stdint.h>

namespace fastnn::FASTNN_ISA::native {

typedef float Float32x4 __attribute__((vector_size(16)));
typedef double Float64x2 __attribute__((vector_size(16)));
typedef int32_t Int32x4 __attribute__((vector_size(16)));
typedef int64_t Int64x2 __attribute__((vector_size(16)));
typedef uint32_t Uint32x4 __attribute__((vector_size(16)));
typedef uint64_t Uint64x2 __attribute__((vector_size(16)));

template <class T>
struct Types;
template <>
struct Types<float> {
  using Float = Float32x4;
  using Int = Int32x4;
  using Unsigned = Uint32x4;
  using IntLane = int32_t;
  using Mask = Int32x4;  // all bits set where true
  static constexpr int64_t kSize = 4;
};
template <>
struct Types<double> {
  using Float = Float64x2;
  using Int = Int64x2;
  using Unsigned = Uint64x2;
  using IntLane = int64_t;
  using Mask = Int64x2;
  static constexpr int64_t kSize = 2;
};

FASTNN_INLINE Float32x4 as_float(Int32x4 a) { return reinterpret_cast<Float32x4>(a); }
FASTNN_INLINE Float64x2 as_float(Int64x2 a) { return reinterpret_cast<Float64x2>(a); }
FASTNN_INLINE Int32x4 as_int(Float32x4 a) { return reinterpret_cast<Int32x4>(a); }
FASTNN_INLINE Int64x2 as_int(Float64x2 a) { return reinterpret_cast<Int64x2>(a); }

FASTNN_INLINE Float32x4 broadcast(float x) { return Float32x4{x, x, x, x}; }
FASTNN_INLINE Float64x2 broadcast(double x) { return Float64x2{x, x}; }
FASTNN_INLINE Int32x4 broadcast(int32_t x) { return Int32x4{x, x, x, x}; }
FASTNN_INLINE Int64x2 broadcast(int64_t x) { return Int64x2{x, x}; }
FASTNN_INLINE Int32x4 iota(int32_t) { return Int32x4{0, 1, 2, 3}; }
FASTNN_INLINE Int64x2 iota(int64_t) { return Int64x2{0, 1}; }

// Comparisons of vectors give all ones or all zeros a lane, in integers of the same width.
FASTNN_INLINE Int32x4 equal(Int32x4 a, Int32x4 b) { return a == b; }
FASTNN_INLINE Int64x2 equal(Int64x2 a, Int64x2 b) { return a == b; }
FASTNN_INLINE Int32x4 greater(Int32x4 a, Int32x4 b) { return a > b; }
FASTNN_INLINE Int64x2 greater(Int64x2 a, Int64x2 b) { return a > b; }
FASTNN_INLINE Int32x4 equal(Float32x4 a, Float32x4 b) { return a == b; }
FASTNN_INLINE Int64x2 equal(Float64x2 a, Float64x2 b) { return a == b; }
FASTNN_INLINE Int32x4 not_equal(Float32x4 a, Float32x4 b) { return a != b; }
FASTNN_INLINE Int64x2 not_equal(Float64x2 a, Float64x2 b) { return a != b; }
FASTNN_INLINE Int32x4 less(Float32x4 a, Float32x4 b) { return a < b; }
FASTNN_INLINE Int64x2 less(Float64x2 a, Float64x2 b) { return a < b; }
FASTNN_INLINE Int32x4 less_equal(Float32x4 a, Float32x4 b) { return a <= b; }
FASTNN_INLINE Int64x2 less_equal(Float64x2 a, Float64x2 b) { return a <= b; }

FASTNN_INLINE Int32x4 select(Int32x4 m, Int32x4 a, Int32x4 b) { return (m & a) | (~m & b); }
FASTNN_INLINE Int64x2 select(Int64x2 m, Int64x2 a, Int64x2 b) { return (m & a) | (~m & b); }
FASTNN_INLINE Float32x4 select(Int32x4 m, Float32x4 a, Float32x4 b) {
  return as_float(select(m, as_int(a), as_int(b)));
}
FASTNN_INLINE Float64x2 select(Int64x2 m, Float64x2 a, Float64x2 b) {
  return as_float(select(m, as_int(a), as_int(b)));
}
FASTNN_INLINE bool any(Int64x2 m) { return (m[0] | m[1]) != 0; }
FASTNN_INLINE bool any(Int32x4 m) { return any(reinterpret_cast<Int64x2>(m)); }
FASTNN_INLINE bool all(Int64x2 m) { return (m[0] & m[1]) == -1; }
FASTNN_INLINE bool all(Int32x4 m) { return all(reinterpret_cast<Int64x2>(m)); }
FASTNN_INLINE Int32x4 first_n(int64_t n, float) {
  const int64_t lanes = n < 0 ? 0 : n > 4 ? 4 : n;
  return broadcast(static_cast<int32_t>(lanes)) > iota(int32_t());
}
FASTNN_INLINE Int64x2 first_n(int64_t n, double) { return Int64x2{n > 0 ? -1 : 0, n > 1 ? -1 : 0}; }

FASTNN_INLINE Float32x4 load(const float* p) {
  Float32x4 r;
  __builtin_memcpy(&r, p, sizeof(r));
  return r;
}
FASTNN_INLINE Float64x2 load(const double* p) {
  Float64x2 r;
  __builtin_memcpy(&r, p, sizeof(r));
  return r;
}
FASTNN_INLINE Float32x4 load(const float* p, Int32x4 m) {
  return Float32x4{m[0] ? p[0] : 0.0f, m[1] ? p[1] : 0.0f, m[2] ? p[2] : 0.0f, m[3] ? p[3] : 0.0f};
}
FASTNN_INLINE Float64x2 load(const double* p, Int64x2 m) {
  return Float64x2{m[0] ? p[0] : 0.0, m[1] ? p[1] : 0.0};
}
FASTNN_INLINE Float32x4 load(const float* p, int64_t n, Float32x4 fill) {
  if (n >= 4) return load(p);
  return Float32x4{n > 0 ? p[0] : fill[0], n > 1 ? p[1] : fill[1], n > 2 ? p[2] : fill[2], fill[3]};
}
FASTNN_INLINE Float64x2 load(const double* p, int64_t n, Float64x2 fill) {
  if (n >= 2) return load(p);
  return Float64x2{n > 0 ? p[0] : fill[0], fill[1]};
}
FASTNN_INLINE Float32x4 load_strided(const float* p, int64_t stride) {
  return Float32x4{p[0], p[stride], p[2 * stride], p[3 * stride]};
}
FASTNN_INLINE Float64x2 load_strided(const double* p, int64_t stride) {
  return Float64x2{p[0], p[stride]};
}
// Entry (index & 15) of a table.
FASTNN_INLINE Float32x4 lookup(const float (&table)[16], Int32x4 index) {
  return Float32x4{table[index[0] & 15], table[index[1] & 15], table[index[2] & 15],
                   table[index[3] & 15]};
}
FASTNN_INLINE void store(float* p, Float32x4 a) { __builtin_memcpy(p, &a, sizeof(a)); }
FASTNN_INLINE void store(double* p, Float64x2 a) { __builtin_memcpy(p, &a, sizeof(a)); }
FASTNN_INLINE void store(float* p, Int32x4 m, Float32x4 a) {
  for (int i = 0; i < 4; ++i) {
    if (m[i]) p[i] = a[i];
  }
}
FASTNN_INLINE void store(double* p, Int64x2 m, Float64x2 a) {
  if (m[0]) p[0] = a[0];
  if (m[1]) p[1] = a[1];
}
FASTNN_INLINE void store(float* p, int64_t n, Float32x4 a) {
  if (n >= 4) return store(p, a);
  if (n > 0) p[0] = a[0];
  if (n > 1) p[1] = a[1];
  if (n > 2) p[2] = a[2];
}
FASTNN_INLINE void store(double* p, int64_t n, Float64x2 a) {
  if (n >= 2) return store(p, a);
  if (n > 0) p[0] = a[0];
}

FASTNN_INLINE Float32x4 fma(Float32x4 a, Float32x4 b, Float32x4 c) { return a * b + c; }
FASTNN_INLINE Float64x2 fma(Float64x2 a, Float64x2 b, Float64x2 c) { return a * b + c; }
FASTNN_INLINE Float32x4 fnma(Float32x4 a, Float32x4 b, Float32x4 c) { return c - a * b; }
FASTNN_INLINE Float64x2 fnma(Float64x2 a, Float64x2 b, Float64x2 c) { return c - a * b; }
FASTNN_INLINE Float32x4 sqrt(Float32x4 a) {
  return Float32x4{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]),
                   __builtin_sqrtf(a[3])};
}
FASTNN_INLINE Float64x2 sqrt(Float64x2 a) {
  return Float64x2{__builtin_sqrt(a[0]), __builtin_sqrt(a[1])};
}
FASTNN_INLINE Float32x4 min(Float32x4 a, Float32x4 b) { return select(a < b, a, b); }
FASTNN_INLINE Float64x2 min(Float64x2 a, Float64x2 b) { return select(a < b, a, b); }
FASTNN_INLINE Float32x4 max(Float32x4 a, Float32x4 b) { return select(a > b, a, b); }
FASTNN_INLINE Float64x2 max(Float64x2 a, Float64x2 b) { return select(a > b, a, b); }
FASTNN_INLINE Float32x4 min_nan(Float32x4 a, Float32x4 b) {
  return select((a < b) | (a != a), a, b);
}
FASTNN_INLINE Float64x2 min_nan(Float64x2 a, Float64x2 b) {
  return select((a < b) | (a != a), a, b);
}
FASTNN_INLINE Float32x4 max_nan(Float32x4 a, Float32x4 b) {
  return select((a > b) | (a != a), a, b);
}
FASTNN_INLINE Float64x2 max_nan(Float64x2 a, Float64x2 b) {
  return select((a > b) | (a != a), a, b);
}

// Adding 1.5 * 2^23 (2^52) leaves the rounded integer in the low bits of the sum.
FASTNN_INLINE Int32x4 round_to_int(Float32x4 a) {
  const Float32x4 shifter = broadcast(0x1.8p23f);
  return as_int(a + shifter) - as_int(shifter);
}
FASTNN_INLINE Int64x2 round_to_int(Float64x2 a) {
  const Float64x2 shifter = broadcast(0x1.8p52);
  return as_int(a + shifter) - as_int(shifter);
}
FASTNN_INLINE Float32x4 to_float(Int32x4 a) { return __builtin_convertvector(a, Float32x4); }
FASTNN_INLINE Float64x2 to_float(Int64x2 a) {
  const Float64x2 shifter = broadcast(0x1.8p52);
  return as_float(a + as_int(shifter)) - shifter;
}
template <int kBits>
FASTNN_INLINE Int32x4 shift_right(Int32x4 a) {
  return a >> kBits;
}
template <int kBits>
FASTNN_INLINE Int64x2 shift_right(Int64x2 a) {
  return a >> kBits;
}

FASTNN_INLINE float first_lane(Float32x4 a) { return a[0]; }
FASTNN_INLINE double first_lane(Float64x2 a) { return a[0]; }
// Lane i receives lane i ^ kDistance.
template <int kDistance>
FASTNN_INLINE Float32x4 exchange(Float32x4 a) {
  if constexpr (kDistance == 2) {
    return Float32x4{a[2], a[3], a[0], a[1]};
  } else {
    return Float32x4{a[1], a[0], a[3], a[2]};
  }
}
template <int kDistance>
FASTNN_INLINE Float64x2 exchange(Float64x2 a) {
  return Float64x2{a[1], a[0]};
}

template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[4]) {
  const Float32x4 a = rows[0].v, b = rows[1].v, c = rows[2].v, d = rows[3].v;
  const Float32x4 ab_low{a[0], b[0], a[1], b[1]}, ab_high{a[2], b[2], a[3], b[3]};
  const Float32x4 cd_low{c[0], d[0], c[1], d[1]}, cd_high{c[2], d[2], c[3], d[3]};
  rows[0].v = Float32x4{ab_low[0], ab_low[1], cd_low[0], cd_low[1]};
  rows[1].v = Float32x4{ab_low[2], ab_low[3], cd_low[2], cd_low[3]};
  rows[2].v = Float32x4{ab_high[0], ab_high[1], cd_high[0], cd_high[1]};
  rows[3].v = Float32x4{ab_high[2], ab_high[3], cd_high[2], cd_high[3]};
}
template <class Row>
FASTNN_INLINE void transpose(Row (&rows)[2]) {
  const Float64x2 a = rows[0].v, b = rows[1].v;
  rows[0].v = Float64x2{a[0], b[0]};
  rows[1].v = Float64x2{a[1], b[1]};
}

// (a, b) become the even and the odd lanes of a followed by b.
FASTNN_INLINE void deinterleave(Float32x4& a, Float32x4& b) {
  const Float32x4 first = a;
  a = Float32x4{first[0], first[2], b[0], b[2]};
  b = Float32x4{first[1], first[3], b[1], b[3]};
}
FASTNN_INLINE void deinterleave(Float64x2& a, Float64x2& b) {
  const Float64x2 first = a;
  a = Float64x2{first[0], b[0]};
  b = Float64x2{first[1], b[1]};
}
// The inverse: a[0] b[0] a[1] b[1] ...
FASTNN_INLINE void interleave(Float32x4& a, Float32x4& b) {
  const Float32x4 first = a;
  a = Float32x4{first[0], b[0], first[1], b[1]};
  b = Float32x4{first[2], b[2], first[3], b[3]};
}
FASTNN_INLINE void interleave(Float64x2& a, Float64x2& b) { deinterleave(a, b); }
// Lanes kFirst, kFirst + 1, ... of a followed by b.
template <int kFirst>
FASTNN_INLINE Float32x4 lanes_from(Float32x4 a, Float32x4 b) {
  const auto lane = [&](int i) { return i < 4 ? a[i] : b[i - 4]; };
  return Float32x4{lane(kFirst), lane(kFirst + 1), lane(kFirst + 2), lane(kFirst + 3)};
}
template <int kFirst>
FASTNN_INLINE Float64x2 lanes_from(Float64x2 a, Float64x2 b) {
  return Float64x2{a[1], b[0]};
}

}  // namespace fastnn::FASTNN_ISA::native
