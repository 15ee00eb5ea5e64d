// Operands of a batched matrix product.
#pragma once

#include "bindings/common.h"

namespace fastnn {

// A stride in elements.
inline int64_t element_stride(const py::array& a, int64_t axis) {
  return static_cast<int64_t>(a.strides(static_cast<py::ssize_t>(axis))) /
         static_cast<int64_t>(a.itemsize());
}

// A stack of matrices: the last two dimensions; those before them broadcast.
struct MatrixStack {
  py::array array;
  int64_t rows, cols, row_stride, col_stride;
  Shape batch_shape;
};

// `array` lies on whole elements.
MatrixStack matrix_stack(const Check& check, const char* name, const py::array& array);

// The shape of the batch that two stacks broadcast to.
Shape broadcast_batch(const Check& check, const Shape& a, const Shape& b);

// The element offset of the operand's matrix for every product of the batch, in C order.
std::vector<int64_t> batch_offsets(const MatrixStack& operand, const Shape& batch, int64_t count);

}  // namespace fastnn
