// Vec<T>, one hardware register of T = float or double, and its masks and integers.
//
// The file vec_<isa>.h supplies primitives on native types; everything a kernel uses is declared
// here once. Lanes are numbered from 0, the lowest address. Sizes and strides are in elements.
//
// Numbers that hold on every ISA:
//  - min(a, b) is `a < b ? a : b` and max(a, b) is `a > b ? a : b`: the SECOND operand comes back
//    when either is NaN or both are zeros. So max(limit, x) keeps a NaN x.
//  - min_nan, max_nan return a NaN when either operand is NaN (a's when both are).
//  - fma and fnma round once, except on the generic ISA, where product and sum round separately.
//  - reduce_* combine lane i with lane i + kSize/2, then i + kSize/4, ... then lanes 0 and 1.
//  - round_to_int wants |x| <= 2^22 (float) or 2^51 (double), to_float |n| <= 2^24 or 2^51.
#pragma once

#include <stdint.h>

#ifndef FASTNN_ISA
#error "define FASTNN_ISA (the namespace) and one of FASTNN_ISA_{AVX512,AVX2,NEON,GENERIC}"
#endif

#define FASTNN_INLINE inline __attribute__((always_inline))

// Goes before every loop, also an outer one, whose counter indexes an array of Vec: GCC otherwise
// leaves the array (of wrapped or raw registers alike) in memory.
#define FASTNN_UNROLL _Pragma("GCC unroll 32")

#if defined(FASTNN_ISA_AVX512)
#include "vec_avx512.h"
#elif defined(FASTNN_ISA_AVX2)
#include "vec_avx2.h"
#elif defined(FASTNN_ISA_NEON)
#include "vec_neon.h"
#elif defined(FASTNN_ISA_GENERIC)
#include "vec_generic.h"
#else
#error "define one of FASTNN_ISA_AVX512, FASTNN_ISA_AVX2, FASTNN_ISA_NEON, FASTNN_ISA_GENERIC"
#endif

namespace fastnn::FASTNN_ISA {

// The result of a comparison: one truth value a lane.
template <class T>
struct Mask {
  using Native = typename native::Types<T>::Mask;
  Native m;
  Mask() = default;
  explicit FASTNN_INLINE Mask(Native native_mask) : m(native_mask) {}
};

template <class T>
FASTNN_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
  return Mask<T>(static_cast<typename Mask<T>::Native>(a.m & b.m));
}
template <class T>
FASTNN_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
  return Mask<T>(static_cast<typename Mask<T>::Native>(a.m | b.m));
}
template <class T>
FASTNN_INLINE Mask<T> operator^(Mask<T> a, Mask<T> b) {
  return Mask<T>(static_cast<typename Mask<T>::Native>(a.m ^ b.m));
}
template <class T>
FASTNN_INLINE Mask<T> operator~(Mask<T> a) {
  return Mask<T>(static_cast<typename Mask<T>::Native>(~a.m));
}
template <class T>
FASTNN_INLINE bool any(Mask<T> a) {
  return native::any(a.m);
}
template <class T>
FASTNN_INLINE bool all(Mask<T> a) {
  return native::all(a.m);
}
// True in lanes 0 .. n-1; n may exceed the number of lanes, and n <= 0 gives none.
template <class T>
FASTNN_INLINE Mask<T> first_n_mask(int64_t n) {
  return Mask<T>(native::first_n(n, T()));
}

// Signed integers as wide as T, one a lane. Sums, differences and left shifts wrap around.
template <class T>
struct IntVec {
  using Native = typename native::Types<T>::Int;
  using Unsigned = typename native::Types<T>::Unsigned;
  using Lane = typename native::Types<T>::IntLane;
  static constexpr int64_t kSize = native::Types<T>::kSize;
  Native v;

  IntVec() = default;
  explicit FASTNN_INLINE IntVec(Native native_vector) : v(native_vector) {}
  FASTNN_INLINE IntVec(Lane x) : v(native::broadcast(x)) {}
  static FASTNN_INLINE IntVec zero() { return IntVec(Native{}); }
  static FASTNN_INLINE IntVec broadcast(Lane x) { return IntVec(x); }
  // 0, 1, 2, ...
  static FASTNN_INLINE IntVec iota() { return IntVec(native::iota(Lane())); }
  static FASTNN_INLINE IntVec load(const Lane* p) {
    IntVec r;
    __builtin_memcpy(&r.v, p, sizeof(Native));
    return r;
  }
  FASTNN_INLINE void store(Lane* p) const { __builtin_memcpy(p, &v, sizeof(Native)); }

