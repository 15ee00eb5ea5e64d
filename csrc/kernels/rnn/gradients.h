// Sums over the packed rows of a chunk: gradients of weights and of what is added to the gates.
#pragma once

#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {

// A B whose rows (the summed dimension) lie anywhere.
template <class T>
struct GatheredDepth {
  const T* const* rows;

  Panels<T> b_block(T* scratch, int64_t col, int64_t cols, int64_t p, int64_t depth) const {
    for (int64_t j = 0; j < cols; j += kGroup<T>) {
      T* const group = scratch + j * depth;
      for (int64_t i = 0; i < depth; ++i) {
        for (int64_t v = 0; v < kGroup<T>; v += Vec<T>::kSize) {
          const int64_t lanes = cols - j - v;
          const Vec<T> value =
              lanes > 0 ? Vec<T>::load(rows[p + i] + col + j + v, lanes) : Vec<T>::zero();
          value.store(group + i * kGroup<T> + v);
        }
      }
    }
    return {scratch, kGroup<T>, depth * kGroup<T>};
  }
};

// target (units, width) (+)= the transpose of d (rows, units) times b; d's rows are `stride` apart.
template <class T, class B>
void add_weight_gradient(T* target, const T* d, int64_t stride, int64_t rows, int64_t units,
                         int64_t width, const B& b, bool accumulate) {
  const DenseOperand<T> transposed{d, 1, stride};
  gemm_grid<T>(1, {units, width, rows}, [&](int64_t, const Cell& cell, T* scratch) {
    gemm_cell<T>(cell, rows, transposed, b, target, width, accumulate, scratch);
  });
}

// sums[j] (+)= sum of d[i, j] * factor(i)[j] over the rows, in runs of kRun rows, which keeps the
// rounding error small. factor may be null for 1.
template <class T>
void add_column_sums(T* sums, const T* d, int64_t stride, int64_t rows, int64_t units,
                     const T* const* factor, bool accumulate) {
  constexpr int64_t kSize = Vec<T>::kSize, kRun = 128;
  const int64_t grain = max_of(1, (int64_t{1} << 14) / max_of(1, rows * kSize));
  parallel_for(ceil_div(units, kSize), grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t j = begin * kSize; j < min_of(end * kSize, units); j += kSize) {
      const int64_t lanes = units - j;
      Vec<T> total = accumulate ? Vec<T>::load(sums + j, lanes) : Vec<T>::zero();
      for (int64_t first = 0; first < rows; first += kRun) {
        Vec<T> sum = Vec<T>::zero();
        for (int64_t i = first; i < min_of(first + kRun, rows); ++i) {
          const Vec<T> value = Vec<T>::load(d + i * stride + j, lanes);
          sum =
              factor == nullptr ? sum + value : fma(value, Vec<T>::load(factor[i] + j, lanes), sum);
        }
        total = total + sum;
      }
      total.store(sums + j, lanes);
    }
  });
}

}  // namespace fastnn::FASTNN_ISA
