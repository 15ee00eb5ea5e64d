// Stores that pass the caches by, for results larger than the last of them: the line is not read
// before it is written, and nothing else is driven out.
#pragma once

#include "runtime/cache.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// Whether a result of so many bytes should be written so.
FASTNN_INLINE bool exceeds_cache(int64_t bytes) { return bytes > cache_sizes().l3; }

// p is aligned to the vector. Others see the stores after stream_fence().
#if defined(FASTNN_ISA_AVX512)
FASTNN_INLINE void stream(float* p, Vec<float> v) { _mm512_stream_ps(p, v.v); }
FASTNN_INLINE void stream(double* p, Vec<double> v) { _mm512_stream_pd(p, v.v); }
FASTNN_INLINE void stream_fence() { _mm_sfence(); }
#elif defined(FASTNN_ISA_AVX2)
FASTNN_INLINE void stream(float* p, Vec<float> v) { _mm256_stream_ps(p, v.v); }
FASTNN_INLINE void stream(double* p, Vec<double> v) { _mm256_stream_pd(p, v.v); }
FASTNN_INLINE void stream_fence() { _mm_sfence(); }
#else
template <class T>
FASTNN_INLINE void stream(T* p, Vec<T> v) {
  v.store(p);
}
FASTNN_INLINE void stream_fence() {}
#endif

}  // namespace fastnn::FASTNN_ISA
