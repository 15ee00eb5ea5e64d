// Statistics of the columns of a matrix (rows, columns), a tile of columns at a time; the same
// algorithm as in statistics.h with a lane for each column.
#pragma once

#include "kernels/columns.h"
#include "kernels/norm/statistics.h"

namespace fastnn::FASTNN_ISA {

// f(first column, lanes, number of vectors as a Chain) over all columns, threads side by side.
template <class T, class F>
FASTNN_INLINE void for_columns(int64_t rows, int64_t columns, const F& f) {
  for_column_tiles<T>(1, rows, columns, [&](int64_t, int64_t first, int64_t count, int) {
    for_tile_vectors<T>(count, [&](int64_t i, auto lanes, auto tag)
                                   FASTNN_INLINE_LAMBDA { f(first + i, lanes, tag); });
  });
}

template <int kVectors, class T, class Lanes>
void tile_moments(const T* x, int64_t rows, int64_t stride, Lanes lanes,
                  Moments<T, Vec<T>> (&total)[kVectors]) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t begin = 0; begin < rows; begin += kColumnRun) {
    const int64_t end = rows - begin < kColumnRun ? rows : begin + kColumnRun;
    const T count = static_cast<T>(end - begin);
    Vec<T> means[kVectors], deviations[kVectors], squares[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      means[v] = deviations[v] = squares[v] = Vec<T>::zero();
    }
    for (int64_t row = begin; row < end; ++row) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) means[v] += lanes.load(x + row * stride + v * kSize);
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) means[v] /= Vec<T>(count);
    for (int64_t row = begin; row < end; ++row) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vec<T> d = lanes.load(x + row * stride + v * kSize) - means[v];
        deviations[v] += d;
        squares[v] = fma(d, d, squares[v]);
      }
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> correction = deviations[v] / Vec<T>(count);
      const Vec<T> m2 = squares[v] - deviations[v] * correction;
      // max keeps a NaN in its second operand.
      const Moments<T, Vec<T>> block{means[v], correction, max(Vec<T>::zero(), m2), count};
      if (begin == 0) {
        total[v] = block;
      } else {
        merge(total[v], block);
      }
    }
  }
}

template <class T>
void column_statistics(const T* x, int64_t rows, int64_t columns, T eps,
                       NormStatistics<T>* statistics) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for_columns<T>(rows, columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
    constexpr int kVectors = decltype(tag)::index;
    Moments<T, Vec<T>> total[kVectors] = {};
    tile_moments(x + first, rows, columns, lanes, total);
    for (int v = 0; v < kVectors; ++v) {
      T mean[kSize], correction[kSize], m2[kSize];
      total[v].mean.store(mean);
      total[v].correction.store(correction);
      total[v].m2.store(m2);
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        const Moments<T> m{mean[i], correction[i], m2[i], total[v].count};
        statistics[first + v * kSize + i] = statistics_of(m, eps);
      }
    }
  });
}

template <class T>
void column_gradient_sums(const T* grad_y, const T* x, int64_t rows, int64_t columns,
                          const NormStatistics<T>* statistics, GradientSums<T>* sums) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for_columns<T>(rows, columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
    constexpr int kVectors = decltype(tag)::index;
    Vec<T> means[kVectors], plain[kVectors], products[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      T mean[kSize] = {};
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        mean[i] = statistics[first + v * kSize + i].mean;
      }
      means[v] = Vec<T>::load(mean);
      plain[v] = products[v] = Vec<T>::zero();
    }
    for (int64_t begin = 0; begin < rows; begin += kColumnRun) {
      const int64_t end = rows - begin < kColumnRun ? rows : begin + kColumnRun;
      Vec<T> run_plain[kVectors], run_products[kVectors];
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) run_plain[v] = run_products[v] = Vec<T>::zero();
      for (int64_t row = begin; row < end; ++row) {
        FASTNN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = row * columns + first + v * kSize;
          const Vec<T> grad = lanes.load(grad_y + at);
          run_plain[v] += grad;
          run_products[v] = fma(grad, lanes.load(x + at) - means[v], run_products[v]);
        }
      }
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        plain[v] += run_plain[v];
        products[v] += run_products[v];
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      T sum[kSize], product[kSize];
      plain[v].store(sum);
      products[v].store(product);
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        const NormStatistics<T>& s = statistics[first + v * kSize + i];
        sums[first + v * kSize + i] = {sum[i], (product[i] - s.correction * sum[i]) * s.deviation};
      }
    }
  });
}

}  // namespace fastnn::FASTNN_ISA
