// cross_entropy: log-sum-exp and loss of every position in one pass over the logits.
#include "kernels/loss/cross_entropy.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Running sums of a position: total of q and shifted = sum of q (x - maximum) only where the kind
// of coefficients asks for them.
template <class T>
struct RowSums {
  T maximum, sum, total, shifted;
};

// q of one vector of classes.
template <class T, Coefficients kind, class Count>
FASTNN_INLINE Vec<T> row_coefficients(const CrossEntropyForwardArgs<T>& args, int64_t row,
                                      int64_t c, Count count) {
  const Vec<T> weight = args.weight ? load_part(args.weight + c, count) : Vec<T>(T{1});
  if constexpr (kind == Coefficients::kClassWeights) return weight;
  const T* p = args.probabilities + row * args.classes + c;
  return weight * smoothed<T>(load_part(p, count), args.label_smoothing, args.classes);
}

// Blocks of 64 vectors are read twice, the second time from the L1 cache: for the maximum, then
// for the sum.
template <class T, Coefficients kind>
FASTNN_INLINE RowSums<T> row_sums(const CrossEntropyForwardArgs<T>& args, int64_t row) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int64_t kBlock = 64 * kSize;
  const T infinity = static_cast<T>(__builtin_inff());
  const Vec<T> lowest(-infinity), zero = Vec<T>::zero();
  const int64_t classes = args.classes;
  const T* x = args.input + row * classes;
  T maximum = -infinity;
  Vec<T> shift = zero, total = zero, shifted = zero;
  Vec<T> sums[4] = {zero, zero, zero, zero};
  for (int64_t begin = 0; begin < classes; begin += kBlock) {
    const int64_t end = begin + kBlock < classes ? begin + kBlock : classes;
    const int64_t unrolled_end = begin + (end - begin) / (4 * kSize) * (4 * kSize);
    const int64_t whole_end = begin + (end - begin) / kSize * kSize;
    Vec<T> highest[4] = {lowest, lowest, lowest, lowest};
    int64_t c = begin;
    for (; c < unrolled_end; c += 4 * kSize) {
      FASTNN_UNROLL
      for (int u = 0; u < 4; ++u) highest[u] = max(Vec<T>::load(x + c + u * kSize), highest[u]);
    }
    for (; c < whole_end; c += kSize) highest[0] = max(Vec<T>::load(x + c), highest[0]);
    if (c < end) highest[1] = max(Vec<T>::load(x + c, end - c, -infinity), highest[1]);
    const T block_maximum =
        reduce_max(max(max(highest[0], highest[1]), max(highest[2], highest[3])));
    if (block_maximum > maximum) {
      const Vec<T> higher(block_maximum);
      if (begin > 0) {
        const Vec<T> factor = exp(Vec<T>(maximum) - higher);
        FASTNN_UNROLL
        for (int u = 0; u < 4; ++u) sums[u] *= factor;
        shifted = fma(total, shift - higher, shifted);
      }
      maximum = block_maximum;
      shift = higher;
    }
    c = begin;
    for (; c < unrolled_end; c += 4 * kSize) {
      FASTNN_UNROLL
      for (int u = 0; u < 4; ++u) sums[u] += exp(Vec<T>::load(x + c + u * kSize) - shift);
    }
    for (; c < whole_end; c += kSize) sums[0] += exp(Vec<T>::load(x + c) - shift);
    if (c < end) sums[1] += exp(Vec<T>::load(x + c, end - c, -infinity) - shift);
    if constexpr (kind != Coefficients::kNone) {
      for (c = begin; c < whole_end; c += kSize) {
        const Vec<T> q = row_coefficients<T, kind>(args, row, c, FullVector());
        total += q;
        shifted = fma(q, Vec<T>::load(x + c) - shift, shifted);
      }
      if (c < end) {
        const auto valid = first_n_mask<T>(end - c);
        const Vec<T> q = row_coefficients<T, kind>(args, row, c, end - c);
        total += select(valid, q, zero);
        shifted += select(valid, q * (Vec<T>::load(x + c, end - c) - shift), zero);
      }
    }
  }
  const T sum = reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
  if constexpr (kind == Coefficients::kNone) return {maximum, sum, T{0}, T{0}};
  return {maximum, sum, reduce_add(total), reduce_add(shifted)};
}

