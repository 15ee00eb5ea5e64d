// Linear layers with int8 weights.
#include "bindings/activation.h"
#include "bindings/packed_matrix.h"
#include "ops/gemm.h"

namespace fastnn {
namespace {

PackedInt8Matrix pack_quantized_linear(py::handle weight) {
  const Check check("quantized_linear");
  const auto w = check.contiguous<int8_t>("weight", weight);
  check.rank("weight", w, 2);
  const GemmKernels& table = gemm_kernels();
  int64_t elements = 0;
  PackQuantizedLinearArgs<float> args{extent(w, 0), extent(w, 1), w.data(), nullptr, &elements};
  run(table.pack_quantized_linear, args);
  check.size("packed weight", {elements}, sizeof(int32_t));
  auto packed = aligned_array<int32_t>(elements);
  args.packed = packed.mutable_data();
  run(table.pack_quantized_linear, args);
  return {packed, args.n, args.k, &table};
}

// input (..., in) times an int8 weight (out, in) transposed; `weight` is an array or packed.
py::object quantized_linear_forward(py::handle input, py::handle weight, py::handle weight_scale,
                                    py::handle bias, py::handle out, py::handle residual,
                                    py::handle activation) {
  const Check check("quantized_linear");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const auto packed = py::isinstance<PackedInt8Matrix>(weight)
                            ? py::cast<PackedInt8Matrix>(weight)
                            : pack_quantized_linear(weight);
    require_active(check, "weight", packed.table, &gemm_kernels());
    check.dim("input", x, x.ndim() - 1, packed.in_features, "weight.shape[1]");
    const auto scale = check.contiguous<T>("weight_scale", weight_scale);
    check.shape("weight_scale", scale, {packed.out_features}, "weight.shape[0]");
    const auto b = check.optional<T>("bias", bias);
    if (b) check.shape("bias", b, {packed.out_features}, "weight.shape[0]");
    Shape shape = shape_of(x);
    shape.pop_back();
    const int64_t rows = check.size("input", shape, 1);
    shape.push_back(packed.out_features);
    const auto r = check.optional<T>("residual", residual);
    if (r) check.shape("residual", r, shape, "the output's shape");
    const FusedActivation fused = read_activation(check, activation);
    auto y = check.output<T>(shape, out, {input, weight_scale, bias, r});
    run(packed.table->quantized_linear_forward,
        QuantizedLinearForwardArgs<T>{rows, packed.out_features, packed.in_features, x.data(),
                                      packed.data.data(), scale.data(), data_or_null(b),
                                      data_or_null(r), fused, y.mutable_data()});
    return std::move(y);
  });
}

}  // namespace

void init_gemm_int8(py::module_& m) {
  py::class_<PackedInt8Matrix>(m, "PackedInt8Matrix", "A weight packed by pack_quantized_linear")
      .def_readonly("out_features", &PackedInt8Matrix::out_features)
      .def_readonly("in_features", &PackedInt8Matrix::in_features);
  m.def("pack_quantized_linear", &pack_quantized_linear, py::arg("weight"),
        "Packs an int8 weight (out, in) for quantized_linear_forward");
  m.def("quantized_linear_forward", &quantized_linear_forward, py::arg("input"), py::arg("weight"),
        py::arg("weight_scale"), py::arg("bias") = py::none(), py::arg("out") = py::none(),
        py::arg("residual") = py::none(), py::arg("activation") = py::none());
}

}  // namespace fastnn
