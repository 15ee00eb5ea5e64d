// normalize: y = x / max(norm, eps) with the Euclidean norm over the middle dimension of (outer,
// length, inner). Its gradient is (g - y sum(g y)) / norm where norm >= eps, else g / eps.
#include "kernels/columns.h"
#include "kernels/norm/statistics.h"
#include "ops/norm.h"

namespace fastnn::FASTNN_ISA {
namespace {

// The sum of a[i] * b[i] over a row, block by block.
template <class T>
T row_dot(const T* a, const T* b, int64_t n) {
  T total = 0;
  for (int64_t begin = 0; begin < n; begin += kNormBlock<T>) {
    const int64_t length = n - begin < kNormBlock<T> ? n - begin : kNormBlock<T>;
    Chains<T> chains(0);
    for_vectors_in_chains<T>(length, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      chains[c] = fma(lanes.load(a + begin + i), lanes.load(b + begin + i), chains[c]);
    });
    total += chains.sum();
  }
  return total;
}

// max(eps, norm) keeps a NaN norm, its second operand.
template <class T>
FASTNN_INLINE Vec<T> clamped(Vec<T> norm, T eps) {
  return max(Vec<T>(eps), norm);
}

// What the sum of g y counts for: 1, or 0 where norm < eps.
template <class T>
FASTNN_INLINE Vec<T> projected(Vec<T> sum, Vec<T> norm, T eps) {
  return select(norm < Vec<T>(eps), Vec<T>::zero(), sum);
}

template <class T>
void forward_rows(const NormalizeForwardArgs<T>& args) {
  const int64_t n = args.length;
  parallel_for(args.outer, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const x = args.x + row * n;
      T* const y = args.y + row * n;
      const T norm = root(row_dot(x, x, n));
      const Vec<T> divisor = clamped(Vec<T>(norm), args.eps);
      for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
        lanes.store(lanes.load(x + i) / divisor, y + i);
      });
      if (args.norms != nullptr) args.norms[row] = norm;
    }
  });
}

template <class T>
void forward_columns(const NormalizeForwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t length = args.length, inner = args.inner;
  for_column_tiles<T>(
      args.outer, length, inner, [&](int64_t slice, int64_t column, int64_t columns, int) {
        for_tile_vectors<T>(columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          constexpr int kVectors = decltype(tag)::index;
          const int64_t start = slice * length * inner + column + first;
          Vec<T> norms[kVectors];
          sum_columns(length, norms, [&](int64_t i, int v) FASTNN_INLINE_LAMBDA {
            const Vec<T> value = lanes.load(args.x + start + i * inner + v * kSize);
            return value * value;
          });
          FASTNN_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            norms[v] = sqrt(norms[v]);
            if (args.norms != nullptr) {
              lanes.store(norms[v], args.norms + slice * inner + column + first + v * kSize);
            }
            norms[v] = clamped(norms[v], args.eps);
          }
          for (int64_t i = 0; i < length; ++i) {
            FASTNN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
              const int64_t at = start + i * inner + v * kSize;
              lanes.store(lanes.load(args.x + at) / norms[v], args.y + at);
            }
          }
        });
      });
}

template <class T>
void backward_rows(const NormalizeBackwardArgs<T>& args) {
  const int64_t n = args.length;
  parallel_for(args.outer, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T *const grad_y = args.grad_y + row * n, *const y = args.y + row * n;
      T* const grad_x = args.grad_x + row * n;
      const Vec<T> norm(args.norms[row]);
      const Vec<T> sum = projected(Vec<T>(row_dot(grad_y, y, n)), norm, args.eps);
      const Vec<T> divisor = clamped(norm, args.eps);
      for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
        const Vec<T> along = fnma(lanes.load(y + i), sum, lanes.load(grad_y + i));
        lanes.store(along / divisor, grad_x + i);
      });
    }
  });
}

template <class T>
void backward_columns(const NormalizeBackwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t length = args.length, inner = args.inner;
  for_column_tiles<T>(
      args.outer, length, inner, [&](int64_t slice, int64_t column, int64_t columns, int) {
        for_tile_vectors<T>(columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          constexpr int kVectors = decltype(tag)::index;
          const int64_t start = slice * length * inner + column + first;
          Vec<T> sums[kVectors], divisors[kVectors];
          sum_columns(length, sums, [&](int64_t i, int v) FASTNN_INLINE_LAMBDA {
            const int64_t at = start + i * inner + v * kSize;
            return lanes.load(args.grad_y + at) * lanes.load(args.y + at);
          });
          FASTNN_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            const int64_t at = slice * inner + column + first + v * kSize;
            const Vec<T> norm = lanes.load(args.norms + at);
            sums[v] = projected(sums[v], norm, args.eps);
            divisors[v] = clamped(norm, args.eps);
          }
          for (int64_t i = 0; i < length; ++i) {
            FASTNN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
              const int64_t at = start + i * inner + v * kSize;
              const Vec<T> along =
                  fnma(lanes.load(args.y + at), sums[v], lanes.load(args.grad_y + at));
              lanes.store(along / divisors[v], args.grad_x + at);
            }
          }
        });
      });
}

}  // namespace

template <class T>
void normalize_forward(const NormalizeForwardArgs<T>& args) {
  args.inner == 1 ? forward_rows(args) : forward_columns(args);
}

template <class T>
void normalize_backward(const NormalizeBackwardArgs<T>& args) {
  args.inner == 1 ? backward_rows(args) : backward_columns(args);
}

template void normalize_forward(const NormalizeForwardArgs<float>&);
template void normalize_forward(const NormalizeForwardArgs<double>&);
template void normalize_backward(const NormalizeBackwardArgs<float>&);
template void normalize_backward(const NormalizeBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
