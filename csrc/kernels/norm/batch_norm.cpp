// batch_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias, a channel of (batch, channels,
// size) over the batch (Ioffe and Szegedy, 2015).
//
// The gradient in training, with x' the normalised x and means over the channel:
// weight (g - mean(g) - x' mean(g x')) / sqrt(variance + eps); otherwise the first term alone.
// Images (size > 1): the channels are the parts of the loop, a channel's data are read once where
// they fit the second-level cache. Rows (size == 1): channels side by side, as columns; scratch
// 5 x channels elements.
#include "kernels/columns.h"
#include "kernels/norm/statistics.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
FASTNN_INLINE T value_or(const T* p, int64_t i, T fallback) {
  return p != nullptr ? p[i] : fallback;
}

// Moves the running statistics of channel c towards the batch's.
template <class T>
void update_running(const BatchNormForwardArgs<T>& args, int64_t c) {
  if (args.running_mean == nullptr) return;
  const NormStatistics<T>& s = args.statistics[c];
  const T count = static_cast<T>(args.batch * args.size);
  const T unbiased = s.variance * (count / (count - 1));
  args.running_mean[c] = (1 - args.momentum) * args.running_mean[c] + args.momentum * s.mean;
  args.running_var[c] = (1 - args.momentum) * args.running_var[c] + args.momentum * unbiased;
}

template <class T>
NormStatistics<T> running_statistics(const BatchNormForwardArgs<T>& args, int64_t c) {
  const T variance = args.running_var[c];
  return {args.running_mean[c], 0, variance, 1 / root(variance + args.eps)};
}

template <class T>
void forward_run(const BatchNormForwardArgs<T>& args, int64_t image, int64_t c,
                 const NormStatistics<T>& s) {
  const T scale = s.deviation * value_or(args.weight, c, T(1));
  const T shift = value_or(args.bias, c, T(0)) - s.correction * scale;
  const int64_t at = (image * args.channels + c) * args.size;
  normalise_run(args.x + at, args.y + at, args.size, s.mean, scale, shift);
}

template <class T>
void forward_images(const BatchNormForwardArgs<T>& args) {
  const int64_t n = args.size, channels = args.channels;
  if (!args.training) {
    for (int64_t c = 0; c < channels; ++c) args.statistics[c] = running_statistics(args, c);
    parallel_for(args.batch * channels, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        forward_run(args, i / channels, i % channels, args.statistics[i % channels]);
      }
    });
    return;
  }
  parallel_for(channels, rows_a_part(args.batch * n), [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      const Moments<T> m = moments(args.x + c * n, n, args.batch, channels * n);
      const NormStatistics<T> s = statistics_of(m, args.eps);
      args.statistics[c] = s;
      update_running(args, c);
      for (int64_t b = 0; b < args.batch; ++b) forward_run(args, b, c, s);
    }
  });
}

// Rows: what statistics.h does, with a lane for each column.

// f(first column, lanes, number of vectors as a Chain) over all columns, threads side by side.
template <class T, class F>
FASTNN_INLINE void for_columns(int64_t rows, int64_t columns, const F& f) {
  for_column_tiles<T>(1, rows, columns, [&](int64_t, int64_t first, int64_t count, int) {
    for_tile_vectors<T>(count, [&](int64_t i, auto lanes, auto tag)
                                   FASTNN_INLINE_LAMBDA { f(first + i, lanes, tag); });
  });
}

template <int kVectors, class T, class Lanes>
void tile_moments(const T* x, int64_t rows, int64_t stride, Lanes lanes,
                  Moments<T, Vec<T>> (&total)[kVectors]) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t begin = 0; begin < rows; begin += kColumnRun) {
    const int64_t end = rows - begin < kColumnRun ? rows : begin + kColumnRun;
    const T count = static_cast<T>(end - begin);
    Vec<T> means[kVectors], deviations[kVectors], squares[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      means[v] = deviations[v] = squares[v] = Vec<T>::zero();
    }
    for (int64_t row = begin; row < end; ++row) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) means[v] += lanes.load(x + row * stride + v * kSize);
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) means[v] /= Vec<T>(count);
    for (int64_t row = begin; row < end; ++row) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vec<T> d = lanes.load(x + row * stride + v * kSize) - means[v];
        deviations[v] += d;
        squares[v] = fma(d, d, squares[v]);
      }
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> correction = deviations[v] / Vec<T>(count);
      const Vec<T> m2 = squares[v] - deviations[v] * correction;
      // max keeps a NaN in its second operand.
      const Moments<T, Vec<T>> block{means[v], correction, max(Vec<T>::zero(), m2), count};
      if (begin == 0) {
        total[v] = block;
      } else {
        merge(total[v], block);
      }
    }
  }
}

