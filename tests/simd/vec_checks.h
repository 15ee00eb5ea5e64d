// Checks of Vec<T>: tails, masks, NaN rules, integers, reductions, transposition. Every operation
// is compared with scalar code, over all pairs of some awkward values.
#pragma once

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

inline int vec_failures = 0;

#define FASTNN_CHECK(condition)                                               \
  do {                                                                        \
    if (!(condition) && ++vec_failures <= 20)                                 \
      printf("%s:%d: %s (%d bytes a lane)\n", __FILE__, __LINE__, #condition, \
             static_cast<int>(sizeof(T)));                                    \
  } while (0)

// Same bits, where every NaN counts as the same.
template <class T>
bool same(T a, T b) {
  return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof(T)) == 0;
}
template <class T>
T lane(Vec<T> a, int64_t i) {
  T lanes[Vec<T>::kSize];
  a.store(lanes);
  return lanes[i];
}
inline float scalar_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double scalar_fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
template <class T>
typename IntVec<T>::Lane lane(IntVec<T> a, int64_t i) {
  typename IntVec<T>::Lane lanes[Vec<T>::kSize];
  a.store(lanes);
  return lanes[i];
}
template <class T>
bool lane(Mask<T> mask, int64_t i) {
  return lane(select(mask, Vec<T>(T(1)), Vec<T>(T(0))), i) == T(1);
}

