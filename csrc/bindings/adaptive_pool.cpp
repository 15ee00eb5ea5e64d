#include <pybind11/stl.h>

#include <utility>

#include "bindings/pool_args.h"

namespace fastnn {
namespace {

constexpr const char* kAdaptiveAvg[3] = {"adaptive_avg_pool1d", "adaptive_avg_pool2d",
                                         "adaptive_avg_pool3d"};
constexpr const char* kAdaptiveMax[3] = {"adaptive_max_pool1d", "adaptive_max_pool2d",
                                         "adaptive_max_pool3d"};

// output_size: an int, None (as large as the input) or a tuple of them.
Spatial output_size_argument(const Check& check, py::handle value, const Spatial& in, int dims) {
  py::tuple sizes(dims);
  const bool sequence = PyTuple_Check(value.ptr()) || PyList_Check(value.ptr());
  for (int i = 0; i < dims; ++i) {
    py::object size = py::reinterpret_borrow<py::object>(value);
    if (sequence) {
      const auto values = py::reinterpret_borrow<py::sequence>(value);
      if (values.size() != 1 && values.size() != static_cast<size_t>(dims)) break;
      size = values[values.size() == 1 ? 0 : static_cast<size_t>(i)];
    }
    if (size.is_none()) size = py::int_(in[static_cast<size_t>(3 - dims + i)]);
    sizes[static_cast<size_t>(i)] = size;
  }
  const bool complete = PyTuple_GET_ITEM(sizes.ptr(), dims - 1) != nullptr;
  const Spatial result =
      spatial_argument(check, "output_size", complete ? py::handle(sizes) : value, dims, 1);
  for (const int64_t n : result) check.at_least("output_size", n, 0);
  return result;
}

struct AdaptiveAxes {
  AdaptiveAxis depth, height, width;
  AdaptiveAxes(const Spatial& in, const Spatial& out)
      : depth{in[0], out[0]}, height{in[1], out[1]}, width{in[2], out[2]} {}
};

// The windows where the sizes divide; otherwise windows that no plane can have.
PoolAxes even_windows(const AdaptiveAxes& axes) {
  const auto even = [](const AdaptiveAxis& axis) {
    const bool whole = axis.out > 0 && axis.in % axis.out == 0;
    const int64_t kernel = whole ? axis.in / axis.out : kMaxSlidingStride + 1;
    return PoolAxis{axis.in, axis.out, kernel, kernel, 0, 1};
  };
  return {even(axes.depth), even(axes.height), even(axes.width)};
}

// Whether max pooling's taps serve the backward pass.
bool keeps_taps(const PoolAxes& even) {
  return even.compact() &&
         even.depth.kernel * even.height.kernel * even.width.kernel <= kMaxAdaptiveTaps;
}

py::object adaptive_avg_forward(py::handle input, int dims, py::handle output_size,
                                py::handle out) {
  const Check check(named(kAdaptiveAvg, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const Spatial size = output_size_argument(check, output_size, shape.size, dims);
    const AdaptiveAxes axes(shape.size, size);
    auto y = check.output<T>(shape.with(size, dims), out, {input});
    run(pool_kernels().adaptive_avg_pool3d_forward,
        AdaptiveAvgPoolForwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, x.data(),
                                      y.mutable_data()});
    return std::move(y);
  });
}

// The last `dims` sizes of an array.
Spatial spatial_size(const py::array& x, int dims) {
  Spatial size{1, 1, 1};
  for (int i = 0; i < dims; ++i) size[static_cast<size_t>(2 - i)] = extent(x, x.ndim() - 1 - i);
  return size;
}

py::object adaptive_avg_backward(py::handle grad_output, const Shape& input_shape, int dims) {
  const Check check(named(kAdaptiveAvg, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const PoolShape shape(check, "input", input_shape, dims);
    check.rank("grad_output", grad, static_cast<int64_t>(input_shape.size()));
    const Spatial size = spatial_size(grad, dims);
    check.shape("grad_output", grad, shape.with(size, dims), "input's batch and channels");
    const AdaptiveAxes axes(shape.size, size);
    auto grad_x = check.output<T>(input_shape);
    run(pool_kernels().adaptive_avg_pool3d_backward,
        AdaptiveAvgPoolBackwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width,
                                       grad.data(), grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

// y, or (y, indices), or (y, what adaptive_max_backward needs: taps in uint8 or indices).
py::object adaptive_max_forward(py::handle input, int dims, py::handle output_size, Keep keep,
                                py::handle out) {
  const Check check(named(kAdaptiveMax, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const Spatial size = output_size_argument(check, output_size, shape.size, dims);
    const AdaptiveAxes axes(shape.size, size);
    const Shape y_shape = shape.with(size, dims);
    auto y = check.output<T>(y_shape, out, {input});
    if (keep == Keep::kForBackward && keeps_taps(even_windows(axes))) {
      const PoolAxes even = even_windows(axes);
      auto taps = new_array<uint8_t>(y_shape);
      run(pool_kernels().max_pool3d_forward,
          MaxPoolForwardArgs<T>{shape.planes, even.depth, even.height, even.width, x.data(),
                                y.mutable_data(), /*indices=*/nullptr, taps.mutable_data()});
      return py::make_tuple(y, taps);
    }
    AdaptiveMaxPoolForwardArgs<T> args{shape.planes, axes.depth,       axes.height, axes.width,
                                       x.data(),     y.mutable_data(), nullptr};
    if (keep == Keep::kNothing) {
      run(pool_kernels().adaptive_max_pool3d_forward, args);
      return std::move(y);
    }
    auto indices = new_array<int64_t>(y_shape);
    args.indices = indices.mutable_data();
    run(pool_kernels().adaptive_max_pool3d_forward, args);
    return py::make_tuple(y, indices);
  });
}

py::object adaptive_max_backward(py::handle grad_output, py::handle saved, const Shape& input_shape,
                                 int dims) {
  const Check check(named(kAdaptiveMax, dims));
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const PoolShape shape(check, "input", input_shape, dims);
    if (!py::isinstance<py::array_t<uint8_t>>(saved)) {
      return scatter_to_indices(check, grad, shape, saved, dims);
    }
    check.rank("grad_output", grad, static_cast<int64_t>(input_shape.size()));
    const Spatial size = spatial_size(grad, dims);
    const PoolAxes even = even_windows(AdaptiveAxes(shape.size, size));
    if (!keeps_taps(even)) check.value_error("saved must be indices for windows of this size");
    return gather_from_taps(check, grad, shape, saved, even, dims);
  });
}

}  // namespace

void init_adaptive_pool(py::module_& m) {
  m.def(
      "adaptive_avg_pool3d_forward",
      [](py::handle input, int dims, py::handle output_size, py::handle out) {
        check_dims(dims);
        return adaptive_avg_forward(input, dims, output_size, out);
      },
      py::arg("input"), py::arg("dims"), py::arg("output_size"), py::arg("out") = py::none());
  m.def(
      "adaptive_avg_pool3d_backward",
      [](py::handle grad_output, const Shape& input_shape, int dims) {
        check_dims(dims);
        return adaptive_avg_backward(grad_output, input_shape, dims);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("dims"));
  m.def(
      "adaptive_max_pool3d_forward",
      [](py::handle input, int dims, py::handle output_size, int keep, py::handle out) {
        check_dims(dims);
        return adaptive_max_forward(input, dims, output_size, static_cast<Keep>(keep), out);
      },
      py::arg("input"), py::arg("dims"), py::arg("output_size"), py::arg("keep"),
      py::arg("out") = py::none(), "keep: as for max_pool3d_forward");
  m.def(
      "adaptive_max_pool3d_backward",
      [](py::handle grad_output, py::handle saved, const Shape& input_shape, int dims) {
        check_dims(dims);
        return adaptive_max_backward(grad_output, saved, input_shape, dims);
      },
      py::arg("grad_output"), py::arg("saved"), py::arg("input_shape"), py::arg("dims"));
}

}  // namespace fastnn
