#include "ops/elementwise.h"

#include "bindings/common.h"

namespace fastnn {

void init_axis_sum(py::module_& m);

namespace {

using UnaryForward = Kernel<UnaryForwardArgs> ElementwiseKernels::*;
using UnaryBackward = Kernel<UnaryBackwardArgs> ElementwiseKernels::*;

struct Activation {
  const char* name;
  const char* first_parameter;
  const char* second_parameter;
  ActivationParameters parameters(const Check& check, py::handle first, py::handle second) const {
    return {check.number(first_parameter, first), check.number(second_parameter, second)};
  }
};

// inplace=True writes into input itself, whatever its strides, and returns it.
py::object activation_forward(const Activation& activation, UnaryForward kernel, py::handle input,
                              py::handle out, bool inplace, py::handle first, py::handle second) {
  const Check check(activation.name);
  const ActivationParameters p = activation.parameters(check, first, second);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (inplace) check.in_place("input", input, out);
    auto x = check.contiguous<T>("input", input);
    auto y = inplace ? x : check.output<T>(shape_of(x), out, {input});
    run(elementwise_kernels().*kernel,
        UnaryForwardArgs<T>{x.size(), x.data(), y.mutable_data(), p});
    if (!inplace) return std::move(y);
    if (!x.is(input)) input.attr("__setitem__")(py::ellipsis(), x);
    return py::reinterpret_borrow<py::object>(input);
  });
}

py::object activation_backward(const Activation& activation, UnaryBackward kernel,
                               py::handle grad_output, py::handle saved, py::handle first,
                               py::handle second) {
  const Check check(activation.name);
  const ActivationParameters p = activation.parameters(check, first, second);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto s = check.contiguous<T>("saved", saved);
    check.shape("saved", s, shape_of(grad), "grad_output.shape");
    auto grad_input = check.output<T>(shape_of(grad));
    run(elementwise_kernels().*kernel,
        UnaryBackwardArgs<T>{grad.size(), grad.data(), s.data(), grad_input.mutable_data(), p});
    return std::move(grad_input);
  });
}

struct ChannelLayout {
  int64_t outer, channels, inner;
};

// The second axis holds the channels (the only one of a vector has none); one weight is shared.
ChannelLayout prelu_layout(const Check& check, const py::array& input, const py::array& weight) {
  const int64_t n = static_cast<int64_t>(input.size());
  if (weight.ndim() > 1) {
    check.value_error("weight must have at most 1 dimension, got shape " +
                      to_string(shape_of(weight)));
  }
  if (weight.size() == 1) return {1, 1, n};
  const int64_t channels = input.ndim() > 1 ? extent(input, 1) : 1;
  check.dim("weight", weight, 0, channels, "1, or the channels input.shape[1]");
  const int64_t outer = extent(input, 0);
  return {outer, channels, n == 0 ? 0 : n / outer / channels};
}

