#include "bindings/matrix_stack.h"

namespace fastnn {

MatrixStack matrix_stack(const Check& check, const char* name, const py::array& array) {
  check.min_rank(name, array, 2);
  const int64_t rank = array.ndim();
  Shape batch = shape_of(array);
  batch.resize(batch.size() - 2);
  return {array,
          extent(array, rank - 2),
          extent(array, rank - 1),
          element_stride(array, rank - 2),
          element_stride(array, rank - 1),
          batch};
}

Shape broadcast_batch(const Check& check, const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const size_t shift = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    int64_t& size = result[shift + i];
    if (size == 1) {
      size = shorter[i];
    } else if (shorter[i] != 1 && shorter[i] != size) {
      check.value_error("batch dimensions " + to_string(a) + " and " + to_string(b) +
                        " of input and other must broadcast");
    }
  }
  return result;
}

std::vector<int64_t> batch_offsets(const MatrixStack& operand, const Shape& batch, int64_t count) {
  std::vector<int64_t> offsets(static_cast<size_t>(count), 0);
  const size_t shift = batch.size() - operand.batch_shape.size();
  int64_t repeat = 1;  // products that share an index of the current axis
  for (size_t axis = batch.size(); axis-- > 0;) {
    if (axis >= shift && operand.batch_shape[axis - shift] != 1) {
      const int64_t stride = element_stride(operand.array, static_cast<int64_t>(axis - shift));
      for (int64_t i = 0; i < count; ++i) {
        offsets[static_cast<size_t>(i)] += i / repeat % batch[axis] * stride;
      }
    }
    repeat *= batch[axis];
  }
  return offsets;
}

}  // namespace fastnn
