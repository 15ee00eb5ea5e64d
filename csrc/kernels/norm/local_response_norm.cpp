// local_response_norm: y = x / d^beta with d = k + alpha / window * (sum of x^2 over `window`
// channels around x's), channels past the ends counting as zero (Krizhevsky et al., 2012).
//
// With t = g y / d, the gradient at channel j is g / d^beta - 2 alpha beta / window * x * (sum of t
// over the channels whose window holds j). Columns of pixels side by side; scratch of the backward
// pass: channels x 4 vectors a worker.
#include "kernels/columns.h"
#include "ops/norm.h"
#include "runtime/workspace.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

// The channels from `before` under c to `after` over it that exist.
struct Window {
  int64_t begin, end;
};
FASTNN_INLINE Window window_of(int64_t c, int64_t before, int64_t after, int64_t channels) {
  return {c > before ? c - before : 0, channels - c > after ? c + after + 1 : channels};
}

// d^-beta. The default exponent goes by square roots, which are exact and as fast.
template <class T>
FASTNN_INLINE Vec<T> power(Vec<T> d, T beta) {
  if (beta == T(0.75)) {
    const Vec<T> root = sqrt(d);
    return Vec<T>(1) / (root * sqrt(root));
  }
  return exp(-beta * log(d));
}

// d of channel c for kVectors columns of vectors.
template <int kVectors, class T, class Lanes>
FASTNN_INLINE void denominator(const LocalResponseNormArgs<T>& args, const T* x, int64_t c,
                               Lanes lanes, Vec<T> (&d)[kVectors]) {
  const Window window = window_of(c, args.window / 2, (args.window - 1) / 2, args.channels);
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) d[v] = Vec<T>::zero();
  for (int64_t i = window.begin; i < window.end; ++i) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> value = lanes.load(x + i * args.size + v * Vec<T>::kSize);
      d[v] = fma(value, value, d[v]);
    }
  }
  const Vec<T> factor(args.alpha / static_cast<T>(args.window));
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) d[v] = fma(d[v], factor, Vec<T>(args.k));
}

template <int kVectors, class T, class Lanes>
void forward_tile(const LocalResponseNormArgs<T>& args, const T* x, T* y, Lanes lanes) {
  for (int64_t c = 0; c < args.channels; ++c) {
    Vec<T> d[kVectors];
    denominator(args, x, c, lanes, d);
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = c * args.size + v * Vec<T>::kSize;
      lanes.store(lanes.load(x + at) * power(d[v], args.beta), y + at);
    }
  }
}

// terms is (channels, columns of a tile), the tile's own.
template <int kVectors, class T, class Lanes>
void backward_tile(const LocalResponseNormArgs<T>& args, const T* grad_y, const T* x, T* grad_x,
                   T* terms, Lanes lanes) {
  constexpr int64_t kSize = Vec<T>::kSize, kStride = kTileColumns<T>;
  for (int64_t c = 0; c < args.channels; ++c) {
    Vec<T> d[kVectors];
    denominator(args, x, c, lanes, d);
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = c * args.size + v * kSize;
      const Vec<T> direct = lanes.load(grad_y + at) * power(d[v], args.beta);
      lanes.store(direct, grad_x + at);
      lanes.store(direct * lanes.load(x + at) / d[v], terms + c * kStride + v * kSize);
    }
  }
  const Vec<T> factor(2 * args.alpha * args.beta / static_cast<T>(args.window));
  for (int64_t c = 0; c < args.channels; ++c) {
    const Window window = window_of(c, (args.window - 1) / 2, args.window / 2, args.channels);
    Vec<T> sums[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[v] = Vec<T>::zero();
    for (int64_t i = window.begin; i < window.end; ++i) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[v] += lanes.load(terms + i * kStride + v * kSize);
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = c * args.size + v * kSize;
      const Vec<T> indirect = factor * lanes.load(x + at);
      lanes.store(fnma(indirect, sums[v], lanes.load(grad_x + at)), grad_x + at);
    }
  }
}

}  // namespace

template <class T>
void local_response_norm_forward(const LocalResponseNormArgs<T>& args) {
  for_column_tiles<T>(
      args.batch, args.channels, args.size,
      [&](int64_t image, int64_t column, int64_t columns, int) {
        const int64_t start = image * args.channels * args.size + column;
        for_tile_vectors<T>(columns, [&](int64_t i, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          forward_tile<decltype(tag)::index>(args, args.x + start + i, args.y + start + i, lanes);
        });
      });
}

template <class T>
void local_response_norm_backward(const LocalResponseNormArgs<T>& args) {
  const int64_t tile_size = args.channels * kTileColumns<T>;
  const int workers = plan_workers(args.batch * args.size);
  Workspace workspace(workers * tile_size * static_cast<int64_t>(sizeof(T)));
  T* const terms = workspace.take<T>(workers * tile_size);
  for_column_tiles<T>(
      args.batch, args.channels, args.size,
      [&](int64_t image, int64_t column, int64_t columns, int worker) {
        const int64_t start = image * args.channels * args.size + column;
        for_tile_vectors<T>(columns, [&](int64_t i, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          backward_tile<decltype(tag)::index>(args, args.grad_y + start + i, args.x + start + i,
                                              args.grad_x + start + i, terms + worker * tile_size,
                                              lanes);
        });
      });
}

template void local_response_norm_forward(const LocalResponseNormArgs<float>&);
template void local_response_norm_forward(const LocalResponseNormArgs<double>&);
template void local_response_norm_backward(const LocalResponseNormArgs<float>&);
template void local_response_norm_backward(const LocalResponseNormArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
