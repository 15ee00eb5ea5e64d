// Weights of reduced precision, for inference: a product of a step is that of a linear layer, and
// rounds like it. What stays of T are biases, peepholes, states and the cells' arithmetic.
#pragma once

#include "kernels/gemm/operand.h"
#include "ops/gemm.h"
#include "ops/rnn.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void quantized_linear_forward(const QuantizedLinearForwardArgs<T>& args);
template <class T>
void matmul_bfloat16(const MatmulBfloat16Args<T>& args);

// y (rows, n) = x (rows, k) W^T on all threads, both contiguous.
template <class T>
void reduced_product(const RnnReducedWeight<T>& w, int64_t rows, int64_t n, int64_t k, const T* x,
                     T* y) {
  if (w.scale != nullptr) {
    quantized_linear_forward<T>({rows, n, k, x, w.packed, w.scale, nullptr, nullptr, {}, y});
    return;
  }
  const int64_t offset = 0;
  MatmulBfloat16Args<T> args{};
  args.batch = 1;
  args.m = rows;
  args.n = n;
  args.k = k;
  args.a = {x, true};
  args.a_offsets = args.b_offsets = &offset;
  args.a_row_stride = k;
  args.a_col_stride = 1;
  args.packed_b = w.packed;
  args.scale = 1;
  args.c = y;
  args.c_is_float = true;
  matmul_bfloat16<T>(args);
}

// Rows that lie anywhere, one after the other: in place if they do, else copied to `target`.
template <class T>
const T* contiguous_rows(T* target, const T* data, const int64_t* offsets, int64_t rows,
                         int64_t width) {
  int64_t i = 1;
  while (i < rows && offsets[i] == offsets[0] + i * width) ++i;
  if (i >= rows) return data + (rows > 0 ? offsets[0] : 0);
  for (i = 0; i < rows; ++i) {
    __builtin_memcpy(target + i * width, data + offsets[i],
                     static_cast<unsigned long>(width) * sizeof(T));
  }
  return target;
}

}  // namespace fastnn::FASTNN_ISA
