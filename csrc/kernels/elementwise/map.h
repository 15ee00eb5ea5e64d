// Applies a function of vectors to whole arrays, over all threads.
#pragma once

#include "kernels/rows.h"
#include "runtime/parallel.h"
#include "simd/stream.h"

namespace fastnn::FASTNN_ISA {

// Elements a part: enough work to pay for handing it to another thread.
inline constexpr int64_t kMapGrain = int64_t{1} << 15;

// Vectors side by side, so that one's instructions fill the time that another's wait.
inline constexpr int kMapVectors = 4;

// y[i] = f(x[i]...) for kMapVectors vectors; y may be one of the inputs.
template <class T, class F, class Store, class... Inputs>
FASTNN_INLINE void map_vectors(T* y, const F& f, const Store& store_vector, const Inputs*... x) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> results[kMapVectors];
  FASTNN_UNROLL
  for (int v = 0; v < kMapVectors; ++v) results[v] = f(Vec<T>::load(x + v * kSize)...);
  FASTNN_UNROLL
  for (int v = 0; v < kMapVectors; ++v) store_vector(y + v * kSize, results[v]);
}

// y[i] = f(x[i]...) for i < n on the calling thread; f maps one Vec<T> an input to a Vec<T>. With
// `past_cache` y is none of the inputs and is not kept in the caches; a stream_fence() must follow.
template <class T, class F, class... Inputs>
FASTNN_INLINE void map_part(bool past_cache, int64_t n, T* y, const F& f, const Inputs*... x) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int64_t kBytes = kSize * static_cast<int64_t>(sizeof(T));
  // A store across two cache lines costs two: the first stops where y is aligned.
  int64_t i = 0;
  if (const auto misaligned = reinterpret_cast<uintptr_t>(y) % kBytes;
      misaligned != 0 && n > kSize) {
    i = (kBytes - static_cast<int64_t>(misaligned)) / static_cast<int64_t>(sizeof(T));
    f(Vec<T>::load(x, i)...).store(y, i);
  }
  constexpr int64_t kStep = kMapVectors * kSize;
  if (past_cache) {
    for (; i + kStep <= n; i += kStep) {
      map_vectors(y + i, f, [](T* p, Vec<T> v) FASTNN_INLINE_LAMBDA { stream(p, v); }, (x + i)...);
    }
  }
  for (; i + kStep <= n; i += kStep) {
    map_vectors(y + i, f, [](T* p, Vec<T> v) FASTNN_INLINE_LAMBDA { v.store(p); }, (x + i)...);
  }
  for (; i + kSize <= n; i += kSize) f(Vec<T>::load(x + i)...).store(y + i);
  if (i < n) f(Vec<T>::load(x + i, n - i)...).store(y + i, n - i);
}

template <class T, class F, class... Inputs>
FASTNN_INLINE void map_serial(int64_t n, T* y, const F& f, const Inputs*... x) {
  map_part(false, n, y, f, x...);
}

// The same over all threads. y may be one of the inputs.
template <class T, class F, class... Inputs>
FASTNN_INLINE void map(int64_t n, T* y, const F& f, const Inputs*... x) {
  constexpr uintptr_t kBytes = Vec<T>::kSize * sizeof(T);
  // Loads across cache lines and stores past the caches together are slower than neither.
  const auto aligned_alike = [y](const void* p) {
    return p != y &&
           (reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(y)) % kBytes == 0;
  };
  const bool past_cache =
      exceeds_cache(n * static_cast<int64_t>(sizeof(T))) && (... && aligned_alike(x));
  parallel_for(n, kMapGrain, [=](int64_t begin, int64_t end, int) {
    map_part(past_cache, end - begin, y + begin, f, (x + begin)...);
    if (past_cache) stream_fence();
  });
}

// Rows of `inner` elements a part of about kMapGrain elements holds.
inline int64_t rows_per_part(int64_t inner) {
  return inner < kMapGrain ? kMapGrain / (inner > 0 ? inner : 1) : 1;
}

}  // namespace fastnn::FASTNN_ISA
