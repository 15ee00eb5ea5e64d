// layer_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias over rows; rms_norm the same
// without mean and bias (Zhang and Sennrich, 2019).
//
// The gradient of a row, with g' = g * weight and x' the normalised row:
// (g' - mean(g') - x' mean(g' x')) / sqrt(variance + eps); rms_norm's lacks mean(g').
// Scratch of the backward pass: partial sums of the weight's and the bias's gradient, a
// number of them that comes from the shape: at most 64, and 32 MiB unless one alone is larger.
#include "kernels/norm/statistics.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
NormStatistics<T> mean_square(const T* x, int64_t n, T eps) {
  T total = 0;
  for (int64_t begin = 0; begin < n; begin += kNormBlock<T>) {
    const int64_t length = n - begin < kNormBlock<T> ? n - begin : kNormBlock<T>;
    Chains<T> squares(0);
    for_vectors_in_chains<T>(length, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      const Vec<T> v = lanes.load(x + begin + i);
      squares[c] = fma(v, v, squares[c]);
    });
    total += squares.sum();
  }
  const T variance = total / static_cast<T>(n);
  return {0, 0, variance, 1 / root(variance + eps)};
}

template <bool kCentred, bool kWeight, bool kBias, class T>
void forward(const LayerNormForwardArgs<T>& args) {
  const int64_t n = args.size;
  parallel_for(args.rows, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const x = args.x + row * n;
      const NormStatistics<T> s =
          kCentred ? statistics_of(moments(x, n), args.eps) : mean_square(x, n, args.eps);
      write_row<kCentred, kWeight, kBias>(x, args.weight, args.bias, args.y + row * n, n, s);
      if (args.statistics != nullptr) args.statistics[row] = s;
    }
  });
}

template <bool kCentred, class T>
void forward(const LayerNormForwardArgs<T>& args) {
  if (args.size == 0) return;
  if (args.weight != nullptr) {
    args.bias != nullptr ? forward<kCentred, true, true>(args)
                         : forward<kCentred, true, false>(args);
  } else {
    args.bias != nullptr ? forward<kCentred, false, true>(args)
                         : forward<kCentred, false, false>(args);
  }
}

// Rows whose gradients are computed side by side, so that the partial sums of the weight's and the
// bias's gradient are loaded and stored once for all of them: as many as the registers hold.
inline constexpr int kRows = sizeof(Vec<float>) == 64 ? 4 : 2;

template <class T>
struct RowSums {
  T grad, product;  // of g' and of g' x'
};

// Returns each row's sums for R rows and, if kAffine, adds g x' to grad_weight and g to grad_bias.
// A row's arithmetic is the same for every R.
template <bool kCentred, bool kAffine, int R, class T>
FASTNN_INLINE void accumulate_rows(const LayerNormBackwardArgs<T>& args, int64_t row,
                                   T* grad_weight, T* grad_bias, RowSums<T> (&sums)[R]) {
  const int64_t n = args.size;
  const T* const grad_y = args.grad_y + row * n;
  const T* const x = args.x + row * n;
  NormStatistics<T> s[R];
  FASTNN_UNROLL
  for (int r = 0; r < R; ++r) s[r] = args.statistics[row + r];
  FASTNN_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = {0, 0};
  for (int64_t begin = 0; begin < n; begin += kNormBlock<T>) {
    const int64_t length = n - begin < kNormBlock<T> ? n - begin : kNormBlock<T>;
    Vec<T> grads[R], products[R];
    FASTNN_UNROLL
    for (int r = 0; r < R; ++r) grads[r] = products[r] = Vec<T>::zero();
    for_vectors<T>(length, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
      const int64_t at = begin + i;
      const Vec<T> weight = args.weight != nullptr ? lanes.load(args.weight + at) : Vec<T>(1);
      Vec<T> sum_weight, sum_bias;
      if (kAffine) sum_weight = lanes.load(grad_weight + at);
      if (kAffine && kCentred) sum_bias = lanes.load(grad_bias + at);
      FASTNN_UNROLL
      for (int r = 0; r < R; ++r) {
        const Vec<T> grad = lanes.load(grad_y + r * n + at);
        const Vec<T> v = normalised<kCentred>(lanes.load(x + r * n + at, s[r].mean), s[r]);
        if (kAffine) sum_weight = fma(grad, v, sum_weight);
        if (kAffine && kCentred) sum_bias += grad;
        const Vec<T> weighted = grad * weight;
        grads[r] += weighted;
        products[r] = fma(weighted, v, products[r]);
      }
      if (kAffine) lanes.store(sum_weight, grad_weight + at);
      if (kAffine && kCentred) lanes.store(sum_bias, grad_bias + at);
    });
    FASTNN_UNROLL
    for (int r = 0; r < R; ++r) {
      sums[r].grad += reduce_add(grads[r]);
      sums[r].product += reduce_add(products[r]);
    }
  }
}

