#include "ops/conv.h"

#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "bindings/activation.h"
#include "bindings/conv_geometry.h"
#include "bindings/conv_packs.h"

namespace fastnn {
namespace {

const char* name_of(const char* const (&names)[3], int dims) {
  if (dims < 1 || dims > 3) throw py::value_error("conv: dims must be 1, 2 or 3");
  return names[dims - 1];
}

constexpr const char* kNames[3] = {"conv1d", "conv2d", "conv3d"};
constexpr const char* kTransposedNames[3] = {"conv_transpose1d", "conv_transpose2d",
                                             "conv_transpose3d"};

int64_t read_groups(const Check& check, py::handle groups) {
  if (!PyLong_Check(groups.ptr()) || PyBool_Check(groups.ptr())) {
    check.type_error("groups must be an int, got " + std::string(py::str(py::repr(groups))));
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(groups.ptr(), &overflow);
  if (overflow != 0 || value < 1) {
    check.value_error("groups must be >= 1, got " + std::string(py::str(groups)));
  }
  return value;
}

template <class T>
Array<T> read_residual(const Check& check, py::handle residual, const Shape& shape) {
  auto a = check.optional<T>("residual", residual);
  if (a) check.shape("residual", a, shape, "the output's");
  return a;
}

// An empty array where no form is kept.
template <class T>
Array<T> prepared_weights(const Check& check, py::handle packs, const ConvGeometry& g,
                          bool transposed, const Array<T>& w) {
  if (packs.is_none()) return py::reinterpret_steal<Array<T>>(py::handle());
  return py::cast<ConvPacks&>(packs).get(check, g, transposed, w);
}

// y = activation(conv + bias + residual), with `residual` of y's shape.
py::object conv_forward(int dims, py::handle input, py::handle weight, py::handle bias,
                        py::handle stride, py::handle padding, py::handle dilation,
                        py::handle groups, py::handle mode, py::handle out, py::handle packs,
                        py::handle activation, py::handle residual) {
  const Check check(name_of(kNames, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto w = check.contiguous<T>("weight", weight);
    const auto b = check.optional<T>("bias", bias);
    const ConvGeometry g = conv_geometry(
        check, shape_of(x), shape_of(w),
        {dims, stride, padding, dilation, read_groups(check, groups), padding_mode(check, mode)});
    if (b) check.shape("bias", b, {g.out_channels}, "out_channels");
    const bool batched = x.ndim() == dims + 2;
    const Shape shape = conv_shape(batched, g.batch, g.out_channels, g.output, dims);
    const auto added = read_residual<T>(check, residual, shape);
    const ConvEpilogue<T> epilogue{data_or_null(added), read_activation(check, activation)};
    auto y = check.output<T>(shape, out, {input, weight, bias, residual});
    const auto prepared = prepared_weights(check, packs, g, false, w);
    run(conv_kernels().conv3d_forward,
        ConvForwardArgs<T>{g, x.data(), w.data(), data_or_null(prepared), data_or_null(b),
                           y.mutable_data(), epilogue});
    return std::move(y);
  });
}

// input_shape is that of the forward's input.
py::object conv_backward_input(int dims, py::handle grad_output, py::handle weight,
                               const Shape& input_shape, py::handle stride, py::handle padding,
                               py::handle dilation, py::handle groups) {
  const Check check(name_of(kNames, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto w = check.contiguous<T>("weight", weight);
    const ConvGeometry g =
        conv_geometry(check, input_shape, shape_of(w),
                      {dims, stride, padding, dilation, read_groups(check, groups)});
    const bool batched = input_shape.size() == static_cast<size_t>(dims) + 2;
    check.shape("grad_output", grad, conv_shape(batched, g.batch, g.out_channels, g.output, dims),
                "the output's");
    auto grad_input = check.output<T>(input_shape);
    run(conv_kernels().conv3d_backward_input,
        ConvBackwardInputArgs<T>{
            g, grad.data(), w.data(), nullptr, nullptr, grad_input.mutable_data(), {}});
    return std::move(grad_input);
  });
}

py::object conv_backward_weight(int dims, py::handle grad_output, py::handle input,
                                const Shape& weight_shape, py::handle stride, py::handle padding,
                                py::handle dilation, py::handle groups, py::handle mode) {
  const Check check(name_of(kNames, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto x = check.contiguous<T>("input", input);
    const ConvGeometry g = conv_geometry(
        check, shape_of(x), weight_shape,
        {dims, stride, padding, dilation, read_groups(check, groups), padding_mode(check, mode)});
    const bool batched = x.ndim() == dims + 2;
    check.shape("grad_output", grad, conv_shape(batched, g.batch, g.out_channels, g.output, dims),
                "the output's");
    auto grad_weight = check.output<T>(weight_shape);
    run(conv_kernels().conv3d_backward_weight,
        ConvBackwardWeightArgs<T>{g, grad.data(), x.data(), grad_weight.mutable_data()});
    return std::move(grad_weight);
  });
}

// Sums over all axes but the channels'.
py::object conv_backward_bias(int dims, py::handle grad_output) {
  const Check check(name_of(kNames, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.min_rank("grad_output", grad, dims + 1);
    const bool batched = grad.ndim() == dims + 2;
    const int64_t batch = batched ? extent(grad, 0) : 1, channels = extent(grad, batched ? 1 : 0);
    int64_t positions = 1;
    for (int64_t axis = batched ? 2 : 1; axis < grad.ndim(); ++axis) {
      positions *= extent(grad, axis);
    }
    auto sums = check.output<T>({channels});
    run(conv_kernels().conv3d_backward_bias,
        ConvBackwardBiasArgs<T>{batch, channels, positions, grad.data(), sums.mutable_data()});
    return std::move(sums);
  });
}

py::object conv_transpose_forward(int dims, py::handle input, py::handle weight, py::handle bias,
                                  py::handle stride, py::handle padding, py::handle output_padding,
                                  py::handle groups, py::handle dilation, py::handle out,
                                  py::handle packs, py::handle activation, py::handle residual) {
  const Check check(name_of(kTransposedNames, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto w = check.contiguous<T>("weight", weight);
    const auto b = check.optional<T>("bias", bias);
    const ConvGeometry g = transposed_geometry(
        check, shape_of(x), shape_of(w),
        {dims, stride, padding, dilation, read_groups(check, groups)}, output_padding);
    if (b) check.shape("bias", b, {g.in_channels}, "out_channels");
    const bool batched = x.ndim() == dims + 2;
    const Shape shape = conv_shape(batched, g.batch, g.in_channels, g.input, dims);
    const auto added = read_residual<T>(check, residual, shape);
    const ConvEpilogue<T> epilogue{data_or_null(added), read_activation(check, activation)};
    auto y = check.output<T>(shape, out, {input, weight, bias, residual});
    const auto prepared = prepared_weights(check, packs, g, true, w);
    run(conv_kernels().conv3d_backward_input,
        ConvBackwardInputArgs<T>{g, x.data(), w.data(), data_or_null(prepared), data_or_null(b),
                                 y.mutable_data(), epilogue});
    return std::move(y);
  });
}

// For each dimension (before, after, output): the padding that is read, and the output's size.
std::vector<std::tuple<int64_t, int64_t, int64_t>> conv_plan(int dims, const Shape& input_shape,
                                                             const Shape& weight_shape,
                                                             py::handle stride, py::handle padding,
                                                             py::handle dilation,
                                                             py::handle groups) {
  const Check check(name_of(kNames, dims));
  const ConvGeometry g =
      conv_geometry(check, input_shape, weight_shape,
                    {dims, stride, padding, dilation, read_groups(check, groups)});
  std::vector<std::tuple<int64_t, int64_t, int64_t>> plan;
  for (int i = 3 - dims; i < 3; ++i) {
    const int64_t end = (g.output[i] - 1) * g.stride[i] + g.dilation[i] * (g.kernel[i] - 1) + 1;
    const int64_t after = end - g.input[i] - g.padding[i];
    plan.emplace_back(g.padding[i], after > 0 ? after : 0, g.output[i]);
  }
  return plan;
}

// The convolution whose patches unfold writes: one filter over each channel of `input`.
ConvGeometry patch_geometry(const Check& check, const Shape& input, py::handle kernel_size,
                            py::handle dilation, py::handle padding, py::handle stride) {
  if (input.size() != 3 && input.size() != 4) {
    check.value_error("input must have 4 dimensions, or 3 without a batch, got shape " +
                      to_string(input));
  }
  int64_t kernel[3];
  read_spatial(check, "kernel_size", kernel_size, 2, 1, 1, kernel);
  const int64_t channels = input[input.size() - 3];
  return conv_geometry(check, input, {1, channels, kernel[1], kernel[2]},
                       {2, stride, padding, dilation, 1});
}

Shape columns_shape(const ConvGeometry& g, bool batched) {
  const int64_t positions = g.output[1] * g.output[2];
  const int64_t rows = g.in_channels * g.kernel[1] * g.kernel[2];
  return batched ? Shape{g.batch, rows, positions} : Shape{rows, positions};
}

py::object unfold_forward(py::handle input, py::handle kernel_size, py::handle dilation,
                          py::handle padding, py::handle stride, py::handle out) {
  const Check check("unfold");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const ConvGeometry g =
        patch_geometry(check, shape_of(x), kernel_size, dilation, padding, stride);
    auto columns = check.output<T>(columns_shape(g, x.ndim() == 4), out, {input});
    run(conv_kernels().unfold_forward, UnfoldArgs<T>{g, x.data(), columns.mutable_data()});
    return std::move(columns);
  });
}

py::object fold_forward(py::handle input, py::handle output_size, py::handle kernel_size,
                        py::handle dilation, py::handle padding, py::handle stride,
                        py::handle out) {
  const Check check("fold");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto columns = check.contiguous<T>("input", input);
    if (columns.ndim() != 2 && columns.ndim() != 3) {
      check.value_error("input must have 3 dimensions, or 2 without a batch, got shape " +
                        to_string(shape_of(columns)));
    }
    const bool batched = columns.ndim() == 3;
    int64_t sizes[3], kernel[3];
    read_spatial(check, "output_size", output_size, 2, 1, 1, sizes);
    read_spatial(check, "kernel_size", kernel_size, 2, 1, 1, kernel);
    const int64_t axis = batched ? 1 : 0, rows = extent(columns, axis);
    const int64_t taps = check.size("kernel_size", {kernel[1], kernel[2]}, 1);
    if (rows % taps != 0) {
      check.value_error("input.shape[" + std::to_string(axis) + "] must be divisible by " +
                        std::to_string(taps) + " (the kernel's size), got " + std::to_string(rows));
    }
    const Shape shape =
        conv_shape(batched, batched ? extent(columns, 0) : 1, rows / taps, sizes, 2);
    const ConvGeometry g = patch_geometry(check, shape, kernel_size, dilation, padding, stride);
    check.shape("input", columns, columns_shape(g, batched), "what unfold gives for output_size");
    auto x = check.output<T>(shape, out, {input});
    run(conv_kernels().fold_forward, FoldArgs<T>{g, columns.data(), x.mutable_data()});
    return std::move(x);
  });
}

}  // namespace

