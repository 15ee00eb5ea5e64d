// One product of matrices, or a part of it: what products of a batch and of groups have in common.
#pragma once

#include "kernels/gemm/engine.h"
#include "ops/gemm.h"

namespace fastnn::FASTNN_ISA {

// Computes a cell of C = activation(scale A B + bias + residual) the best way for its shape. Of
// `args` the shape, strides, packed B, bias, scale and activation count; C and residual have rows
// `c_stride` apart, and `scratch` is what gemm_cell needs.
template <class T>
void multiply_cell(const MatmulForwardArgs<T>& args, const T* a, const T* b, const T* residual,
                   T* c, int64_t c_stride, const Cell& cell, T* scratch);

}  // namespace fastnn::FASTNN_ISA
