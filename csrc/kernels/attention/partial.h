// Attention over a part of the keys.
#pragma once

#include "kernels/attention/scores.h"

namespace fastnn::FASTNN_ISA {

template <class T>
int64_t padded(int64_t n) {
  return round_up(n, Vec<T>::kSize);
}

// What attention over some keys gives, relative to its own maximum: merged like numbers.
template <class T>
struct Partial {
  T* maxima;  // [rows]
  T* sums;
  T* outputs;  // [rows][padded value_width]

  static int64_t size(int64_t rows, int64_t value_width) {
    return round_up(padded<T>(rows) * 2 + rows * padded<T>(value_width), 16);
  }
  static Partial at(T* memory, int64_t rows) {
    return {memory, memory + padded<T>(rows), memory + 2 * padded<T>(rows)};
  }
  void clear(int64_t rows, int64_t value_width) const {
    fill(maxima, padded<T>(rows), -infinite<T>());
    fill(sums, padded<T>(rows), T(0));
    fill(outputs, rows * padded<T>(value_width), T(0));
  }
};

template <class T>
FASTNN_INLINE Vec<T> shift_of_maximum(Vec<T> maximum) {
  return select(abs(maximum) < Vec<T>(infinite<T>()), maximum, Vec<T>::zero());
}

// total += part.
template <class T>
void merge(const Partial<T>& total, const Partial<T>& part, int64_t rows, int64_t value_width) {
  constexpr int64_t kSize = Vec<T>::kSize;
  T keep[kSize], add[kSize];
  for (int64_t first = 0; first < rows; first += kSize) {
    const Vec<T> old = Vec<T>::load(total.maxima + first);
    const Vec<T> other = Vec<T>::load(part.maxima + first);
    const Vec<T> top = max(old, other), shift = shift_of_maximum(top);
    const Vec<T> keep_factor = exp(old - shift), add_factor = exp(other - shift);
    const Vec<T> sum = Vec<T>::load(total.sums + first) * keep_factor;
    fma(Vec<T>::load(part.sums + first), add_factor, sum).store(total.sums + first);
    top.store(total.maxima + first);
    keep_factor.store(keep);
    add_factor.store(add);
    for (int64_t r = first; r < min_of(first + kSize, rows); ++r) {
      T* const to = total.outputs + r * padded<T>(value_width);
      const T* const from = part.outputs + r * padded<T>(value_width);
      const Vec<T> k(keep[r - first]), a(add[r - first]);
      for (int64_t c = 0; c < value_width; c += kSize) {
        fma(Vec<T>::load(from + c), a, Vec<T>::load(to + c) * k).store(to + c);
      }
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