void init_conv(py::module_& m) {
  py::class_<ConvPacks>(m, "ConvPacks", "Prepared forms of one weight array").def(py::init<>());
  m.def("conv3d_forward", &conv_forward, py::arg("dims"), py::arg("input"), py::arg("weight"),
        py::arg("bias"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
        py::arg("groups"), py::arg("padding_mode"), py::arg("out"), py::arg("packs") = py::none(),
        py::arg("activation") = py::none(), py::arg("residual") = py::none(),
        "Convolution over the last `dims` axes");
  m.def("conv3d_backward_input", &conv_backward_input);
  m.def("conv3d_backward_weight", &conv_backward_weight);
  m.def("conv3d_backward_bias", &conv_backward_bias);
  m.def(
      "set_conv_precision", &set_conv_precision, py::arg("precision"),
      "'highest' forbids Winograd in convolutions of float32, whose rounding error is larger than\n"
      "the direct sum's; 'default' allows it.");
  m.def(
      "get_conv_precision", [] { return fast_convolution() ? "default" : "highest"; },
      "What set_conv_precision was given: 'default' or 'highest'.");
  m.def("unfold_forward", &unfold_forward);
  m.def("fold_forward", &fold_forward);
  m.def("conv_plan", &conv_plan, "(padding before, padding after, output size) by dimension");
  m.def("conv_transpose3d_forward", &conv_transpose_forward, py::arg("dims"), py::arg("input"),
        py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
        py::arg("output_padding"), py::arg("groups"), py::arg("dilation"), py::arg("out"),
        py::arg("packs") = py::none(), py::arg("activation") = py::none(),
        py::arg("residual") = py::none());
}

}  // namespace fastnn