// Two pages of which the second cannot be touched: what lies before `end` may be.
template <class T>
struct GuardedPage {
  char* pages;
  size_t page_size;
  T* end;
  GuardedPage() {
    page_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* p =
        mmap(nullptr, 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages = static_cast<char*>(p);
    mprotect(pages + page_size, page_size, PROT_NONE);
    end = reinterpret_cast<T*>(pages + page_size);
  }
  ~GuardedPage() { munmap(pages, 2 * page_size); }
};

template <class T>
void check_tails() {
  using V = Vec<T>;
  GuardedPage<T> page;
  for (int64_t n = 0; n <= V::kSize + 2; ++n) {
    const int64_t used = n < V::kSize ? n : V::kSize;
    T* p = page.end - used;
    for (int64_t i = -V::kSize; i < used; ++i) p[i] = static_cast<T>(i + 1);
    const typename V::Mask mask = first_n_mask<T>(n);
    FASTNN_CHECK(any(mask) == (used > 0));
    FASTNN_CHECK(all(mask) == (used == V::kSize));
    for (int64_t i = 0; i < V::kSize; ++i) {
      FASTNN_CHECK(lane(mask, i) == (i < n));
      FASTNN_CHECK(lane(V::load(p, n), i) == (i < n ? p[i] : T(0)));
      FASTNN_CHECK(lane(V::load(p, mask), i) == (i < n ? p[i] : T(0)));
      FASTNN_CHECK(lane(V::load(p, n, T(-7)), i) == (i < n ? p[i] : T(-7)));
    }
    V(T(50)).store(p, n);
    for (int64_t i = -V::kSize; i < used; ++i) {
      FASTNN_CHECK(p[i] == (i < 0 ? static_cast<T>(i + 1) : T(50)));
    }
    V(T(60)).store(p, mask);
    for (int64_t i = -V::kSize; i < used; ++i) {
      FASTNN_CHECK(p[i] == (i < 0 ? static_cast<T>(i + 1) : T(60)));
    }
    // With room behind: what lies past n stays.
    T room[3 * V::kSize];
    for (T& x : room) x = T(3);
    V(T(4)).store(room + V::kSize, n);
    V(T(4)).store(room + V::kSize, mask);
    for (int64_t i = 0; i < 3 * V::kSize; ++i) {
      FASTNN_CHECK(room[i] == (i >= V::kSize && i < V::kSize + used ? T(4) : T(3)));
    }
  }
  FASTNN_CHECK(!any(first_n_mask<T>(-5)));
  FASTNN_CHECK(all(first_n_mask<T>(INT64_MAX)));
  T* every_third = page.end - (3 * V::kSize - 2);
  for (int64_t i = 0; i < 3 * V::kSize - 2; ++i) every_third[i] = static_cast<T>(i);
  for (int64_t i = 0; i < V::kSize; ++i) {
    FASTNN_CHECK(lane(V::load_strided(every_third, 3), i) == static_cast<T>(3 * i));
    FASTNN_CHECK(lane(V::load_strided(page.end - 1, -3), i) ==
                 static_cast<T>(3 * (V::kSize - 1 - i)));
    FASTNN_CHECK(lane(V::load_strided(page.end - 1, 0), i) == page.end[-1]);
  }
}

template <class T>
void check_arithmetic() {
  using V = Vec<T>;
  const T infinite = static_cast<T>(INFINITY), nan = static_cast<T>(NAN);
  const T tiny = sizeof(T) == 4 ? static_cast<T>(1e-45) : static_cast<T>(5e-324);
  const T values[] = {T(0),  T(-0.0),  T(1),      T(-1), T(2.5), T(-3.5), tiny,
                      -tiny, infinite, -infinite, nan,   -nan,   T(1e30), T(0.1)};
  int64_t index = 0;
  for (const T x : values) {
    for (const T y : values) {
      // x and y in one lane only: lanes must not mix.
      const int64_t at = index++ % V::kSize;
      T xs[V::kSize] = {}, ys[V::kSize] = {};
      xs[at] = x;
      ys[at] = y;
      const V a = V::load(xs), b = V::load(ys), c(T(3));
      FASTNN_CHECK(same(lane(a + b, at), x + y));
      FASTNN_CHECK(same(lane(a - b, at), x - y));
      FASTNN_CHECK(same(lane(a * b, at), x * y));
      FASTNN_CHECK(same(lane(a / b, at), x / y));
      FASTNN_CHECK(same(lane(-a, at), -x));
      FASTNN_CHECK(same(lane(sqrt(a), at), static_cast<T>(::sqrt(static_cast<double>(x)))));
      FASTNN_CHECK(same(lane(abs(a), at), static_cast<T>(::fabs(static_cast<double>(x)))));
#ifdef FASTNN_ISA_GENERIC
      FASTNN_CHECK(same(lane(fma(a, b, c), at), x * y + T(3)));
      FASTNN_CHECK(same(lane(fnma(a, b, c), at), T(3) - x * y));
#else
      FASTNN_CHECK(same(lane(fma(a, b, c), at), scalar_fma(x, y, T(3))));
      FASTNN_CHECK(same(lane(fnma(a, b, c), at), scalar_fma(-x, y, T(3))));
#endif
      FASTNN_CHECK(same(lane(min(a, b), at), x < y ? x : y));
      FASTNN_CHECK(same(lane(max(a, b), at), x > y ? x : y));
      FASTNN_CHECK(same(lane(min_nan(a, b), at), isnan(x) || x < y ? x : y));
      FASTNN_CHECK(same(lane(max_nan(a, b), at), isnan(x) || x > y ? x : y));
      FASTNN_CHECK(lane(a == b, at) == (x == y));
      FASTNN_CHECK(lane(a != b, at) == (x != y));
      FASTNN_CHECK(lane(a < b, at) == (x < y));
      FASTNN_CHECK(lane(a <= b, at) == (x <= y));
      FASTNN_CHECK(lane(a > b, at) == (x > y));
      FASTNN_CHECK(lane(a >= b, at) == (x >= y));
      FASTNN_CHECK(lane(is_nan(a), at) == (isnan(x) != 0));
      FASTNN_CHECK(any(is_nan(a)) == (isnan(x) != 0));
      FASTNN_CHECK(all(~is_nan(a)) == (isnan(x) == 0));
      FASTNN_CHECK(lane((a < b) & (b == b), at) == (x < y));
      FASTNN_CHECK(lane((a < b) | (b < a), at) == (x < y || y < x));
      FASTNN_CHECK(lane((a < b) ^ (a <= b), at) == (x == y));
      FASTNN_CHECK(same(lane(select(a < b, a, b), at), x < y ? x : y));
      FASTNN_CHECK(signbit(lane(copysign(a, b), at)) == signbit(y));
      FASTNN_CHECK(same(lane(abs(copysign(a, b)), at), lane(abs(a), at)));
      FASTNN_CHECK(same(lane(bit_xor(bit_xor(a, b), b), at), x));
      FASTNN_CHECK(same(lane(bit_or(bit_and(a, b), a), at), x));
      FASTNN_CHECK(isnan(reduce_max_nan(max_nan(a, b))) == (isnan(x) || isnan(y)));
      FASTNN_CHECK(isnan(reduce_min_nan(min_nan(a, b))) == (isnan(x) || isnan(y)));
    }
  }
}

template <class T>
void check_integers() {
  using V = Vec<T>;
  using Int = IntVec<T>;
  using Lane = typename Int::Lane;
  const T limit = sizeof(T) == 4 ? T(1 << 22) : static_cast<T>(int64_t{1} << 51);
  const T values[] = {T(0),       T(0.5),  T(1.5),      T(2.5), T(-0.5), T(-1.5),       T(-2.5),
                      T(0.49999), T(7.75), T(-1000.25), limit,  -limit,  limit - T(1.5)};
  for (const T x : values) {
    const Lane expected = static_cast<Lane>(::nearbyint(static_cast<double>(x)));
    FASTNN_CHECK(lane(round_to_int(V(x)), V::kSize - 1) == expected);
    FASTNN_CHECK(lane(to_float(Int(expected)), V::kSize - 1) == static_cast<T>(expected));
    const Int a(expected), b(Lane{-3});
    FASTNN_CHECK(lane(a + b, 0) == expected - 3);
    FASTNN_CHECK(lane(a - b, 0) == expected + 3);
    FASTNN_CHECK(lane(a & b, 0) == (expected & -3));
    FASTNN_CHECK(lane(a | b, 0) == (expected | -3));
    FASTNN_CHECK(lane(a ^ b, 0) == (expected ^ -3));
    FASTNN_CHECK(lane(shift_left<3>(a), 0) == static_cast<Lane>(expected * 8));
    FASTNN_CHECK(lane(shift_right<3>(a), 0) == expected >> 3);
    FASTNN_CHECK(lane(a == b, 0) == (expected == -3));
    FASTNN_CHECK(lane(a > b, 0) == (expected > -3));
    FASTNN_CHECK(lane(a < b, 0) == (expected < -3));
    FASTNN_CHECK(lane(select(a > b, a, b), 0) == (expected > -3 ? expected : -3));
  }
  for (int64_t i = 0; i < V::kSize; ++i) FASTNN_CHECK(lane(Int::iota(), i) == i);
  FASTNN_CHECK(lane(bit_cast_to_float(bit_cast_to_int(V(T(1.25)))), 0) == T(1.25));
  const Lane lowest_lane = lane(sign_bit<T>(), 0);
  FASTNN_CHECK(lane(Int(lowest_lane) - Int(Lane{1}), 0) == ~lowest_lane);
  FASTNN_CHECK(lane(Int(static_cast<Lane>(~lowest_lane)) + Int(Lane{1}), 0) == lowest_lane);
  FASTNN_CHECK(lane(shift_right<2>(Int(lowest_lane)), 0) == lowest_lane >> 2);
  const int least = sizeof(T) == 4 ? -126 : -1022, greatest = sizeof(T) == 4 ? 127 : 1023;
  for (int n = least; n <= greatest; ++n) {
    FASTNN_CHECK(lane(pow2n(Int(Lane{n})), 0) == static_cast<T>(::ldexp(1.0, n)));
  }
  const int lowest = sizeof(T) == 4 ? -160 : -1100, highest = sizeof(T) == 4 ? 130 : 1030;
  for (int n = lowest; n <= highest; ++n) {
    const V scaled = scale_by_pow2(V(T(1.375)), V(static_cast<T>(n)));
    FASTNN_CHECK(lane(scaled, 0) == static_cast<T>(::ldexp(1.375, n)));
  }
}

template <class T>
void check_reductions_and_transpose() {
  using V = Vec<T>;
  T lanes[V::kSize], tree[V::kSize];
  for (int64_t i = 0; i < V::kSize; ++i) {
    lanes[i] = tree[i] = static_cast<T>(::sin(static_cast<double>(i) * 1.7 + 0.3));
  }
  const V a = V::load(lanes);
  for (int64_t half = V::kSize / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) tree[i] += tree[i + half];
  }
  FASTNN_CHECK(reduce_add(a) == tree[0]);
  for (int64_t i = 0; i < V::kSize; ++i) {
    const typename V::Mask here = first_n_mask<T>(i + 1) ^ first_n_mask<T>(i);
    FASTNN_CHECK(reduce_max(select(here, V(T(9)), a)) == T(9));
    FASTNN_CHECK(reduce_max_nan(select(here, V(T(9)), a)) == T(9));
    FASTNN_CHECK(reduce_min_nan(select(here, V(T(-9)), a)) == T(-9));
    FASTNN_CHECK(isnan(reduce_max_nan(select(here, V(static_cast<T>(NAN)), a))));
    FASTNN_CHECK(isnan(reduce_min_nan(select(here, V(static_cast<T>(NAN)), a))));
  }
  V rows[V::kSize];
  for (int64_t i = 0; i < V::kSize; ++i) {
    for (int64_t j = 0; j < V::kSize; ++j) lanes[j] = static_cast<T>(100 * i + j);
    rows[i] = V::load(lanes);
  }
  transpose(rows);
  for (int64_t i = 0; i < V::kSize; ++i) {
    for (int64_t j = 0; j < V::kSize; ++j) {
      FASTNN_CHECK(lane(rows[i], j) == static_cast<T>(100 * j + i));
    }
  }
}

