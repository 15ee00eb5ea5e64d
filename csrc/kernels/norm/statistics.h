// Mean and variance, accurate where the mean is large: deviations from a mean that is near enough,
// which also measure by how much it is off; blocks that stay in the first-level cache are merged in
// order (Chan, Golub, LeVeque: Algorithms for computing the sample variance, 1983).
#pragma once

#include "kernels/rows.h"
#include "ops/norm.h"

namespace fastnn::FASTNN_ISA {

template <class T>
inline constexpr int64_t kNormBlock = 16384 / static_cast<int64_t>(sizeof(T));

// Of `count` elements: mean = mean + correction, m2 = sum of squared deviations. V is T, or Vec<T>
// for the columns of a matrix.
template <class T, class V = T>
struct Moments {
  V mean, correction, m2;
  T count;
};

template <class T, class V>
FASTNN_INLINE void merge(Moments<T, V>& a, const Moments<T, V>& b) {
  const T count = a.count + b.count;
  const T share = b.count / count;
  const V delta = (b.mean - a.mean) + (b.correction - a.correction);
  a.correction = a.correction + delta * V(share);
  a.m2 = a.m2 + (b.m2 + delta * delta * V(a.count * share));
  a.count = count;
}

// Of `runs` runs of n elements, `stride` apart; n > 0. Exact to rounding where the distance of
// `centre` from the mean is of the order of the deviations or less.
template <class T>
Moments<T> moments_about(T centre, const T* x, int64_t n, int64_t runs, int64_t stride) {
  Chains<T> deviations(0), squares(0);
  for (int64_t r = 0; r < runs; ++r) {
    for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      const Vec<T> d = lanes.load(x + r * stride + i, centre) - centre;
      deviations[c] += d;
      squares[c] = fma(d, d, squares[c]);
    });
  }
  const T count = static_cast<T>(n * runs);
  const T sum = deviations.sum();
  const T m2 = squares.sum() - sum * (sum / count);
  return {centre, sum / count, m2 < 0 ? T(0) : m2, count};
}

template <class T>
T mean_of(const T* x, int64_t n, int64_t runs, int64_t stride) {
  Chains<T> sums(0);
  for (int64_t r = 0; r < runs; ++r) {
    for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      sums[c] += lanes.load(x + r * stride + i);
    });
  }
  return sums.sum() / static_cast<T>(n * runs);
}

// Of `runs` runs of n elements, `stride` apart; n > 0, runs > 0. Only the first block is passed
// over twice. A later one is taken about the mean so far: if that is far off, the distance itself
// makes up most of m2, and what the difference of squares loses is small beside it.
template <class T>
Moments<T> moments(const T* x, int64_t n, int64_t runs = 1, int64_t stride = 0) {
  const int64_t runs_a_block = n < kNormBlock<T> ? kNormBlock<T> / n : 1;
  Moments<T> total{0, 0, 0, 0};
  for (int64_t r = 0; r < runs; r += runs_a_block) {
    const int64_t block_runs = runs - r < runs_a_block ? runs - r : runs_a_block;
    for (int64_t i = 0; i < n; i += kNormBlock<T>) {
      const int64_t length = n - i < kNormBlock<T> ? n - i : kNormBlock<T>;
      const T* const block = x + r * stride + i;
      if (total.count == 0) {
        const T mean = mean_of(block, length, block_runs, stride);
        total = moments_about(mean, block, length, block_runs, stride);
      } else {
        const T mean = total.mean + total.correction;
        merge(total, moments_about(mean, block, length, block_runs, stride));
      }
    }
  }
  return total;
}

template <class T>
FASTNN_INLINE T root(T x);
template <>
FASTNN_INLINE float root(float x) {
  return __builtin_sqrtf(x);
}
template <>
FASTNN_INLINE double root(double x) {
  return __builtin_sqrt(x);
}

template <class T>
FASTNN_INLINE NormStatistics<T> statistics_of(const Moments<T>& m, T eps) {
  const T mean = m.mean + m.correction;
  const T correction = m.correction - (mean - m.mean);
  const T variance = m.m2 / m.count;
  return {mean, correction, variance, 1 / root(variance + eps)};
}

template <bool kCentred, class T>
FASTNN_INLINE Vec<T> normalised(Vec<T> x, const NormStatistics<T>& s) {
  if (!kCentred) return x * s.deviation;
  return fma(x - s.mean, Vec<T>(s.deviation), Vec<T>(-s.correction * s.deviation));
}

// y = normalised x * weight + bias, element by element.
template <bool kCentred, bool kWeight, bool kBias, class T>
FASTNN_INLINE void write_row(const T* x, const T* weight, const T* bias, T* y, int64_t n,
                             const NormStatistics<T>& s) {
  for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    Vec<T> v = normalised<kCentred>(lanes.load(x + i), s);
    if constexpr (kWeight && kBias) {
      v = fma(v, lanes.load(weight + i), lanes.load(bias + i));
    } else if constexpr (kWeight) {
      v = v * lanes.load(weight + i);
    } else if constexpr (kBias) {
      v = v + lanes.load(bias + i);
    }
    lanes.store(v, y + i);
  });
}

// y = (x - mean) * scale + shift, where shift holds -correction * scale.
template <class T>
FASTNN_INLINE void normalise_run(const T* x, T* y, int64_t n, T mean, T scale, T shift) {
  const Vec<T> mean_v(mean), scale_v(scale), shift_v(shift);
  for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    lanes.store(fma(lanes.load(x + i) - mean_v, scale_v, shift_v), y + i);
  });
}

// grad_x = grad_y * scale + (x - mean) * slope + offset.
template <class T>
FASTNN_INLINE void gradient_run(const T* grad_y, const T* x, T* grad_x, int64_t n, T mean, T scale,
                                T slope, T offset) {
  const Vec<T> mean_v(mean), scale_v(scale), slope_v(slope), offset_v(offset);
  for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    const Vec<T> from_x = fma(lanes.load(x + i) - mean_v, slope_v, offset_v);
    lanes.store(fma(lanes.load(grad_y + i), scale_v, from_x), grad_x + i);
  });
}

// Sums of grad_y and of grad_y * normalised x.
template <class T>
struct GradientSums {
  T plain, normalised;
};

template <class T>
GradientSums<T> gradient_sums(const T* grad_y, const T* x, int64_t n, int64_t runs, int64_t stride,
                              const NormStatistics<T>& s) {
  const int64_t runs_a_block = n < kNormBlock<T> ? kNormBlock<T> / n : 1;
  GradientSums<T> total{0, 0};
  for (int64_t r = 0; r < runs; r += runs_a_block) {
    const int64_t block_end = runs - r < runs_a_block ? runs : r + runs_a_block;
    for (int64_t begin = 0; begin < n; begin += kNormBlock<T>) {
      const int64_t length = n - begin < kNormBlock<T> ? n - begin : kNormBlock<T>;
      Chains<T> plain(0), products(0);
      for (int64_t run = r; run < block_end; ++run) {
        const int64_t at = run * stride + begin;
        for_vectors_in_chains<T>(length, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
          const Vec<T> grad = lanes.load(grad_y + at + i);
          plain[c] += grad;
          products[c] = fma(grad, lanes.load(x + at + i, s.mean) - s.mean, products[c]);
        });
      }
      const T sum = plain.sum();
      total.plain += sum;
      total.normalised += (products.sum() - s.correction * sum) * s.deviation;
    }
  }
  return total;
}

}  // namespace fastnn::FASTNN_ISA
