// Folds windows one at a time, vectors along the window's own rows: for windows too large or too
// far apart to slide, and for whole planes.
#pragma once

#include "kernels/pool/window.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA::pool {

// Four accumulators: enough to hide the latency of an addition, and shorter sums.
template <class T, class Op>
struct Accumulators {
  static constexpr int64_t kSize = Vec<T>::kSize;
  const Op& op;
  Vec<T> a, b, c, d;

  explicit FASTNN_INLINE Accumulators(const Op& operation) : op(operation) {
    a = b = c = d = Vec<T>(Op::template neutral<T>());
  }

  FASTNN_INLINE void row(const T* x, int64_t n) {
    int64_t i = 0;
    for (; i + 4 * kSize <= n; i += 4 * kSize) {
      a = op(a, op.input(Vec<T>::load(x + i)));
      b = op(b, op.input(Vec<T>::load(x + i + kSize)));
      c = op(c, op.input(Vec<T>::load(x + i + 2 * kSize)));
      d = op(d, op.input(Vec<T>::load(x + i + 3 * kSize)));
    }
    for (; i + kSize <= n; i += kSize) a = op(a, op.input(Vec<T>::load(x + i)));
    if (i < n) b = op(b, load_input(op, x + i, n - i));
  }

  FASTNN_INLINE void strided_row(const T* x, int64_t n, int64_t stride) {
    if (stride == 1) return row(x, n);
    int64_t i = 0;
    for (; i + kSize <= n; i += kSize) {
      a = op(a, op.input(Vec<T>::load_strided(x + i * stride, stride)));
    }
    for (; i < n; ++i) b = op(b, load_input(op, x + i * stride, 1));
  }

  FASTNN_INLINE Vec<T> folded() const { return op(op(a, b), op(c, d)); }
};

// Where an output lies: number i of the outputs of all planes.
struct Place {
  int64_t plane, d, h, w;

  FASTNN_INLINE Place(int64_t i, const PoolAxis& depth, const PoolAxis& height,
                      const PoolAxis& width) {
    w = i % width.out, i /= width.out;
    h = i % height.out, i /= height.out;
    d = i % depth.out, plane = i / depth.out;
  }
};

FASTNN_INLINE int64_t most_taps(const PoolAxis& depth, const PoolAxis& height,
                                const PoolAxis& width) {
  return larger(1, most_taps(depth) * most_taps(height) * most_taps(width));
}

// Calls f(place in the plane, columns) for every row of output (d, h, w)'s window.
template <class F>
FASTNN_INLINE void for_each_row(const PoolAxis& depth, const PoolAxis& height,
                                const PoolAxis& width, const Place& o, const F& f) {
  const Range in_depth = taps_inside(depth, o.d), in_height = taps_inside(height, o.h);
  const Range in_width = taps_inside(width, o.w);
  const int64_t w = window_start(width, o.w) + in_width.begin * width.dilation;
  for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
    const int64_t d = window_start(depth, o.d) + kd * depth.dilation;
    for (int64_t kh = in_height.begin; kh < in_height.end; ++kh) {
      const int64_t h = window_start(height, o.h) + kh * height.dilation;
      f((d * height.in + h) * width.in + w, in_width.end - in_width.begin);
    }
  }
}

// y[window] = finish(fold of the window, place).
template <class T, class Op, class Finish>
void fold_windows(int64_t planes, const PoolAxis& depth, const PoolAxis& height,
                  const PoolAxis& width, const T* x, T* y, const Finish& finish,
                  const Op& op = Op()) {
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t outputs = planes * depth.out * height.out * width.out;
  const int64_t grain = larger(1, kPartWork / (16 + most_taps(depth, height, width)));
  parallel_for(outputs, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Place o(i, depth, height, width);
      const T* plane = x + o.plane * inputs;
      Accumulators<T, Op> folded(op);
      for_each_row(depth, height, width, o, [&](int64_t at, int64_t n) {
        folded.strided_row(plane + at, n, width.dilation);
      });
      y[i] = finish(Op::reduce(folded.folded()), o);
    }
  });
}