// kVectors vectors of positions, class by class: one exp a logit, of -|x - maximum|, which either
// scales the old sum or is the new term. `shifted_out` receives the shifted sums.
template <class T, Coefficients kind, int kVectors, class Count>
FASTNN_INLINE void column_sums(const CrossEntropyForwardArgs<T>& args, int64_t position,
                               int64_t offset, T* shifted_out, Count count) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Vec<T> one(T{1}), infinity(static_cast<T>(__builtin_inff()));
  // Finite, so that a logit of -infinity is never subtracted from -infinity.
  const Vec<T> lowest(static_cast<T>(sizeof(T) == 4 ? -__FLT_MAX__ : -__DBL_MAX__));
  const T* x = args.input + offset;
  const auto coefficient = [&](int64_t c, int v) {
    const Vec<T> weight(args.weight ? args.weight[c] : T{1});
    if constexpr (kind == Coefficients::kClassWeights) return weight;
    const T* p = args.probabilities + offset + c * args.inner + v * kSize;
    return weight * smoothed<T>(load_part(p, count), args.label_smoothing, args.classes);
  };
  Vec<T> maximum[kVectors], sum[kVectors], total[kVectors], shifted[kVectors];
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const Vec<T> logit = load_part(x + v * kSize, count);
    maximum[v] = max(lowest, logit);
    sum[v] = exp(logit - maximum[v]);
    if constexpr (kind != Coefficients::kNone) {
      total[v] = coefficient(0, v);
      shifted[v] = total[v] * (logit - maximum[v]);
    }
  }
  for (int64_t c = 1; c < args.classes; ++c) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> logit = load_part(x + c * args.inner + v * kSize, count);
      const Vec<T> difference = logit - maximum[v];
      const Vec<T> term = exp(-abs(difference));
      const auto grows = logit > maximum[v];
      sum[v] = select(grows, fma(sum[v], term, one), sum[v] + term);
      maximum[v] = select(grows, logit, maximum[v]);
      if constexpr (kind != Coefficients::kNone) {
        const Vec<T> q = coefficient(c, v);
        shifted[v] = fma(select(grows, -total[v], q), difference, shifted[v]);
        total[v] += q;
      }
    }
  }
  const int64_t plane = args.batch * args.inner;
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    T* statistics = args.statistics + position + v * kSize;
    store_part(statistics, count, maximum[v]);
    store_part(statistics + plane, count,
               select(maximum[v] == infinity, infinity - infinity, sum[v]));
    if constexpr (kind != Coefficients::kNone) {
      store_part(statistics + 2 * plane, count, total[v]);
      store_part(shifted_out + v * kSize, count, shifted[v]);
    }
  }
}

template <class T, Coefficients kind>
FASTNN_INLINE void group_of_rows(const CrossEntropyForwardArgs<T>& args, PositionGroup group,
                                 T* shifted) {
  for (int64_t i = 0; i < group.count; ++i) {
    const int64_t row = group.first + i;
    T* statistics = args.statistics + row;
    RowSums<T> sums{T{0}, T{1}, T{0}, T{0}};
    if (args.target == nullptr || args.target[row] != args.ignore_index) {
      sums = row_sums<T, kind>(args, row);
    }
    statistics[0] = sums.maximum;
    statistics[args.batch] = sums.sum;
    if constexpr (kind != Coefficients::kNone) {
      statistics[2 * args.batch] = sums.total;
      shifted[i] = sums.shifted;
    }
  }
}

template <class T, Coefficients kind>
FASTNN_INLINE void group_of_columns(const CrossEntropyForwardArgs<T>& args, PositionGroup group,
                                    T* shifted) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t offset = first_class_offset(group.first, args.classes, args.inner);
  if (group.count == kPositionGroup<T>) {
    column_sums<T, kind, kColumns>(args, group.first, offset, shifted, FullVector());
    return;
  }
  int64_t i = 0;
  for (; i + kSize <= group.count; i += kSize) {
    column_sums<T, kind, 1>(args, group.first + i, offset + i, shifted + i, FullVector());
  }
  if (i < group.count) {
    column_sums<T, kind, 1>(args, group.first + i, offset + i, shifted + i, group.count - i);
  }
}

