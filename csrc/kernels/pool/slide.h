// Folds overlapping windows (maximum or sum) separably: down the rows of a window into a row of
// scratch, then across its columns.
#pragma once

#include "kernels/pool/plane.h"

namespace fastnn::FASTNN_ISA::pool {

// The input rows that one row of outputs covers; pointers to column 0.
template <class T>
struct RowList {
  const T* rows[kMaxSlidingRows];
  int64_t count;

  RowList() = default;
  FASTNN_INLINE RowList(const T* plane, const PoolAxis& depth, const PoolAxis& height,
                        int64_t width, int64_t od, int64_t oh)
      : count(0) {
    const Range in_depth = taps_inside(depth, od), in_height = taps_inside(height, oh);
    for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
      const int64_t d = window_start(depth, od) + kd * depth.dilation;
      for (int64_t kh = in_height.begin; kh < in_height.end; ++kh) {
        const int64_t h = window_start(height, oh) + kh * height.dilation;
        rows[count++] = plane + (d * height.in + h) * width;
      }
    }
  }
};

template <class T, class Op, int kRows>
FASTNN_INLINE void fold_fixed_rows(const Op& op, const RowLayout<T>& layout, const RowList<T>& list,
                                   int64_t column, int64_t left, int64_t valid, int64_t columns,
                                   T* scratch) {
  struct Source {
    const Op& op;
    const T* rows[kRows];
    FASTNN_INLINE Vec<T> operator()(int64_t j) const {
      Vec<T> folded = op.input(Vec<T>::load(rows[0] + j));
      FASTNN_UNROLL
      for (int r = 1; r < kRows; ++r) folded = op(folded, op.input(Vec<T>::load(rows[r] + j)));
      return folded;
    }
    FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
      Vec<T> folded = load_input(op, rows[0] + j, n);
      FASTNN_UNROLL
      for (int r = 1; r < kRows; ++r) folded = op(folded, load_input(op, rows[r] + j, n));
      return folded;
    }
  } source{op, {}};
  FASTNN_UNROLL
  for (int r = 0; r < kRows; ++r) source.rows[r] = list.rows[r] + column;
  write_row(layout.stride, layout.half, left, valid, columns, Op::template neutral<T>(), scratch,
            source);
}

template <class T, class Op>
void fold_many_rows(const Op& op, const RowLayout<T>& layout, const RowList<T>& list,
                    int64_t column, int64_t left, int64_t valid, int64_t columns, T* scratch) {
  struct Source {
    const Op& op;
    const RowList<T>& list;
    int64_t column;
    FASTNN_INLINE Vec<T> operator()(int64_t j) const {
      Vec<T> folded(Op::template neutral<T>());
      for (int64_t r = 0; r < list.count; ++r) {
        folded = op(folded, op.input(Vec<T>::load(list.rows[r] + column + j)));
      }
      return folded;
    }
    FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
      Vec<T> folded(Op::template neutral<T>());
      for (int64_t r = 0; r < list.count; ++r) {
        folded = op(folded, load_input(op, list.rows[r] + column + j, n));
      }
      return folded;
    }
  };
  write_row(layout.stride, layout.half, left, valid, columns, Op::template neutral<T>(), scratch,
            Source{op, list, column});
}

// Down: one row of scratch for `outputs` windows from output column ow.
template <class T, class Op>
void fold_rows(const Op& op, const RowLayout<T>& layout, const RowList<T>& list,
               const PoolAxis& width, int64_t ow, int64_t outputs, T* scratch) {
  const int64_t start = window_start(width, ow);
  const int64_t columns = (outputs - 1) * width.stride + window_extent(width);
  const int64_t left = smaller(start < 0 ? -start : 0, columns);
  const int64_t column = start + left;
  const int64_t valid = larger(0, smaller(width.in - column, columns - left));
  switch (list.count) {
    case 1:
      return fold_fixed_rows<T, Op, 1>(op, layout, list, column, left, valid, columns, scratch);
    case 2:
      return fold_fixed_rows<T, Op, 2>(op, layout, list, column, left, valid, columns, scratch);
    case 3:
      return fold_fixed_rows<T, Op, 3>(op, layout, list, column, left, valid, columns, scratch);
    default:
      return fold_many_rows<T, Op>(op, layout, list, column, left, valid, columns, scratch);
  }
}

