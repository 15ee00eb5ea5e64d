#include "ops/softmax.h"

#include "bindings/common.h"

namespace fastnn {
namespace {

// An array seen as (outer, length, inner) around one of its dimensions.
struct Split {
  int64_t outer = 1, length = 1, inner = 1;
};

// `dim` counts from the end when negative; a 0-d array has one dimension of length 1.
Split split(const Check& check, const py::array& a, py::handle dim) {
  if (PyIndex_Check(dim.ptr()) == 0 || PyBool_Check(dim.ptr())) {
    check.type_error("dim must be an int, got " + std::string(py::repr(dim)));
  }
  const int64_t rank = a.ndim() > 0 ? static_cast<int64_t>(a.ndim()) : 1;
  int64_t axis = PyNumber_AsSsize_t(dim.ptr(), nullptr);  // clips what does not fit
  if (axis == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (axis < -rank || axis >= rank) {
    check.value_error("dim must be in " + std::to_string(-rank) + ".." + std::to_string(rank - 1) +
                      " for input of shape " + to_string(shape_of(a)) + ", got " +
                      std::string(py::str(dim)));
  }
  if (axis < 0) axis += rank;
  Split s;
  for (int64_t i = 0; i < static_cast<int64_t>(a.ndim()); ++i) {
    (i < axis ? s.outer : i == axis ? s.length : s.inner) *= extent(a, i);
  }
  return s;
}

template <class Kernel>
py::object softmax(const char* name, Kernel KernelTable::*kernel, py::handle input, py::handle dim,
                   py::handle out) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Split s = split(check, x, dim);
    auto y = check.output<T>(shape_of(x), out, {input});
    run(kernels().*kernel,
        SoftmaxForwardArgs<T>{s.outer, s.length, s.inner, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

template <class Kernel>
py::object softmax_gradient(const char* name, Kernel KernelTable::*kernel, py::handle grad_output,
                            py::handle output, py::handle dim) {
  const Check check(name);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto y = check.contiguous<T>("output", output);
    check.shape("output", y, shape_of(grad), "grad_output.shape");
    const Split s = split(check, y, dim);
    auto grad_input = check.output<T>(shape_of(grad));
    run(kernels().*kernel, SoftmaxBackwardArgs<T>{s.outer, s.length, s.inner, grad.data(), y.data(),
                                                  grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

// input.shape without `dim`, or with 1 in its place. Of the two ways to say it, Python's reshape
// of a view is the dearer one.
Shape reduced_shape(const Check& check, const py::array& a, py::handle dim, bool keepdim) {
  Shape shape = shape_of(a);
  if (shape.empty()) return shape;
  int64_t axis = PyNumber_AsSsize_t(dim.ptr(), nullptr);
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  if (keepdim) {
    shape[static_cast<size_t>(axis)] = 1;
  } else {
    shape.erase(shape.begin() + axis);
  }
  check.size("output", shape, 8);
  return shape;
}

py::object logsumexp(py::handle input, py::handle dim, bool keepdim, py::handle out) {
  const Check check("logsumexp");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Split s = split(check, x, dim);
    auto y = check.output<T>(reduced_shape(check, x, dim, keepdim), out, {input});
    run(kernels().logsumexp_forward,
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
    const Split s = split(check, x, dim);
    check.shape("output", y, shape_of(grad), "grad_output.shape");
    if (y.size() != s.outer * s.inner) {
      check.value_error("output must have " + std::to_string(s.outer * s.inner) +
                        " elements (input.shape without dim), got shape " + to_string(shape_of(y)));
    }
    auto grad_input = check.output<T>(shape_of(x));
    run(kernels().logsumexp_backward,
        LogSumExpBackwardArgs<T>{s.outer, s.length, s.inner, grad.data(), x.data(), y.data(),
                                 grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

}  // namespace

void init_softmax(py::module_& m) {
#define FASTNN_SOFTMAX(name)                                                                   \
  m.def(                                                                                       \
      #name "_forward",                                                                        \
      [](py::handle input, py::handle dim, py::handle out) {                                   \
        return softmax(#name, &KernelTable::name##_forward, input, dim, out);                  \
      },                                                                                       \
      py::arg("input"), py::arg("dim"), py::arg("out") = py::none());                          \
  m.def(                                                                                       \
      #name "_backward",                                                                       \
      [](py::handle grad_output, py::handle output, py::handle dim) {                          \
        return softmax_gradient(#name "_backward", &KernelTable::name##_backward, grad_output, \
                                output, dim);                                                  \
      },                                                                                       \
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
