// embedding_bag: the sum, mean or largest element of the rows of a table that a bag names, column
// by column, in the order of the bag. Every bag is one thread's. The gradients with respect to the
// table of sum and mean are embedding_backward's; for max each block of columns is one thread's.
#include "kernels/elementwise/map.h"
#include "ops/embedding.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int kTile = 8;          // vectors of a row that are combined at a time,
constexpr int kNarrow = 2;        // or of a narrow one
constexpr int64_t kAhead = 4;     // rows that memory brings meanwhile
constexpr int64_t kColumns = 64;  // a thread's columns in the backward of max

template <class T>
struct Bag {
  const EmbeddingBagForwardArgs<T>& args;
  int64_t begin, end, count;  // positions, and how many of them are no padding

  FASTNN_INLINE Bag(const EmbeddingBagForwardArgs<T>& all, int64_t bag)
      : args(all), begin(all.offsets[bag]), end(all.offsets[bag + 1]), count(0) {
    for (int64_t i = begin; i < end; ++i) count += args.ids[i] != args.padding;
  }

  // `width` columns of the bag's row of y, in kVectors vectors.
  template <int kVectors>
  FASTNN_INLINE void reduce(int64_t column, int64_t width, T* y) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    Vec<T> total[kVectors];
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) total[j] = Vec<T>::zero();
    bool first = true;
    for (int64_t i = begin; i < end; ++i) {
      if (args.ids[i] == args.padding) continue;
      const T* row = args.weight + args.ids[i] * args.dim + column;
      const Vec<T> factor(args.factors == nullptr ? T(1) : args.factors[i]);
      const T* later = row;
      if (i + kAhead < end) later = args.weight + args.ids[i + kAhead] * args.dim + column;
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        __builtin_prefetch(later + j * kSize);
        const Vec<T> value = Vec<T>::load(row + j * kSize, width - j * kSize);
        if (args.mode != BagMode::kMax) {
          total[j] = fma(value, factor, total[j]);
        } else {
          total[j] = first ? value : max_nan(total[j], value);
        }
      }
      first = false;
    }
    const T divisor = args.mode == BagMode::kMean && count > 0 ? static_cast<T>(count) : T(1);
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      (total[j] / Vec<T>(divisor)).store(y + j * kSize, width - j * kSize);
    }
  }
};

// Adds each gradient of bag `bag` in columns [first, last) to the table.
template <class T>
void scatter_max(const EmbeddingBagBackwardMaxArgs<T>& args, int64_t bag, int64_t first,
                 int64_t last) {
  int64_t winner[kColumns];
  for (int64_t c = 0; c < last - first; ++c) winner[c] = -1;
  for (int64_t i = args.offsets[bag]; i < args.offsets[bag + 1]; ++i) {
    const int64_t id = args.ids[i];
    if (id == args.padding) continue;
    for (int64_t c = 0; c < last - first; ++c) {
      const T value = args.weight[id * args.dim + first + c];
      const T best = winner[c] < 0 ? value : args.weight[winner[c] * args.dim + first + c];
      const bool nan_wins = value != value && best == best;
      if (winner[c] < 0 || value > best || nan_wins) winner[c] = id;
    }
  }
  for (int64_t c = 0; c < last - first; ++c) {
    if (winner[c] < 0) continue;
    args.grad_weight[winner[c] * args.dim + first + c] += args.grad_y[bag * args.dim + first + c];
  }
}

}  // namespace

template <class T>
void embedding_bag_forward(const EmbeddingBagForwardArgs<T>& args) {
  const int64_t positions = args.bags > 0 ? args.offsets[args.bags] - args.offsets[0] : 0;
  const int64_t rows_a_bag = args.bags > 0 ? 1 + positions / args.bags : 1;
  parallel_for(args.bags, rows_per_part(args.dim * rows_a_bag),
               [&args](int64_t begin, int64_t end, int) {
                 constexpr int64_t kWidth = kTile * Vec<T>::kSize;
                 for (int64_t b = begin; b < end; ++b) {
                   const Bag<T> bag(args, b);
                   if (args.dim <= kNarrow * Vec<T>::kSize) {
                     bag.template reduce<kNarrow>(0, args.dim, args.y + b * args.dim);
                     continue;
                   }
                   for (int64_t column = 0; column < args.dim; column += kWidth) {
                     const int64_t rest = args.dim - column;
                     bag.template reduce<kTile>(column, rest < kWidth ? rest : kWidth,
                                                args.y + b * args.dim + column);
                   }
                 }
               });
}

template <class T>
void embedding_bag_backward_max(const EmbeddingBagBackwardMaxArgs<T>& args) {
  parallel_for(args.dim, kColumns, [&args](int64_t begin, int64_t end, int) {
    for (int64_t bag = 0; bag < args.bags; ++bag) scatter_max(args, bag, begin, end);
  });
}

template <class T>
void embedding_bag_backward_factors(const EmbeddingBagBackwardFactorsArgs<T>& args) {
  parallel_for(args.n, rows_per_part(args.dim), [&args](int64_t begin, int64_t end, int) {
    constexpr int64_t kSize = Vec<T>::kSize;
    for (int64_t i = begin; i < end; ++i) {
      const T* row = args.weight + args.ids[i] * args.dim;
      const T* grad = args.grad_y + args.rows[i] * args.dim;
      Vec<T> sum = Vec<T>::zero();
      for (int64_t j = 0; j < args.dim; j += kSize) {
        sum = fma(Vec<T>::load(row + j, args.dim - j), Vec<T>::load(grad + j, args.dim - j), sum);
      }
      args.grad_factors[i] = args.ids[i] == args.padding ? T(0) : reduce_add(sum);
    }
  });
}

template void embedding_bag_forward(const EmbeddingBagForwardArgs<float>&);
template void embedding_bag_forward(const EmbeddingBagForwardArgs<double>&);
template void embedding_bag_backward_max(const EmbeddingBagBackwardMaxArgs<float>&);
template void embedding_bag_backward_max(const EmbeddingBagBackwardMaxArgs<double>&);
template void embedding_bag_backward_factors(const EmbeddingBagBackwardFactorsArgs<float>&);
template void embedding_bag_backward_factors(const EmbeddingBagBackwardFactorsArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
