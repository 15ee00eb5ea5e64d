// The maximum of a row and the sum of its exponentials: what softmax, logsumexp and attention
// have in common. A NaN in the row makes every sum NaN, so a maximum may pass over it.
#pragma once

#include "kernels/rows.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {

template <class T>
FASTNN_INLINE T infinity() {
  return static_cast<T>(__builtin_inf());
}

// What is subtracted before exp: the maximum, or 0 where that is infinite (or NaN).
template <class T>
FASTNN_INLINE Vec<T> shift_of(Vec<T> max) {
  return select(abs(max) < infinity<T>(), max, Vec<T>::zero());
}
template <class T>
FASTNN_INLINE T shift_of(T max) {
  return max - max == 0 ? max : 0;
}

// -inf for an empty row.
template <class T>
T row_max(const T* x, int64_t n) {
  Chains<T> chains(-infinity<T>());
  for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
    chains[c] = max(lanes.load(x + i, -infinity<T>()), chains[c]);
  });
  return chains.largest();
}

// The sum of exp(x - shift).
template <class T>
T exp_sum(const T* x, int64_t n, T shift) {
  Chains<T> chains(0);
  for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
    chains[c] += exp(lanes.load(x + i, -infinity<T>()) - shift);
  });
  return chains.sum();
}

// The same, with y = exp(x - shift); y may be x.
template <class T>
T exp_sum_store(const T* x, T* y, int64_t n, T shift) {
  Chains<T> chains(0);
  for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
    const Vec<T> e = exp(lanes.load(x + i, -infinity<T>()) - shift);
    chains[c] += e;
    lanes.store(e, y + i);
  });
  return chains.sum();
}

}  // namespace fastnn::FASTNN_ISA