// The gradient of a sum over windows: share(grad_y, place) goes to every element of the window.
// One thread a plane adds window after window.
template <class T, class Share>
void add_windows(int64_t planes, const PoolAxis& depth, const PoolAxis& height,
                 const PoolAxis& width, const T* grad_y, T* grad_x, const Share& share) {
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t outputs = depth.out * height.out * width.out;
  const int64_t grain = larger(1, kPartWork / 4 / larger(1, inputs));
  parallel_for(planes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* to = grad_x + plane * inputs;
      __builtin_memset(to, 0, static_cast<size_t>(inputs) * sizeof(T));
      for (int64_t i = 0; i < outputs; ++i) {
        const Place o(i, depth, height, width);
        const T grad = share(grad_y[plane * outputs + i], o);
        for_each_row(depth, height, width, o, [&](int64_t at, int64_t n) {
          for_vectors<T>(n, [&](int64_t k, auto lanes) {
            lanes.store(lanes.load(to + at + k) + Vec<T>(grad), to + at + k);
          });
        });
      }
    }
  });
}

// y[plane] = finish(fold of the plane's n elements). The lanes of kSize planes are folded
// together, through a transpose; the last planes stand in for those that are missing.
template <class T, class Op, class Finish>
void fold_planes(int64_t planes, int64_t n, const T* x, T* y, const Finish& finish,
                 const Op& op = Op()) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int64_t kShort = 8 * kSize;  // planes that are folded side by side
  const int64_t whole = n / kSize * kSize;
  const Mask<T> part = first_n_mask<T>(n - whole);
  const int64_t groups = divide_up(planes, kSize);
  const int64_t grain = larger(1, kPartWork / (kSize * larger(n, 1)));
  parallel_for(groups, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t first = begin * kSize; first < smaller(end * kSize, planes); first += kSize) {
      const auto plane = [&](int64_t i) { return x + smaller(first + i, planes - 1) * n; };
      Vec<T> rows[kSize];
      const auto fold_short = [&](const auto& at) FASTNN_INLINE_LAMBDA {
        FASTNN_UNROLL
        for (int64_t i = 0; i < kSize; ++i) {
          const Vec<T> rest = Vec<T>::load(at(i) + whole, part);
          rows[i] = select(part, rest, Vec<T>(Op::template neutral<T>()));
        }
        for (int64_t j = 0; j < whole; j += kSize) {
          FASTNN_UNROLL
          for (int64_t i = 0; i < kSize; ++i) rows[i] = op(rows[i], Vec<T>::load(at(i) + j));
        }
      };
      if (n <= kShort && first + kSize <= planes) {
        const T* const start = x + first * n;
        fold_short([=](int64_t i) { return start + i * n; });
      } else if (n <= kShort) {
        fold_short(plane);
      } else {
        alignas(64) T lanes[kSize * kSize];
        for (int64_t i = 0; i < kSize; ++i) {
          Accumulators<T, Op> sum(op);
          sum.row(plane(i), n);
          sum.folded().store(lanes + i * kSize);
        }
        FASTNN_UNROLL
        for (int64_t i = 0; i < kSize; ++i) rows[i] = Vec<T>::load(lanes + i * kSize);
      }
      transpose(rows);
      Vec<T> folded = rows[0];
      FASTNN_UNROLL
      for (int64_t i = 1; i < kSize; ++i) folded = op(folded, rows[i]);
      finish(folded).store(y + first, smaller(kSize, planes - first));
    }
  });
}

FASTNN_INLINE bool covers_all(const PoolAxis& axis) {
  return axis.out == 1 && axis.padding == 0 && axis.dilation == 1 && axis.kernel == axis.in;
}

}  // namespace fastnn::FASTNN_ISA::pool
