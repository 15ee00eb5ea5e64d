// Taps in memory, a byte each, and as lanes.
#pragma once

#include "kernels/pool/window.h"

namespace fastnn::FASTNN_ISA::pool {

template <class T>
struct TapBytes {
  static constexpr int64_t kSize = Vec<T>::kSize;
  typedef uint8_t Bytes __attribute__((vector_size(kSize)));

  // Stores the first n; those beyond kNoTap become it. Memory up to `limit` may be written.
  static FASTNN_INLINE void store(Vec<T> taps, uint8_t* to, int64_t n, const uint8_t* limit) {
    const IntVec<T> whole = round_to_int(min(taps, Vec<T>(static_cast<T>(kNoTap))));
    const Bytes bytes = __builtin_convertvector(whole.v, Bytes);
    if (n >= kSize || to + kSize <= limit) {
      __builtin_memcpy(to, &bytes, kSize);
    } else {
      alignas(kSize) uint8_t lanes[kSize];
      __builtin_memcpy(lanes, &bytes, kSize);
      for (int64_t i = 0; i < n; ++i) to[i] = lanes[i];
    }
  }

  // The first n; the others are anything. Memory up to `end` may be read.
  static FASTNN_INLINE IntVec<T> load(const uint8_t* from, int64_t n, const uint8_t* end) {
    Bytes bytes;
    if (n >= kSize || from + kSize <= end) {
      __builtin_memcpy(&bytes, from, kSize);
    } else {
      alignas(kSize) uint8_t lanes[kSize];
      for (int64_t i = 0; i < kSize; ++i) lanes[i] = i < n ? from[i] : uint8_t{0};
      __builtin_memcpy(&bytes, lanes, kSize);
    }
    return IntVec<T>(__builtin_convertvector(bytes, typename IntVec<T>::Native));
  }
};

}  // namespace fastnn::FASTNN_ISA::pool
