// Applies a function of vectors to whole arrays, over all threads.
#pragma once

#include "runtime/parallel.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// Elements a part: 64 KiB of floats, above which a second thread pays for its start.
inline constexpr int64_t kMapGrain = int64_t{1} << 14;

// y[i] = f(x[i]...), element by element; f maps one Vec<T> an input to a Vec<T>.
template <class T, class F, class... Inputs>
FASTNN_INLINE void map(int64_t n, T* y, const F& f, const Inputs*... x) {
  parallel_for(n, kMapGrain, [=](int64_t begin, int64_t end, int) {
    constexpr int64_t kSize = Vec<T>::kSize;
    int64_t i = begin;
    for (; i + kSize <= end; i += kSize) f(Vec<T>::load(x + i)...).store(y + i);
    if (i < end) f(Vec<T>::load(x + i, end - i)...).store(y + i, end - i);
  });
}

}  // namespace fastnn::FASTNN_ISA
