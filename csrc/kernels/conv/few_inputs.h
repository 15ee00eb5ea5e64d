// Rows of a convolution in which an output sees nine inputs, as those of one channel and 3x3 taps:
// for two vectors of positions they all stay in registers while the filters pass.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int kFewInputs = 9;

// Filter k at position j: the sum over i of weights[k * kFewInputs + i] * x[offsets[i] + j], and
// the bias. Whole vectors are read.
template <class T>
struct FewInputs {
  int64_t filters;
  const T* weights;
  const T* bias;  // or null
  const T* x;
  const int64_t* offsets;
  T* y;
  int64_t filter_stride;  // in y
};

// Each element is one chain of fma in the order of the inputs.
template <class T>
void filter_few_inputs(const FewInputs<T>& row, int64_t cols);

}  // namespace fastnn::FASTNN_ISA
