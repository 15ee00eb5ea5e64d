// Rows of a table by their numbers, and sums of such rows.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// y (n, dim) = weight[ids]. Ids are in range.
template <class T>
struct EmbeddingForwardArgs {
  int64_t n, dim;
  const int64_t* ids;
  const T* weight;
  T* y;
};

// grad_weight[ids[i]] += factors[i] * grad_y[rows[i]] for i = 0, 1, ... but where ids[i] is
// `padding`. rows null means i, factors null means 1. grad_weight (vocabulary, dim) is zero before.
template <class T>
struct EmbeddingBackwardArgs {
  int64_t n, vocabulary, dim, padding;
  const int64_t* ids;
  const int64_t* rows;
  const T* factors;
  const T* grad_y;
  T* grad_weight;
};

enum class BagMode { kSum, kMean, kMax };

// Bag b holds the positions offsets[b] to offsets[b + 1] - 1 of ids; those with the id `padding`
// are passed over. y (bags, dim) is zero for an empty bag. factors (sum only) may be null.
template <class T>
struct EmbeddingBagForwardArgs {
  int64_t bags, dim, padding;
  BagMode mode;
  const int64_t* ids;
  const int64_t* offsets;
  const T* weight;
  const T* factors;
  T* y;
};

// For the mode max: grad_y[b] goes to the first largest element of each column of bag b.
template <class T>
struct EmbeddingBagBackwardMaxArgs {
  int64_t bags, dim, padding;
  const int64_t* ids;
  const int64_t* offsets;
  const T* weight;
  const T* grad_y;
  T* grad_weight;  // zero before
};

// grad_factors[i] = the inner product of weight[ids[i]] and grad_y[rows[i]], 0 for padding.
template <class T>
struct EmbeddingBagBackwardFactorsArgs {
  int64_t n, dim, padding;
  const int64_t* ids;
  const int64_t* rows;
  const T* weight;
  const T* grad_y;
  T* grad_factors;
};

#define FASTNN_EMBEDDING_KERNELS(KERNEL)                          \
  KERNEL(embedding_forward, EmbeddingForwardArgs)                 \
  KERNEL(embedding_backward, EmbeddingBackwardArgs)               \
  KERNEL(embedding_bag_forward, EmbeddingBagForwardArgs)          \
  KERNEL(embedding_bag_backward_max, EmbeddingBagBackwardMaxArgs) \
  KERNEL(embedding_bag_backward_factors, EmbeddingBagBackwardFactorsArgs)

FASTNN_KERNELS(EmbeddingKernels, embedding, FASTNN_EMBEDDING_KERNELS)

}  // namespace fastnn
