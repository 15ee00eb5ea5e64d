// Dropout with a mask that is computed from positions, never stored.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// x and y are (rows, inner). Row r is kept where the word of element r in the random stream
// (simd/philox.h) is at least `threshold`; then y = scale * x + shift, else y = dropped.
// The gradient is the same map of grad_y with shift -0 and dropped 0. y may be x.
template <class T>
struct DropoutArgs {
  int64_t rows, inner;
  const T* x;
  T* y;
  uint64_t seed, stream;
  uint64_t threshold;  // of 2^32; 2^32 itself keeps nothing
  double scale, shift, dropped;
};

// words[j] = the word of element 64 * first_group + j.
template <class T>
struct PhiloxWordsArgs {
  int64_t n;
  uint64_t seed, stream, first_group;
  uint32_t* words;
};

#define FASTNN_DROPOUT_KERNELS(KERNEL) \
  KERNEL(dropout_forward, DropoutArgs) \
  KERNEL(philox_words, PhiloxWordsArgs)

FASTNN_KERNELS(DropoutKernels, dropout, FASTNN_DROPOUT_KERNELS)

}  // namespace fastnn