// Across: `outputs` windows from a row of scratch; finish(folded, j) makes the result.
template <class T, class Op, int kColumns, class Finish>
FASTNN_INLINE void fold_fixed_columns(const Op& op, const RowLayout<T>& layout,
                                      const PoolAxis& width, int64_t outputs, const T* scratch,
                                      T* y, const T* limit, const Finish& finish) {
  int64_t offsets[kColumns];
  FASTNN_UNROLL
  for (int k = 0; k < kColumns; ++k) offsets[k] = layout.offset(k * width.dilation);
  for (int64_t j = 0; j < outputs; j += Vec<T>::kSize) {
    Vec<T> folded = Vec<T>::load(scratch + offsets[0] + j);
    FASTNN_UNROLL
    for (int k = 1; k < kColumns; ++k) {
      folded = op(folded, Vec<T>::load(scratch + offsets[k] + j));
    }
    store_first(y + j, finish(folded, j), outputs - j, limit);
  }
}

template <class T, class Op, class Finish>
void fold_columns(const Op& op, const RowLayout<T>& layout, const PoolAxis& width, int64_t outputs,
                  const T* scratch, T* y, const T* limit, const Finish& finish) {
  if (layout.stride <= 2 && width.kernel == 2) {
    return fold_fixed_columns<T, Op, 2>(op, layout, width, outputs, scratch, y, limit, finish);
  }
  if (layout.stride <= 2 && width.kernel == 3) {
    return fold_fixed_columns<T, Op, 3>(op, layout, width, outputs, scratch, y, limit, finish);
  }
  for (int64_t j = 0; j < outputs; j += Vec<T>::kSize) {
    Vec<T> folded = layout.load(scratch, 0, j);
    for (int64_t k = 1; k < width.kernel; ++k) {
      folded = op(folded, layout.load(scratch, layout.offset(k * width.dilation), j));
    }
    store_first(y + j, finish(folded, j), outputs - j, limit);
  }
}

// A finish without tables: the same for every output.
struct SameEverywhere {
  static int64_t scratch_elements(int64_t) { return 0; }
  static void prepare(void*, int64_t, int64_t) {}
  static FASTNN_INLINE int64_t uniform_rows(int64_t, int64_t, int64_t most) { return most; }
  static int64_t plane_elements(int64_t) { return 0; }
};

// y[window] = finish(fold of the window). finish.row(od, oh, ow) gives the function of
// (folded, j) for the outputs from (od, oh, ow); finish.prepare(scratch, width.out, 1) gets
// finish.scratch_elements(width.out) elements before.
//
// Workspace a thread: max(16 KiB, one row of up to kTileColumns outputs) + finish's.
template <class T, class Op, class Finish>
void slide(int64_t planes, const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width,
           const T* x, T* y, Finish& finish, const Op& op = Op()) {
  const Tiles tiles(planes, depth.out, height.out, width.out, kTileColumns);
  if (tiles.count == 0) return;
  if (fits_plane(depth, height, width)) {
    return slide_planes<T, Op>(planes, height, width, x, y, finish, op);
  }
  const FlatLayout<T> flat(width, planes * depth.out * height.out);
  if (flat.fits()) {
    return slide_flat<T, Op>(flat, planes, depth, height, width, x, y, finish, op);
  }
  const RowLayout<T> layout(width, tiles.columns);
  const int64_t row_bytes = layout.pitch * static_cast<int64_t>(sizeof(T));
  const int64_t block_rows = larger(1, smaller(kBlockBytes / row_bytes, height.out));
  const int64_t row_cost =
      (depth.kernel * height.kernel + 1) * layout.pitch + (width.kernel + 1) * tiles.columns;
  const int64_t grain = larger(1, kPartWork / row_cost);

  const int64_t workers = plan_workers(divide_up(tiles.count, grain));
  const int64_t extra = finish.scratch_elements(width.out);
  Workspace workspace(workers * Workspace::padded_bytes(block_rows * row_bytes) +
                      Workspace::padded_bytes(extra * static_cast<int64_t>(sizeof(T))));
  finish.prepare(workspace.take<T>(extra), width.out, 1);
  T* const scratch = workspace.take<T>(workers * block_rows * layout.pitch);

  parallel_for(tiles.count, grain, [&](int64_t unit, int64_t end, int worker) {
    T* const rows = scratch + worker * block_rows * layout.pitch;
    const T* const limit = tiles.chunks == 1 ? y + end * width.out : nullptr;
    while (unit < end) {
      const Tiles::Block b = tiles.block(unit, smaller(block_rows, end - unit));
      const T* plane = x + b.plane * depth.in * height.in * width.in;
      for (int64_t r = 0; r < b.rows; ++r) {
        const RowList<T> list(plane, depth, height, width.in, b.d, b.h + r);
        fold_rows<T, Op>(op, layout, list, width, b.column, b.columns, rows + r * layout.pitch);
      }
      T* to = y + tiles.row(b) * width.out + b.column;
      for (int64_t r = 0; r < b.rows; ++r, to += width.out) {
        fold_columns<T, Op>(op, layout, width, b.columns, rows + r * layout.pitch, to, limit,
                            finish.row(b.d, b.h + r, b.column));
      }
      unit += b.rows;
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
