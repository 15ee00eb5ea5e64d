#include "ops/gemm.h"

#include "bindings/common.h"

namespace fastnn {
namespace {

// One operand of a product: a stack of matrices, a batch dimension that broadcasts included.
template <class T>
struct Stack {
  py::array_t<T> array;
  int64_t rows, cols, row_stride, col_stride;
  Shape batch_shape;
};

template <class T>
Stack<T> stack(const Check& check, const char* name, py::handle object) {
  auto a = check.strided<T>(name, object);
  check.min_rank(name, a, 2);
  const py::ssize_t rank = a.ndim();
  const auto stride = [&](py::ssize_t axis) {
    return static_cast<int64_t>(a.strides(axis)) / static_cast<int64_t>(sizeof(T));
  };
  return {a,
          extent(a, rank - 2),
          extent(a, rank - 1),
          stride(rank - 2),
          stride(rank - 1),
          Shape(a.shape(), a.shape() + rank - 2)};
}

Shape broadcast(const Check& check, const Shape& a, const Shape& b) {
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

// The element offset of the operand's matrix for every product of the batch, in C order.
template <class T>
std::vector<int64_t> batch_offsets(const Stack<T>& operand, const Shape& batch, int64_t count) {
  std::vector<int64_t> offsets(static_cast<size_t>(count), 0);
  const size_t shift = batch.size() - operand.batch_shape.size();
  int64_t repeat = 1;  // products that share an index of the current axis
  for (size_t axis = batch.size(); axis-- > 0;) {
    if (axis >= shift && operand.batch_shape[axis - shift] != 1) {
      const int64_t stride =
          static_cast<int64_t>(operand.array.strides(static_cast<py::ssize_t>(axis - shift))) /
          static_cast<int64_t>(sizeof(T));
      for (int64_t i = 0; i < count; ++i) {
        offsets[static_cast<size_t>(i)] += i / repeat % batch[axis] * stride;
      }
    }
    repeat *= batch[axis];
  }
  return offsets;
}

py::object matmul_forward(py::handle input, py::handle other, py::handle bias, py::handle out) {
  const Check check("matmul");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto a = stack<T>(check, "input", input);
    const auto b = stack<T>(check, "other", other);
    check.dim("other", b.array, b.array.ndim() - 2, a.cols, "input.shape[-1]");
    const auto bias_array = check.optional<T>("bias", bias);
    if (bias_array) check.shape("bias", bias_array, {b.cols}, "other.shape[-1]");
    Shape shape = broadcast(check, a.batch_shape, b.batch_shape);
    const int64_t count = check.size("batch", shape, 1);
    const auto a_offsets = batch_offsets(a, shape, count);
    const auto b_offsets = batch_offsets(b, shape, count);
    shape.insert(shape.end(), {a.rows, b.cols});
    auto c = check.output<T>(shape, out, {input, other, bias});
    run(kernels().matmul_forward,
        MatmulForwardArgs<T>{count, a.rows, b.cols, a.cols, a.array.data(), a_offsets.data(),
                             a.row_stride, a.col_stride, b.array.data(), b_offsets.data(),
                             b.row_stride, b.col_stride, data_or_null(bias_array),
                             c.mutable_data()});
    return std::move(c);
  });
}

// input (..., in) times weight (out, in) transposed: one product of all rows of input.
py::object linear_forward(py::handle input, py::handle weight, py::handle bias, py::handle out) {
  const Check check("linear");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const auto w = check.strided<T>("weight", weight);
    const bool vector = w.ndim() == 1;
    if (!vector) check.rank("weight", w, 2);
    const int64_t in_features = extent(x, x.ndim() - 1);
    check.dim("weight", w, w.ndim() - 1, in_features, "input.shape[-1]");
    const int64_t out_features = vector ? 1 : extent(w, 0);
    const auto b = check.optional<T>("bias", bias);
    if (b) check.shape("bias", b, vector ? Shape{} : Shape{out_features}, "weight.shape[0]");
    Shape shape = shape_of(x);
    shape.pop_back();
    const int64_t rows = check.size("input", shape, 1);
    if (!vector) shape.push_back(out_features);
    auto y = check.output<T>(shape, out, {input, weight, bias});
    const auto stride = [&w](py::ssize_t axis) {
      return static_cast<int64_t>(w.strides(axis)) / static_cast<int64_t>(sizeof(T));
    };
    const int64_t offset = 0;
    run(kernels().matmul_forward,
        MatmulForwardArgs<T>{1, rows, out_features, in_features, x.data(), &offset, in_features,
                             1, w.data(), &offset, stride(w.ndim() - 1),
                             vector ? 0 : stride(0), data_or_null(b), y.mutable_data()});
    return std::move(y);
  });
}

py::object column_sum_forward(py::handle input) {
  const Check check("column_sum");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const int64_t cols = extent(x, x.ndim() - 1);
    auto sums = check.output<T>({cols});
    run(kernels().column_sum_forward,
        ColumnSumForwardArgs<T>{cols > 0 ? x.size() / cols : 0, cols, x.data(),
                                sums.mutable_data()});
    return std::move(sums);
  });
}

}  // namespace

void init_gemm(py::module_& m) {
  m.def("matmul_forward", &matmul_forward, py::arg("input"), py::arg("other"),
        py::arg("bias") = py::none(), py::arg("out") = py::none());
  m.def("linear_forward", &linear_forward, py::arg("input"), py::arg("weight"),
        py::arg("bias") = py::none(), py::arg("out") = py::none());
  m.def("column_sum_forward", &column_sum_forward, py::arg("input"),
        "Sums over all axes but the last");
}

}  // namespace fastnn
