// Blocks of one channel's plane, copied with their padding so that the loops over them know no
// edges and need no stride: columns are sorted by their remainder by the step.
#pragma once

#include "kernels/conv/patch.h"

namespace fastnn::FASTNN_ISA {

// target[k] = source[first + k * step] for k < count, with what lies outside 0 .. size-1 filled.
template <class T>
void load_columns(const T* source, int64_t size, PaddingMode mode, int64_t first, int64_t step,
                  int64_t count, T* target);

// The source of output rows row .. row + rows-1, columns col .. col + cols-1. Tap (h, w) of output
// (i, j), counted inside the block, is at
// data[(i * row_step + tap_row(h)) * row_pitch + tap_col(w) + j].
template <class T>
struct PlaneBlock {
  const Axis& height;
  const Axis& width;
  int64_t row, rows, col, cols;

  static int64_t lowest(const Axis& axis) {
    return min_of(axis.first, axis.first + (axis.taps - 1) * axis.tap_step);
  }
  static int64_t span(const Axis& axis) {
    const int64_t reach = (axis.taps - 1) * axis.tap_step;
    return (reach < 0 ? -reach : reach) + 1;
  }
  static int64_t offset(const Axis& axis, int64_t tap) {
    return axis.first + tap * axis.tap_step - lowest(axis);
  }
  // Elements of one remainder's columns, with room for a whole vector behind the last.
  int64_t phase_pitch() const {
    return ceil_div((cols - 1) * width.step + span(width), width.step) + 2 * Vec<T>::kSize;
  }
  int64_t row_pitch() const { return phase_pitch() * min_of(width.step, span(width)); }
  int64_t source_rows() const { return (rows - 1) * height.step + span(height); }
  int64_t size() const { return source_rows() * row_pitch(); }
  int64_t tap_row(int64_t tap) const { return offset(height, tap); }
  int64_t tap_col(int64_t tap) const {
    const int64_t column = offset(width, tap);
    return column % width.step * phase_pitch() + column / width.step;
  }

  // Fills data, of size() elements, from a plane; what lies behind the last column is zero.
  void load(const T* plane, PaddingMode mode, T* data) const;
};

}  // namespace fastnn::FASTNN_ISA
