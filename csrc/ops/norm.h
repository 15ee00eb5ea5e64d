// Normalisation: arrays are C-contiguous, and outputs overlap no input.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// What a group of elements is normalised with. Its mean is `mean + correction`: subtracting the two
// in turn loses nothing where the mean is large beside the spread.
template <class T>
struct NormStatistics {
  T mean, correction;
  T variance;   // mean square deviation; for rms_norm the mean square
  T deviation;  // 1 / sqrt(variance + eps)
};

// Rows of `size` elements, each normalised by itself; weight and bias (size) may be null, and
// statistics (rows).
template <class T>
struct LayerNormForwardArgs {
  int64_t rows, size;
  const T* x;
  const T* weight;
  const T* bias;
  T eps;
  T* y;
  NormStatistics<T>* statistics;
};

// weight, grad_weight and grad_bias (size) may be null.
template <class T>
struct LayerNormBackwardArgs {
  int64_t rows, size;
  const T* grad_y;
  const T* x;
  const T* weight;
  const NormStatistics<T>* statistics;
  T* grad_x;
  T* grad_weight;
  T* grad_bias;
};

// x is (batch, channels, size); each of `groups` equal runs of channels of an image is normalised
// by itself. weight and bias (channels) may be null, and statistics (batch, groups). Where the
// running statistics (channels; groups == channels) are not null, each moves by `momentum` to the
// mean over the batch of the images' means and unbiased variances.
template <class T>
struct GroupNormForwardArgs {
  int64_t batch, channels, size, groups;
  const T* x;
  const T* weight;
  const T* bias;
  T eps;
  T* y;
  NormStatistics<T>* statistics;
  T momentum;
  T* running_mean;
  T* running_var;
};

// weight, grad_weight and grad_bias (channels) may be null.
template <class T>
struct GroupNormBackwardArgs {
  int64_t batch, channels, size, groups;
  const T* grad_y;
  const T* x;
  const T* weight;
  const NormStatistics<T>* statistics;
  T* grad_x;
  T* grad_weight;
  T* grad_bias;
};

// x is (batch, channels, size); a channel is normalised over the batch. In training with the
// batch's own statistics, towards which the running ones (channels, or null) move by `momentum`
// (the variance unbiased); otherwise with the running ones. weight and bias (channels) may be null;
// statistics (channels) are always written.
template <class T>
struct BatchNormForwardArgs {
  int64_t batch, channels, size;
  const T* x;
  const T* weight;
  const T* bias;
  T eps;
  T* y;
  NormStatistics<T>* statistics;
  bool training;
  T momentum;
  T* running_mean;
  T* running_var;
};

// weight, grad_weight and grad_bias (channels) may be null.
template <class T>
struct BatchNormBackwardArgs {
  int64_t batch, channels, size;
  const T* grad_y;
  const T* x;
  const T* weight;
  const NormStatistics<T>* statistics;
  bool training;
  T* grad_x;
  T* grad_weight;
  T* grad_bias;
};

// x is (batch, channels, size). The forward pass fills y, the backward pass grad_x.
template <class T>
struct LocalResponseNormArgs {
  int64_t batch, channels, size, window;
  T alpha, beta, k;
  const T* x;
  T* y;
  const T* grad_y;
  T* grad_x;
};

// x is (outer, length, inner), norms (outer, inner) or null.
template <class T>
struct NormalizeForwardArgs {
  int64_t outer, length, inner;
  T eps;
  const T* x;
  T* y;
  T* norms;
};

// y and norms are the forward's.
template <class T>
struct NormalizeBackwardArgs {
  int64_t outer, length, inner;
  T eps;
  const T* grad_y;
  const T* y;
  const T* norms;
  T* grad_x;
};

#define FASTNN_NORM_KERNELS(KERNEL)                           \
  KERNEL(layer_norm_forward, LayerNormForwardArgs)            \
  KERNEL(layer_norm_backward, LayerNormBackwardArgs)          \
  KERNEL(rms_norm_forward, LayerNormForwardArgs)              \
  KERNEL(rms_norm_backward, LayerNormBackwardArgs)            \
  KERNEL(group_norm_forward, GroupNormForwardArgs)            \
  KERNEL(group_norm_backward, GroupNormBackwardArgs)          \
  KERNEL(batch_norm_forward, BatchNormForwardArgs)            \
  KERNEL(batch_norm_backward, BatchNormBackwardArgs)          \
  KERNEL(local_response_norm_forward, LocalResponseNormArgs)  \
  KERNEL(local_response_norm_backward, LocalResponseNormArgs) \
  KERNEL(normalize_forward, NormalizeForwardArgs)             \
  KERNEL(normalize_backward, NormalizeBackwardArgs)

FASTNN_KERNELS(NormKernels, norm, FASTNN_NORM_KERNELS)

}  // namespace fastnn
