// Rows in blocks: reduce each block, combine the blocks of a row in their order, finish each block.
//
// A block fits the first-level cache, so that however long the row, memory is passed over twice.
// Few long rows are split over the threads, block by block; the arithmetic is the same, so a row
// gives the same bytes however many others stand beside it.
#pragma once

#include "kernels/rows.h"
#include "kernels/softmax/row.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {

template <class T>
inline constexpr int64_t kRowBlock = 16384 / static_cast<int64_t>(sizeof(T));

// reduce(row, begin, end, first, second) stores two numbers for each block; combine(row, count,
// first, second) gets a row's and replaces them by what finish(row, begin, end, first, second) is
// to get. Scratch: two numbers a block, of a row a worker or, for few long rows, of all.
template <class T, class Reduce, class Combine, class Finish>
FASTNN_INLINE void for_rows_in_blocks(int64_t rows, int64_t n, const Reduce& reduce,
                                      const Combine& combine, const Finish& finish) {
  if (rows == 0 || n == 0) return;
  const int64_t count = (n + kRowBlock<T> - 1) / kRowBlock<T>;
  const auto reduce_block = [&](int64_t row, int64_t b, T* state) FASTNN_INLINE_LAMBDA {
    const int64_t begin = b * kRowBlock<T>;
    const int64_t end = n - begin < kRowBlock<T> ? n : begin + kRowBlock<T>;
    reduce(row, begin, end, state + b, state + count + b);
  };
  const auto finish_block = [&](int64_t row, int64_t b, const T* state) FASTNN_INLINE_LAMBDA {
    const int64_t begin = b * kRowBlock<T>;
    const int64_t end = n - begin < kRowBlock<T> ? n : begin + kRowBlock<T>;
    finish(row, begin, end, state[b], state[count + b]);
  };

  const int64_t state_bytes = Workspace::padded_bytes(2 * count * static_cast<int64_t>(sizeof(T)));
  const int64_t state_stride = state_bytes / static_cast<int64_t>(sizeof(T));
  if (rows >= 16 || count < 8) {
    const int64_t grain = rows_a_part(n);
    const int workers = plan_workers((rows + grain - 1) / grain);
    Workspace workspace(workers * state_bytes);
    T* const states = workspace.take<T>(workers * state_stride);
    parallel_for(rows, grain, [&](int64_t row_begin, int64_t row_end, int worker) {
      T* const state = states + worker * state_stride;
      for (int64_t row = row_begin; row < row_end; ++row) {
        for (int64_t b = 0; b < count; ++b) reduce_block(row, b, state);
        combine(row, count, state, state + count);
        for (int64_t b = 0; b < count; ++b) finish_block(row, b, state);
      }
    });
    return;
  }
  Workspace workspace(rows * state_bytes);
  T* const states = workspace.take<T>(rows * state_stride);
  const int64_t grain = rows_a_part(kRowBlock<T>);
  parallel_for(rows * count, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      reduce_block(i / count, i % count, states + i / count * state_stride);
    }
  });
  for (int64_t row = 0; row < rows; ++row) {
    T* const state = states + row * state_stride;
    combine(row, count, state, state + count);
  }
  parallel_for(rows * count, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      finish_block(i / count, i % count, states + i / count * state_stride);
    }
  });
}

// From each block's maximum and sum to the row's.
template <class T>
struct RowSum {
  T max, sum;
};
template <class T>
RowSum<T> combine_blocks(int64_t count, const T* maxima, const T* sums) {
  if (count == 1) return {maxima[0], sums[0]};
  const T max = row_max(maxima, count);
  const T shift = shift_of(max);
  Chains<T> chains(0);
  for_vectors_in_chains<T>(count, [&](int64_t b, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
    const Vec<T> factor = exp(lanes.load(maxima + b, -infinity<T>()) - shift);
    chains[c] = fma(lanes.load(sums + b), factor, chains[c]);
  });
  return {max, chains.sum()};
}

}  // namespace fastnn::FASTNN_ISA
