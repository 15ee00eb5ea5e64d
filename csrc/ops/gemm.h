// Matrix products over a batch.
#pragma once

#include <cstdint>

#include "ops/activations.h"
#include "ops/kernel.h"

namespace fastnn {

// C[i] = activation(scale A[i] B[i] + bias + residual[i]) for i < batch; A[i] is (m, k), B[i] is
// (k, n), C and residual contiguous (batch, m, n). Any strides. The offsets (elements, one a
// product) allow broadcasting. C overlaps nothing.
template <class T>
struct MatmulForwardArgs {
  int64_t batch, m, n, k;
  const T* a;
  const int64_t* a_offsets;
  int64_t a_row_stride, a_col_stride;
  const T* b;
  const int64_t* b_offsets;
  int64_t b_row_stride, b_col_stride;
  const T* packed_b;  // from pack_matrix, in place of b (batch 1), or null
  const T* bias;      // (n) or null
  T* c;
  T scale = 1;
  const T* residual = nullptr;  // or null
  FusedActivation activation{};
};

// Packs B (k, n), any strides, for use in many products. With `packed` null only `elements`, the
// size it needs, is set. The layout belongs to one instruction set.
template <class T>
struct PackMatrixArgs {
  int64_t n, k;
  const T* b;
  int64_t b_row_stride, b_col_stride;
  T* packed;
  int64_t* elements;
};

// sums[j] = sum over i of x[i, j]; x contiguous (rows, cols). The gradient of a bias.
template <class T>
struct ColumnSumForwardArgs {
  int64_t rows, cols;
  const T* x;
  T* sums;
};

#define FASTNN_GEMM_KERNELS(KERNEL)         \
  KERNEL(matmul_forward, MatmulForwardArgs) \
  KERNEL(pack_matrix, PackMatrixArgs)       \
  KERNEL(column_sum_forward, ColumnSumForwardArgs)

FASTNN_KERNELS(GemmKernels, gemm, FASTNN_GEMM_KERNELS)

}  // namespace fastnn
