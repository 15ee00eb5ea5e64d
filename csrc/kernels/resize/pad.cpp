// pad: constant, reflected, replicated or circular borders. The inner part of a row is copied, its
// borders element by element; a row outside a constant-padded axis is filled.
//
// Backward: of a constant border, the inverse pad; else one thread an index of the first axis adds
// rows of grad_y in order.
#include "kernels/rows.h"
#include "ops/resize.h"
#include "runtime/parallel.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kPadGrain = int64_t{1} << 16;  // elements a part

FASTNN_INLINE int64_t at_least_one(int64_t n) { return n > 1 ? n : 1; }

// Where position i of an axis (any integer) is taken from; -1 outside in constant mode.
FASTNN_INLINE int64_t source_of(PadMode mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::kReflect:
      return i < 0 ? -i : 2 * (n - 1) - i;
    case PadMode::kReplicate:
      return i < 0 ? 0 : n - 1;
    case PadMode::kCircular:
      return i < 0 ? i % n == 0 ? 0 : i % n + n : i % n;
    default:
      return -1;
  }
}

// The row of x, counted without its second last axis, that plane `plane` of y copies; -1 for none.
template <class Args>
FASTNN_INLINE int64_t source_plane(const Args& args, int64_t plane) {
  int64_t result = 0, stride = 1;
  for (int axis = args.rank - 3; axis >= 0; --axis) {
    const int64_t o = plane % args.out[axis];
    plane /= args.out[axis];
    const int64_t i = source_of(args.mode, o - args.before[axis], args.in[axis]);
    if (i < 0) return -1;
    result += i * stride;
    stride *= args.in[axis];
  }
  return result;
}

// Calls f(row, source) for rows begin .. end-1 of y, with the row of x that each copies or -1.
template <class Args, class F>
FASTNN_INLINE void for_each_row(const Args& args, int64_t begin, int64_t end, const F& f) {
  const int axis = args.rank - 2;
  const int64_t height = axis < 0 ? 1 : args.out[axis], in = axis < 0 ? 1 : args.in[axis];
  const int64_t before = axis < 0 ? 0 : args.before[axis];
  for (int64_t row = begin; row < end;) {
    const int64_t plane = row / height, first = row - plane * height;
    const int64_t last = first + end - row < height ? first + end - row : height;
    const int64_t above = source_plane(args, plane);
    for (int64_t o = first; o < last; ++o, ++row) {
      const int64_t i = above < 0 ? -1 : source_of(args.mode, o - before, in);
      f(row, i < 0 ? -1 : above * in + i);
    }
  }
}

// The columns of a row of y that are columns of x side by side: [begin, end).
struct Inner {
  int64_t begin, end, before;
  template <class Args>
  explicit FASTNN_INLINE Inner(const Args& args) : before(args.before[args.rank - 1]) {
    const int64_t in = args.in[args.rank - 1], out = args.out[args.rank - 1];
    begin = before < 0 ? 0 : before > out ? out : before;
    end = before + in > out ? out : before + in;
    if (end < begin) end = begin;
  }
};

// Calls f for the columns of a row of y that are not inner.
template <class F>
FASTNN_INLINE void for_each_border(const Inner& inner, int64_t out, const F& f) {
  for (int64_t o = 0; o < inner.begin; ++o) f(o);
  for (int64_t o = inner.end; o < out; ++o) f(o);
}

template <class Args>
int64_t rows_of(const Args& args) {
  int64_t rows = 1;
  for (int axis = 0; axis < args.rank - 1; ++axis) rows *= args.out[axis];
  return rows;
}

template <class T>
FASTNN_INLINE void fill(T* y, int64_t begin, int64_t end, T value) {
  for_vectors<T>(end - begin,
                 [&](int64_t i, auto lanes) { lanes.store(Vec<T>(value), y + begin + i); });
}

}  // namespace

template <class T>
void pad_forward(const PadForwardArgs<T>& args) {
  const int64_t in = args.in[args.rank - 1], out = args.out[args.rank - 1];
  const Inner inner(args);
  if (out == 0) return;
  const auto pad_row = [&](const T* x, T* y) {
    if (args.mode == PadMode::kConstant) {
      fill(y, 0, inner.begin, args.value);
      fill(y, inner.end, out, args.value);
    } else {
      for_each_border(inner, out,
                      [&](int64_t o) { y[o] = x[source_of(args.mode, o - inner.before, in)]; });
    }
    const T* const middle = x - inner.before + inner.begin;
    for_vectors<T>(inner.end - inner.begin, [&](int64_t i, auto lanes) {
      lanes.store(lanes.load(middle + i), y + inner.begin + i);
    });
  };
  parallel_for(rows_of(args), at_least_one(kPadGrain / out), [&](int64_t begin, int64_t end, int) {
    for_each_row(args, begin, end, [&](int64_t row, int64_t source) {
      T* const y = args.y + row * out;
      if (source < 0) {
        fill(y, 0, out, args.value);
      } else {
        pad_row(args.x + source * in, y);
      }
    });
  });
}

template <class T>
void pad_backward(const PadBackwardArgs<T>& args) {
  if (args.mode == PadMode::kConstant) {  // what was added is cut off, what was cut off is zero
    PadForwardArgs<T> inverse{args.rank, {}, {}, {}, args.mode, T(0), args.grad_y, args.grad_x};
    for (int axis = 0; axis < args.rank; ++axis) {
      inverse.in[axis] = args.out[axis];
      inverse.out[axis] = args.in[axis];
      inverse.before[axis] = -args.before[axis];
    }
    return pad_forward(inverse);
  }
  const int64_t in = args.in[args.rank - 1], out = args.out[args.rank - 1];
  const Inner inner(args);
  int64_t plane_in = 1, plane_rows = 1;
  for (int axis = 1; axis < args.rank; ++axis) plane_in *= args.in[axis];
  for (int axis = 1; axis < args.rank - 1; ++axis) plane_rows *= args.out[axis];
  if (plane_in == 0) return;
  const auto add_row = [&](const T* grad_y, T* grad_x) {
    for_each_border(inner, out, [&](int64_t o) {
      grad_x[source_of(args.mode, o - inner.before, in)] += grad_y[o];
    });
    T* const middle = grad_x - inner.before + inner.begin;
    for_vectors<T>(inner.end - inner.begin, [&](int64_t i, auto lanes) {
      lanes.store(lanes.load(middle + i) + lanes.load(grad_y + inner.begin + i), middle + i);
    });
  };
  parallel_for(
      args.in[0], at_least_one(kPadGrain / plane_in), [&](int64_t begin, int64_t end, int) {
        fill(args.grad_x, begin * plane_in, end * plane_in, T(0));
        for_each_row(args, begin * plane_rows, end * plane_rows, [&](int64_t row, int64_t source) {
          add_row(args.grad_y + row * out, args.grad_x + source * in);
        });
      });
}

template void pad_forward(const PadForwardArgs<float>&);
template void pad_forward(const PadForwardArgs<double>&);
template void pad_backward(const PadBackwardArgs<float>&);
template void pad_backward(const PadBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
