// Where sliding windows lie, and rows of input laid out so that neighbouring windows are lanes.
//
// A row goes to scratch with its padding written out, and for stride 2 with its even and odd
// columns apart. Column k of kSize neighbouring windows is then one contiguous load, borders
// included.
#pragma once

#include "ops/pool.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA::pool {

// Outputs of a row that are computed together, and the scratch they may fill: about half of L1.
inline constexpr int64_t kTileColumns = 1024;
inline constexpr int64_t kBlockBytes = 16 << 10;
// Vector operations' worth of elements a part: some 20 microseconds.
inline constexpr int64_t kPartWork = int64_t{1} << 18;

FASTNN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FASTNN_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
FASTNN_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }  // a >= 0
FASTNN_INLINE int64_t divide_down(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

template <class T>
constexpr FASTNN_INLINE T negative_infinity() {
  return -static_cast<T>(__builtin_inff());
}

// How a window is folded: input() maps an element, operator() combines.
struct Max {
  static constexpr bool kPlainInput = true;
  template <class T>
  static FASTNN_INLINE Vec<T> input(Vec<T> x) {
    return x;
  }
  template <class T>
  static constexpr FASTNN_INLINE T neutral() {
    return negative_infinity<T>();
  }
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> folded, Vec<T> x) const {
    return max_nan(folded, x);
  }
  template <class T>
  static FASTNN_INLINE T reduce(Vec<T> folded) {
    return reduce_max_nan(folded);
  }
};

struct Add {
  static constexpr bool kPlainInput = true;
  template <class T>
  static FASTNN_INLINE Vec<T> input(Vec<T> x) {
    return x;
  }
  template <class T>
  static constexpr FASTNN_INLINE T neutral() {
    return 0;
  }
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> folded, Vec<T> x) const {
    return folded + x;
  }
  template <class T>
  static FASTNN_INLINE T reduce(Vec<T> folded) {
    return reduce_add(folded);
  }
};

// The first n of kSize elements, the others neutral.
template <class T, class Op>
FASTNN_INLINE Vec<T> load_input(const Op& op, const T* x, int64_t n) {
  const Vec<T> neutral(Op::template neutral<T>());
  if constexpr (Op::kPlainInput) return Vec<T>::load(x, n, Op::template neutral<T>());
  return select(first_n_mask<T>(n), op.input(Vec<T>::load(x, n)), neutral);
}

struct Range {
  int64_t begin, end;
};

FASTNN_INLINE int64_t window_start(const PoolAxis& axis, int64_t o) {
  return o * axis.stride - axis.padding;
}
FASTNN_INLINE int64_t window_extent(const PoolAxis& axis) {
  return (axis.kernel - 1) * axis.dilation + 1;
}

// The taps of output o that lie inside the input; empty as begin == end.
FASTNN_INLINE Range taps_inside(const PoolAxis& axis, int64_t o) {
  const int64_t start = window_start(axis, o);
  int64_t before = start < 0 ? -start : 0;                // columns of padding in front
  int64_t reach = start < axis.in ? axis.in - start : 0;  // columns up to the input's end
  if (axis.dilation != 1) {
    before = divide_up(before, axis.dilation);
    reach = divide_up(reach, axis.dilation);
  }
  const int64_t end = smaller(axis.kernel, reach);
  return {smaller(before, end), end};
}

// The outputs along an axis whose windows lie inside the input.
FASTNN_INLINE Range whole_windows(const PoolAxis& axis) {
  const int64_t begin = smaller(axis.out, divide_up(axis.padding, axis.stride));
  const int64_t room = axis.in + axis.padding - window_extent(axis);
  return {begin, room < 0 ? begin : larger(begin, smaller(axis.out, room / axis.stride + 1))};
}

FASTNN_INLINE int64_t most_taps(const PoolAxis& axis) { return smaller(axis.kernel, axis.in); }

FASTNN_INLINE bool slides(const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width) {
  return width.kernel <= kMaxSlidingColumns && window_extent(width) <= kMaxSlidingExtent &&
         larger(larger(depth.stride, height.stride), width.stride) <= kMaxSlidingStride &&
         depth.kernel <= kMaxSlidingRows && window_extent(height) <= kMaxSlidingRows &&
         depth.kernel * window_extent(height) <= kMaxSlidingRows;
}

// A row of scratch for up to `columns` input columns.
template <class T>
struct RowLayout {
  int64_t stride, half, pitch;

  RowLayout(const PoolAxis& width, int64_t outputs) : stride(width.stride) {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t columns = (outputs - 1) * stride + window_extent(width);
    // Past the end: what whole vectors write and, with gaps, what load_strided reads.
    half = divide_up(columns / 2 + 2 * kSize + 2, kSize) * kSize;
    pitch = stride == 2 ? 2 * half : columns + kSize * (stride + 1);
    pitch = divide_up(pitch, kSize) * kSize;
  }

  // Where column `column` (counted from the first window's start) is.
  FASTNN_INLINE int64_t offset(int64_t column) const {
    return stride == 2 ? (column & 1) * half + (column >> 1) : column;
  }
  // Column `offset` of the windows j, j + 1, ...
  FASTNN_INLINE Vec<T> load(const T* row, int64_t offset_of_column, int64_t j) const {
    if (stride <= 2) return Vec<T>::load(row + offset_of_column + j);
    return Vec<T>::load_strided(row + offset_of_column + j * stride, stride);
  }
};

