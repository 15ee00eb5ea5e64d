// Losses that compare arrays element by element.
//
// A loss is a struct F over Vec<T> with
//   loss(input, target, third)                           and, for the gradients,
//   input_gradient, target_gradient, third_gradient      of the same arguments.
// `third` is 1 where the argument is absent. Sums run over parts of kLossPart elements, each over
// blocks of kLossBlock in T and over the blocks in double; workspace: 8 bytes a part.
#pragma once

#include "ops/loss.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"
#include "simd/part.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kLossPart = int64_t{1} << 15;
inline constexpr int64_t kLossBlock = int64_t{1} << 11;

// Sum of value(i, count), a Vec at elements i ..., over [begin, end) in a fixed order.
template <class T, class Value>
FASTNN_INLINE double block_sum(int64_t begin, int64_t end, const Value& value) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kSums = 4;
  Vec<T> sums[kSums];
  FASTNN_UNROLL
  for (int u = 0; u < kSums; ++u) sums[u] = Vec<T>::zero();
  int64_t i = begin;
  for (; i + kSums * kSize <= end; i += kSums * kSize) {
    FASTNN_UNROLL
    for (int u = 0; u < kSums; ++u) sums[u] += value(i + u * kSize, FullVector());
  }
  for (; i + kSize <= end; i += kSize) sums[0] += value(i, FullVector());
  if (i < end) {
    sums[1] += select(first_n_mask<T>(end - i), value(i, end - i), Vec<T>::zero());
  }
  return static_cast<double>(reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

// The losses of a vector of elements. It holds its own copy of the arguments, made inside the
// parallel region, so that the pointers stay in registers.
template <class T, class F>
struct PointwiseValue {
  PointwiseLossForwardArgs<T> args;
  F f;
  template <class Count>
  FASTNN_INLINE Vec<T> operator()(int64_t i, Count count) const {
    const Vec<T> third = args.third ? load_part(args.third + i, count) : Vec<T>(T{1});
    const Vec<T> loss =
        f.loss(load_part(args.input + i, count), load_part(args.target + i, count), third);
    return args.weight ? loss * load_part(args.weight + i, count) : loss;
  }
};

template <class T, class F>
FASTNN_INLINE void pointwise_forward(const PointwiseLossForwardArgs<T>& args, const F& f) {
  if (args.loss != nullptr) {
    parallel_for(args.n, kLossPart, [&](int64_t begin, int64_t end, int) {
      const PointwiseValue<T, F> value{args, f};
      for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
        store_part(value.args.loss + i, count, value(i, count));
      });
    });
    return;
  }
  const int64_t parts = (args.n + kLossPart - 1) / kLossPart;
  Workspace workspace(parts * static_cast<int64_t>(sizeof(double)));
  double* partial = workspace.take<double>(parts);
  parallel_for(args.n, kLossPart, [&](int64_t begin, int64_t end, int) {
    const PointwiseValue<T, F> value{args, f};
    double sum = 0;
    for (int64_t i = begin; i < end; i += kLossBlock) {
      sum += block_sum<T>(i, i + kLossBlock < end ? i + kLossBlock : end, value);
    }
    partial[begin / kLossPart] = sum;
  });
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += partial[part];
  *args.total = static_cast<T>(total / args.divisor);
}

// Writes the gradients of a vector of elements; a copy of the arguments as above.
template <class T, class F>
struct PointwiseGradient {
  PointwiseLossBackwardArgs<T> args;
  F f;
  Vec<T> scale;  // of all elements, where grad_loss is one number
  template <class Count>
  FASTNN_INLINE void operator()(int64_t i, Count count) const {
    const Vec<T> input = load_part(args.input + i, count);
    const Vec<T> target = load_part(args.target + i, count);
    const Vec<T> third = args.third ? load_part(args.third + i, count) : Vec<T>(T{1});
    Vec<T> grad = args.grad_is_scalar ? scale : load_part(args.grad_loss + i, count);
    if (args.weight) grad *= load_part(args.weight + i, count);
    if (args.grad_input) {
      store_part(args.grad_input + i, count, grad * f.input_gradient(input, target, third));
    }
    if (args.grad_target) {
      store_part(args.grad_target + i, count, grad * f.target_gradient(input, target, third));
    }
    if (args.grad_third) {
      store_part(args.grad_third + i, count, grad * f.third_gradient(input, target, third));
    }
  }
};

template <class T, class F>
FASTNN_INLINE void pointwise_backward(const PointwiseLossBackwardArgs<T>& args, const F& f) {
  const T scale = args.grad_is_scalar
                      ? static_cast<T>(static_cast<double>(*args.grad_loss) / args.divisor)
                      : T{0};
  parallel_for(args.n, kLossPart, [&](int64_t begin, int64_t end, int) {
    const PointwiseGradient<T, F> step{args, f, Vec<T>(scale)};
    for_each_vector<T>(begin, end, step);
  });
}

// A loss of input - target, so that the target's gradient is the negative of the input's.
template <class T, class F>
struct DifferenceLoss {
  F f;
  FASTNN_INLINE Vec<T> loss(Vec<T> input, Vec<T> target, Vec<T>) const {
    return f.value(input - target);
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> input, Vec<T> target, Vec<T>) const {
    return f.slope(input - target);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> input, Vec<T> target, Vec<T>) const {
    return -f.slope(input - target);
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

}  // namespace fastnn::FASTNN_ISA

// Defines the kernels name_forward and name_backward of the loss that `make` (an expression of
// `args`) builds, with their instantiations.
#define FASTNN_POINTWISE_LOSS(name, make)                                 \
  template <class T>                                                      \
  void name##_forward(const PointwiseLossForwardArgs<T>& args) {          \
    pointwise_forward(args, make);                                        \
  }                                                                       \
  template <class T>                                                      \
  void name##_backward(const PointwiseLossBackwardArgs<T>& args) {        \
    pointwise_backward(args, make);                                       \
  }                                                                       \
  template void name##_forward(const PointwiseLossForwardArgs<float>&);   \
  template void name##_forward(const PointwiseLossForwardArgs<double>&);  \
  template void name##_backward(const PointwiseLossBackwardArgs<float>&); \
  template void name##_backward(const PointwiseLossBackwardArgs<double>&)
