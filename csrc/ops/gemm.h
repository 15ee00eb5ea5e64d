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

// What the groups of a grouped product divide between them; none: each has operands of its own.
enum class GroupedDimension { none, m, n, k };

// C[g] = A[g] B[g] + bias[g] for g < groups. Of the dimension `divided` group g has the indices
// from ends[g - 1] (0) to ends[g], which rise to at most the dimension's size: there A and B (if
// they have it) are cut up, and so is C, where what lies past the last group is set to zero. Whole
// operands, and C if `divided` is k or none, are stacks of a matrix a group. C is contiguous and
// overlaps nothing; A and B have any strides.
template <class T>
struct GroupedMmForwardArgs {
  int64_t groups, m, n, k;
  GroupedDimension divided;
  const int64_t* ends;  // (groups), or null
  const T* a;
  int64_t a_group_stride, a_row_stride, a_col_stride;
  const T* b;
  int64_t b_group_stride, b_row_stride, b_col_stride;
  const T* bias;  // (groups, n) or null
  int64_t bias_group_stride;
  T* c;
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

// y = activation(x W^T + bias + residual), W[j, k] = weight_scale[j] * weight[j, k], with `weight`
// from pack_quantized_linear; x (m, k) is quantised row by row. All contiguous; y overlaps nothing.
template <class T>
struct QuantizedLinearForwardArgs {
  int64_t m, n, k;
  const T* x;
  const int32_t* weight;
  const T* weight_scale;  // (n)
  const T* bias;          // (n) or null
  const T* residual;      // (m, n) or null
  FusedActivation activation;
  T* y;
};

// Packs int8 weights (n, k), contiguous, as PackMatrixArgs does; T plays no part.
template <class T>
struct PackQuantizedLinearArgs {
  int64_t n, k;
  const int8_t* weight;
  int32_t* packed;
  int64_t* elements;
};

// bfloat16 as uint16_t, or float32, which is rounded to bfloat16 first.
struct ReducedArray {
  const void* data;
  bool is_float;
};

// C[i] = activation(scale A[i] B[i] + bias + residual[i]), products of bfloat16 added in float32,
// as MatmulForwardArgs describes. C is bfloat16 or float32. T plays no part.
template <class T>
struct MatmulBfloat16Args {
  int64_t batch, m, n, k;
  ReducedArray a;
  const int64_t* a_offsets;
  int64_t a_row_stride, a_col_stride;
  ReducedArray b;
  const int64_t* b_offsets;
  int64_t b_row_stride, b_col_stride;
  const int32_t* packed_b;  // from pack_bfloat16, in place of b (batch 1), or null
  const float* bias;        // (n) or null
  float scale;
  const float* residual;  // or null
  FusedActivation activation;
  void* c;
  bool c_is_float;
};

// Packs B (k, n), as PackMatrixArgs does; T plays no part.
template <class T>
struct PackBfloat16Args {
  int64_t n, k;
  ReducedArray b;
  int64_t b_row_stride, b_col_stride;
  int32_t* packed;
  int64_t* elements;
};

#define FASTNN_GEMM_KERNELS(KERNEL)                            \
  KERNEL(matmul_forward, MatmulForwardArgs)                    \
  KERNEL(grouped_mm_forward, GroupedMmForwardArgs)             \
  KERNEL(pack_matrix, PackMatrixArgs)                          \
  KERNEL(quantized_linear_forward, QuantizedLinearForwardArgs) \
  KERNEL(pack_quantized_linear, PackQuantizedLinearArgs)       \
  KERNEL(matmul_bfloat16, MatmulBfloat16Args)                  \
  KERNEL(pack_bfloat16, PackBfloat16Args)

FASTNN_KERNELS(GemmKernels, gemm, FASTNN_GEMM_KERNELS)

}  // namespace fastnn
