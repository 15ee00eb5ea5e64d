#include "ops/softmax.h"

#include "bindings/common.h"

namespace fastnn {
namespace {

// `dim` of an array; a 0-d one counts as one dimension of length 1.
int64_t axis_of(const Check& check, const py::array& a, py::handle dim) {
  return check.axis("dim", dim, a.ndim() > 0 ? static_cast<int64_t>(a.ndim()) : 1);
}

template <class Kernel>
py::object softmax(const char* name, Kernel SoftmaxKernels::*kernel, py::handle input,
                   py::handle dim, py::handle out) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Split s = split_at(x, axis_of(check, x, dim));
    auto y = check.output<T>(shape_of(x), out, {input});
    run(softmax_kernels().*kernel,
        SoftmaxForwardArgs<T>{s.outer, s.length, s.inner, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

template <class Kernel>
py::object softmax_gradient(const char* name, Kernel SoftmaxKernels::*kernel,
                            py::handle grad_output, py::handle output, py::handle dim) {
  const Check check(name);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto y = check.contiguous<T>("output", output);
    check.shape("output", y, shape_of(grad), "grad_output.shape");
    const Split s = split_at(y, axis_of(check, y, dim));
    auto grad_input = check.output<T>(shape_of(grad));
    run(softmax_kernels().*kernel, SoftmaxBackwardArgs<T>{s.outer, s.length, s.inner, grad.data(),
                                                          y.data(), grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

// a.shape without the axis, or with 1 in its place.
Shape reduced_shape(const py::array& a, int64_t axis, bool keepdim) {
  Shape shape = shape_of(a);
  if (shape.empty()) return shape;
  if (keepdim) {
    shape[static_cast<size_t>(axis)] = 1;
  } else {
    shape.erase(shape.begin() + axis);
  }
  return shape;
}

py::object logsumexp(py::handle input, py::handle dim, bool keepdim, py::handle out) {
  const Check check("logsumexp");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const int64_t axis = axis_of(check, x, dim);
    const Split s = split_at(x, axis);
    auto y = check.output<T>(reduced_shape(x, axis, keepdim), out, {input});
    run(softmax_kernels().logsumexp_forward,
        SoftmaxForwardArgs<T>{s.outer, s.length, s.inner, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object logsumexp_gradient(py::handle grad_output, py::handle input, py::handle output,
                              py::handle dim) {
  const Check check("logsumexp_backward");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto x = check.contiguous<T>("input", input);
    const auto y = check.contiguous<T>("output", output);
    const Split s = split_at(x, axis_of(check, x, dim));
    check.shape("output", y, shape_of(grad), "grad_output.shape");
    if (y.size() != s.outer * s.inner) {
      check.value_error("output must have " + std::to_string(s.outer * s.inner) +
                        " elements (input.shape without dim), got shape " + to_string(shape_of(y)));
    }
    auto grad_input = check.output<T>(shape_of(x));
    run(softmax_kernels().logsumexp_backward,
        LogSumExpBackwardArgs<T>{s.outer, s.length, s.inner, grad.data(), x.data(), y.data(),
                                 grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

}  // namespace

void init_softmax(py::module_& m) {
#define FASTNN_SOFTMAX(name)                                                                      \
  m.def(                                                                                          \
      #name "_forward",                                                                           \
      [](py::handle input, py::handle dim, py::handle out) {                                      \
        return softmax(#name, &SoftmaxKernels::name##_forward, input, dim, out);                  \
      },                                                                                          \
      py::arg("input"), py::arg("dim"), py::arg("out") = py::none());                             \
  m.def(                                                                                          \
      #name "_backward",                                                                          \
      [](py::handle grad_output, py::handle output, py::handle dim) {                             \
        return softmax_gradient(#name "_backward", &SoftmaxKernels::name##_backward, grad_output, \
                                output, dim);                                                     \
      },                                                                                          \
      py::arg("grad_output"), py::arg("output"), py::arg("dim"))
  FASTNN_SOFTMAX(softmax);
  FASTNN_SOFTMAX(log_softmax);
#undef FASTNN_SOFTMAX
  m.def("logsumexp_forward", &logsumexp, py::arg("input"), py::arg("dim"),
        py::arg("keepdim") = false, py::arg("out") = py::none());
  m.def("logsumexp_backward", &logsumexp_gradient, py::arg("grad_output"), py::arg("input"),
        py::arg("output"), py::arg("dim"));
}

}  // namespace fastnn
