// The largest element of windows and where it is, by plain search.
#pragma once

#include "kernels/pool/segment.h"

namespace fastnn::FASTNN_ISA::pool {

// The first of equals wins, the last of NaNs. A window without an element gives -inf and index 0.
template <class T>
FASTNN_INLINE T search_window(const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width,
                              const T* plane, const Place& o, int64_t& index) {
  T best = negative_infinity<T>();
  index = -1;
  for_each_row(depth, height, width, o, [&](int64_t at, int64_t n) {
    for (int64_t k = 0; k < n; ++k, at += width.dilation) {
      const T x = plane[at];
      if (x > best || x != x || index < 0) {
        best = x;
        index = at;
      }
    }
  });
  return best;
}

// indices may be null.
template <class T>
void search_windows(int64_t planes, const PoolAxis& depth, const PoolAxis& height,
                    const PoolAxis& width, const T* x, T* y, int64_t* indices) {
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t outputs = planes * depth.out * height.out * width.out;
  const int64_t grain = larger(1, kPartWork / 8 / (4 + most_taps(depth, height, width)));
  parallel_for(outputs, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Place o(i, depth, height, width);
      int64_t index;
      y[i] = search_window(depth, height, width, x + o.plane * inputs, o, index);
      if (indices != nullptr) indices[i] = larger(index, 0);
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
