#include "bindings/loss_args.h"
#include "runtime/workspace.h"

namespace fastnn {

void init_class_margin(py::module_& m);
void init_ctc(py::module_& m);
void init_distance(py::module_& m);

namespace {

using PointwiseForward = Kernel<PointwiseLossForwardArgs> LossKernels::*;
using PointwiseBackward = Kernel<PointwiseLossBackwardArgs> LossKernels::*;

// `divisor` None: the number of elements where the reduction is "mean", else 1.
struct PointwiseOptions {
  py::handle weight, third;
  double parameter;
  bool flag;
  py::handle reduction, divisor;
};

template <class T>
void check_unit_interval(const Check& check, const Array<T>& x) {
  const T* values = x.data();
  const auto n = static_cast<int64_t>(x.size());
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) {
    outside |= static_cast<int>(values[i] < T{0}) | static_cast<int>(values[i] > T{1});
  }
  if (outside == 0) return;
  for (int64_t i = 0; i < n; ++i) {
    if (values[i] < T{0} || values[i] > T{1}) {
      check.value_error(element_name("input", shape_of(x), i) +
                        " must be a probability in [0, 1], got " +
                        std::string(py::str(py::float_(static_cast<double>(values[i])))));
    }
  }
}

py::object pointwise_forward(const char* name, PointwiseForward kernel, bool probabilities,
                             py::handle input, py::handle target, const PointwiseOptions& options,
                             py::handle out) {
  const Check check(name);
  const Reduction reduction = parse_reduction(check, options.reduction);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto t = check.contiguous<T>("target", target);
    const Shape shape = shape_of(x);
    check.shape("target", t, shape, "input.shape");
    const auto w = check.optional<T>("weight", options.weight);
    if (w) check.shape("weight", w, shape, "input.shape");
    const auto z = check.optional<T>("third", options.third);
    if (z) check.shape("third", z, shape, "input.shape");
    if (probabilities) check_unit_interval(check, x);
    const bool reduced = reduction != Reduction::kNone;
    auto loss = check.output<T>(reduced ? Shape{} : shape, out,
                                {input, target, options.weight, options.third});
    double divisor = reduction == Reduction::kMean ? static_cast<double>(x.size()) : 1.0;
    if (!options.divisor.is_none()) divisor = options.divisor.cast<double>();
    run(loss_kernels().*kernel,
        PointwiseLossForwardArgs<T>{
            x.size(), x.data(), t.data(), data_or_null(w), data_or_null(z), options.parameter,
            options.flag, reduced ? nullptr : loss.mutable_data(), loss.mutable_data(), divisor});
    return std::move(loss);
  });
}

// The gradients of (input, target, third) that `needs` asks for, None for the others. grad_output
// has input's shape, or is a 0-d array, which is divided by the divisor.
py::object pointwise_backward(const char* name, PointwiseBackward kernel, py::handle grad_output,
                              py::handle input, py::handle target, const PointwiseOptions& options,
                              py::handle needs) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto t = check.contiguous<T>("target", target);
    const Shape shape = shape_of(x);
    check.shape("target", t, shape, "input.shape");
    const auto w = check.optional<T>("weight", options.weight);
    if (w) check.shape("weight", w, shape, "input.shape");
    const auto z = check.optional<T>("third", options.third);
    if (z) check.shape("third", z, shape, "input.shape");
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const bool scalar = grad.ndim() == 0;
    if (!scalar) check.shape("grad_output", grad, shape, "input.shape");
    py::tuple gradients(3);
    T* pointers[3] = {nullptr, nullptr, nullptr};
    for (int i = 0; i < 3; ++i) {
      gradients[static_cast<size_t>(i)] = py::none();
      if (!needs[py::int_(i)].cast<bool>()) continue;
      auto gradient = check.output<T>(shape);
      pointers[i] = gradient.mutable_data();
      gradients[static_cast<size_t>(i)] = std::move(gradient);
    }
    run(loss_kernels().*kernel,
        PointwiseLossBackwardArgs<T>{x.size(), x.data(), t.data(), data_or_null(w), data_or_null(z),
                                     options.parameter, options.flag, grad.data(), scalar,
                                     options.divisor.cast<double>(), pointers[0], pointers[1],
                                     pointers[2]});
    return std::move(gradients);
  });
}

