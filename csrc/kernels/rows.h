// Loops over a contiguous run of n elements, a vector at a time.
#pragma once

#include "simd/vec.h"

// Goes between the parameters and the body of a lambda that must not become a call.
#define FASTNN_INLINE_LAMBDA __attribute__((always_inline))

namespace fastnn::FASTNN_ISA {

// Elements a part of a parallel loop: about 10 us of work for a few operations an element.
inline constexpr int64_t kPartElements = int64_t{1} << 15;
// Rows (or other items) of `size` elements a part.
FASTNN_INLINE int64_t rows_a_part(int64_t size) {
  return size < kPartElements ? kPartElements / (size + 1) + 1 : 1;
}

// Which lanes of a vector count: all, or the first n. Memory past them is not touched.
template <class T>
struct AllLanes {
  FASTNN_INLINE Vec<T> load(const T* p) const { return Vec<T>::load(p); }
  FASTNN_INLINE Vec<T> load(const T* p, T /*fill*/) const { return Vec<T>::load(p); }
  FASTNN_INLINE void store(Vec<T> v, T* p) const { v.store(p); }
};
template <class T>
struct FirstLanes {
  int64_t n;
  FASTNN_INLINE Vec<T> load(const T* p) const { return Vec<T>::load(p, n); }
  FASTNN_INLINE Vec<T> load(const T* p, T fill) const { return Vec<T>::load(p, n, fill); }
  FASTNN_INLINE void store(Vec<T> v, T* p) const { v.store(p, n); }
};

// f(i, lanes) for every vector of the run; i is its first element.
template <class T, class F>
FASTNN_INLINE void for_vectors(int64_t n, const F& f) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) f(i, AllLanes<T>());
  if (i < n) f(i, FirstLanes<T>{n - i});
}

template <int kIndex>
struct Chain {
  static constexpr int index = kIndex;
};
inline constexpr int kChains = 4;

// f(i, lanes, chain): the same with the number of the accumulator to use, so that four sums (or
// maxima) advance at once. Which element goes where depends on n alone.
template <class T, class F>
FASTNN_INLINE void for_vectors_in_chains(int64_t n, const F& f) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const AllLanes<T> all{};
  int64_t i = 0;
  for (; i + kChains * kSize <= n; i += kChains * kSize) {
    f(i, all, Chain<0>());
    f(i + kSize, all, Chain<1>());
    f(i + 2 * kSize, all, Chain<2>());
    f(i + 3 * kSize, all, Chain<3>());
  }
  if (i + kSize <= n) {
    f(i, all, Chain<0>());
    i += kSize;
  }
  if (i + kSize <= n) {
    f(i, all, Chain<1>());
    i += kSize;
  }
  if (i + kSize <= n) {
    f(i, all, Chain<2>());
    i += kSize;
  }
  if (i < n) f(i, FirstLanes<T>{n - i}, Chain<3>());
}

// Four accumulators that end up as one number.
template <class T>
struct Chains {
  Vec<T> v[kChains];
  explicit FASTNN_INLINE Chains(T start) : v{start, start, start, start} {}
  template <int kIndex>
  FASTNN_INLINE Vec<T>& operator[](Chain<kIndex>) {
    return v[kIndex];
  }
  FASTNN_INLINE T sum() const { return reduce_add((v[0] + v[1]) + (v[2] + v[3])); }
  // Unspecified if there was a NaN.
  FASTNN_INLINE T largest() const { return reduce_max(max(max(v[0], v[1]), max(v[2], v[3]))); }
};

}  // namespace fastnn::FASTNN_ISA