py::object prelu_forward(py::handle input, py::handle weight, py::handle out) {
  const Check check("prelu");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto w = check.contiguous<T>("weight", weight);
    const auto [outer, channels, inner] = prelu_layout(check, x, w);
    auto y = check.output<T>(shape_of(x), out, {input, weight});
    run(elementwise_kernels().prelu_forward,
        PreluForwardArgs<T>{outer, channels, inner, x.data(), w.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object prelu_backward(py::handle grad_output, py::handle input, py::handle weight,
                          bool needs_input, bool needs_weight) {
  const Check check("prelu");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto x = check.contiguous<T>("input", input);
    const auto w = check.contiguous<T>("weight", weight);
    check.shape("grad_output", grad, shape_of(x), "input.shape");
    const auto [outer, channels, inner] = prelu_layout(check, x, w);
    Array<T> grad_x, grad_w;
    if (needs_input) grad_x = check.output<T>(shape_of(x));
    if (needs_weight) grad_w = check.output<T>(shape_of(w));
    run(elementwise_kernels().prelu_backward,
        PreluBackwardArgs<T>{outer, channels, inner, grad.data(), x.data(), w.data(),
                             needs_input ? grad_x.mutable_data() : nullptr,
                             needs_weight ? grad_w.mutable_data() : nullptr});
    return py::make_tuple(needs_input ? py::object(grad_x) : py::none(),
                          needs_weight ? py::object(grad_w) : py::none());
  });
}

struct GluLayout {
  Shape output;
  int64_t outer, inner;
};

GluLayout glu_layout(const Check& check, const py::array& input, py::handle dim_argument) {
  check.min_rank("input", input, 1);
  const int64_t dim = check.axis("dim", dim_argument, static_cast<int64_t>(input.ndim()));
  GluLayout layout{shape_of(input), 1, 1};
  int64_t& halved = layout.output[static_cast<size_t>(dim)];
  if (halved % 2 != 0) {
    check.value_error("input.shape[" + std::to_string(dim) + "] must be even, got " +
                      std::to_string(halved));
  }
  halved /= 2;
  for (int64_t i = 0; i < input.ndim(); ++i) {
    (i < dim ? layout.outer : layout.inner) *= layout.output[static_cast<size_t>(i)];
  }
  return layout;
}

py::object glu_forward(py::handle input, py::handle dim, py::handle out) {
  const Check check("glu");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const GluLayout layout = glu_layout(check, x, dim);
    auto y = check.output<T>(layout.output, out, {input});
    run(elementwise_kernels().glu_forward,
        GluForwardArgs<T>{layout.outer, layout.inner, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object glu_backward(py::handle grad_output, py::handle input, py::handle dim) {
  const Check check("glu");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto x = check.contiguous<T>("input", input);
    const GluLayout layout = glu_layout(check, x, dim);
    check.shape("grad_output", grad, layout.output, "the output's shape");
    auto grad_x = check.output<T>(shape_of(x));
    run(elementwise_kernels().glu_backward,
        GluBackwardArgs<T>{layout.outer, layout.inner, grad.data(), x.data(),
                           grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

void define_activation(py::module_& m, const Activation& activation, UnaryForward forward,
                       UnaryBackward backward) {
  const std::string name = activation.name;
  m.def((name + "_forward").c_str(),
        [=](py::handle input, py::handle out, bool inplace, py::handle first, py::handle second) {
          return activation_forward(activation, forward, input, out, inplace, first, second);
        },
        py::arg("input"), py::arg("out") = py::none(), py::arg("inplace") = false,
        py::arg("first") = 0.0, py::arg("second") = 0.0);
  m.def((name + "_backward").c_str(),
        [=](py::handle grad_output, py::handle saved, py::handle first, py::handle second) {
          return activation_backward(activation, backward, grad_output, saved, first, second);
        },
        py::arg("grad_output"), py::arg("saved"), py::arg("first") = 0.0, py::arg("second") = 0.0);
}

}  // namespace

void init_elementwise(py::module_& m) {
  init_axis_sum(m);
#define FASTNN_ACTIVATION(_, name, first, second, ...)                  \
  define_activation(                                                    \
      m, { #name, first, second }, &ElementwiseKernels::name##_forward, \
      &ElementwiseKernels::name##_backward);
  FASTNN_ACTIVATIONS(FASTNN_ACTIVATION, )
#undef FASTNN_ACTIVATION
  m.def("prelu_forward", &prelu_forward, py::arg("input"), py::arg("weight"),
        py::arg("out") = py::none());
  m.def("prelu_backward", &prelu_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("weight"), py::arg("needs_input"), py::arg("needs_weight"));
  m.def("glu_forward", &glu_forward, py::arg("input"), py::arg("dim") = -1,
        py::arg("out") = py::none());
  m.def("glu_backward", &glu_backward, py::arg("grad_output"), py::arg("input"), py::arg("dim"));
}

}  // namespace fastnn
