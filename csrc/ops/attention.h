// Scaled dot-product attention: softmax(scale Q K^T + ...) V for every head of a batch.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// One matrix a head, any strides (elements): that of head h starts at element offsets[h]. With
// is_bfloat16, where T is float, elements are bfloat16.
template <class T>
struct MatrixStack {
  const void* data;
  const int64_t* offsets;
  int64_t row_stride, col_stride;
  bool is_bfloat16;
};

// What becomes of the score of query i and key j, in this order: softcap * tanh(s / softcap), minus
// slope * |i + diagonal - j|, plus bias (or masked unless allowed), masked unless
// -left <= j - i - diagonal <= right. `diagonal` is 0, or for lower_right the keys' length less the
// queries'. Null pointers and a softcap of 0 switch a rule off; lengths count from the start.
template <class T>
struct AttentionRules {
  const T* bias;
  const uint8_t* allowed;
  const int64_t* mask_offsets;  // of bias or allowed, by head
  int64_t mask_query_stride, mask_key_stride;
  int64_t left, right;  // at most 2^40
  bool lower_right;
  const int64_t* query_lengths;  // by head
  const int64_t* key_lengths;
  T softcap;
  const T* slopes;  // by head
};

// Dropout of the weights: one is kept, times scale, where its word of the random stream
// (simd/philox.h) is at least threshold; a threshold of 0 switches it off, 2^32 keeps nothing. Row
// (head * queries + i) of the weights starts at element 64 * ceil(keys / 64) of the row's number.
struct AttentionDropout {
  uint64_t threshold;
  double scale;
  uint64_t seed, stream;
};

// query is (heads, queries, width), key (heads / group, keys, width), value (heads / group, keys,
// value_width); head h uses key and value h / group. All three are stored alike, and so are the
// output and the gradients with respect to them.
template <class T>
struct AttentionProblem {
  int64_t heads, group, queries, keys, width, value_width;
  T scale;
  MatrixStack<T> query, key, value;
  AttentionRules<T> rules;
  AttentionDropout dropout;
};

// output row i of head h is at output + output_offsets[h] + i * output_row_stride; log_sum_exp is
// (heads, queries), -inf for a query that sees no key, whose output is zero.
template <class T>
struct AttentionForwardArgs {
  AttentionProblem<T> problem;
  void* output;
  const int64_t* output_offsets;
  int64_t output_row_stride;
  T* log_sum_exp;
};

// The gradients are C-contiguous, in the shapes of query, key and value, and may be null.
// grad_log_sum_exp is (heads, queries) or null. weights and grad_weights, both null or C-contiguous
// (heads, queries, keys), are the weights that were returned and their gradient. grad_bias, of the
// same shape, zeroed, or null, receives the gradient of the bias. delta (heads, queries) is
// scratch.
template <class T>
struct AttentionBackwardArgs {
  AttentionProblem<T> problem;
  MatrixStack<T> output, grad_output;
  const T* log_sum_exp;
  const T* grad_log_sum_exp;
  const T* weights;
  const T* grad_weights;
  T* delta;
  void* grad_query;
  void* grad_key;
  void* grad_value;
  T* grad_bias;
};

// weights, C-contiguous (heads, queries, keys) and zeroed: what multiplies the values, after
// dropout. log_sum_exp is the forward pass's.
template <class T>
struct AttentionWeightsArgs {
  AttentionProblem<T> problem;
  const T* log_sum_exp;
  T* weights;
};

// input and output are `heads` matrices (rows, width) with contiguous columns, that of head h at
// offsets[h]; row r of head h stands at position positions[position_offsets[h] + r *
// position_stride]. The first 2 * pairs columns are turned: pair i is columns (2 i, 2 i + 1) if
// interleaved, else (i, i + pairs); inverse turns back, which is also the gradient. With
// is_bfloat16, where T is float, elements are bfloat16.
template <class T>
struct RotaryEmbeddingArgs {
  int64_t heads, rows, width, pairs;
  bool interleaved, inverse, is_bfloat16;
  const double* frequencies;  // by pair
  const int64_t* positions;
  const int64_t* position_offsets;
  int64_t position_stride;
  const void* input;
  const int64_t* input_offsets;
  int64_t input_row_stride;
  void* output;
  const int64_t* output_offsets;
  int64_t output_row_stride;
};

#define FASTNN_ATTENTION_KERNELS(KERNEL)                               \
  KERNEL(scaled_dot_product_attention_forward, AttentionForwardArgs)   \
  KERNEL(scaled_dot_product_attention_backward, AttentionBackwardArgs) \
  KERNEL(attention_weights, AttentionWeightsArgs)                      \
  KERNEL(rotary_embedding_forward, RotaryEmbeddingArgs)

FASTNN_KERNELS(AttentionKernels, attention, FASTNN_ATTENTION_KERNELS)

}  // namespace fastnn
