// A batch of one: the product of one row with the recurrent weights only streams those from cache,
// which leaves half of the multiply-adds idle. They go to the input projections of later steps.
//
// Steps are taken in chunks of at most kAheadRows. While the steps of one chunk run, tiles of the
// next chunk's projections are computed in the same loop over k (run_row_tile).
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

  // The row's part of steps [begin, end), or that of the tile ahead, or both at once.
  template <bool kRow, bool kAhead>
  FASTNN_INLINE void add(const RowTile<T>& tile, const AheadTile<T>& next, int64_t begin,
                         int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      if constexpr (kRow) {
        const Vec<T> x = Vec<T>::broadcast(tile.row[p]);
        const T* const w = tile.weights + p * kGroup<T>;
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const T* const group = w + j / kGroupVectors * tile.group_stride;
          row[j] = fma(x, Vec<T>::load(group + j % kGroupVectors * kSize), row[j]);
        }
      }
      if constexpr (kAhead) {
        const Vec<T> w = Vec<T>::load(next.weights + p * kGroup<T>);
        const T* const x = next.panel + p * kRows;
        FASTNN_UNROLL
        for (int i = 0; i < kRows; ++i) ahead[i] = fma(Vec<T>::broadcast(x[i]), w, ahead[i]);
      }
    }
  }
};

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
  const int64_t both = kAhead && kGroups > 0 ? min_of(tile.depth, next.depth) : 0;
  if constexpr (kAhead && kGroups > 0) {
    sums.template add<true, true>(tile, next, 0, both);
  }
  if constexpr (kGroups > 0) sums.template add<true, false>(tile, next, both, tile.depth);
  if constexpr (kAhead) sums.template add<false, true>(tile, next, both, next.depth);
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
        depth_blocks_(max_of(1, ceil_div(matrix.weights.depth, kDepthBlock<T>))),
        tiles_((end - begin) * depth_blocks_),
        products_(products),
        panels_(scratch) {
    int64_t offsets[kAheadRows];
    for (int64_t i = 0; i < kAheadRows; ++i) {
      offsets[i] = matrix.x.offsets[first + min_of(i, rows - 1)];
    }
    for (int64_t p = 0; p < matrix.weights.depth; p += kDepthBlock<T>) {
      pack_gathered<T>(panels_ + p * kAheadRows, matrix.x.data + p, offsets, kAheadRows,
                       min_of(kDepthBlock<T>, matrix.weights.depth - p));
    }
  }

  // The product of `tile`, and what of the projections is due with it.
  void run_with(int64_t groups, const RowTile<T>& tile) {
    const int64_t due = tiles_ * ++product_ / products_;
    for (; done_ + 1 < due; ++done_) {
      const AheadTile<T> alone = tile_at(done_);
      run_row_tile<T>(0, {}, &alone);
    }
    if (done_ == due) return run_row_tile<T>(groups, tile, nullptr);
    const AheadTile<T> next = tile_at(done_++);
    run_row_tile<T>(groups, tile, &next);
  }

 private:
  AheadTile<T> tile_at(int64_t i) const {
    const int64_t col = (first_tile_ + i / depth_blocks_) * Vec<T>::kSize;
    const int64_t p = i % depth_blocks_ * kDepthBlock<T>;
    const int64_t depth = min_of(kDepthBlock<T>, matrix_.weights.depth - p);
    const Panels<T> group =
        matrix_.weights.b_block(nullptr, col / kGroup<T> * kGroup<T>, 0, p, depth);
    return {panels_ + p * kAheadRows,
            depth,
            group.data + col % kGroup<T>,
            matrix_.gates + col,
            matrix_.stride,
            rows_,
            p > 0};
  }

  Matrix matrix_;
  int64_t rows_, first_tile_, depth_blocks_, tiles_, products_;
  T* panels_;
  int64_t product_ = 0, done_ = 0;
};

}  // namespace fastnn::FASTNN_ISA
