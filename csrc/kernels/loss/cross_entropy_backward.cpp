// The gradient of cross_entropy, from the statistics of the forward pass: one read of the logits
// and one write. With the coefficients q of cross_entropy.h and s the position's share of the
// gradient of the loss, grad_input_c = s (softmax_c * sum of q - q_c).
#include "kernels/loss/cross_entropy.h"

namespace fastnn::FASTNN_ISA {
namespace {

// What a position multiplies: exp(x_c - maximum) by `softmax`, q_c by `spread`; `target` is
// subtracted at the target. A position that does not count has a zero gradient even where its
// logits are NaN.
template <class T>
struct PositionScales {
  T maximum, softmax, spread, target;
  bool counted;
};

template <class T, Coefficients kind>
FASTNN_INLINE PositionScales<T> position_scales(const CrossEntropyBackwardArgs<T>& args,
                                                int64_t position, T scalar_grad) {
  const int64_t plane = args.batch * args.inner;
  const T grad = args.grad_is_scalar ? scalar_grad : args.grad_loss[position];
  const T maximum = args.statistics[position];
  const T inverse_sum = T{1} / args.statistics[plane + position];
  if constexpr (kind == Coefficients::kProbabilities) {
    const T total = args.statistics[2 * plane + position];
    return {maximum, grad * total * inverse_sum, grad, T{0}, true};
  }
  const int64_t target = args.target[position];
  if (target == args.ignore_index) return {T{0}, T{0}, T{0}, T{0}, false};
  const T weight = args.weight ? args.weight[target] : T{1};
  const T own = grad * (static_cast<T>(1 - args.label_smoothing) * weight);
  if constexpr (kind == Coefficients::kNone) return {maximum, own * inverse_sum, T{0}, own, true};
  const T spread = grad * static_cast<T>(args.label_smoothing / static_cast<double>(args.classes));
  const T total = own + spread * args.statistics[2 * plane + position];
  return {maximum, total * inverse_sum, spread, own, true};
}

template <class T, Coefficients kind>
FASTNN_INLINE void row_gradient(const CrossEntropyBackwardArgs<T>& args, int64_t row,
                                T scalar_grad) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t offset = row * args.classes;
  const PositionScales<T> scales = position_scales<T, kind>(args, row, scalar_grad);
  T* grad = args.grad_input + offset;
  if (!scales.counted) {
    __builtin_memset(grad, 0, static_cast<size_t>(args.classes) * sizeof(T));
    return;
  }
  const Vec<T> maximum(scales.maximum), softmax(scales.softmax), spread(scales.spread);
  const auto step = [&](int64_t c, auto count) {
    Vec<T> value = softmax * exp(load_part(args.input + offset + c, count) - maximum);
    if constexpr (kind != Coefficients::kNone) {
      Vec<T> q = args.weight ? load_part(args.weight + c, count) : Vec<T>(T{1});
      if constexpr (kind == Coefficients::kProbabilities) {
        q *= smoothed<T>(load_part(args.probabilities + offset + c, count), args.label_smoothing,
                         args.classes);
      }
      value = fnma(spread, q, value);
    }
    store_part(grad + c, count, value);
  };
  int64_t c = 0;
  for (; c + 4 * kSize <= args.classes; c += 4 * kSize) {
    FASTNN_UNROLL
    for (int u = 0; u < 4; ++u) step(c + u * kSize, FullVector());
  }
  for (; c + kSize <= args.classes; c += kSize) step(c, FullVector());
  if (c < args.classes) step(c, args.classes - c);
  if constexpr (kind != Coefficients::kProbabilities) grad[args.target[row]] -= scales.target;
}

template <class T, Coefficients kind>
FASTNN_INLINE void column_gradients(const CrossEntropyBackwardArgs<T>& args, PositionGroup group,
                                    T scalar_grad) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t offset = first_class_offset(group.first, args.classes, args.inner);
  // Lanes past the group stay zero.
  T maximum[kPositionGroup<T>] = {}, softmax[kPositionGroup<T>] = {},
    spread[kPositionGroup<T>] = {};
  T target[kPositionGroup<T>] = {}, counted[kPositionGroup<T>] = {};
  for (int64_t i = 0; i < group.count; ++i) {
    const auto scales = position_scales<T, kind>(args, group.first + i, scalar_grad);
    maximum[i] = scales.maximum;
    softmax[i] = scales.softmax;
    spread[i] = scales.spread;
    target[i] = scales.target;
    counted[i] = scales.counted ? T{1} : T{0};
  }
  const auto step = [&](int64_t c, int64_t i, auto count) {
    const int64_t at = offset + c * args.inner + i;
    Vec<T> value = Vec<T>::load(softmax + i) *
                   exp(load_part(args.input + at, count) - Vec<T>::load(maximum + i));
    if constexpr (kind != Coefficients::kNone) {
      Vec<T> q(args.weight ? args.weight[c] : T{1});
      if constexpr (kind == Coefficients::kProbabilities) {
        q *= smoothed<T>(load_part(args.probabilities + at, count), args.label_smoothing,
                         args.classes);
      }
      value = fnma(Vec<T>::load(spread + i), q, value);
    }
    const Vec<T> zero = Vec<T>::zero();
    value = select(Vec<T>::load(counted + i) == zero, zero, value);
    store_part(args.grad_input + at, count, value);
  };
  for (int64_t c = 0; c < args.classes; ++c) {
    int64_t i = 0;
    for (; i + kSize <= group.count; i += kSize) step(c, i, FullVector());
    if (i < group.count) step(c, i, group.count - i);
  }
  if constexpr (kind != Coefficients::kProbabilities) {
    for (int64_t i = 0; i < group.count; ++i) {
      if (counted[i] != T{0}) {
        args.grad_input[offset + args.target[group.first + i] * args.inner + i] -= target[i];
      }
    }
  }
}