template <class T>
void column_statistics(const T* x, int64_t rows, int64_t columns, T eps,
                       NormStatistics<T>* statistics) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for_columns<T>(rows, columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
    constexpr int kVectors = decltype(tag)::index;
    Moments<T, Vec<T>> total[kVectors] = {};
    tile_moments(x + first, rows, columns, lanes, total);
    for (int v = 0; v < kVectors; ++v) {
      T mean[kSize], correction[kSize], m2[kSize];
      total[v].mean.store(mean);
      total[v].correction.store(correction);
      total[v].m2.store(m2);
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        const Moments<T> m{mean[i], correction[i], m2[i], total[v].count};
        statistics[first + v * kSize + i] = statistics_of(m, eps);
      }
    }
  });
}

template <class T>
void column_gradient_sums(const T* grad_y, const T* x, int64_t rows, int64_t columns,
                          const NormStatistics<T>* statistics, GradientSums<T>* sums) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for_columns<T>(rows, columns, [&](int64_t first, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
    constexpr int kVectors = decltype(tag)::index;
    Vec<T> means[kVectors], plain[kVectors], products[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      T mean[kSize] = {};
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        mean[i] = statistics[first + v * kSize + i].mean;
      }
      means[v] = Vec<T>::load(mean);
      plain[v] = products[v] = Vec<T>::zero();
    }
    for (int64_t begin = 0; begin < rows; begin += kColumnRun) {
      const int64_t end = rows - begin < kColumnRun ? rows : begin + kColumnRun;
      Vec<T> run_plain[kVectors], run_products[kVectors];
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) run_plain[v] = run_products[v] = Vec<T>::zero();
      for (int64_t row = begin; row < end; ++row) {
        FASTNN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = row * columns + first + v * kSize;
          const Vec<T> grad = lanes.load(grad_y + at);
          run_plain[v] += grad;
          run_products[v] = fma(grad, lanes.load(x + at) - means[v], run_products[v]);
        }
      }
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        plain[v] += run_plain[v];
        products[v] += run_products[v];
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      T sum[kSize], product[kSize];
      plain[v].store(sum);
      products[v].store(product);
      for (int64_t i = 0; i < kSize && first + v * kSize + i < columns; ++i) {
        const NormStatistics<T>& s = statistics[first + v * kSize + i];
        sums[first + v * kSize + i] = {sum[i], (product[i] - s.correction * sum[i]) * s.deviation};
      }
    }
  });
}

template <class T>
void forward_columns(const BatchNormForwardArgs<T>& args) {
  const int64_t channels = args.channels;
  constexpr int64_t kItem = static_cast<int64_t>(sizeof(T));
  Workspace workspace(3 * Workspace::padded_bytes(channels * kItem));
  T* const mean = workspace.take<T>(channels);
  T* const scale = workspace.take<T>(channels);
  T* const shift = workspace.take<T>(channels);
  if (args.training) {
    column_statistics(args.x, args.batch, channels, args.eps, args.statistics);
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (args.training) {
      update_running(args, c);
    } else {
      args.statistics[c] = running_statistics(args, c);
    }
    const NormStatistics<T>& s = args.statistics[c];
    mean[c] = s.mean;
    scale[c] = s.deviation * value_or(args.weight, c, T(1));
    shift[c] = value_or(args.bias, c, T(0)) - s.correction * scale[c];
  }
  parallel_for(args.batch, rows_a_part(channels), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const x = args.x + row * channels;
      T* const y = args.y + row * channels;
      for_vectors<T>(channels, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
        const Vec<T> d = lanes.load(x + i) - lanes.load(mean + i);
        lanes.store(fma(d, lanes.load(scale + i), lanes.load(shift + i)), y + i);
      });
    }
  });
}

