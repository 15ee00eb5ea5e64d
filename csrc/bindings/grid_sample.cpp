#include <string>
#include <utility>

#include "bindings/common.h"
#include "ops/resize.h"

namespace fastnn {
namespace {

SampleMode sample_mode(const Check& check, const std::string& mode, int64_t dims) {
  if (mode == "bilinear") return SampleMode::kLinear;
  if (mode == "nearest") return SampleMode::kNearest;
  if (mode == "bicubic" && dims == 2) return SampleMode::kCubic;
  check.value_error(
      "mode must be 'bilinear', 'nearest' or, with 2 spatial dimensions, 'bicubic', "
      "got '" +
      mode + "'");
}

SamplePadding sample_padding(const Check& check, const std::string& padding) {
  if (padding == "zeros") return SamplePadding::kZeros;
  if (padding == "border") return SamplePadding::kBorder;
  if (padding == "reflection") return SamplePadding::kReflection;
  check.value_error("padding_mode must be 'zeros', 'border' or 'reflection', got '" + padding +
                    "'");
}

struct SampleOptions {
  const std::string &mode, &padding;
  bool align_corners;
};

// (N, C, H, W) and (N, Hout, Wout, 2), or (N, C, D, H, W) and (N, Dout, Hout, Wout, 3).
template <class T>
struct Sampling {
  Array<T> x, grid;
  GridSampleShape shape{};
  Shape y_shape;

  Sampling(const Check& check, py::handle input, py::handle points, const SampleOptions& options)
      : x(check.contiguous<T>("input", input)), grid(check.contiguous<T>("grid", points)) {
    if (x.ndim() != 4 && x.ndim() != 5) {
      check.value_error("input must have 4 or 5 dimensions, got shape " + to_string(shape_of(x)));
    }
    const int64_t dims = x.ndim() - 2;
    check.rank("grid", grid, x.ndim());
    check.dim("grid", grid, 0, extent(x, 0), "input's batch");
    check.dim("grid", grid, dims + 1, dims, "a coordinate for each spatial dimension");
    const bool flat = dims == 2;
    shape = {extent(x, 0),
             extent(x, 1),
             flat ? 1 : extent(x, 2),
             extent(x, dims),
             extent(x, dims + 1),
             1,
             dims,
             sample_mode(check, options.mode, dims),
             sample_padding(check, options.padding),
             options.align_corners};
    if (shape.depth * shape.height * shape.width < 1) {
      check.value_error("input must not be empty in its spatial dimensions, got shape " +
                        to_string(shape_of(x)));
    }
    y_shape = {shape.batch, shape.channels};
    for (int64_t i = 1; i <= dims; ++i) {
      y_shape.push_back(extent(grid, i));
      shape.points *= extent(grid, i);
    }
    check.size("output", y_shape, sizeof(T));
  }

  Array<T> gradient(const Check& check, py::handle grad_output) const {
    Array<T> grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, y_shape, "the output's shape");
    return grad;
  }
};

py::object grid_sample_forward(py::handle input, py::handle grid, const std::string& mode,
                               const std::string& padding, bool align_corners, py::handle out) {
  const Check check("grid_sample");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Sampling<T> s(check, input, grid, {mode, padding, align_corners});
    auto y = check.output<T>(s.y_shape, out, {input, grid});
    run(resize_kernels().grid_sample_forward,
        GridSampleForwardArgs<T>{s.shape, s.x.data(), s.grid.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object grid_sample_backward_input(py::handle grad_output, py::handle input, py::handle grid,
                                      const std::string& mode, const std::string& padding,
                                      bool align_corners) {
  const Check check("grid_sample");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Sampling<T> s(check, input, grid, {mode, padding, align_corners});
    const auto grad = s.gradient(check, grad_output);
    auto grad_x = check.output<T>(shape_of(s.x));
    run(resize_kernels().grid_sample_backward_input,
        GridSampleBackwardInputArgs<T>{s.shape, s.grid.data(), grad.data(), grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

py::object grid_sample_backward_grid(py::handle grad_output, py::handle input, py::handle grid,
                                     const std::string& mode, const std::string& padding,
                                     bool align_corners) {
  const Check check("grid_sample");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Sampling<T> s(check, input, grid, {mode, padding, align_corners});
    const auto grad = s.gradient(check, grad_output);
    auto grad_grid = check.output<T>(shape_of(s.grid));
    run(resize_kernels().grid_sample_backward_grid,
        GridSampleBackwardGridArgs<T>{s.shape, s.x.data(), s.grid.data(), grad.data(),
                                      grad_grid.mutable_data()});
    return std::move(grad_grid);
  });
}

}  // namespace

void init_grid_sample(py::module_& m) {
  m.def("grid_sample_forward", &grid_sample_forward, py::arg("input"), py::arg("grid"),
        py::arg("mode"), py::arg("padding_mode"), py::arg("align_corners"),
        py::arg("out") = py::none());
  m.def("grid_sample_backward_input", &grid_sample_backward_input, py::arg("grad_output"),
        py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"),
        py::arg("align_corners"));
  m.def("grid_sample_backward_grid", &grid_sample_backward_grid, py::arg("grad_output"),
        py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"),
        py::arg("align_corners"));
}

}  // namespace fastnn
