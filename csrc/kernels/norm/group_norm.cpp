// group_norm: y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c], the statistics over a
// group of channels of one image (Wu and He, 2018); with a group a channel it is instance_norm.
//
// The gradient of a group, with g' = weight[c] g and x' the normalised x:
// (g' - mean(g') - x' mean(g' x')) / sqrt(variance + eps). Scratch of the backward pass: two sums
// for each channel of an image, for as many images at a time as fit 8 MiB (at least one).
#include "kernels/norm/statistics.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
FASTNN_INLINE T value_or(const T* p, int64_t i, T fallback) {
  return p != nullptr ? p[i] : fallback;
}

// Channels first .. first + count of one image, which make a group; x and y point to the group.
template <class T>
void write_group(const GroupNormForwardArgs<T>& args, const T* x, T* y, int64_t first,
                 int64_t count, const NormStatistics<T>& s) {
  if (args.size == 1 && args.weight != nullptr && args.bias != nullptr) {
    write_row<true, true, true>(x, args.weight + first, args.bias + first, y, count, s);
    return;
  }
  for (int64_t c = 0; c < count; ++c) {
    const T scale = s.deviation * value_or(args.weight, first + c, T(1));
    const T shift = value_or(args.bias, first + c, T(0)) - s.correction * scale;
    normalise_run(x + c * args.size, y + c * args.size, args.size, s.mean, scale, shift);
  }
}

template <class T>
void update_running(const GroupNormForwardArgs<T>& args) {
  const T images = static_cast<T>(args.batch), count = static_cast<T>(args.size);
  for (int64_t c = 0; c < args.channels; ++c) {
    T mean = 0, variance = 0;
    for (int64_t b = 0; b < args.batch; ++b) {
      mean += args.statistics[b * args.channels + c].mean;
      variance += args.statistics[b * args.channels + c].variance;
    }
    const T unbiased = variance / images * (count / (count - 1));
    T* const running_mean = args.running_mean + c;
    T* const running_var = args.running_var + c;
    *running_mean = (1 - args.momentum) * *running_mean + args.momentum * (mean / images);
    *running_var = (1 - args.momentum) * *running_var + args.momentum * unbiased;
  }
}

template <class T>
struct ChannelSums {
  GradientSums<T>* sums;  // for the channels of the group
  const T *grad_y, *x;    // the group
  T* grad_x;
  int64_t first, count;  // channels
};

template <class T>
void backward_group(const GroupNormBackwardArgs<T>& args, const ChannelSums<T>& group,
                    const NormStatistics<T>& s) {
  const int64_t n = args.size;
  T grad = 0, product = 0;
  for (int64_t c = 0; c < group.count; ++c) {
    GradientSums<T>& sums = group.sums[c];
    if (n == 1) {
      const T g = group.grad_y[c];
      sums = {g, g * ((group.x[c] - s.mean) - s.correction) * s.deviation};
    } else {
      sums = gradient_sums(group.grad_y + c * n, group.x + c * n, n, 1, 0, s);
    }
    const T weight = value_or(args.weight, group.first + c, T(1));
    grad += sums.plain * weight;
    product += sums.normalised * weight;
  }
  const T count = static_cast<T>(group.count * n);
  const T slope = -(product / count) * s.deviation * s.deviation;
  const T offset = -(grad / count) * s.deviation - s.correction * slope;
  for (int64_t c = 0; c < group.count; ++c) {
    const T scale = s.deviation * value_or(args.weight, group.first + c, T(1));
    gradient_run(group.grad_y + c * n, group.x + c * n, group.grad_x + c * n, n, s.mean, scale,
                 slope, offset);
  }
}

}  // namespace

template <class T>
void group_norm_forward(const GroupNormForwardArgs<T>& args) {
  const int64_t group_channels = args.channels / args.groups;
  const int64_t group_size = group_channels * args.size;
  if (group_size == 0 || args.batch == 0) return;
  parallel_for(args.batch * args.groups, rows_a_part(group_size),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t i = begin; i < end; ++i) {
                   const T* const x = args.x + i * group_size;
                   const NormStatistics<T> s = statistics_of(moments(x, group_size), args.eps);
                   if (args.statistics != nullptr) args.statistics[i] = s;
                   write_group(args, x, args.y + i * group_size, i % args.groups * group_channels,
                               group_channels, s);
                 }
               });
  if (args.running_mean != nullptr) update_running(args);
}

template <class T>
void group_norm_backward(const GroupNormBackwardArgs<T>& args) {
  constexpr int64_t kItem = static_cast<int64_t>(sizeof(T));
  const int64_t group_channels = args.channels / args.groups, channels = args.channels;
  const int64_t group_size = group_channels * args.size, image_size = channels * args.size;
  const int64_t affordable = (int64_t{8} << 20) / (2 * channels * kItem + 1);
  const int64_t chunk = affordable < 1 ? 1 : affordable < args.batch ? affordable : args.batch;
  Workspace workspace(Workspace::padded_bytes(chunk * channels * 2 * kItem));
  GradientSums<T>* const sums = workspace.take<GradientSums<T>>(chunk * channels);
  for (int64_t c = 0; c < channels; ++c) {
    if (args.grad_weight != nullptr) args.grad_weight[c] = 0;
    if (args.grad_bias != nullptr) args.grad_bias[c] = 0;
  }
  if (group_size == 0) return;
  for (int64_t first = 0; first < args.batch; first += chunk) {
    const int64_t images = args.batch - first < chunk ? args.batch - first : chunk;
    parallel_for(
        images * args.groups, rows_a_part(group_size), [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t at = first * image_size + i * group_size;
            const ChannelSums<T> group{
                sums + i * group_channels,        args.grad_y + at, args.x + at, args.grad_x + at,
                i % args.groups * group_channels, group_channels};
            backward_group(args, group, args.statistics[first * args.groups + i]);
          }
        });
    parallel_for(channels, rows_a_part(images), [&](int64_t begin, int64_t end, int) {
      for (int64_t c = begin; c < end; ++c) {
        T weight = 0, bias = 0;
        for (int64_t b = 0; b < images; ++b) {
          weight += sums[b * channels + c].normalised;
          bias += sums[b * channels + c].plain;
        }
        if (args.grad_weight != nullptr) args.grad_weight[c] += weight;
        if (args.grad_bias != nullptr) args.grad_bias[c] += bias;
      }
    });
  }
}

template void group_norm_forward(const GroupNormForwardArgs<float>&);
template void group_norm_forward(const GroupNormForwardArgs<double>&);
template void group_norm_backward(const GroupNormBackwardArgs<float>&);
template void group_norm_backward(const GroupNormBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
