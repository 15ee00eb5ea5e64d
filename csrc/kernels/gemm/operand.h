// Operands of the engine. An operand hands out blocks of its matrix in the layout that run_tile
// wants, packing them into scratch where they are laid out otherwise.
//
// A-operand: `RowPanels<T> a_block(T* scratch, row, rows, panel, p, depth)` gives rows [row, row +
//   rows) of A and its columns [p, p + depth), in panels of `panel` rows (the last one narrower) or
//   in place; row is a whole number of panels.
//   `Fetch<T> source(row, p)` tells what memory the panel at `row` will be read from.
// B-operand: `Panels<T> b_block(T* scratch, col, cols, p, depth)` gives B[p : p + depth,
//   col : col + cols] as groups of kGroup columns (tile.h).
// Transposed views are just strides.
#pragma once

#include "kernels/gemm/tile.h"
#include "runtime/parallel.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
inline constexpr int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T>
struct Panels {
  const T* data;
  int64_t stride, group_stride;
  const T* next = nullptr;  // where the block after this one lies, if that is known
};

// A block of A in panels of rows. Packed ones are each laid out [depth][rows of the panel], and
// hold one block of depth, or all of K (depth `first` is where the block begins then). Others are
// rows, each contiguous.
template <class T>
struct RowPanels {
  const T* data;
  int64_t row_stride;  // from a row to the next: the depth that a packed panel holds
  int64_t first = 0;
  bool packed = true;

  // The panel of `rows` rows that begins at row i of the block.
  TileRows<T> panel(int64_t i, int64_t rows) const {
    if (packed) return {data + i * row_stride + first * rows, 1, rows};
    return {data + i * row_stride, row_stride, 1};
  }
  // What memory it is.
  Fetch<T> fetch(int64_t i, int64_t rows) const {
    const T* const start = panel(i, rows).data;
    return packed ? Fetch<T>::contiguous(start) : Fetch<T>{start, row_stride};
  }
};

// How many of a row's elements come before its aligned vectors; none of a short row's. Rows of
// NumPy's arrays begin 16 bytes into a cache line, and where they lie a multiple of 4 KiB apart,
// all fall into one set of L1: unaligned vectors, each of two lines, would be fetched from L2
// twice.
template <class T>
int64_t steps_to_alignment(const T* row, int64_t depth) {
  constexpr int64_t kSize = Vec<T>::kSize;
  if (depth < 16 * kSize) return 0;
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(row) / sizeof(T) % kSize);
}

// panel[p * panel_stride + i] = source[i * width_stride + p * depth_stride] for i < width, and zero
// for width <= i < panel_stride when kPad. Writes nothing else.
template <class T, bool kPad>
void pack_panel(T* panel, int64_t panel_stride, const T* source, int64_t width,
                int64_t width_stride, int64_t depth, int64_t depth_stride);

// panel[p * width + i] = source[offsets[i] + p]: rows that lie anywhere, each contiguous.
template <class T>
void pack_gathered(T* panel, const T* source, const int64_t* offsets, int64_t width, int64_t depth);

// An A whose rows lie anywhere.
template <class T>
struct GatheredRows {
  const T* data;
  const int64_t* offsets;  // of every row, in elements

  RowPanels<T> a_block(T* scratch, int64_t row, int64_t rows, int64_t panel, int64_t p,
                       int64_t depth) const {
    for (int64_t i = 0; i < rows; i += panel) {
      const int64_t width = min_of(panel, rows - i);
      pack_gathered<T>(scratch + i * depth, data + p, offsets + row + i, width, depth);
    }
    return {scratch, depth};
  }
  Fetch<T> source(int64_t row, int64_t p) const { return {data + offsets[row] + p, 0}; }
};

// Rows so many elements apart all fall into the same sets of L1: a tile cannot use them in place.
template <class T>
inline constexpr int64_t kConflict = 4096 / static_cast<int64_t>(sizeof(T));
// From a row to the next where they are copied for that reason: a line more than they are long.
template <class T>
int64_t copied_stride(int64_t depth) {
  return (depth + 2 * kFetchLine<T> - 1) / kFetchLine<T> * kFetchLine<T>;
}

template <class T>
RowPanels<T> copy_rows(T* scratch, const T* source, int64_t row_stride, int64_t rows,
                       int64_t depth) {
  const int64_t stride = copied_stride<T>(depth);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t p = 0; p < depth; p += Vec<T>::kSize) {
      Vec<T>::load(source + i * row_stride + p, depth - p).store(scratch + i * stride + p);
    }
  }
  return {scratch, stride, 0, false};
}

// A matrix in memory with any strides.
template <class T>
struct DenseOperand {
  const T* data;
  int64_t outer_stride;  // from a row of A, or a column of B, to the next
  int64_t depth_stride;  // along the summed dimension
  bool direct = false;   // B only, outer_stride 1: use the rows in place instead of packing them

  // Whether a_block gives the rows where they lie.
  bool in_place() const { return depth_stride == 1 && outer_stride % kConflict<T> != 0; }

  RowPanels<T> a_block(T* scratch, int64_t row, int64_t rows, int64_t panel, int64_t p,
                       int64_t depth) const {
    const T* source = data + row * outer_stride + p * depth_stride;
    if (in_place()) return {source, outer_stride, 0, false};
    if (depth_stride == 1) return copy_rows(scratch, source, outer_stride, rows, depth);
    return a_panels(scratch, row, rows, panel, p, depth);
  }
  // a_block, packed in any case: for rows that are used often.
  RowPanels<T> a_panels(T* scratch, int64_t row, int64_t rows, int64_t panel, int64_t p,
                        int64_t depth) const {
    const T* source = data + row * outer_stride + p * depth_stride;
    for (int64_t i = 0; i < rows; i += panel) {
      const int64_t width = min_of(panel, rows - i);
      pack_panel<T, false>(scratch + i * depth, width, source + i * outer_stride, width,
                           outer_stride, depth, depth_stride);
    }
    return {scratch, depth};
  }
  Fetch<T> source(int64_t row, int64_t p) const {
    return {data + row * outer_stride + p * depth_stride, depth_stride == 1 ? outer_stride : 0};
  }

  Panels<T> b_block(T* scratch, int64_t col, int64_t cols, int64_t p, int64_t depth) const {
    const T* source = data + col * outer_stride + p * depth_stride;
    if (direct) return {source, depth_stride, kGroup<T>};
    for (int64_t j = 0; j < cols; j += kGroup<T>) {
      const int64_t width = min_of(kGroup<T>, cols - j);
      pack_panel<T, true>(scratch + j * depth, kGroup<T>, source + j * outer_stride, width,
                          outer_stride, depth, depth_stride);
    }
    return {scratch, kGroup<T>, depth * kGroup<T>};
  }
};

// A B that pack_matrix has packed whole: for every block of depth, all groups of columns.
template <class T>
struct PackedOperand {
  const T* data;
  int64_t cols;  // rounded up to kGroup

  Panels<T> b_block(T*, int64_t col, int64_t width, int64_t p, int64_t depth) const {
    const T* const block = data + p * cols + col * depth;
    return {block, kGroup<T>, depth * kGroup<T>, block + width * depth};
  }
};

// Whether blocks of a B cost nothing to get.
template <class B>
inline constexpr bool kIsPacked = false;
template <class T>
inline constexpr bool kIsPacked<PackedOperand<T>> = true;

}  // namespace fastnn::FASTNN_ISA