  static FASTNN_INLINE IntVec from_bits(Unsigned bits) {
    return IntVec(reinterpret_cast<Native>(bits));
  }
  FASTNN_INLINE Unsigned bits() const { return reinterpret_cast<Unsigned>(v); }
};

template <class T>
FASTNN_INLINE IntVec<T> operator+(IntVec<T> a, IntVec<T> b) {
  return IntVec<T>::from_bits(a.bits() + b.bits());
}
template <class T>
FASTNN_INLINE IntVec<T> operator-(IntVec<T> a, IntVec<T> b) {
  return IntVec<T>::from_bits(a.bits() - b.bits());
}
template <class T>
FASTNN_INLINE IntVec<T> operator&(IntVec<T> a, IntVec<T> b) {
  return IntVec<T>(a.v & b.v);
}
template <class T>
FASTNN_INLINE IntVec<T> operator|(IntVec<T> a, IntVec<T> b) {
  return IntVec<T>(a.v | b.v);
}
template <class T>
FASTNN_INLINE IntVec<T> operator^(IntVec<T> a, IntVec<T> b) {
  return IntVec<T>(a.v ^ b.v);
}
template <int kBits, class T>
FASTNN_INLINE IntVec<T> shift_left(IntVec<T> a) {
  return IntVec<T>::from_bits(a.bits() << kBits);
}
// Arithmetic: copies of the sign come in from the left.
template <int kBits, class T>
FASTNN_INLINE IntVec<T> shift_right(IntVec<T> a) {
  return IntVec<T>(native::shift_right<kBits>(a.v));
}
template <class T>
FASTNN_INLINE Mask<T> operator==(IntVec<T> a, IntVec<T> b) {
  return Mask<T>(native::equal(a.v, b.v));
}
template <class T>
FASTNN_INLINE Mask<T> operator>(IntVec<T> a, IntVec<T> b) {
  return Mask<T>(native::greater(a.v, b.v));
}
template <class T>
FASTNN_INLINE Mask<T> operator<(IntVec<T> a, IntVec<T> b) {
  return b > a;
}
template <class T>
FASTNN_INLINE IntVec<T> select(Mask<T> mask, IntVec<T> if_true, IntVec<T> if_false) {
  return IntVec<T>(native::select(mask.m, if_true.v, if_false.v));
}

template <class T>
struct Vec {
  using Native = typename native::Types<T>::Float;
  using Int = IntVec<T>;
  using Mask = FASTNN_ISA::Mask<T>;
  static constexpr int64_t kSize = native::Types<T>::kSize;
  Native v;

  Vec() = default;
  explicit FASTNN_INLINE Vec(Native native_vector) : v(native_vector) {}
  FASTNN_INLINE Vec(T x) : v(native::broadcast(x)) {}
  static FASTNN_INLINE Vec zero() { return Vec(Native{}); }
  static FASTNN_INLINE Vec broadcast(T x) { return Vec(x); }

  static FASTNN_INLINE Vec load(const T* p) { return Vec(native::load(p)); }
  // The first n lanes from memory, the others zero or `fill`; memory past n is not touched.
  static FASTNN_INLINE Vec load(const T* p, int64_t n) { return Vec(native::load(p, n, Native{})); }
  static FASTNN_INLINE Vec load(const T* p, int64_t n, T fill) {
    return Vec(native::load(p, n, native::broadcast(fill)));
  }
  // Lanes where the mask holds from memory, the others zero; other memory is not touched.
  static FASTNN_INLINE Vec load(const T* p, Mask mask) { return Vec(native::load(p, mask.m)); }
  // Lane i from p[i * stride].
  static FASTNN_INLINE Vec load_strided(const T* p, int64_t stride) {
    return Vec(native::load_strided(p, stride));
  }

  FASTNN_INLINE void store(T* p) const { native::store(p, v); }
  FASTNN_INLINE void store(T* p, int64_t n) const { native::store(p, n, v); }
  FASTNN_INLINE void store(T* p, Mask mask) const { native::store(p, mask.m, v); }