// Lane i of a is i, of b kSize + i.
template <class T>
void check_permutations() {
  using V = Vec<T>;
  constexpr int64_t kSize = V::kSize;
  T lanes[2 * kSize];
  for (int64_t i = 0; i < 2 * kSize; ++i) lanes[i] = static_cast<T>(i);
  const V a = V::load(lanes), b = V::load(lanes + kSize);
  V even = a, odd = b;
  deinterleave(even, odd);
  const V second = lanes_from<1>(a, b), last = lanes_from<kSize - 1>(a, b);
  for (int64_t i = 0; i < kSize; ++i) {
    FASTNN_CHECK(lane(even, i) == static_cast<T>(2 * i));
    FASTNN_CHECK(lane(odd, i) == static_cast<T>(2 * i + 1));
    FASTNN_CHECK(lane(second, i) == static_cast<T>(1 + i));
    FASTNN_CHECK(lane(last, i) == static_cast<T>(kSize - 1 + i));
  }
  interleave(even, odd);
  for (int64_t i = 0; i < kSize; ++i) {
    FASTNN_CHECK(lane(even, i) == static_cast<T>(i));
    FASTNN_CHECK(lane(odd, i) == static_cast<T>(kSize + i));
  }
}

template <class T>
void check_vec() {
  check_tails<T>();
  check_arithmetic<T>();
  check_integers<T>();
  check_reductions_and_transpose<T>();
  check_permutations<T>();
}

}  // namespace fastnn::FASTNN_ISA
