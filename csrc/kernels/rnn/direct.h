// A single step of few rows with weights that have not been packed: they are used once, where they
// lie.
#pragma once

#include "kernels/gemm/thin.h"
#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {

// At most kTileRows rows, `row_stride` apart, of inputs or states; and weights (gates units,
// depth).
template <class T>
struct DirectSide {
  const T* rows;
  int64_t row_stride, depth;
  const T* weights;
};

template <class T>
struct DirectProduct {
  DirectSide<T> x, h;
  int64_t units;
  int gates, slots;
  bool
      two_sided;  // the last gate's sums over x go to the last slot, those over h to the one before

  // Sums of one gate and a vector of units, (rows, slots * kGroup).
  __attribute__((noinline)) void add(Range rows, int g, int64_t unit, T* sums) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t count = rows.end - rows.begin, cols = min_of(kSize, units - unit);
    const bool apart = two_sided && g == gates - 1;
    alignas(64) T totals[kTileRows * kSize] = {};
    const auto store = [&](int slot) {
      T* const target = sums + slot * kGroup<T> + unit % kGroup<T>;
      for (int64_t i = 0; i < count; ++i) {
        Vec<T>::load(totals + i * kSize).store(target + i * slots * kGroup<T>);
      }
    };
    const auto add_side = [&](const DirectSide<T>& side) {
      add_transposed(count, side.rows + rows.begin * side.row_stride, side.row_stride,
                     side.weights + (g * units + unit) * side.depth, side.depth, cols, side.depth,
                     totals);
    };
    add_side(x);
    if (apart) {
      store(slots - 1);
      for (T& total : totals) total = T(0);
    }
    add_side(h);
    store(g);
  }
};

// multiply() of inputs and states; `sums` holds kTileRows * slots * kGroup.
template <class T, class Apply>
void multiply_direct(const DirectProduct<T>& product, Range rows, Range blocks, T* sums,
                     const Apply& apply) {
  const int64_t width = product.slots * kGroup<T>;
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int64_t end = min_of((block + 1) * kGroup<T>, product.units);
    for (int g = 0; g < product.gates; ++g) {
      for (int64_t unit = block * kGroup<T>; unit < end; unit += Vec<T>::kSize) {
        product.add(rows, g, unit, sums);
      }
    }
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      apply(row, block, sums + (row - rows.begin) * width);
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
