#include <pybind11/stl.h>

#include <utility>

#include "bindings/pool_args.h"

namespace fastnn {
namespace {

constexpr const char* kMaxPool[3] = {"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr const char* kAvgPool[3] = {"avg_pool1d", "avg_pool2d", "avg_pool3d"};
constexpr const char* kLpPool[3] = {"lp_pool1d", "lp_pool2d", "lp_pool3d"};
constexpr const char* kMaxUnpool[3] = {"max_unpool1d", "max_unpool2d", "max_unpool3d"};

// y, or (y, indices), or (y, what max_pool3d_backward needs: taps in uint8 or indices).
py::object max_pool_forward(py::handle input, int dims, const PoolWindow& window, Keep keep,
                            py::handle out) {
  const Check check(named(kMaxPool, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    const Shape y_shape = shape.with(axes.out(), dims);
    auto y = check.output<T>(y_shape, out, {input});
    MaxPoolForwardArgs<T> args{shape.planes, axes.depth,       axes.height, axes.width,
                               x.data(),     y.mutable_data(), nullptr,     nullptr};
    if (keep == Keep::kForBackward && axes.compact()) {
      auto taps = new_array<uint8_t>(y_shape);
      args.taps = taps.mutable_data();
      run(pool_kernels().max_pool3d_forward, args);
      return py::make_tuple(y, taps);
    }
    if (keep != Keep::kNothing) {
      auto indices = new_array<int64_t>(y_shape);
      args.indices = indices.mutable_data();
      run(pool_kernels().max_pool3d_forward, args);
      return py::make_tuple(y, indices);
    }
    run(pool_kernels().max_pool3d_forward, args);
    return std::move(y);
  });
}

py::object max_pool_backward(py::handle grad_output, py::handle saved, const Shape& input_shape,
                             int dims, const PoolWindow& window) {
  const Check check(named(kMaxPool, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const PoolShape shape(check, "input", input_shape, dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    check.shape("grad_output", grad, shape.with(axes.out(), dims), "the output's shape");
    if (!axes.compact() || !py::isinstance<py::array_t<uint8_t>>(saved)) {
      return scatter_to_indices(check, grad, shape, saved, dims);
    }
    return gather_from_taps(check, grad, shape, saved, axes, dims);
  });
}

int64_t divisor_argument(const Check& check, py::handle value) {
  if (value.is_none()) return 0;
  const int64_t divisor = spatial_argument(check, "divisor_override", value, 1, 1)[2];
  if (divisor == 0) check.value_error("divisor_override must not be 0");
  return divisor;
}

py::object avg_pool_forward(py::handle input, int dims, const PoolWindow& window,
                            py::handle count_include_pad, py::handle divisor_override,
                            py::handle out) {
  const Check check(named(kAvgPool, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    const int64_t divisor = divisor_argument(check, divisor_override);
    const bool count_padding = boolean_argument(check, "count_include_pad", count_include_pad);
    auto y = check.output<T>(shape.with(axes.out(), dims), out, {input});
    run(pool_kernels().avg_pool3d_forward,
        AvgPoolForwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, count_padding,
                              divisor, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object avg_pool_backward(py::handle grad_output, const Shape& input_shape, int dims,
                             const PoolWindow& window, py::handle count_include_pad,
                             py::handle divisor_override) {
  const Check check(named(kAvgPool, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const PoolShape shape(check, "input", input_shape, dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    const int64_t divisor = divisor_argument(check, divisor_override);
    const bool count_padding = boolean_argument(check, "count_include_pad", count_include_pad);
    check.shape("grad_output", grad, shape.with(axes.out(), dims), "the output's shape");
    auto grad_x = check.output<T>(input_shape);
    run(pool_kernels().avg_pool3d_backward,
        AvgPoolBackwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, count_padding,
                               divisor, grad.data(), grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

// A finite exponent other than 0.
double norm_type_argument(const Check& check, py::handle value) {
  if (PyBool_Check(value.ptr()) || !PyNumber_Check(value.ptr()) ||
      py::isinstance<py::array>(value)) {
    check.type_error("norm_type must be a float, got " + std::string(py::str(py::repr(value))));
  }
  const double p = PyFloat_AsDouble(value.ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (!(p - p == 0) || p == 0) {
    check.value_error("norm_type must be finite and not 0, got " +
                      std::string(py::str(py::repr(value))));
  }
  return p;
}

// Windows of lp_pool divide by their elements inside the input, as average pooling does.
py::object lp_pool_forward(py::handle input, int dims, py::handle norm_type,
                           const PoolWindow& window, py::handle out) {
  const Check check(named(kLpPool, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const double p = norm_type_argument(check, norm_type);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    auto y = check.output<T>(shape.with(axes.out(), dims), out, {input});
    run(pool_kernels().lp_pool3d_forward,
        LpPoolForwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, true, 0, p,
                             x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object lp_pool_backward(py::handle grad_output, py::handle input, py::handle output, int dims,
                            py::handle norm_type, const PoolWindow& window) {
  const Check check(named(kLpPool, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto x = check.contiguous<T>("input", input);
    const auto y = check.contiguous<T>("output", output);
    const double p = norm_type_argument(check, norm_type);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const PoolAxes axes = window.axes(check, shape.size, dims);
    check.shape("output", y, shape.with(axes.out(), dims), "the output's shape");
    check.shape("grad_output", grad, shape_of(y), "the output's shape");
    auto shares = check.output<T>(shape_of(y));
    auto grad_x = check.output<T>(shape_of(x));
    run(pool_kernels().lp_pool3d_backward,
        LpPoolBackwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, true, 0, p,
                              x.data(), y.data(), grad.data(), shares.mutable_data(),
                              grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

void check_indices(const Check& check, const Array<int64_t>& indices, int64_t end) {
  const int64_t* at = indices.data();
  for (py::ssize_t i = 0; i < indices.size(); ++i) {
    if (at[i] < 0 || at[i] >= end) {
      check.value_error("indices must be in 0.." + std::to_string(end - 1) +
                        " (the elements of an output plane), got " + std::to_string(at[i]));
    }
  }
}

py::object max_unpool_forward(py::handle input, py::handle indices, int dims,
                              const Spatial& output_size, py::handle out) {
  const Check check(named(kMaxUnpool, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto at = check.indices("indices", indices);
    const PoolShape shape(check, "input", shape_of(x), dims);
    check.shape("indices", at, shape_of(x), "input.shape");
    const Shape y_shape = shape.with(output_size, dims);
    check.size("output", Shape(output_size.begin(), output_size.end()), sizeof(T));
    const int64_t outputs = output_size[0] * output_size[1] * output_size[2];
    check_indices(check, at, outputs);
    auto y = check.output<T>(y_shape, out, {input, indices});
    run(pool_kernels().max_unpool3d_forward,
        MaxUnpoolForwardArgs<T>{shape.planes, shape.size[0] * shape.size[1] * shape.size[2],
                                outputs, x.data(), at.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object max_unpool_backward(py::handle grad_output, py::handle indices, int dims) {
  const Check check(named(kMaxUnpool, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto at = check.indices("indices", indices);
    const PoolShape shape(check, "indices", shape_of(at), dims);
    const PoolShape large(check, "grad_output", shape_of(grad), dims);
    check.shape("grad_output", grad, shape.with(large.size, dims), "input's batch and channels");
    const int64_t outputs = large.size[0] * large.size[1] * large.size[2];
    check_indices(check, at, outputs);
    auto grad_x = check.output<T>(shape_of(at));
    run(pool_kernels().max_unpool3d_backward,
        MaxUnpoolBackwardArgs<T>{shape.planes, shape.size[0] * shape.size[1] * shape.size[2],
                                 outputs, grad.data(), at.data(), grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

}  // namespace

void init_adaptive_pool(py::module_&);
void init_fractional_pool(py::module_&);

void init_pool(py::module_& m) {
  init_adaptive_pool(m);
  init_fractional_pool(m);
  m.def(
      "max_pool3d_forward",
      [](py::handle input, int dims, py::handle kernel_size, py::handle stride, py::handle padding,
         py::handle dilation, py::handle ceil_mode, int keep, py::handle out) {
        check_dims(dims);
        return max_pool_forward(input, dims, {kernel_size, stride, padding, dilation, ceil_mode},
                                static_cast<Keep>(keep), out);
      },
      py::arg("input"), py::arg("dims"), py::arg("kernel_size"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"), py::arg("keep"),
      py::arg("out") = py::none(), "keep: 0 nothing, 1 indices, 2 what the backward pass needs");
  m.def(
      "max_pool3d_backward",
      [](py::handle grad_output, py::handle saved, const Shape& input_shape, int dims,
         py::handle kernel_size, py::handle stride, py::handle padding, py::handle dilation,
         py::handle ceil_mode) {
        check_dims(dims);
        return max_pool_backward(grad_output, saved, input_shape, dims,
                                 {kernel_size, stride, padding, dilation, ceil_mode});
      },
      py::arg("grad_output"), py::arg("saved"), py::arg("input_shape"), py::arg("dims"),
      py::arg("kernel_size"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
      py::arg("ceil_mode"));
  m.def(
      "avg_pool3d_forward",
      [](py::handle input, int dims, py::handle kernel_size, py::handle stride, py::handle padding,
         py::handle ceil_mode, py::handle count_include_pad, py::handle divisor_override,
         py::handle out) {
        check_dims(dims);
        return avg_pool_forward(input, dims, {kernel_size, stride, padding, py::int_(1), ceil_mode},
                                count_include_pad, divisor_override, out);
      },
      py::arg("input"), py::arg("dims"), py::arg("kernel_size"), py::arg("stride"),
      py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"),
      py::arg("divisor_override"), py::arg("out") = py::none());
  m.def(
      "avg_pool3d_backward",
      [](py::handle grad_output, const Shape& input_shape, int dims, py::handle kernel_size,
         py::handle stride, py::handle padding, py::handle ceil_mode, py::handle count_include_pad,
         py::handle divisor_override) {
        check_dims(dims);
        return avg_pool_backward(grad_output, input_shape, dims,
                                 {kernel_size, stride, padding, py::int_(1), ceil_mode},
                                 count_include_pad, divisor_override);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("dims"), py::arg("kernel_size"),
      py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"),
      py::arg("divisor_override"));
  m.def(
      "lp_pool3d_forward",
      [](py::handle input, int dims, py::handle norm_type, py::handle kernel_size,
         py::handle stride, py::handle ceil_mode, py::handle out) {
        check_dims(dims);
        return lp_pool_forward(input, dims, norm_type,
                               {kernel_size, stride, py::int_(0), py::int_(1), ceil_mode}, out);
      },
      py::arg("input"), py::arg("dims"), py::arg("norm_type"), py::arg("kernel_size"),
      py::arg("stride"), py::arg("ceil_mode"), py::arg("out") = py::none());
  m.def(
      "lp_pool3d_backward",
      [](py::handle grad_output, py::handle input, py::handle output, int dims,
         py::handle norm_type, py::handle kernel_size, py::handle stride, py::handle ceil_mode) {
        check_dims(dims);
        return lp_pool_backward(grad_output, input, output, dims, norm_type,
                                {kernel_size, stride, py::int_(0), py::int_(1), ceil_mode});
      },
      py::arg("grad_output"), py::arg("input"), py::arg("output"), py::arg("dims"),
      py::arg("norm_type"), py::arg("kernel_size"), py::arg("stride"), py::arg("ceil_mode"));
  m.def(
      "max_unpool3d_forward",
      [](py::handle input, py::handle indices, int dims, const Spatial& output_size,
         py::handle out) {
        check_dims(dims);
        return max_unpool_forward(input, indices, dims, output_size, out);
      },
      py::arg("input"), py::arg("indices"), py::arg("dims"), py::arg("output_size"),
      py::arg("out") = py::none(), "output_size: (depth, height, width), all positive");
  m.def(
      "max_unpool3d_backward",
      [](py::handle grad_output, py::handle indices, int dims) {
        check_dims(dims);
        return max_unpool_backward(grad_output, indices, dims);
      },
      py::arg("grad_output"), py::arg("indices"), py::arg("dims"));
}

}  // namespace fastnn
