// What the depthwise kernels that read planes where they are share: rows a vector at a time, and
// what each tap sees of them.
#pragma once

#include "kernels/conv/gather.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA {

// kSize columns of each remainder by the step, from `column` on. kMasked: zeros where they lie
// outside.
template <bool kMasked, int kStep, class T>
FASTNN_INLINE void load_phases(const T* row, int64_t column, int64_t width,
                               Vec<T> (&phases)[kStep]) {
  FASTNN_UNROLL
  for (int i = 0; i < kStep; ++i) {
    const int64_t first = column + i * Vec<T>::kSize;
    phases[i] = kMasked ? Vec<T>::load(row + first, lanes_mask<T>(-first, width - first))
                        : Vec<T>::load(row + first);
  }
  if constexpr (kStep == 2) deinterleave(phases[0], phases[1]);
}

// Lanes kFirst, kFirst + 1, ... of a followed by b.
template <int kFirst, class T>
FASTNN_INLINE Vec<T> window(Vec<T> a, Vec<T> b) {
  if constexpr (kFirst <= 0) {
    return a;
  } else if constexpr (kFirst >= Vec<T>::kSize) {
    return b;
  } else {
    return lanes_from<kFirst>(a, b);
  }
}

// What tap column kTap sees. In a plane of one vector that begins at tap 0's first column, and
// nothing follows it; else it ends with the last tap's, and `before` is what the last vector saw.
template <bool kOneVector, int kTaps, int kTap, int kStep, class T>
FASTNN_INLINE Vec<T> tap_lanes(const Vec<T> (&before)[kStep], const Vec<T> (&now)[kStep]) {
  constexpr int kSize = static_cast<int>(Vec<T>::kSize);
  if constexpr (kOneVector) {
    return window<kTap / kStep>(now[kTap % kStep], Vec<T>::zero());
  } else {
    constexpr int kBack = kTaps - 1 - kTap, kPhase = kStep - 1 - kBack % kStep;
    return window<kSize - kBack / kStep>(before[kPhase], now[kPhase]);
  }
}

}  // namespace fastnn::FASTNN_ISA