// Writes `left` columns of padding, `valid` columns from source(j) (kSize columns from j) and
// source(j, n) (the first n of them, the others `fill`), and `fill` up to `columns` in all; with
// stride 2 the odd columns go `half` after the even ones.
template <class T, class Source>
FASTNN_INLINE void write_row(int64_t stride, int64_t half, int64_t left, int64_t valid,
                             int64_t columns, T fill, T* row, const Source& source) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t rest = columns - left;
  int64_t j = 0;
  if (stride != 2) {
    for (; j < left; j += kSize) Vec<T>(fill).store(row + j);
    T* to = row + left;
    for (j = 0; j + kSize <= valid; j += kSize) source(j).store(to + j);
    for (; j < rest; j += kSize) source(j, valid - j).store(to + j);
    return;
  }
  for (; 2 * j < left; j += kSize) {
    Vec<T>(fill).store(row + j);
    Vec<T>(fill).store(row + half + j);
  }
  T* even = row + (left & 1) * half + (left >> 1);
  T* odd = row + (~left & 1) * half + ((left + 1) >> 1);
  for (j = 0; j + 2 * kSize <= valid; j += 2 * kSize) {
    Vec<T> a = source(j), b = source(j + kSize);
    deinterleave(a, b);
    a.store(even + j / 2);
    b.store(odd + j / 2);
  }
  for (; j < rest; j += 2 * kSize) {
    Vec<T> a = source(j, valid - j), b = source(j + kSize, valid - j - kSize);
    deinterleave(a, b);
    a.store(even + j / 2);
    b.store(odd + j / 2);
  }
}

// Stores the first n lanes. All of them where memory up to `limit` is this part's own and written
// again later: masked stores are slow.
template <class T>
FASTNN_INLINE void store_first(T* to, Vec<T> v, int64_t n, const T* limit) {
  if (n >= Vec<T>::kSize || to + Vec<T>::kSize <= limit) {
    v.store(to);
  } else {
    v.store(to, n);
  }
}

// Cuts the rows of an array (planes, depth, height, width) into units of up to kTileColumns
// columns. Units that follow each other are rows below each other.
struct Tiles {
  int64_t depth, height, width, columns, chunks, count;

  struct Block {
    int64_t plane, d, h, column;  // the first unit's place
    int64_t rows, columns;
  };

  Tiles(int64_t planes, int64_t depth_size, int64_t height_size, int64_t width_size,
        int64_t tile_columns)
      : depth(depth_size), height(height_size), width(width_size) {
    columns = smaller(larger(width, 1), tile_columns);
    chunks = divide_up(width, columns);
    count = planes * depth * height * chunks;
  }

  // The units from `unit` on that are rows of one plane, at most `most`.
  FASTNN_INLINE Block block(int64_t unit, int64_t most) const {
    Block b;
    b.h = unit % height;
    b.rows = smaller(most, height - b.h);
    unit /= height;
    b.column = chunks == 1 ? 0 : unit % chunks * columns;
    b.columns = smaller(columns, width - b.column);
    if (chunks != 1) unit /= chunks;
    b.d = depth == 1 ? 0 : unit % depth;
    b.plane = depth == 1 ? unit : unit / depth;
    return b;
  }

  FASTNN_INLINE int64_t row(const Block& b) const {  // counted over the whole array
    return (b.plane * depth + b.d) * height + b.h;
  }
};

// Cuts an array (planes, depth, height, width) into blocks of rows below each other, rows longer
// than a block into chunks; blocks of more than one slice (of the depth of all planes) have all of
// their rows.
struct Blocks {
  int64_t height, width, all_slices, slices, rows, columns, row_blocks, chunks, count;

  struct Block {
    int64_t slice, h, w;  // where it begins
    int64_t slices, rows, columns;
  };

  Blocks(int64_t planes, int64_t depth_size, int64_t height_size, int64_t width_size,
         int64_t block_rows, int64_t block_columns, int64_t block_slices)
      : height(height_size),
        width(width_size),
        all_slices(planes * depth_size),
        slices(block_slices),
        rows(block_rows),
        columns(block_columns),
        row_blocks(divide_up(height, rows)),
        chunks(divide_up(width, columns)),
        count(divide_up(all_slices, slices) * row_blocks * chunks) {}

  FASTNN_INLINE Block operator[](int64_t i) const {
    Block b;
    b.h = i % row_blocks * rows, i /= row_blocks;
    b.w = i % chunks * columns, i /= chunks;
    b.slice = i * slices;
    b.slices = smaller(slices, all_slices - b.slice);
    b.rows = smaller(rows, height - b.h);
    b.columns = smaller(columns, width - b.w);
    return b;
  }

  // Where a block begins in the array.
  FASTNN_INLINE int64_t place(const Block& b) const {
    return (b.slice * height + b.h) * width + b.w;
  }
};

// Pooling along the width alone: the rows of all planes are the rows of one plane.
FASTNN_INLINE void merge_planes(int64_t& planes, const PoolAxis& depth, PoolAxis& height) {
  const bool flat = depth.in == 1 && depth.out == 1 && depth.kernel == 1 && height.in == 1 &&
                    height.out == 1 && height.kernel == 1;
  if (!flat) return;
  height = PoolAxis{planes, planes, 1, 1, 0, 1};
  planes = 1;
}

}  // namespace fastnn::FASTNN_ISA::pool
