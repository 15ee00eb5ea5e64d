// logsumexp: y = max + log sum exp(x - max) over the middle dimension of (outer, length, inner);
// -inf for an empty or all -inf row, inf where there is a +inf, NaN where there is a NaN. Its
// gradient is g * exp(x - y). Sums are grouped by the length of the row alone.
#include "kernels/columns.h"
#include "kernels/softmax/blocks.h"
#include "ops/softmax.h"

namespace fastnn::FASTNN_ISA {
namespace {

// The sum of exp(x - shift).
template <class T>
T exp_sum(const T* x, int64_t n, T shift) {
  Chains<T> chains(0);
  for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
    chains[c] += exp(lanes.load(x + i, -infinity<T>()) - shift);
  });
  return chains.sum();
}

template <class T>
void forward_rows(const SoftmaxForwardArgs<T>& args) {
  const int64_t n = args.length;
  for_rows_in_blocks<T>(
      args.outer, n,
      [&](int64_t row, int64_t begin, int64_t end, T* max, T* sum) {
        const T* const x = args.x + row * n + begin;
        *max = row_max(x, end - begin);
        *sum = exp_sum(x, end - begin, shift_of(*max));
      },
      [&](int64_t row, int64_t count, T* maxima, T* sums) {
        const RowSum<T> total = combine_blocks(count, maxima, sums);
        (shift_of(total.max) + log(Vec<T>(total.sum))).store(args.y + row, 1);
      },
      [](int64_t, int64_t, int64_t, T, T) {});
}

template <class T>
void forward_columns(const SoftmaxForwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t length = args.length, inner = args.inner;
  for_column_tiles<T>(
      args.outer, length, inner, [&](int64_t slice, int64_t column, int64_t columns, int) {
        for_tile_vectors<T>(columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          constexpr int kVectors = decltype(tag)::index;
          const T* const x = args.x + slice * length * inner + column + first;
          T* const y = args.y + slice * inner + column + first;
          Vec<T> maxima[kVectors], sums[kVectors];
          FASTNN_UNROLL
          for (int v = 0; v < kVectors; ++v) maxima[v] = Vec<T>(-infinity<T>());
          for (int64_t i = 0; i < length; ++i) {
            FASTNN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
              maxima[v] = max(lanes.load(x + i * inner + v * kSize), maxima[v]);
            }
          }
          FASTNN_UNROLL
          for (int v = 0; v < kVectors; ++v) maxima[v] = shift_of(maxima[v]);
          sum_columns(length, sums, [&](int64_t i, int v) FASTNN_INLINE_LAMBDA {
            return exp(lanes.load(x + i * inner + v * kSize) - maxima[v]);
          });
          FASTNN_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            lanes.store(maxima[v] + log(sums[v]), y + v * kSize);
          }
        });
      });
}

}  // namespace

template <class T>
void logsumexp_forward(const SoftmaxForwardArgs<T>& args) {
  if (args.length == 0) {
    for (int64_t i = 0; i < args.outer * args.inner; ++i) args.y[i] = -infinity<T>();
  } else if (args.inner == 1) {
    forward_rows(args);
  } else {
    forward_columns(args);
  }
}

template <class T>
void logsumexp_backward(const LogSumExpBackwardArgs<T>& args) {
  const int64_t length = args.length, inner = args.inner;
  parallel_for(args.outer, rows_a_part(length * inner), [&](int64_t begin, int64_t end, int) {
    for (int64_t slice = begin; slice < end; ++slice) {
      const T *const x = args.x + slice * length * inner, *const y = args.y + slice * inner;
      const T* const grad_y = args.grad_y + slice * inner;
      T* const grad_x = args.grad_x + slice * length * inner;
      if (inner == 1) {
        const Vec<T> grad(*grad_y), total(*y);
        for_vectors<T>(length, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
          lanes.store(grad * exp(lanes.load(x + i) - total), grad_x + i);
        });
        continue;
      }
      for (int64_t i = 0; i < length; ++i) {
        for_vectors<T>(inner, [&](int64_t j, auto lanes) FASTNN_INLINE_LAMBDA {
          const Vec<T> softmax = exp(lanes.load(x + i * inner + j) - lanes.load(y + j));
          lanes.store(lanes.load(grad_y + j) * softmax, grad_x + i * inner + j);
        });
      }
    }
  });
}

template void logsumexp_forward(const SoftmaxForwardArgs<float>&);
template void logsumexp_forward(const SoftmaxForwardArgs<double>&);
template void logsumexp_backward(const LogSumExpBackwardArgs<float>&);
template void logsumexp_backward(const LogSumExpBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
