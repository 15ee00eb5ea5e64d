// Products of thin matrices, which need no packing: each element of the large operand is used a few
// times only. The large one is read, or the result written, once and in order. Every element is the
// same chain of fma as in a tile.
#pragma once

#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

// sums (+)= A B for `steps` steps of kSize columns of B, each contiguous and `b_stride` from the
// next; `sums` holds a vector a row. kFull: all kSize steps and columns.
template <class T, bool kFull>
FASTNN_INLINE void add_transposed_block(int64_t rows, const T* a, int64_t a_stride, const T* b,
                                        int64_t b_stride, int64_t cols, int64_t steps, T* sums) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> block[kSize];
  FASTNN_UNROLL
  for (int64_t j = 0; j < kSize; ++j) {
    if (kFull) {
      block[j] = Vec<T>::load(b + j * b_stride);
    } else {
      block[j] = j < cols ? Vec<T>::load(b + j * b_stride, steps) : Vec<T>::zero();
    }
  }
  transpose(block);
  for (int64_t i = 0; i < rows; ++i) {
    Vec<T> sum = Vec<T>::load(sums + i * kSize);
    FASTNN_UNROLL
    for (int64_t p = 0; p < kSize; ++p) {
      if (kFull || p < steps) sum = fma(Vec<T>::broadcast(a[i * a_stride + p]), block[p], sum);
    }
    sum.store(sums + i * kSize);
  }
}

// The same for all of K.
template <class T>
void add_transposed(int64_t rows, const T* a, int64_t a_stride, const T* b, int64_t b_stride,
                    int64_t cols, int64_t k, T* sums) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const auto add = [&](int64_t p, int64_t steps) {
    add_transposed_block<T, false>(rows, a + p, a_stride, b + p, b_stride, cols, steps, sums);
  };
  int64_t p = steps_to_alignment(b, k);
  if (p > 0) add(0, p);
  for (; p + kSize <= k && cols == kSize; p += kSize) {
    add_transposed_block<T, true>(rows, a + p, a_stride, b + p, b_stride, cols, kSize, sums);
  }
  for (; p < k; p += kSize) add(p, min_of(kSize, k - p));
}

// A cell of C = A B with at most kTileRows rows, where rows of A and columns of B are contiguous:
// B is transposed in registers.
template <class T, class Epilogue>
void multiply_few_rows(const Cell& cell, int64_t k, const DenseOperand<T>& a,
                       const DenseOperand<T>& b, T* c, int64_t c_stride, const Epilogue& epilogue) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const T* const x = a.data + cell.row * a.outer_stride;
  T* const first = c + cell.row * c_stride + cell.col;
  for (int64_t j = 0; j < cell.cols; j += kSize) {
    const int64_t cols = min_of(kSize, cell.cols - j);
    alignas(64) T sums[kTileRows * kSize] = {};
    add_transposed(cell.rows, x, a.outer_stride, b.data + (cell.col + j) * b.outer_stride,
                   b.outer_stride, cols, k, sums);
    for (int64_t i = 0; i < cell.rows; ++i) {
      Vec<T>::load(sums + i * kSize).store(first + i * c_stride + j, cols);
    }
  }
  epilogue(first, c_stride, cell.row, cell.col, cell.rows, cell.cols);
}

// Up to so long a sum, writing C takes longer than computing it.
inline constexpr int64_t kShortSum = 8;
inline constexpr int64_t kShortRows = 4, kShortVectors = kAccumulators >= 16 ? 4 : 2;

// kShortRows x kShortVectors vectors of C, the last of them partial unless kFull.
template <class T, bool kFull>
FASTNN_INLINE void short_sum_block(int64_t k, const T* const (&a)[kShortRows], int64_t a_stride,
                                   const T* b, int64_t b_stride, T* const (&c)[kShortRows],
                                   int64_t j, int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> sum[kShortRows][kShortVectors];
  FASTNN_UNROLL
  for (int64_t r = 0; r < kShortRows; ++r) {
    FASTNN_UNROLL
    for (int64_t v = 0; v < kShortVectors; ++v) sum[r][v] = Vec<T>::zero();
  }
  for (int64_t p = 0; p < k; ++p) {
    Vec<T> row[kShortVectors];
    FASTNN_UNROLL
    for (int64_t v = 0; v < kShortVectors; ++v) {
      const T* const start = b + p * b_stride + j + v * kSize;
      row[v] = kFull ? Vec<T>::load(start) : Vec<T>::load(start, cols - v * kSize);
    }
    FASTNN_UNROLL
    for (int64_t r = 0; r < kShortRows; ++r) {
      const Vec<T> element = Vec<T>::broadcast(a[r][p * a_stride]);
      FASTNN_UNROLL
      for (int64_t v = 0; v < kShortVectors; ++v) sum[r][v] = fma(element, row[v], sum[r][v]);
    }
  }
  FASTNN_UNROLL
  for (int64_t r = 0; r < kShortRows; ++r) {
    FASTNN_UNROLL
    for (int64_t v = 0; v < kShortVectors; ++v) {
      T* const start = c[r] + j + v * kSize;
      if (kFull) {
        sum[r][v].store(start);
      } else {
        sum[r][v].store(start, cols - v * kSize);
      }
    }
  }
}

// A cell of C = A B for a short sum, where rows of B are contiguous: rows of C are written from one
// end to the other.
template <class T, class Epilogue>
void multiply_short_sum(const Cell& cell, int64_t k, const DenseOperand<T>& a,
                        const DenseOperand<T>& b, T* c, int64_t c_stride,
                        const Epilogue& epilogue) {
  constexpr int64_t kWidth = kShortVectors * Vec<T>::kSize;
  for (int64_t i = 0; i < cell.rows; i += kShortRows) {
    const T* x[kShortRows];
    T* out[kShortRows];
    FASTNN_UNROLL
    for (int64_t r = 0; r < kShortRows; ++r) {  // past the end the last row is computed again
      const int64_t row = cell.row + min_of(i + r, cell.rows - 1);
      x[r] = a.data + row * a.outer_stride;
      out[r] = c + row * c_stride + cell.col;
    }
    const T* const columns = b.data + cell.col;
    int64_t j = 0;
    for (; j + kWidth <= cell.cols; j += kWidth) {
      short_sum_block<T, true>(k, x, a.depth_stride, columns, b.depth_stride, out, j, kWidth);
    }
    if (j < cell.cols) {
      short_sum_block<T, false>(k, x, a.depth_stride, columns, b.depth_stride, out, j,
                                cell.cols - j);
    }
    epilogue(out[0], c_stride, cell.row + i, cell.col, min_of(kShortRows, cell.rows - i),
             cell.cols);
  }
}

}  // namespace fastnn::FASTNN_ISA
