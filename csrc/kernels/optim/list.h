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

// For optimizers with two states a parameter: step(array, parameter, gradient, first, second) gives
// the new parameter and updates the states.
template <class T, class Args, class Step>
FASTNN_INLINE void step_with_two_states(const Args& args, const Step& step) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> decay = constant<T>(args.weight_decay);
    T* param = array.param;
    const T* grad = array.grad;
    T *first = array.state[0], *second = array.state[1];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> p = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
      Vec<T> a = load_part(first + i, count), b = load_part(second + i, count);
      const Vec<T> stepped = step(array, p, g, a, b);
      store_part(first + i, count, a);
      store_part(second + i, count, b);
      store_part(param + i, count, stepped);
    });
  });
}

}  // namespace fastnn::FASTNN_ISA
