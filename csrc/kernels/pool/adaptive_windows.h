// Windows of adaptive pooling whose sizes differ: the rows of an output row's windows are folded
// down into one row of scratch, by vectors, and that row across, window by window.
#pragma once

#include "kernels/pool/segment.h"

namespace fastnn::FASTNN_ISA::pool {

// Output o covers [begin(o), end(o)). Starts are kept: a division a window costs more than its sum.
struct AdaptiveWindows {
  AdaptiveAxis depth, height, width;
  int64_t inputs, outputs;  // elements of a plane

  AdaptiveWindows(const AdaptiveAxis& d, const AdaptiveAxis& h, const AdaptiveAxis& w)
      : depth(d), height(h), width(w), inputs(d.in * h.in * w.in), outputs(d.out * h.out * w.out) {}

  static Range range(const AdaptiveAxis& axis, int64_t o) {
    const auto start = [&axis](int64_t i) {  // floor(i in / out), without overflow
      return i / axis.out * axis.in + i % axis.out * axis.in / axis.out;
    };
    return {start(o), axis.in - start(axis.out - 1 - o)};  // windows are symmetric
  }
};

// What a kernel of adaptive windows keeps in scratch: the columns of each window, shared, and
// `rows` rows of the input's width a worker.
template <class T>
struct AdaptiveScratch {
  Workspace workspace;
  Range* columns;
  T* rows;
  int64_t a_worker;

  AdaptiveScratch(const AdaptiveWindows& windows, int64_t parts, int64_t rows_a_worker)
      : workspace(bytes(windows, parts, rows_a_worker)),
        columns(workspace.take<Range>(windows.width.out)),
        a_worker(rows_a_worker * windows.width.in) {
    rows = workspace.take<T>(plan_workers(parts) * a_worker);
    for (int64_t o = 0; o < windows.width.out; ++o) {
      columns[o] = AdaptiveWindows::range(windows.width, o);
    }
  }

 private:
  static int64_t bytes(const AdaptiveWindows& windows, int64_t parts, int64_t rows_a_worker) {
    const int64_t items = plan_workers(parts) * rows_a_worker * windows.width.in;
    return Workspace::padded_bytes(windows.width.out * static_cast<int64_t>(sizeof(Range))) +
           Workspace::padded_bytes(items * static_cast<int64_t>(sizeof(T)));
  }
};

// Calls f(plane, row, depth, height) for rows of outputs, counted over all planes.
template <class F>
FASTNN_INLINE void for_adaptive_rows(const AdaptiveWindows& windows, int64_t begin, int64_t end,
                                     const F& f) {
  const int64_t rows = windows.depth.out * windows.height.out;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i % rows;
    f(i / rows, i, AdaptiveWindows::range(windows.depth, row / windows.height.out),
      AdaptiveWindows::range(windows.height, row % windows.height.out));
  }
}

inline int64_t adaptive_grain(const AdaptiveWindows& windows) {  // rows of outputs a part
  const int64_t rows = windows.depth.out * windows.height.out;
  return larger(1, kPartWork / 8 / (windows.inputs / larger(rows, 1) + windows.width.out + 8));
}

// How a window is folded, and what becomes of it.
struct Mean : Add {
  template <class T>
  static FASTNN_INLINE T across(T folded, T x) {
    return folded + x;
  }
  template <class T>
  static FASTNN_INLINE T finish(T folded, int64_t elements) {
    return folded / static_cast<T>(elements);
  }
};

struct Largest : Max {
  template <class T>
  static FASTNN_INLINE T across(T folded, T x) {
    return x > folded || x != x ? x : folded;
  }
  template <class T>
  static FASTNN_INLINE T finish(T folded, int64_t) {
    return folded;
  }
};

// y[window] = finish(fold of the window).
template <class T, class Op>
void fold_adaptive(int64_t planes, const AdaptiveWindows& windows, const T* x, T* y, const Op& op) {
  constexpr int64_t kShort = Vec<T>::kSize;
  const int64_t rows = planes * windows.depth.out * windows.height.out;
  const int64_t in = windows.width.in, out = windows.width.out, grain = adaptive_grain(windows);
  const AdaptiveScratch<T> scratch(windows, divide_up(rows, grain), 1);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const folded = scratch.rows + worker * scratch.a_worker;
    const Range* const columns = scratch.columns;
    for_adaptive_rows(windows, begin, end, [&](int64_t plane, int64_t row, Range d, Range h) {
      const T* const from = x + plane * windows.inputs;
      for_vectors<T>(in, [&](int64_t w, auto lanes) FASTNN_INLINE_LAMBDA {
        Vec<T> sum(Op::template neutral<T>());
        for (int64_t z = d.begin; z < d.end; ++z) {
          const T* at = from + (z * windows.height.in + h.begin) * in + w;
          for (int64_t k = h.begin; k < h.end; ++k, at += in) sum = op(sum, lanes.load(at));
        }
        lanes.store(sum, folded + w);
      });
      const int64_t below = (d.end - d.begin) * (h.end - h.begin);
      for (int64_t o = 0; o < out; ++o) {
        const int64_t first = columns[o].begin, n = columns[o].end - first;
        T value = folded[first];
        if (n > kShort) {
          Accumulators<T, Op> sums(op);
          sums.row(folded + first, n);
          value = Op::reduce(sums.folded());
        } else {
          for (int64_t k = 1; k < n; ++k) value = Op::across(value, folded[first + k]);
        }
        y[row * out + o] = Op::finish(value, below * n);
      }
    });
  });
}