// From the statistics to losses: returns their sum and adds up the weights of what is counted.
template <class T, Coefficients kind>
FASTNN_INLINE double finish_group(const CrossEntropyForwardArgs<T>& args, PositionGroup group,
                                  const T* shifted, double& total_weight) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t plane = args.batch * args.inner;
  const double smoothing = args.label_smoothing;
  const T keep = static_cast<T>(1 - smoothing);
  const T spread = static_cast<T>(smoothing / static_cast<double>(args.classes));
  double loss_sum = 0;
  T log_sum[kPositionGroup<T>];
  for (int64_t i = 0; i < group.count; i += kSize) {
    const int64_t count = group.count - i < kSize ? group.count - i : kSize;
    log(Vec<T>::load(args.statistics + plane + group.first + i, count, T{1})).store(log_sum + i);
  }
  for (int64_t i = 0; i < group.count; ++i) {
    const int64_t position = group.first + i;
    T loss = 0;
    if constexpr (kind == Coefficients::kProbabilities) {
      loss = args.statistics[2 * plane + position] * log_sum[i] - shifted[i];
      total_weight += 1;
    } else if (const int64_t target = args.target[position]; target != args.ignore_index) {
      const T weight = args.weight ? args.weight[target] : T{1};
      const T logit =
          args.input[first_class_offset(position, args.classes, args.inner) + target * args.inner];
      loss = weight * (log_sum[i] - (logit - args.statistics[position]));
      if constexpr (kind == Coefficients::kClassWeights) {
        const T all = args.statistics[2 * plane + position] * log_sum[i] - shifted[i];
        loss = keep * loss + spread * all;
      }
      total_weight += static_cast<double>(weight);
    }
    if (args.loss) args.loss[position] = loss;
    loss_sum += static_cast<double>(loss);
  }
  return loss_sum;
}

template <class T, Coefficients kind>
void forward(const CrossEntropyForwardArgs<T>& args) {
  const PositionGrid grid = position_grid<T>(args.batch, args.classes, args.inner);
  const int64_t parts = (grid.items + grid.items_per_part - 1) / grid.items_per_part;
  Workspace workspace(2 * Workspace::padded_bytes(parts * static_cast<int64_t>(sizeof(double))));
  double* sums = workspace.take<double>(parts);
  double* weights = workspace.take<double>(parts);
  parallel_for(grid.items, grid.items_per_part, [&](int64_t begin, int64_t end, int) {
    double sum = 0, weight = 0;
    for_each_group<T>(args.inner, grid.tiles, begin, end, [&](PositionGroup group) {
      T shifted[kPositionGroup<T>];
      if (args.inner == 1) {
        group_of_rows<T, kind>(args, group, shifted);
      } else {
        group_of_columns<T, kind>(args, group, shifted);
      }
      sum += finish_group<T, kind>(args, group, shifted, weight);
    });
    sums[begin / grid.items_per_part] = sum;
    weights[begin / grid.items_per_part] = weight;
  });
  double sum = 0, weight = 0;
  for (int64_t part = 0; part < parts; ++part) {
    sum += sums[part];
    weight += weights[part];
  }
  *args.divisor = weight;
  if (args.total) *args.total = static_cast<T>(args.mean ? sum / weight : sum);
}

}  // namespace

template <class T>
void cross_entropy_forward(const CrossEntropyForwardArgs<T>& args) {
  if (args.probabilities) {
    forward<T, Coefficients::kProbabilities>(args);
  } else if (args.label_smoothing > 0) {
    forward<T, Coefficients::kClassWeights>(args);
  } else {
    forward<T, Coefficients::kNone>(args);
  }
}

template void cross_entropy_forward(const CrossEntropyForwardArgs<float>&);
template void cross_entropy_forward(const CrossEntropyForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