// The gradient of the class probabilities: s w_c (1 - smoothing) (log-sum-exp - x_c).
template <class T>
FASTNN_INLINE void probability_gradient(const CrossEntropyBackwardArgs<T>& args, int64_t position,
                                        T scalar_grad) {
  const int64_t plane = args.batch * args.inner;
  const int64_t offset = first_class_offset(position, args.classes, args.inner);
  const T keep = static_cast<T>(1 - args.label_smoothing);
  const T scale = keep * (args.grad_is_scalar ? scalar_grad : args.grad_loss[position]);
  T log_sum[Vec<T>::kSize];
  log(Vec<T>(args.statistics[plane + position])).store(log_sum);
  for (int64_t c = 0; c < args.classes; ++c) {
    const int64_t at = offset + c * args.inner;
    const T weight = args.weight ? args.weight[c] : T{1};
    args.grad_probabilities[at] =
        scale * weight * (log_sum[0] - (args.input[at] - args.statistics[position]));
  }
}

template <class T, Coefficients kind>
void backward(const CrossEntropyBackwardArgs<T>& args) {
  const PositionGrid grid = position_grid<T>(args.batch, args.classes, args.inner);
  const T scalar_grad = args.grad_is_scalar
                            ? static_cast<T>(static_cast<double>(*args.grad_loss) / args.divisor)
                            : T{0};
  parallel_for(grid.items, grid.items_per_part, [&](int64_t begin, int64_t end, int) {
    for_each_group<T>(args.inner, grid.tiles, begin, end, [&](PositionGroup group) {
      if (args.grad_input && args.inner != 1) {
        column_gradients<T, kind>(args, group, scalar_grad);
      }
      for (int64_t i = group.first; i < group.first + group.count; ++i) {
        if (args.grad_input && args.inner == 1) row_gradient<T, kind>(args, i, scalar_grad);
        if constexpr (kind == Coefficients::kProbabilities) {
          if (args.grad_probabilities) probability_gradient(args, i, scalar_grad);
        }
      }
    });
  });
}

}  // namespace

template <class T>
void cross_entropy_backward(const CrossEntropyBackwardArgs<T>& args) {
  if (args.probabilities) {
    backward<T, Coefficients::kProbabilities>(args);
  } else if (args.label_smoothing > 0) {
    backward<T, Coefficients::kClassWeights>(args);
  } else {
    backward<T, Coefficients::kNone>(args);
  }
}

template void cross_entropy_backward(const CrossEntropyBackwardArgs<float>&);
template void cross_entropy_backward(const CrossEntropyBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