void bind_pointwise(py::module_& m, const char* name, PointwiseForward forward,
                    PointwiseBackward backward, bool probabilities) {
  const std::string stem(name);
  m.def((stem + "_forward").c_str(),
        [=](py::handle input, py::handle target, py::handle weight, py::handle third,
            double parameter, bool flag, py::handle reduction, py::handle divisor, py::handle out) {
          return pointwise_forward(name, forward, probabilities, input, target,
                                   {weight, third, parameter, flag, reduction, divisor}, out);
        },
        py::arg("input"), py::arg("target"), py::arg("weight") = py::none(),
        py::arg("third") = py::none(), py::arg("parameter") = 0.0, py::arg("flag") = false,
        py::arg("reduction") = "mean", py::arg("divisor") = py::none(),
        py::arg("out") = py::none());
  m.def((stem + "_backward").c_str(),
        [=](py::handle grad_output, py::handle input, py::handle target, py::handle weight,
            py::handle third, double parameter, bool flag, py::handle divisor, py::handle needs) {
          return pointwise_backward(name, backward, grad_output, input, target,
                                    {weight, third, parameter, flag, py::none(), divisor}, needs);
        },
        py::arg("grad_output"), py::arg("input"), py::arg("target"), py::arg("weight"),
        py::arg("third"), py::arg("parameter"), py::arg("flag"), py::arg("divisor"),
        py::arg("needs"));
}

// (batch, classes, inner) of logits (classes,) or (batch, classes, d1, ...).
struct ClassShape {
  int64_t batch, classes, inner;
  Shape positions;  // the shape of the class indices
};

ClassShape class_shape(const Check& check, const py::array& input) {
  check.min_rank("input", input, 1);
  Shape shape = shape_of(input);
  const size_t class_axis = shape.size() == 1 ? 0 : 1;
  ClassShape result{shape.size() == 1 ? 1 : shape[0], shape[class_axis], 1, {}};
  if (result.classes < 1) {
    check.value_error("input.shape[" + std::to_string(class_axis) +
                      "] must be >= 1 (classes), got 0");
  }
  for (size_t axis = 2; axis < shape.size(); ++axis) result.inner *= shape[axis];
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(class_axis));
  result.positions = shape;
  return result;
}

template <class T>
Array<T> class_weight(const Check& check, py::handle weight, int64_t classes) {
  auto w = check.optional<T>("weight", weight);
  if (w) check.shape("weight", w, {classes}, "classes");
  return w;
}

Array<int64_t> class_targets(const Check& check, py::handle target, const ClassShape& shape,
                             int64_t ignore_index) {
  auto t = check.indices("target", target);
  check.shape("target", t, shape.positions, "input.shape without the classes");
  const int64_t* values = t.data();
  const auto n = static_cast<int64_t>(t.size());
  for (int64_t i = 0; i < n; ++i) {
    const bool inside = static_cast<uint64_t>(values[i]) < static_cast<uint64_t>(shape.classes);
    if (!inside && values[i] != ignore_index) {
      check.value_error(element_name("target", shape.positions, i) + " must be in 0.." +
                        std::to_string(shape.classes - 1) + " (input has " +
                        std::to_string(shape.classes) + " classes) or ignore_index " +
                        std::to_string(ignore_index) + ", got " + std::to_string(values[i]));
    }
  }
  return t;
}

void check_label_smoothing(const Check& check, double label_smoothing) {
  if (!(label_smoothing >= 0.0 && label_smoothing <= 1.0)) {
    check.value_error("label_smoothing must be in [0, 1], got " +
                      std::string(py::str(py::float_(label_smoothing))));
  }
}

