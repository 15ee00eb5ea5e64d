// The divisors of average pooling. They are products of one count a dimension.
#pragma once

#include "kernels/pool/column_table.h"
#include "kernels/pool/segment.h"

namespace fastnn::FASTNN_ISA::pool {

template <class T>
struct Divisor {
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t fixed;                    // the divisor where the caller gave one, or 0
  T whole_rows;                     // the rows of a window that touches no border
  Range whole_depth, whole_height;  // the outputs whose count is the whole kernel
  bool uniform;                     // all of them
  ColumnTable<T> counts;            // columns of each output's window
  ColumnTable<T> inverses;          // 1 / (counts * whole_rows)

  template <class Args>
  explicit Divisor(const Args& args)
      : depth(args.depth),
        height(args.height),
        width(args.width),
        count_padding(args.count_padding),
        fixed(args.divisor_override),
        whole_rows(static_cast<T>(fixed != 0 ? 1 : depth.kernel * height.kernel)),
        whole_depth(whole_counts(depth)),
        whole_height(whole_counts(height)),
        uniform(fixed != 0 || (covers(whole_depth, depth) && covers(whole_height, height))) {}

  static int64_t scratch_elements(int64_t outputs) { return 2 * ColumnTable<T>::elements(outputs); }

  // For `rows` rows end to end, from each row's start to the next `pitch` outputs.
  void prepare(T* scratch, int64_t pitch, int64_t rows) {
    T* const second = scratch + ColumnTable<T>::elements(pitch * rows);
    counts.prepare(scratch, width.out, T{1}, [this](int64_t o) { return columns(o); });
    inverses.prepare(second, width.out, T{1},
                     [this](int64_t o) { return 1 / (columns(o) * whole_rows); });
    counts.repeat(pitch, rows, T{1});
    inverses.repeat(pitch, rows, T{1});
  }

  // How many rows from (od, oh) on have the same count, of `most`.
  FASTNN_INLINE int64_t uniform_rows(int64_t od, int64_t oh, int64_t most) const {
    if (uniform) return most;
    const bool whole = od >= whole_depth.begin && od < whole_depth.end &&
                       oh >= whole_height.begin && oh < whole_height.end;
    return whole ? smaller(most, whole_height.end - oh) : 1;
  }

  FASTNN_INLINE T count(const PoolAxis& axis, int64_t o) const {
    if (!count_padding) {
      const Range inside = taps_inside(axis, o);
      return static_cast<T>(inside.end - inside.begin);
    }
    const int64_t start = window_start(axis, o);
    return static_cast<T>(smaller(start + axis.kernel, axis.in + axis.padding) - start);
  }
  FASTNN_INLINE T columns(int64_t ow) const {
    return fixed != 0 ? static_cast<T>(fixed) : count(width, ow);
  }
  FASTNN_INLINE T rows(int64_t od, int64_t oh) const {
    return fixed != 0 ? T{1} : count(depth, od) * count(height, oh);
  }

  Range whole_counts(const PoolAxis& axis) const {
    PoolAxis padded = axis;
    if (count_padding) padded.in += 2 * axis.padding, padded.padding = 0;
    return whole_windows(padded);
  }
  // Whether all windows have one divisor.
  bool same_everywhere() const {
    return uniform && (fixed != 0 || covers(whole_counts(width), width));
  }
  static bool covers(Range range, const PoolAxis& axis) {
    return range.begin == 0 && range.end == axis.out;
  }

  struct Row {
    const T *counts, *inverses;
    T rows;
    bool whole;
    FASTNN_INLINE Vec<T> operator()(Vec<T> sum, int64_t j) const {
      // A product rounds once more than a quotient and takes a tenth of its time.
      if (whole) return sum * Vec<T>::load(inverses + j);
      return sum / (Vec<T>::load(counts + j) * Vec<T>(rows));
    }
  };
  // For all outputs of a plane, in its order.
  struct Plane {
    const T* table;  // divisors, in float their inverses
    FASTNN_INLINE Vec<T> operator()(Vec<T> sum, int64_t i) const {
      if constexpr (sizeof(T) == 4) return sum * Vec<T>::load(table + i);
      return sum / Vec<T>::load(table + i);
    }
  };
  static int64_t plane_elements(int64_t outputs) { return outputs + 2 * Vec<T>::kSize; }
  Plane plane(T* scratch) const {
    for (int64_t oh = height.out - 1; oh >= 0; --oh) {  // the first row last: it holds the columns
      if (oh == height.out - 1) {
        for (int64_t ow = 0; ow < width.out; ++ow) scratch[ow] = columns(ow);
      }
      const T row_count = rows(0, oh);
      T* row = scratch + oh * width.out;
      for (int64_t ow = 0; ow < width.out; ++ow) {
        const T divisor = scratch[ow] * row_count;
        row[ow] = sizeof(T) == 4 ? 1 / divisor : divisor;
      }
    }
    for (int64_t i = 0; i < 2 * Vec<T>::kSize; ++i) scratch[height.out * width.out + i] = 1;
    return {scratch};
  }

  FASTNN_INLINE Row row(int64_t od, int64_t oh, int64_t ow) const {
    const T row_count = rows(od, oh);
    return {counts.at(ow), inverses.at(ow), row_count, sizeof(T) == 4 && row_count == whole_rows};
  }

  FASTNN_INLINE T operator()(T sum, const Place& o) const {
    return sum / (rows(o.d, o.h) * columns(o.w));
  }
};

}  // namespace fastnn::FASTNN_ISA::pool