  FASTNN_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  FASTNN_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  FASTNN_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }
  FASTNN_INLINE Vec& operator/=(Vec b) { return *this = *this / b; }

  // Friends, so that `2.0f * x` finds them with the scalar converted.
  friend FASTNN_INLINE Vec operator+(Vec a, Vec b) { return Vec(a.v + b.v); }
  friend FASTNN_INLINE Vec operator-(Vec a, Vec b) { return Vec(a.v - b.v); }
  friend FASTNN_INLINE Vec operator*(Vec a, Vec b) { return Vec(a.v * b.v); }
  friend FASTNN_INLINE Vec operator/(Vec a, Vec b) { return Vec(a.v / b.v); }
  friend FASTNN_INLINE Vec operator-(Vec a) { return Vec(-a.v); }
  friend FASTNN_INLINE Mask operator==(Vec a, Vec b) { return Mask(native::equal(a.v, b.v)); }
  friend FASTNN_INLINE Mask operator!=(Vec a, Vec b) { return Mask(native::not_equal(a.v, b.v)); }
  friend FASTNN_INLINE Mask operator<(Vec a, Vec b) { return Mask(native::less(a.v, b.v)); }
  friend FASTNN_INLINE Mask operator<=(Vec a, Vec b) { return Mask(native::less_equal(a.v, b.v)); }
  friend FASTNN_INLINE Mask operator>(Vec a, Vec b) { return b < a; }
  friend FASTNN_INLINE Mask operator>=(Vec a, Vec b) { return b <= a; }
  // a * b + c
  friend FASTNN_INLINE Vec fma(Vec a, Vec b, Vec c) { return Vec(native::fma(a.v, b.v, c.v)); }
  // c - a * b
  friend FASTNN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return Vec(native::fnma(a.v, b.v, c.v)); }
  friend FASTNN_INLINE Vec min(Vec a, Vec b) { return Vec(native::min(a.v, b.v)); }
  friend FASTNN_INLINE Vec max(Vec a, Vec b) { return Vec(native::max(a.v, b.v)); }
  friend FASTNN_INLINE Vec min_nan(Vec a, Vec b) { return Vec(native::min_nan(a.v, b.v)); }
  friend FASTNN_INLINE Vec max_nan(Vec a, Vec b) { return Vec(native::max_nan(a.v, b.v)); }
  friend FASTNN_INLINE Vec select(Mask mask, Vec if_true, Vec if_false) {
    return Vec(native::select(mask.m, if_true.v, if_false.v));
  }
};

// The bits of a lane as a number of the same width, and back.
template <class T>
FASTNN_INLINE IntVec<T> bit_cast_to_int(Vec<T> a) {
  return IntVec<T>(reinterpret_cast<typename IntVec<T>::Native>(a.v));
}
template <class T>
FASTNN_INLINE Vec<T> bit_cast_to_float(IntVec<T> a) {
  return Vec<T>(reinterpret_cast<typename Vec<T>::Native>(a.v));
}
template <class T>
FASTNN_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) {
  return bit_cast_to_float(bit_cast_to_int(a) & bit_cast_to_int(b));
}
template <class T>
FASTNN_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) {
  return bit_cast_to_float(bit_cast_to_int(a) | bit_cast_to_int(b));
}
template <class T>
FASTNN_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) {
  return bit_cast_to_float(bit_cast_to_int(a) ^ bit_cast_to_int(b));
}
template <class T>
FASTNN_INLINE IntVec<T> sign_bit() {
  using Lane = typename IntVec<T>::Lane;
  return IntVec<T>(static_cast<Lane>(sizeof(T) == 4 ? INT32_MIN : INT64_MIN));
}
template <class T>
FASTNN_INLINE Vec<T> abs(Vec<T> a) {
  const IntVec<T> magnitude_bits(static_cast<typename IntVec<T>::Native>(~sign_bit<T>().v));
  return bit_cast_to_float(bit_cast_to_int(a) & magnitude_bits);
}
template <class T>
FASTNN_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  return bit_cast_to_float(bit_cast_to_int(abs(magnitude)) |
                           (bit_cast_to_int(sign) & sign_bit<T>()));
}
template <class T>
FASTNN_INLINE Vec<T> sqrt(Vec<T> a) {
  return Vec<T>(native::sqrt(a.v));
}
template <class T>
FASTNN_INLINE Mask<T> is_nan(Vec<T> a) {
  return a != a;
}
// To the nearest integer, halves to even.
template <class T>
FASTNN_INLINE IntVec<T> round_to_int(Vec<T> a) {
  return IntVec<T>(native::round_to_int(a.v));
}
template <class T>
FASTNN_INLINE Vec<T> to_float(IntVec<T> a) {
  return Vec<T>(native::to_float(a.v));
}
// Entry (index & 15) of a table of sixteen, lane by lane.
FASTNN_INLINE Vec<float> lookup(const float (&table)[16], IntVec<float> index) {
  return Vec<float>(native::lookup(table, index.v));
}
// 2^n for n of a normal number: -126 .. 127 (float), -1022 .. 1023 (double). Bits of n that fall
// off the left do not matter.
template <class T>
FASTNN_INLINE Vec<T> pow2n(IntVec<T> n) {
  using Int = IntVec<T>;
  constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;
  constexpr int kBias = sizeof(T) == 4 ? 127 : 1023;
  return bit_cast_to_float(shift_left<kMantissaBits>(n + Int(typename Int::Lane{kBias})));
}
// The same for an integral n held as T.
template <class T>
FASTNN_INLINE Vec<T> pow2n(Vec<T> n) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<T>(native::scale_by_pow2(native::broadcast(T(1)), n.v));
#else
  return pow2n(round_to_int(n));
