// A batch of one: the product of one row with the recurrent weights only streams those from cache,
// which leaves half of the multiply-adds idle. They go to the input projections of later steps.
//
// Steps are taken in chunks of at most kAheadRows. While the steps of one chunk run, tiles of the
// next chunk's projections are computed in the same loop over k (run_row_tile), every product
// taking its share of their steps.
#pragma once

#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

// The B of all inputs' projections: weights from pack_recurrent, whose columns are in the order of
// their groups.
template <class T>
struct GroupedOperand {
  const T* data;
  int64_t depth;

  Panels<T> b_block(T*, int64_t col, int64_t cols, int64_t p, int64_t block_depth) const {
    const T* const next = block_depth == depth ? data + (col + cols) * depth : nullptr;
    return {data + col * depth + p * kGroup<T>, kGroup<T>, depth * kGroup<T>, next};
  }
};
template <class T>
inline constexpr bool kIsPacked<GroupedOperand<T>> = true;

// The same of weights (gates * units, depth) that are not packed.
template <class T>
struct UngroupedOperand {
  const T* data;
  int64_t gates, units, depth;

  Panels<T> b_block(T* scratch, int64_t col, int64_t cols, int64_t p, int64_t block_depth) const {
    for (int64_t j = 0; j < cols; j += kGroup<T>) {
      const int64_t group = (col + j) / kGroup<T>, unit = group / gates * kGroup<T>;
      pack_panel<T, true>(scratch + j * block_depth, kGroup<T>,
                          data + (group % gates * units + unit) * depth + p,
                          min_of(kGroup<T>, units - unit), depth, block_depth, 1);
    }
    return {scratch, kGroup<T>, block_depth * kGroup<T>};
  }
};

// Rows of a chunk: what fits into the registers beside the sums of the row.
#if defined(FASTNN_ISA_AVX2)
inline constexpr int kAheadRows = 4;
#else
inline constexpr int kAheadRows = kTileRows;
#endif
inline constexpr int kMaxRowGroups = 4;

// sums (+)= row (depth) times groups of packed weights.
template <class T>
struct RowTile {
  const T* row;
  int64_t depth;
  const T* weights;
  int64_t group_stride;
  T* sums;
  bool accumulate;
};

// A vector of columns of the next chunk's projections, over a block of depth.
template <class T>
struct AheadTile {
  const T* panel;  // [depth][kAheadRows]
  int64_t depth;
  int64_t steps;     // depth, but 1 for none
  const T* weights;  // [depth][kGroup]
  T* c;
  int64_t c_stride, rows;
  bool accumulate;  // start from c instead of zero
};

template <class T, int kVectors, int kRows>
struct RowSums {
  static constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> row[kVectors == 0 ? 1 : kVectors];
  Vec<T> ahead[kRows == 0 ? 1 : kRows];

  // `times` times: kSteps steps of the row from p on, and kAhead of the tile ahead from q on.
  template <int kSteps, int kAhead>
  FASTNN_INLINE void add(const RowTile<T>& tile, const AheadTile<T>& next, int64_t times,
                         int64_t& p, int64_t& q) {
    for (; times > 0; --times) {
      FASTNN_UNROLL
      for (int i = 0; i < kSteps; ++i, ++p) {
        const Vec<T> x = Vec<T>::broadcast(tile.row[p]);
        const T* const w = tile.weights + p * kGroup<T>;
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const T* const group = w + j / kGroupVectors * tile.group_stride;
          row[j] = fma(x, Vec<T>::load(group + j % kGroupVectors * kSize), row[j]);
        }
      }
      if constexpr (kAhead > 0) {
        const Vec<T> w = Vec<T>::load(next.weights + q * kGroup<T>);
        const T* const x = next.panel + q * kRows;
        FASTNN_UNROLL
        for (int i = 0; i < kRows; ++i) ahead[i] = fma(Vec<T>::broadcast(x[i]), w, ahead[i]);
        ++q;
      }
    }
  }
};