// (loss, statistics, divisor); `target` holds probabilities where it has input's shape. statistics
// are None unless `keep` asks for what the gradient needs.
py::object cross_entropy_forward(py::handle input, py::handle target, py::handle weight,
                                 int64_t ignore_index, py::handle reduction_name,
                                 double label_smoothing, bool keep, py::handle out) {
  const Check check("cross_entropy");
  const Reduction reduction = parse_reduction(check, reduction_name);
  check_label_smoothing(check, label_smoothing);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const ClassShape shape = class_shape(check, x);
    const auto w = class_weight<T>(check, weight, shape.classes);
    auto indices = py::reinterpret_steal<Array<int64_t>>(py::handle());
    auto probabilities = py::reinterpret_steal<Array<T>>(py::handle());
    if (py::isinstance<py::array>(target) &&
        shape_of(py::reinterpret_borrow<py::array>(target)) == shape_of(x)) {
      probabilities = check.contiguous<T>("target", target);
      if (ignore_index >= 0) {
        check.value_error(
            "ignore_index must be negative when target holds class probabilities, "
            "got " +
            std::to_string(ignore_index));
      }
    } else {
      indices = class_targets(check, target, shape, ignore_index);
    }
    const bool reduced = reduction != Reduction::kNone;
    auto loss = check.output<T>(reduced ? Shape{} : shape.positions, out, {input, target, weight});
    const int64_t planes = probabilities || label_smoothing > 0 ? 3 : 2;
    const int64_t numbers = planes * shape.batch * shape.inner;
    Workspace scratch(keep ? 0 : numbers * static_cast<int64_t>(sizeof(T)));
    py::object statistics = py::none();
    T* statistics_data = nullptr;
    if (keep) {
      auto kept = check.output<T>({planes, shape.batch, shape.inner});
      statistics_data = kept.mutable_data();
      statistics = std::move(kept);
    } else {
      statistics_data = scratch.take<T>(numbers);
    }
    double divisor = 1;
    run(loss_kernels().cross_entropy_forward,
        CrossEntropyForwardArgs<T>{
            shape.batch, shape.classes, shape.inner, x.data(), data_or_null(indices),
            data_or_null(probabilities), data_or_null(w), ignore_index, label_smoothing,
            reduction == Reduction::kMean, statistics_data, reduced ? nullptr : loss.mutable_data(),
            reduced ? loss.mutable_data() : nullptr, &divisor});
    return py::make_tuple(loss, statistics, divisor);
  });
}

// (grad_input, grad_target), None where `needs` does not ask for it.
py::object cross_entropy_backward(py::handle grad_output, py::handle input, py::handle target,
                                  py::handle weight, int64_t ignore_index, double label_smoothing,
                                  py::handle statistics, double divisor, py::handle needs) {
  const Check check("cross_entropy_backward");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const ClassShape shape = class_shape(check, x);
    const auto w = class_weight<T>(check, weight, shape.classes);
    auto indices = py::reinterpret_steal<Array<int64_t>>(py::handle());
    auto probabilities = py::reinterpret_steal<Array<T>>(py::handle());
    if (py::isinstance<py::array>(target) &&
        shape_of(py::reinterpret_borrow<py::array>(target)) == shape_of(x)) {
      probabilities = check.contiguous<T>("target", target);
    } else {
      indices = class_targets(check, target, shape, ignore_index);
    }
    const auto saved = check.contiguous<T>("statistics", statistics);
    const int64_t planes = probabilities || label_smoothing > 0 ? 3 : 2;
    check.shape("statistics", saved, {planes, shape.batch, shape.inner}, "the forward pass's");
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const bool scalar = grad.ndim() == 0;
    if (!scalar) check.shape("grad_output", grad, shape.positions, "the loss's shape");
    py::object grad_input = py::none(), grad_target = py::none();
    T* pointers[2] = {nullptr, nullptr};
    for (int i = 0; i < 2; ++i) {
      if (!needs[py::int_(i)].cast<bool>() || (i == 1 && !probabilities)) continue;
      auto gradient = check.output<T>(shape_of(x));
      pointers[i] = gradient.mutable_data();
      (i == 0 ? grad_input : grad_target) = std::move(gradient);
    }
    run(loss_kernels().cross_entropy_backward,
        CrossEntropyBackwardArgs<T>{shape.batch, shape.classes, shape.inner, x.data(),
                                    data_or_null(indices), data_or_null(probabilities),
                                    data_or_null(w), ignore_index, label_smoothing, saved.data(),
                                    grad.data(), scalar, divisor, pointers[0], pointers[1]});
    return py::make_tuple(grad_input, grad_target);
  });
}