// The gradient of the mean: each gradient's share goes to every element of its window. One thread a
// plane, rows of outputs in order.
template <class T>
void spread_adaptive(int64_t planes, const AdaptiveWindows& windows, const T* grad_y, T* grad_x) {
  constexpr int64_t kShort = Vec<T>::kSize;
  const int64_t rows = windows.depth.out * windows.height.out;
  const int64_t in = windows.width.in, out = windows.width.out;
  const int64_t grain = larger(1, kPartWork / 8 / larger(1, windows.inputs + windows.outputs));
  const AdaptiveScratch<T> scratch(windows, divide_up(planes, grain), 1);
  parallel_for(planes, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const shares = scratch.rows + worker * scratch.a_worker;
    const Range* const columns = scratch.columns;
    __builtin_memset(grad_x + begin * windows.inputs, 0,
                     static_cast<size_t>((end - begin) * windows.inputs) * sizeof(T));
    for_adaptive_rows(
        windows, begin * rows, end * rows, [&](int64_t plane, int64_t row, Range d, Range h) {
          const int64_t below = (d.end - d.begin) * (h.end - h.begin);
          __builtin_memset(shares, 0, static_cast<size_t>(in) * sizeof(T));
          for (int64_t o = 0; o < out; ++o) {
            const int64_t first = columns[o].begin, n = columns[o].end - first;
            const T share = grad_y[row * out + o] / static_cast<T>(below * n);
            if (n <= kShort) {
              for (int64_t k = first; k < first + n; ++k) shares[k] += share;
            } else {
              for_vectors<T>(n, [&](int64_t k, auto lanes) FASTNN_INLINE_LAMBDA {
                lanes.store(lanes.load(shares + first + k) + Vec<T>(share), shares + first + k);
              });
            }
          }
          T* const to = grad_x + plane * windows.inputs;
          for_vectors<T>(in, [&](int64_t w, auto lanes) FASTNN_INLINE_LAMBDA {
            const Vec<T> share = lanes.load(shares + w);
            for (int64_t z = d.begin; z < d.end; ++z) {
              T* at = to + (z * windows.height.in + h.begin) * in + w;
              for (int64_t k = h.begin; k < h.end; ++k, at += in) {
                lanes.store(lanes.load(at) + share, at);
              }
            }
          });
        });
  });
}

// The largest element of each window and where it is. The first of equals wins, the last of NaNs:
// down columns by vectors that carry the number of the row, then across. Numbers are exact in T for
// kRun rows; a window's later runs win where they are better.
template <class T>
struct AdaptiveSearch {
  static constexpr int64_t kRun = int64_t{1} << 24;
  const AdaptiveWindows windows;
  const T* plane;
  Range depth, height;  // the rows of the windows
  T* best;              // of each column, and its row
  T* row_of_best;

  FASTNN_INLINE int64_t place(int64_t row) const {
    const int64_t high = height.end - height.begin;
    return ((depth.begin + row / high) * windows.height.in + height.begin + row % high) *
           windows.width.in;
  }

  FASTNN_INLINE void down(int64_t first, int64_t rows) const {
    const int64_t in = windows.width.in, high = height.end - height.begin;
    const int64_t next_plane = (windows.height.in - high + 1) * in;
    const T* const from = plane + place(first);
    for_vectors<T>(in, [&](int64_t w, auto lanes) FASTNN_INLINE_LAMBDA {
      Vec<T> largest(negative_infinity<T>()), found = Vec<T>::zero(), number = Vec<T>::zero();
      const T* at = from + w;
      for (int64_t row = 0, below = high - first % high; row < rows; ++row) {
        const Vec<T> value = lanes.load(at);
        const Mask<T> better = (value > largest) | is_nan(value);
        largest = select(better, value, largest);
        found = select(better, number, found);
        number += Vec<T>(T{1});
        const bool last = --below == 0;
        at += last ? next_plane : in;
        if (last) below = high;
      }
      lanes.store(largest, best + w);
      lanes.store(found, row_of_best + w);
    });
  }

  // The best column of a window.
  FASTNN_INLINE int64_t across(Range columns) const {
    int64_t column = columns.begin;
    T value = best[column], number = row_of_best[column];
    for (int64_t k = column + 1; k < columns.end; ++k) {
      const T v = best[k], r = row_of_best[k];
      const bool above = (v > value) | ((v == value) & (r < number));
      const bool last_nan = (v != v) & ((value == value) | (r >= number));
      const bool better = above | last_nan;
      value = better ? v : value;
      number = better ? r : number;
      column = better ? k : column;
    }
    return column;
  }

  // One row of outputs.
  FASTNN_INLINE void operator()(const Range* columns, T* y, int64_t* indices) const {
    const int64_t rows = (depth.end - depth.begin) * (height.end - height.begin);
    for (int64_t first = 0; first < rows; first += kRun) {
      down(first, smaller(kRun, rows - first));
      for (int64_t o = 0; o < windows.width.out; ++o) {
        const int64_t column = across(columns[o]);
        const T value = best[column];
        if (first > 0 && !(value > y[o] || value != value)) continue;
        y[o] = value;
        indices[o] = place(first + static_cast<int64_t>(row_of_best[column])) + column;
      }
    }
  }
};

template <class T>
void search_adaptive(int64_t planes, const AdaptiveWindows& windows, const T* x, T* y,
                     int64_t* indices) {
  const int64_t rows = planes * windows.depth.out * windows.height.out;
  const int64_t in = windows.width.in, out = windows.width.out, grain = adaptive_grain(windows);
  const AdaptiveScratch<T> scratch(windows, divide_up(rows, grain), 2);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const best = scratch.rows + worker * scratch.a_worker;
    for_adaptive_rows(windows, begin, end, [&](int64_t plane, int64_t row, Range d, Range h) {
      const AdaptiveSearch<T> search{windows, x + plane * windows.inputs, d, h, best, best + in};
      search(scratch.columns, y + row * out, indices + row * out);
    });
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
