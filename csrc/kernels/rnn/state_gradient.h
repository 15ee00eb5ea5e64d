// Backward: what reaches the states before a step through its recurrent product.
#pragma once

#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {

// grad_h (rows, output) += d (rows, depth) W_hh, in rows of a step and units of h. W_hh is in
// groups of columns, all of its rows deep.
template <class T>
struct StateGradient {
  const T* weights;
  int64_t depth, d_stride;
  T* grad_h;
  int64_t output;

  // d and the rows of grad_h begin at the first of `rows`. Every block of weights is read once.
  __attribute__((noinline)) void add(const T* d, Range rows, Range units, T* packed) const {
    const int64_t count = rows.end - rows.begin, panel = panel_rows(count);
    const DenseOperand<T> a{d, d_stride, 1};
    const RowPanels<T> panels = count <= kRowsInPlace
                                    ? a.a_block(nullptr, 0, count, panel, 0, depth)
                                    : a.a_panels(packed, 0, count, panel, 0, depth);
    const int64_t width = tile_vectors(static_cast<int>(panel)) * Vec<T>::kSize;
    for (int64_t unit = units.begin; unit < units.end; unit += width) {
      for (int64_t p = 0; p < depth; p += kDepthBlock<T>) {
        const RowPanels<T> block = panels.packed
                                       ? RowPanels<T>{panels.data, panels.row_stride, p}
                                       : RowPanels<T>{panels.data + p, d_stride, 0, false};
        for (int64_t i = 0; i < count; i += panel) {
          const int64_t height = min_of(panel, count - i);
          run_tile<T>(static_cast<int>(height),
                      {min_of(kDepthBlock<T>, depth - p), block.panel(i, height),
                       weights + unit * depth + p * kGroup<T>, kGroup<T>, kGroup<T> * depth,
                       grad_h + (rows.begin + i) * output + unit, output,
                       min_of(width, units.end - unit), true});
        }
      }
    }
  }

  // The same for a single sequence.
  __attribute__((noinline)) void add_row(const T* d, Range units, ProjectionAhead<T>& ahead) const {
    constexpr int64_t kWidth = kMaxRowGroups * kGroup<T>, kSize = Vec<T>::kSize;
    for (int64_t unit = units.begin; unit < units.end; unit += kWidth) {
      alignas(64) T sums[kWidth];
      T* const target = grad_h + unit;
      const int64_t count = min_of(kWidth, units.end - unit);
      for (int64_t j = 0; j < round_up(count, kGroup<T>); j += kSize) {
        (j < count ? Vec<T>::load(target + j, count - j) : Vec<T>::zero()).store(sums + j);
      }
      ahead.run_with(ceil_div(count, kGroup<T>),
                     {d, depth, weights + unit * depth, kGroup<T> * depth, sums, true});
      for (int64_t j = 0; j < count; j += kSize) {
        Vec<T>::load(sums + j).store(target + j, count - j);
      }
    }
  }
};

}  // namespace fastnn::FASTNN_ISA