// grad_x = grad_y * scale + (x - mean) * slope + offset.
template <class T>
struct Slopes {
  T scale, slope, offset;
};

template <class T>
Slopes<T> finish_channel(const BatchNormBackwardArgs<T>& args, int64_t c,
                         const GradientSums<T>& sums) {
  if (args.grad_weight != nullptr) args.grad_weight[c] = sums.normalised;
  if (args.grad_bias != nullptr) args.grad_bias[c] = sums.plain;
  const NormStatistics<T>& s = args.statistics[c];
  const T scale = s.deviation * value_or(args.weight, c, T(1));
  const T count = static_cast<T>(args.batch * args.size);
  const T slope = -scale * s.deviation * (sums.normalised / count);
  return {scale, slope, -scale * (sums.plain / count) - s.correction * slope};
}

template <class T>
void backward_images(const BatchNormBackwardArgs<T>& args) {
  const int64_t n = args.size, stride = args.channels * n;
  const bool need_sums = args.training || args.grad_weight != nullptr || args.grad_bias != nullptr;
  parallel_for(args.channels, rows_a_part(args.batch * n), [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      const NormStatistics<T>& s = args.statistics[c];
      GradientSums<T> sums{0, 0};
      if (need_sums) {
        sums = gradient_sums(args.grad_y + c * n, args.x + c * n, n, args.batch, stride, s);
      }
      const Slopes<T> slopes = finish_channel(args, c, sums);
      for (int64_t b = 0; b < args.batch; ++b) {
        const int64_t at = b * stride + c * n;
        if (args.training) {
          gradient_run(args.grad_y + at, args.x + at, args.grad_x + at, n, s.mean, slopes.scale,
                       slopes.slope, slopes.offset);
        } else {
          normalise_run(args.grad_y + at, args.grad_x + at, n, T(0), slopes.scale, T(0));
        }
      }
    }
  });
}

template <class T>
void backward_columns(const BatchNormBackwardArgs<T>& args) {
  const int64_t channels = args.channels;
  constexpr int64_t kItem = static_cast<int64_t>(sizeof(T));
  Workspace workspace(6 * Workspace::padded_bytes(channels * kItem));
  GradientSums<T>* const sums = workspace.take<GradientSums<T>>(channels);
  T* const mean = workspace.take<T>(channels);
  T* const scale = workspace.take<T>(channels);
  T* const slope = workspace.take<T>(channels);
  T* const offset = workspace.take<T>(channels);
  column_gradient_sums(args.grad_y, args.x, args.batch, channels, args.statistics, sums);
  for (int64_t c = 0; c < channels; ++c) {
    const Slopes<T> slopes = finish_channel(args, c, sums[c]);
    scale[c] = slopes.scale;
    slope[c] = slopes.slope;
    offset[c] = slopes.offset;
    mean[c] = args.statistics[c].mean;
  }
  parallel_for(args.batch, rows_a_part(channels), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const grad_y = args.grad_y + row * channels;
      const T* const x = args.x + row * channels;
      T* const grad_x = args.grad_x + row * channels;
      for_vectors<T>(channels, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
        Vec<T> grad = lanes.load(grad_y + i) * lanes.load(scale + i);
        if (args.training) {
          const Vec<T> d = lanes.load(x + i) - lanes.load(mean + i);
          grad += fma(d, lanes.load(slope + i), lanes.load(offset + i));
        }
        lanes.store(grad, grad_x + i);
      });
    }
  });
}

}  // namespace

template <class T>
void batch_norm_forward(const BatchNormForwardArgs<T>& args) {
  if (args.batch == 0 || args.size == 0) return;
  args.size == 1 ? forward_columns(args) : forward_images(args);
}

template <class T>
void batch_norm_backward(const BatchNormBackwardArgs<T>& args) {
  if (args.batch == 0 || args.size == 0) {
    for (int64_t c = 0; c < args.channels; ++c) finish_channel(args, c, GradientSums<T>{0, 0});
    return;
  }
  args.size == 1 ? backward_columns(args) : backward_images(args);
}

template void batch_norm_forward(const BatchNormForwardArgs<float>&);
template void batch_norm_forward(const BatchNormForwardArgs<double>&);
template void batch_norm_backward(const BatchNormBackwardArgs<float>&);
template void batch_norm_backward(const BatchNormBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