// (loss, divisor)
py::object nll_loss_forward(py::handle input, py::handle target, py::handle weight,
                            int64_t ignore_index, py::handle reduction_name, py::handle out) {
  const Check check("nll_loss");
  const Reduction reduction = parse_reduction(check, reduction_name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const ClassShape shape = class_shape(check, x);
    const auto w = class_weight<T>(check, weight, shape.classes);
    const auto indices = class_targets(check, target, shape, ignore_index);
    const bool reduced = reduction != Reduction::kNone;
    auto loss = check.output<T>(reduced ? Shape{} : shape.positions, out, {input, target, weight});
    double divisor = 1;
    run(loss_kernels().nll_loss_forward,
        NllLossForwardArgs<T>{shape.batch, shape.classes, shape.inner, x.data(), indices.data(),
                              data_or_null(w), ignore_index, reduction == Reduction::kMean,
                              reduced ? nullptr : loss.mutable_data(),
                              reduced ? loss.mutable_data() : nullptr, &divisor});
    return py::make_tuple(loss, divisor);
  });
}

py::object nll_loss_backward(py::handle grad_output, py::handle input, py::handle target,
                             py::handle weight, int64_t ignore_index, double divisor) {
  const Check check("nll_loss_backward");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const py::array x = check.array("input", input);
    const ClassShape shape = class_shape(check, x);
    const auto w = class_weight<T>(check, weight, shape.classes);
    const auto indices = class_targets(check, target, shape, ignore_index);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const bool scalar = grad.ndim() == 0;
    if (!scalar) check.shape("grad_output", grad, shape.positions, "the loss's shape");
    auto grad_input = check.output<T>(shape_of(x));
    run(loss_kernels().nll_loss_backward,
        NllLossBackwardArgs<T>{shape.batch, shape.classes, shape.inner, indices.data(),
                               data_or_null(w), ignore_index, grad.data(), scalar, divisor,
                               grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

}  // namespace

void init_loss(py::module_& m) {
  init_class_margin(m);
  init_ctc(m);
  init_distance(m);
#define FASTNN_POINTWISE(name, probabilities)                                           \
  bind_pointwise(m, #name, &LossKernels::name##_forward, &LossKernels::name##_backward, \
                 probabilities)
  FASTNN_POINTWISE(mse_loss, false);
  FASTNN_POINTWISE(l1_loss, false);
  FASTNN_POINTWISE(smooth_l1_loss, false);
  FASTNN_POINTWISE(huber_loss, false);
  FASTNN_POINTWISE(kl_div, false);
  FASTNN_POINTWISE(hinge_embedding_loss, false);
  FASTNN_POINTWISE(margin_ranking_loss, false);
  FASTNN_POINTWISE(soft_margin_loss, false);
  FASTNN_POINTWISE(poisson_nll_loss, false);
  FASTNN_POINTWISE(gaussian_nll_loss, false);
  FASTNN_POINTWISE(binary_cross_entropy, true);
  FASTNN_POINTWISE(binary_cross_entropy_with_logits, false);
#undef FASTNN_POINTWISE
  bind_pointwise(m, "multilabel_soft_margin_loss",
                 &LossKernels::binary_cross_entropy_with_logits_forward,
                 &LossKernels::binary_cross_entropy_with_logits_backward, false);
  m.def("cross_entropy_forward", &cross_entropy_forward, py::arg("input"), py::arg("target"),
        py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
        py::arg("label_smoothing"), py::arg("keep"), py::arg("out") = py::none());
  m.def("cross_entropy_backward", &cross_entropy_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("target"), py::arg("weight"), py::arg("ignore_index"), py::arg("label_smoothing"),
        py::arg("statistics"), py::arg("divisor"), py::arg("needs"));
  m.def("nll_loss_forward", &nll_loss_forward, py::arg("input"), py::arg("target"),
        py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
        py::arg("out") = py::none());
  m.def("nll_loss_backward", &nll_loss_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("target"), py::arg("weight"), py::arg("ignore_index"), py::arg("divisor"));
}

}  // namespace fastnn