template <bool kCentred, class T>
FASTNN_INLINE void write_gradient(const LayerNormBackwardArgs<T>& args, int64_t row,
                                  const RowSums<T>& sums) {
  const int64_t n = args.size;
  const T *const grad_y = args.grad_y + row * n, *const x = args.x + row * n;
  T* const grad_x = args.grad_x + row * n;
  const NormStatistics<T> s = args.statistics[row];
  const T slope = -sums.product / static_cast<T>(n) * s.deviation * s.deviation;
  const T offset =
      kCentred ? -sums.grad / static_cast<T>(n) * s.deviation - s.correction * slope : T(0);
  for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    const Vec<T> weight = args.weight != nullptr ? lanes.load(args.weight + i) : Vec<T>(1);
    const Vec<T> from_x = fma(lanes.load(x + i) - s.mean, Vec<T>(slope), Vec<T>(offset));
    lanes.store(fma(lanes.load(grad_y + i) * weight, Vec<T>(s.deviation), from_x), grad_x + i);
  });
}

template <bool kCentred, bool kAffine, int R, class T>
void backward_rows(const LayerNormBackwardArgs<T>& args, int64_t row, T* grad_weight,
                   T* grad_bias) {
  RowSums<T> sums[R];
  accumulate_rows<kCentred, kAffine, R>(args, row, grad_weight, grad_bias, sums);
  for (int r = 0; r < R; ++r) write_gradient<kCentred>(args, row + r, sums[r]);
}

// out = the sum over the parts, in order.
template <class T>
void sum_parts(const T* partial, int64_t parts, int64_t stride, int64_t n, T* out) {
  parallel_for(n, kNormBlock<T>, [&](int64_t begin, int64_t end, int) {
    for_vectors<T>(end - begin, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
      Vec<T> sum = Vec<T>::zero();
      for (int64_t p = 0; p < parts; ++p) sum += lanes.load(partial + p * stride + begin + i);
      lanes.store(sum, out + begin + i);
    });
  });
}

template <bool kCentred, bool kAffine, class T>
void backward_part(const LayerNormBackwardArgs<T>& args, int64_t begin, int64_t end, T* grad_weight,
                   T* grad_bias) {
  int64_t row = begin;
  for (; row + kRows <= end; row += kRows) {
    backward_rows<kCentred, kAffine, kRows>(args, row, grad_weight, grad_bias);
  }
  for (; row < end; ++row) {
    backward_rows<kCentred, kAffine, 1>(args, row, grad_weight, grad_bias);
  }
}

template <bool kCentred, class T>
void backward(const LayerNormBackwardArgs<T>& args) {
  const int64_t n = args.size;
  if (n == 0) return;
  if (args.grad_weight == nullptr && args.grad_bias == nullptr) {
    parallel_for(args.rows, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
      backward_part<kCentred, false, T>(args, begin, end, nullptr, nullptr);
    });
    return;
  }
  constexpr int64_t kItem = static_cast<int64_t>(sizeof(T));
  const int64_t stride = Workspace::padded_bytes(n * kItem) / kItem;
  const int64_t affordable = (int64_t{32} << 20) / (2 * stride * kItem);
  const int64_t most_parts = affordable < 1 ? 1 : affordable < 64 ? affordable : 64;
  const int64_t least_rows = (args.rows + most_parts - 1) / most_parts;
  const int64_t grain = least_rows > rows_a_part(n) ? least_rows : rows_a_part(n);
  const int64_t parts = (args.rows + grain - 1) / grain;
  Workspace workspace(parts * 2 * stride * kItem);
  T* const partial = workspace.take<T>(parts * 2 * stride);
  parallel_for(args.rows, grain, [&](int64_t begin, int64_t end, int) {
    T* const grad_weight = partial + begin / grain * 2 * stride;
    for (int64_t i = 0; i < 2 * stride; ++i) grad_weight[i] = 0;
    backward_part<kCentred, true>(args, begin, end, grad_weight, grad_weight + stride);
  });
  if (args.grad_weight != nullptr) sum_parts(partial, parts, 2 * stride, n, args.grad_weight);
  if (args.grad_bias != nullptr) sum_parts(partial + stride, parts, 2 * stride, n, args.grad_bias);
}

}  // namespace

template <class T>
void layer_norm_forward(const LayerNormForwardArgs<T>& args) {
  forward<true>(args);
}
template <class T>
void layer_norm_backward(const LayerNormBackwardArgs<T>& args) {
  backward<true>(args);
}
template <class T>
void rms_norm_forward(const LayerNormForwardArgs<T>& args) {
  forward<false>(args);
}
template <class T>
void rms_norm_backward(const LayerNormBackwardArgs<T>& args) {
  backward<false>(args);
}

template void layer_norm_forward(const LayerNormForwardArgs<float>&);
template void layer_norm_forward(const LayerNormForwardArgs<double>&);
template void layer_norm_backward(const LayerNormBackwardArgs<float>&);
template void layer_norm_backward(const LayerNormBackwardArgs<double>&);
template void rms_norm_forward(const LayerNormForwardArgs<float>&);
template void rms_norm_forward(const LayerNormForwardArgs<double>&);
template void rms_norm_backward(const LayerNormBackwardArgs<float>&);
template void rms_norm_backward(const LayerNormBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
