// Measures of the machine, for the benchmarks: what a kernel's speed is a share of.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// Runs `iterations` rounds of independent fma in registers on each of `threads` threads; `fma`
// receives the number of scalar multiply-adds done by all. For bfloat16_peak and int8_peak, which
// run the products of simd/dot.h, T is only the sink's type.
template <class T>
struct FmaPeakArgs {
  int64_t iterations;
  int threads;
  T* sink;  // one element a thread
  int64_t* fma;
};

// y[i] = x[i] for n elements, on all threads.
template <class T>
struct CopyArgs {
  int64_t n;
  const T* x;
  T* y;
};

// Reads n elements on all threads; `sink` receives something that depends on them.
template <class T>
struct ReadArgs {
  int64_t n;
  const T* x;
  T* sink;
};

#define FASTNN_MACHINE_KERNELS(KERNEL) \
  KERNEL(fma_peak, FmaPeakArgs)        \
  KERNEL(bfloat16_peak, FmaPeakArgs)   \
  KERNEL(int8_peak, FmaPeakArgs)       \
  KERNEL(stream_copy, CopyArgs)        \
  KERNEL(stream_read, ReadArgs)

FASTNN_KERNELS(MachineKernels, machine, FASTNN_MACHINE_KERNELS)

}  // namespace fastnn
