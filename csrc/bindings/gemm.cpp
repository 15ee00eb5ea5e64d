#include "ops/gemm.h"

#include "bindings/activation.h"
#include "bindings/fastcall.h"
#include "bindings/gemm_bfloat16.h"
#include "bindings/matrix_stack.h"
#include "bindings/packed_matrix.h"

namespace fastnn {
namespace {

py::object matmul_forward(py::handle input, py::handle other, py::handle bias, py::handle out) {
  if (is_bfloat16(input)) return matmul_bfloat16(input, other, bias, out);
  const Check check("matmul");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (is_bfloat16(other)) return matmul_bfloat16(input, other, bias, out);
    const auto x = check.strided<T>("input", input), y = check.strided<T>("other", other);
    const auto a = matrix_stack(check, "input", x), b = matrix_stack(check, "other", y);
    check.dim("other", b.array, b.array.ndim() - 2, a.cols, "input.shape[-1]");
    const auto bias_array = check.optional<T>("bias", bias);
    if (bias_array) check.shape("bias", bias_array, {b.cols}, "other.shape[-1]");
    const Shape shape = broadcast_batch(check, a.batch_shape, b.batch_shape);
    const int64_t count = check.size("batch", shape, 1);
    Shape output_shape = shape;
    output_shape.insert(output_shape.end(), {a.rows, b.cols});
    auto c = check.output<T>(output_shape, out, {input, other, bias});
    if (c.size() == 0) return std::move(c);  // a batch of empty products may be of any length
    const auto a_offsets = batch_offsets(a, shape, count);
    const auto b_offsets = batch_offsets(b, shape, count);
    run(gemm_kernels().matmul_forward,
        MatmulForwardArgs<T>{count, a.rows, b.cols, a.cols, x.data(), a_offsets.data(),
                             a.row_stride, a.col_stride, y.data(), b_offsets.data(), b.row_stride,
                             b.col_stride, nullptr, data_or_null(bias_array), c.mutable_data()});
    return std::move(c);
  });
}

PackedMatrix pack_linear(py::handle weight) {
  if (is_bfloat16(weight)) return pack_bfloat16(weight);
  const Check check("pack_linear");
  return check.dispatch("weight", weight, [&](auto zero) -> PackedMatrix {
    using T = decltype(zero);
    const auto w = check.strided<T>("weight", weight);
    check.rank("weight", w, 2);
    int64_t elements = 0;
    PackMatrixArgs<T> args{extent(w, 0),         extent(w, 1), w.data(), element_stride(w, 1),
                           element_stride(w, 0), nullptr,      &elements};
    const GemmKernels& table = gemm_kernels();
    run(table.pack_matrix, args);
    auto packed = aligned_array<T>(elements);
    args.packed = packed.mutable_data();
    run(table.pack_matrix, args);
    return {packed, args.n, args.k, &table, false};
  });
}

// input (..., in) times weight (out, in) transposed: one product of all rows of input. `weight` is
// an array or a PackedMatrix.
py::object linear_forward(py::handle input, py::handle weight, py::handle bias, py::handle out,
                          py::handle scale, py::handle residual, py::handle activation) {
  if (is_bfloat16(input)) {
    return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
  }
  const Check check("linear");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const int64_t in_features = extent(x, x.ndim() - 1);
    const int64_t offset = 0;
    MatmulForwardArgs<T> args{1,       0,       1, in_features, x.data(), &offset, in_features, 1,
                              nullptr, &offset, 0, 0,           nullptr,  nullptr, nullptr};
    bool vector = false;
    py::object kept;  // keeps a converted weight alive
    if (const PackedMatrix* const pack = as_packed_matrix(weight); pack != nullptr) {
      const PackedMatrix& packed = *pack;
      if (packed.is_bfloat16) {
        return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
      }
      require_active(check, "weight", packed.table, &gemm_kernels());
      if (packed.in_features != in_features) {
        check.dim("input", x, x.ndim() - 1, packed.in_features, "weight.shape[1]");
      }
      args.n = packed.out_features;
      args.packed_b = check.contiguous<T>("weight", packed.data).data();
    } else if (is_bfloat16(weight)) {
      return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
    } else {
      const auto w = check.strided<T>("weight", weight);
      vector = w.ndim() == 1;
      if (!vector) check.rank("weight", w, 2);
      check.dim("weight", w, w.ndim() - 1, in_features, "input.shape[-1]");
      args.n = vector ? 1 : extent(w, 0);
      args.b = w.data();
      args.b_row_stride = element_stride(w, w.ndim() - 1);
      args.b_col_stride = vector ? 0 : element_stride(w, 0);
      kept = w;
    }
    const auto b = check.optional<T>("bias", bias);
    if (b) check.shape("bias", b, vector ? Shape{} : Shape{args.n}, "weight.shape[0]");
    args.bias = data_or_null(b);
    Shape shape = shape_of(x);
    shape.pop_back();
    args.m = check.size("input", shape, 1);
    if (!vector) shape.push_back(args.n);
    const auto r = check.optional<T>("residual", residual);
    if (r) check.shape("residual", r, shape, "the output's shape");
    args.residual = data_or_null(r);
    if (!scale.is_none()) args.scale = static_cast<T>(check.number("scale", scale));
    args.activation = read_activation(check, activation);
    auto y = check.output<T>(shape, out, {input, kept, bias, r});
    args.c = y.mutable_data();
    run(gemm_kernels().matmul_forward, args);
    return std::move(y);
  });
}

py::object column_sum_forward(py::handle input, py::handle out) {
  const Check check("column_sum");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const int64_t cols = extent(x, x.ndim() - 1);
    auto sums = check.output<T>({cols}, out, {input});
    run(gemm_kernels().column_sum_forward,
        ColumnSumForwardArgs<T>{cols > 0 ? x.size() / cols : 0, cols, x.data(),
                                sums.mutable_data()});
    return std::move(sums);
  });
}

}  // namespace

void init_gemm(py::module_& m) {
  define<&matmul_forward>(m, "matmul_forward",
                          {{"input"}, {"other"}, {"bias", true}, {"out", true}});
  py::class_<PackedMatrix>(m, "PackedMatrix", "A weight packed by pack_linear")
      .def_readonly("out_features", &PackedMatrix::out_features)
      .def_readonly("in_features", &PackedMatrix::in_features);
  m.def("pack_linear", &pack_linear, py::arg("weight"),
        "Packs a weight (out, in) for linear_forward, for the active instruction set");
  define<&linear_forward>(m, "linear_forward",
                          {{"input"},
                           {"weight"},
                           {"bias", true},
                           {"out", true},
                           {"scale", true},
                           {"residual", true},
                           {"activation", true}});
  m.def("column_sum_forward", &column_sum_forward, py::arg("input"), py::arg("out") = py::none(),
        "Sums over all axes but the last");
}

}  // namespace fastnn