#endif
}
// a * 2^n, rounded once, for |a| in [1/4, 4] or NaN and an integral n between -160 and 130
// (float), -1100 and 1030 (double).
template <class T>
FASTNN_INLINE Vec<T> scale_by_pow2(Vec<T> a, Vec<T> n) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<T>(native::scale_by_pow2(a.v, n.v));
#else
  // Two steps: 2^n itself may not be a normal number. The first product is exact.
  const IntVec<T> exponent = round_to_int(n);
  const IntVec<T> half = shift_right<1>(exponent);
  return a * pow2n(half) * pow2n(exponent - half);
#endif
}

namespace native {
struct Add {
  template <class V>
  FASTNN_INLINE V operator()(V a, V b) const {
    return a + b;
  }
};
struct Max {
  template <class V>
  FASTNN_INLINE V operator()(V a, V b) const {
    return max(a, b);
  }
};
struct MaxNan {
  template <class V>
  FASTNN_INLINE V operator()(V a, V b) const {
    return max_nan(a, b);
  }
};
struct MinNan {
  template <class V>
  FASTNN_INLINE V operator()(V a, V b) const {
    return min_nan(a, b);
  }
};
template <int kDistance, class T, class Operation>
FASTNN_INLINE T reduce(Vec<T> a, Operation operation) {
  if constexpr (kDistance == 0) {
    return first_lane(a.v);
  } else {
    const Vec<T> partner(exchange<kDistance>(a.v));
    return reduce<kDistance / 2>(operation(a, partner), operation);
  }
}
}  // namespace native

template <class T>
FASTNN_INLINE T reduce_add(Vec<T> a) {
  return native::reduce<static_cast<int>(Vec<T>::kSize / 2)>(a, native::Add());
}
// Unspecified when a lane is NaN.
template <class T>
FASTNN_INLINE T reduce_max(Vec<T> a) {
  return native::reduce<static_cast<int>(Vec<T>::kSize / 2)>(a, native::Max());
}
template <class T>
FASTNN_INLINE T reduce_max_nan(Vec<T> a) {
  return native::reduce<static_cast<int>(Vec<T>::kSize / 2)>(a, native::MaxNan());
}
template <class T>
FASTNN_INLINE T reduce_min_nan(Vec<T> a) {
  return native::reduce<static_cast<int>(Vec<T>::kSize / 2)>(a, native::MinNan());
}

// Lane j of row i becomes lane i of row j, for a square of kSize x kSize.
FASTNN_INLINE void transpose(Vec<float> (&rows)[Vec<float>::kSize]) { native::transpose(rows); }
FASTNN_INLINE void transpose(Vec<double> (&rows)[Vec<double>::kSize]) { native::transpose(rows); }

// (a, b) become the even and the odd lanes of a followed by b.
template <class T>
FASTNN_INLINE void deinterleave(Vec<T>& a, Vec<T>& b) {
  native::deinterleave(a.v, b.v);
}
// The inverse: (a, b) become a[0] b[0] a[1] b[1] ...
template <class T>
FASTNN_INLINE void interleave(Vec<T>& a, Vec<T>& b) {
  native::interleave(a.v, b.v);
}
// Lanes kFirst, kFirst + 1, ... of a followed by b; 0 < kFirst < kSize.
template <int kFirst, class T>
FASTNN_INLINE Vec<T> lanes_from(Vec<T> a, Vec<T> b) {
  return Vec<T>(native::lanes_from<kFirst>(a.v, b.v));
}

// Into the first-level cache, to be read soon.
FASTNN_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

}  // namespace fastnn::FASTNN_ISA