// Two steps of the row to one of the tile ahead, as far as there are as many: reading the row's
// weights then takes as long as the multiply-adds of both.
template <class T, int kGroups, bool kAhead>
void run_row_groups(const RowTile<T>& tile, const AheadTile<T>& next) {
  constexpr int kVectors = kGroups * kGroupVectors, kRows = kAhead ? kAheadRows : 0;
  RowSums<T, kVectors, kRows> sums;
  FASTNN_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    sums.row[j] = tile.accumulate ? Vec<T>::load(tile.sums + j * Vec<T>::kSize) : Vec<T>::zero();
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    sums.ahead[i] = next.accumulate && i < next.rows ? Vec<T>::load(next.c + i * next.c_stride)
                                                     : Vec<T>::zero();
  }
  int64_t p = 0, q = 0;
  if constexpr (kAhead && kGroups > 0) {
    const int64_t both = min_of(tile.depth, next.depth);
    const int64_t doubled = min_of(both, tile.depth - both);
    sums.template add<2, 1>(tile, next, doubled, p, q);
    sums.template add<1, 1>(tile, next, both - doubled, p, q);
  }
  if constexpr (kGroups > 0) sums.template add<1, 0>(tile, next, tile.depth - p, p, q);
  if constexpr (kAhead) sums.template add<0, 1>(tile, next, next.depth - q, p, q);
  FASTNN_UNROLL
  for (int j = 0; j < kVectors; ++j) sums.row[j].store(tile.sums + j * Vec<T>::kSize);
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if (i < next.rows) sums.ahead[i].store(next.c + i * next.c_stride);
  }
}

// One row times `groups` <= kMaxRowGroups groups (none for 0), and the tile ahead unless null.
template <class T, int kGroups = kMaxRowGroups>
void run_row_tile(int64_t groups, const RowTile<T>& tile, const AheadTile<T>* next) {
  if constexpr (kGroups > 0) {
    if (groups < kGroups) return run_row_tile<T, kGroups - 1>(groups, tile, next);
  }
  if (next != nullptr) {
    run_row_groups<T, kGroups, true>(tile, *next);
  } else {
    run_row_groups<T, kGroups, false>(tile, {});
  }
}

// Some columns of a chunk's input projections, handed out over the products of the chunk before it.
template <class T>
class ProjectionAhead {
 public:
  struct Matrix {
    GatheredRows<T> x;
    GroupedOperand<T> weights;
    T* gates;  // of the chunk's first row
    int64_t stride;
  };

  // Elements of scratch.
  static int64_t scratch(int64_t inputs) { return kAheadRows * inputs; }

  // The chunk has rows [first, first + rows) of x, at least one, and `products` calls of run_with()
  // follow. This worker computes the tiles [begin, end), a vector of columns each.
  ProjectionAhead(const Matrix& matrix, int64_t first, int64_t rows, int64_t begin, int64_t end,
                  int64_t products, T* scratch)
      : matrix_(matrix),
        rows_(rows),
        first_tile_(begin),
        depth_(max_of(1, matrix.weights.depth)),
        steps_((end - begin) * depth_),
        products_(products),
        panels_(scratch) {
    int64_t offsets[kAheadRows];
    for (int64_t i = 0; i < kAheadRows; ++i) {
      offsets[i] = matrix.x.offsets[first + min_of(i, rows - 1)];
    }
    pack_gathered<T>(panels_, matrix.x.data, offsets, kAheadRows, matrix.weights.depth);
  }

  // The product of `tile`, and what of the projections is due with it: a run of the steps of all
  // tiles, with every tile's part of which goes as large a part of the product.
  void run_with(int64_t groups, const RowTile<T>& tile) {
    const int64_t due = steps_ * ++product_ / products_, run = due - done_;
    RowTile<T> rest = tile;
    for (int64_t left = run; left > 0;) {
      const AheadTile<T> next = tile_at(done_, left);
      left -= next.steps;
      done_ += next.steps;
      RowTile<T> part = rest;
      part.depth -= tile.depth * left / run;
      run_row_tile<T>(groups, part, &next);
      rest.row += part.depth;
      rest.weights += part.depth * kGroup<T>;
      rest.depth -= part.depth;
      rest.accumulate = true;
    }
    if (run == 0) run_row_tile<T>(groups, tile, nullptr);
  }

 private:
  // From a step on, at most so many.
  AheadTile<T> tile_at(int64_t step, int64_t most) const {
    const int64_t col = (first_tile_ + step / depth_) * Vec<T>::kSize, p = step % depth_;
    const int64_t steps = min_of(most, depth_ - p);
    return {panels_ + p * kAheadRows,
            matrix_.weights.depth == 0 ? 0 : steps,
            steps,
            matrix_.weights.data + col / kGroup<T> * kGroup<T> * matrix_.weights.depth +
                p * kGroup<T> + col % kGroup<T>,
            matrix_.gates + col,
            matrix_.stride,
            rows_,
            p > 0};
  }

  Matrix matrix_;
  int64_t rows_, first_tile_, depth_, steps_, products_;
  T* panels_;
  int64_t product_ = 0, done_ = 0;
};

}  // namespace fastnn::FASTNN_ISA
