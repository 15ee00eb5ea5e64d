// A number for each output column of a sliding window, for rows of any length in bounded memory.
#pragma once

#include "kernels/pool/window.h"

namespace fastnn::FASTNN_ISA::pool {

// Away from the borders all columns are alike. A long row keeps its two ends, each long enough for
// the border, a tile's worth of columns, and a border's length again.
template <class T>
struct ColumnTable {
  static constexpr int64_t kBorder = kMaxSlidingExtent + 32;  // outputs that may touch a border
  static constexpr int64_t kRange = kTileColumns + kBorder;   // outputs that are read together
  static constexpr int64_t kEnd = kRange + 2 * kBorder;

  T* values;
  int64_t outputs;

  static int64_t elements(int64_t outputs) { return smaller(outputs, 2 * kEnd) + Vec<T>::kSize; }

  // number(o) for each output o; the last vector is filled up with `fill`.
  template <class F>
  void prepare(T* scratch, int64_t width, T fill, const F& number) {
    values = scratch;
    outputs = width;
    const int64_t held = smaller(outputs, 2 * kEnd), left_out = outputs - held;
    for (int64_t i = 0; i < held; ++i) values[i] = number(i < kEnd ? i : i + left_out);
    for (int64_t i = 0; i < Vec<T>::kSize; ++i) values[held + i] = fill;
  }

  // The row `rows` times, starts `pitch` apart, with `fill` in the gaps. In all at most 2 * kEnd.
  void repeat(int64_t pitch, int64_t rows, T fill) {
    if (pitch == outputs && rows == 1) return;
    for (int64_t i = outputs; i < pitch; ++i) values[i] = fill;
    outputs = pitch * rows;
    for (int64_t held = pitch; held < outputs;) {
      const int64_t n = smaller(held, outputs - held);
      __builtin_memcpy(values + held, values, static_cast<size_t>(n) * sizeof(T));
      held += n;
    }
    for (int64_t i = 0; i < Vec<T>::kSize; ++i) values[outputs + i] = fill;
  }

  // The numbers of outputs o, o + 1, ... up to kRange of them.
  FASTNN_INLINE const T* at(int64_t o) const {
    if (outputs <= 2 * kEnd || o < kBorder) return values + o;
    if (o + kRange + kBorder <= outputs) return values + kBorder;
    return values + (o - (outputs - 2 * kEnd));
  }
};

}  // namespace fastnn::FASTNN_ISA::pool
