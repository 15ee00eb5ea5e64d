// Blocks of one channel's plane, copied with their padding so that the loops over them know no
// edges and need no stride: columns are sorted by their remainder by the step.
#pragma once

#include "kernels/conv/patch.h"

namespace fastnn::FASTNN_ISA {

// target[k] = source[first + k * step] for k < count, with what lies outside 0 .. size-1 filled.
template <class T>
void load_columns(const T* source, int64_t size, PaddingMode mode, int64_t first, int64_t step,
                  int64_t count, T* target);

// The same for both remainders of a step of 2 at once, with zeros outside:
// even[k] = source[first + 2 * k], odd[k] = source[first + 2 * k + 1].
template <class T>
void load_column_pairs(const T* source, int64_t size, int64_t first, int64_t count, T* even,
                       T* odd);

// How blocks of at most `cols` output columns lie in memory. Tap (h, w) of output (i, j) of a block
// is at (i * row_step + tap_row(h)) * row_pitch + tap_col(w) + j; a whole vector may be read from
// there for every j < cols.
template <class T>
struct PlaneLayout {
  PlaneLayout() = default;
  PlaneLayout(const Axis& height_axis, const Axis& width_axis, int64_t cols);

  int64_t source_rows(int64_t rows) const { return (rows - 1) * height.step + row_span; }
  int64_t size(int64_t rows) const { return source_rows(rows) * row_pitch; }
  int64_t tap_row(int64_t tap) const { return height.first + tap * height.tap_step - first_row; }
  int64_t tap_col(int64_t tap) const {
    const int64_t column = width.first + tap * width.tap_step - first_col;
    return column % width.step * phase_pitch + column / width.step;
  }

  // Fills data, of size(rows) elements, with what output rows row .. row + rows-1 from column col
  // on see of a plane.
  void load(const T* plane, PaddingMode mode, int64_t row, int64_t rows, int64_t col,
            T* data) const;

  Axis height, width;
  int64_t first_row, first_col;  // of the lowest tap of output 0
  int64_t row_span;              // input rows that one output row sees
  int64_t phases, phase_pitch;   // remainders by the width's step, elements of each
  int64_t row_pitch;
};

}  // namespace fastnn::FASTNN_ISA
