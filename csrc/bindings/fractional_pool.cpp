#include <pybind11/stl.h>

#include <utility>

#include "bindings/pool_args.h"

namespace fastnn {
namespace {

constexpr const char* kFractional[3] = {"", "fractional_max_pool2d", "fractional_max_pool3d"};

FractionalSize fractional_size(const Check& check, int64_t in, int64_t out, int64_t kernel) {
  check.at_least("kernel_size", kernel, 1);
  check.at_least("output_size", out, 1);
  if (kernel > in || out - 1 > in - kernel) {
    check.value_error("output_size + kernel_size - 1 must be at most the input's size of " +
                      std::to_string(in) + ", got " + std::to_string(out) + " and " +
                      std::to_string(kernel));
  }
  return {in, out, kernel};
}

// (y, indices). samples: (planes, 3) in [0, 1] for depth, height and width.
py::object fractional_max_forward(py::handle input, int dims, py::handle kernel_size,
                                  py::handle output_size, py::handle samples, py::handle out) {
  const Check check(named(kFractional, dims));
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PoolShape shape(check, "input", shape_of(x), dims);
    const Spatial kernel = spatial_argument(check, "kernel_size", kernel_size, dims, 1);
    const Spatial size = spatial_argument(check, "output_size", output_size, dims, 1);
    const auto random = check.contiguous<T>("_random_samples", samples);
    check.shape("_random_samples", random, {shape.planes, 3}, "a number for each plane and axis");
    for (py::ssize_t i = 0; i < random.size(); ++i) {
      if (!(random.data()[i] >= 0 && random.data()[i] <= 1)) {
        check.value_error("_random_samples must be in [0, 1]");
      }
    }
    FractionalMaxPoolForwardArgs<T> args{shape.planes,
                                         fractional_size(check, shape.size[0], size[0], kernel[0]),
                                         fractional_size(check, shape.size[1], size[1], kernel[1]),
                                         fractional_size(check, shape.size[2], size[2], kernel[2]),
                                         random.data(),
                                         x.data(),
                                         nullptr,
                                         nullptr};
    const Shape y_shape = shape.with(size, dims);
    auto y = check.output<T>(y_shape, out, {input, samples});
    auto indices = new_array<int64_t>(y_shape);
    args.y = y.mutable_data();
    args.indices = indices.mutable_data();
    run(pool_kernels().fractional_max_pool3d_forward, args);
    return py::make_tuple(y, indices);
  });
}

}  // namespace

void init_fractional_pool(py::module_& m) {
  m.def(
      "fractional_max_pool3d_forward",
      [](py::handle input, int dims, py::handle kernel_size, py::handle output_size,
         py::handle samples, py::handle out) {
        check_dims(dims);
        return fractional_max_forward(input, dims, kernel_size, output_size, samples, out);
      },
      py::arg("input"), py::arg("dims"), py::arg("kernel_size"), py::arg("output_size"),
      py::arg("samples"), py::arg("out") = py::none());
}

}  // namespace fastnn
