// pad: constant, reflected, replicated or circular borders. The inner part of a row is copied, its
// borders element by element; a row outside a constant-padded axis is filled.
//
// Backward: one thread an index of the first axis adds rows of grad_y in order.
#include <cstddef>

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

// The row of x that row `row` of y copies, -1 for none.
template <class Args>
FASTNN_INLINE int64_t source_row(const Args& args, int64_t row) {
  int64_t result = 0, stride = 1;
  for (int axis = args.rank - 2; axis >= 0; --axis) {
    const int64_t o = row % args.out[axis];
    row /= args.out[axis];
    const int64_t i = source_of(args.mode, o - args.before[axis], args.in[axis]);
    if (i < 0) return -1;
    result += i * stride;
    stride *= args.in[axis];
  }
  return result;
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

template <class Args>
int64_t rows_of(const Args& args) {
  int64_t rows = 1;
  for (int axis = 0; axis < args.rank - 1; ++axis) rows *= args.out[axis];
  return rows;
}

}  // namespace

template <class T>
void pad_forward(const PadForwardArgs<T>& args) {
  const int64_t in = args.in[args.rank - 1], out = args.out[args.rank - 1];
  const Inner inner(args);
  const auto border = [&](const T* x, int64_t o) {
    const int64_t i = source_of(args.mode, o - inner.before, in);
    return i < 0 ? args.value : x[i];
  };
  if (out == 0) return;
  parallel_for(rows_of(args), at_least_one(kPadGrain / out), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      T* y = args.y + row * out;
      const int64_t source = source_row(args, row);
      if (source < 0) {
        for (int64_t o = 0; o < out; ++o) y[o] = args.value;
        continue;
      }
      const T* x = args.x + source * in;
      for (int64_t o = 0; o < inner.begin; ++o) y[o] = border(x, o);
      if (inner.end > inner.begin) {
        __builtin_memcpy(y + inner.begin, x + inner.begin - inner.before,
                         static_cast<size_t>(inner.end - inner.begin) * sizeof(T));
      }
      for (int64_t o = inner.end; o < out; ++o) y[o] = border(x, o);
    }
  });
}

template <class T>
void pad_backward(const PadBackwardArgs<T>& args) {
  const int64_t in = args.in[args.rank - 1], out = args.out[args.rank - 1];
  const Inner inner(args);
  int64_t plane_in = 1, plane_rows = 1;
  for (int axis = 1; axis < args.rank; ++axis) plane_in *= args.in[axis];
  for (int axis = 1; axis < args.rank - 1; ++axis) plane_rows *= args.out[axis];
  if (plane_in == 0) return;
  const auto add_row = [&](const T* grad_y, T* grad_x) {
    const auto border = [&](int64_t o) {
      const int64_t i = source_of(args.mode, o - inner.before, in);
      if (i >= 0) grad_x[i] += grad_y[o];
    };
    for (int64_t o = 0; o < inner.begin; ++o) border(o);
    for (int64_t o = inner.begin; o < inner.end; ++o) grad_x[o - inner.before] += grad_y[o];
    for (int64_t o = inner.end; o < out; ++o) border(o);
  };
  parallel_for(args.in[0], at_least_one(kPadGrain / plane_in),
               [&](int64_t begin, int64_t end, int) {
                 __builtin_memset(args.grad_x + begin * plane_in, 0,
                                  static_cast<size_t>((end - begin) * plane_in) * sizeof(T));
                 for (int64_t row = begin * plane_rows; row < end * plane_rows; ++row) {
                   const int64_t source = source_row(args, row);
                   if (source >= 0) add_row(args.grad_y + row * out, args.grad_x + source * in);
                 }
               });
}

template void pad_forward(const PadForwardArgs<float>&);
template void pad_forward(const PadForwardArgs<double>&);
template void pad_backward(const PadBackwardArgs<float>&);
template void pad_backward(const PadBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
