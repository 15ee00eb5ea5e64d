// Runs one step of an optimizer over a list of arrays.
#pragma once

#include "ops/optim.h"
#include "runtime/parallel.h"
#include "simd/part.h"

namespace fastnn::FASTNN_ISA {

// Calls f(array, begin, end) for every chunk, over all threads.
template <class T, class F>
FASTNN_INLINE void for_each_chunk(const OptimList<T>& list, const F& f) {
  parallel_for(list.parts, 1, [&](int64_t part, int64_t, int) {
    for (int64_t c = list.first_chunk[part]; c < list.first_chunk[part + 1]; ++c) {
      const OptimChunk& chunk = list.chunks[c];
      f(list.arrays[chunk.array], chunk.begin, chunk.end);
    }
  });
}

// The gradient, negated where `sign` is -1, plus weight_decay * param.
template <class T>
FASTNN_INLINE Vec<T> decayed_gradient(Vec<T> grad, Vec<T> param, Vec<T> sign, Vec<T> decay) {
  return fma(decay, param, sign * grad);
}

template <class T>
FASTNN_INLINE Vec<T> constant(double value) {
  return Vec<T>(static_cast<T>(value));
}

}  // namespace fastnn::FASTNN_ISA
