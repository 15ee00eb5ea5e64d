#include "bindings/common.h"
#include "ops/elementwise.h"

namespace fastnn {
namespace {

template <class Kernel>
py::object unary_forward(const char* name, Kernel KernelTable::*kernel, py::handle input,
                         py::handle out) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    auto y = check.output<T>(shape_of(x), out, {input});
    run(kernels().*kernel, UnaryForwardArgs<T>{x.size(), x.data(), y.mutable_data()});
    return std::move(y);
  });
}

template <class Kernel>
py::object unary_backward(const char* name, Kernel KernelTable::*kernel, py::handle grad_output,
                          py::handle saved) {
  const Check check(name);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto s = check.contiguous<T>("saved", saved);
    check.shape("saved", s, shape_of(grad), "grad_output.shape");
    auto grad_input = check.output<T>(shape_of(grad));
    run(kernels().*kernel, UnaryBackwardArgs<T>{grad.size(), grad.data(), s.data(),
                                                grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

}  // namespace

void init_elementwise(py::module_& m) {
#define FASTNN_UNARY(name)                                                                  \
  m.def(                                                                                    \
      #name "_forward",                                                                     \
      [](py::handle input, py::handle out) {                                                \
        return unary_forward(#name, &KernelTable::name##_forward, input, out);              \
      },                                                                                    \
      py::arg("input"), py::arg("out") = py::none());                                       \
  m.def(                                                                                    \
      #name "_backward",                                                                    \
      [](py::handle grad_output, py::handle saved) {                                        \
        return unary_backward(#name "_backward", &KernelTable::name##_backward, grad_output, \
                              saved);                                                       \
      },                                                                                    \
      py::arg("grad_output"), py::arg("saved"))
  FASTNN_UNARY(relu);
#undef FASTNN_UNARY
}

}  // namespace fastnn
