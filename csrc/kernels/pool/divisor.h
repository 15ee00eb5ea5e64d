// The divisors of average pooling. They are products of one count a dimension.
#pragma once

#include "kernels/pool/column_table.h"
#include "kernels/pool/segment.h"

namespace fastnn::FASTNN_ISA::pool {

template <class T>
struct Divisor {
  PoolAxis depth, height, width;
  bool count_padding;
  int64_t fixed;            // the divisor where the caller gave one, or 0
  T whole_rows;             // the rows of a window that touches no border
  ColumnTable<T> counts;    // columns of each output's window
  ColumnTable<T> inverses;  // 1 / (counts * whole_rows)

  template <class Args>
  explicit Divisor(const Args& args)
      : depth(args.depth),
        height(args.height),
        width(args.width),
        count_padding(args.count_padding),
        fixed(args.divisor_override),
        whole_rows(static_cast<T>(fixed != 0 ? 1 : depth.kernel * height.kernel)) {}

  int64_t scratch_elements() const { return 2 * ColumnTable<T>::elements(width.out); }

  void prepare(T* scratch) {
    T* const second = scratch + ColumnTable<T>::elements(width.out);
    counts.prepare(scratch, width.out, T{1}, [this](int64_t o) { return columns(o); });
    inverses.prepare(second, width.out, T{1},
                     [this](int64_t o) { return 1 / (columns(o) * whole_rows); });
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
  FASTNN_INLINE Row row(int64_t od, int64_t oh, int64_t ow) const {
    const T row_count = rows(od, oh);
    return {counts.at(ow), inverses.at(ow), row_count, sizeof(T) == 4 && row_count == whole_rows};
  }

  FASTNN_INLINE T operator()(T sum, const Place& o) const {
    return sum / (rows(o.d, o.h) * columns(o.w));
  }
};

}  // namespace fastnn::FASTNN_ISA::pool
