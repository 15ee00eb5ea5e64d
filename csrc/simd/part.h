// Full vectors and the partial one at the end of an array, in one body of code:
// `count` is FullVector() or the number of elements that are left.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

struct FullVector {};

template <class T>
FASTNN_INLINE Vec<T> load_part(const T* p, FullVector) {
  return Vec<T>::load(p);
}
template <class T>
FASTNN_INLINE Vec<T> load_part(const T* p, int64_t n) {
  return Vec<T>::load(p, n);
}
template <class T>
FASTNN_INLINE void store_part(T* p, FullVector, Vec<T> v) {
  v.store(p);
}
template <class T>
FASTNN_INLINE void store_part(T* p, int64_t n, Vec<T> v) {
  v.store(p, n);
}

// The lanes that `count` covers.
template <class T>
FASTNN_INLINE Mask<T> part_mask(FullVector) {
  return first_n_mask<T>(Vec<T>::kSize);
}
template <class T>
FASTNN_INLINE Mask<T> part_mask(int64_t n) {
  return first_n_mask<T>(n);
}

// step(i, count) for every vector of [begin, end).
template <class T, class Step>
FASTNN_INLINE void for_each_vector(int64_t begin, int64_t end, const Step& step) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t i = begin;
  for (; i + kSize <= end; i += kSize) step(i, FullVector());
  if (i < end) step(i, end - i);
}

}  // namespace fastnn::FASTNN_ISA
