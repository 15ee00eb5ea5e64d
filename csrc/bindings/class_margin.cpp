// multi_margin_loss and multilabel_margin_loss.
#include "bindings/loss_args.h"

namespace fastnn {

void init_class_margin(py::module_& m);

namespace {

using Forward = Kernel<ClassMarginForwardArgs> LossKernels::*;
using Backward = Kernel<ClassMarginBackwardArgs> LossKernels::*;

// One of the two losses: whether its target holds one class a row, or several up to the first -1.
struct ClassMargin {
  const char* name;
  bool one_class;
};

struct MarginOptions {
  py::handle weight;
  int64_t p;
  double margin;
};

// The checked arguments. Scores are (rows, classes), or (classes) for one row.
template <class T>
struct Scores {
  Array<T> x, weight;
  Array<int64_t> target;
  Shape rows_shape;
  int64_t rows, classes;

  Scores(const Check& check, const ClassMargin& loss, py::handle input, py::handle labels,
         py::handle class_weight)
      : x(check.contiguous<T>("input", input)),
        weight(check.optional<T>("weight", class_weight)),
        target(check.indices("target", labels)),
        rows_shape(shape_of(x)) {
    if (x.ndim() < 1 || x.ndim() > 2 || extent(x, x.ndim() - 1) == 0) {
      check.value_error("input must have shape (N, C) or (C,) with C > 0, got " +
                        to_string(shape_of(x)));
    }
    classes = rows_shape.back();
    rows_shape.pop_back();
    rows = x.ndim() == 1 ? 1 : rows_shape[0];
    if (weight) check.shape("weight", weight, {classes}, "classes");
    if (loss.one_class && x.ndim() == 1 && target.ndim() == 1) rows_shape = {1};
    check.shape("target", target, loss.one_class ? rows_shape : shape_of(x),
                loss.one_class ? "the rows" : "input.shape");
    check_labels(check, loss.one_class ? 0 : -1);
  }

 private:
  void check_labels(const Check& check, int64_t least) const {
    const int64_t* labels = target.data();
    for (int64_t i = 0; i < static_cast<int64_t>(target.size()); ++i) {
      if (labels[i] >= least && labels[i] < classes) continue;
      check.value_error(element_name("target", shape_of(target), i) + " must be in " +
                        std::to_string(least) + ".." + std::to_string(classes - 1) + ", got " +
                        std::to_string(labels[i]));
    }
  }
};

py::object class_margin_forward(const ClassMargin& loss, Forward kernel, py::handle input,
                                py::handle target, const MarginOptions& options,
                                py::handle reduction_name, py::handle out) {
  const Check check(loss.name);
  const Reduction reduction = parse_reduction(check, reduction_name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Scores<T> scores(check, loss, input, target, options.weight);
    const bool reduced = reduction != Reduction::kNone;
    auto y = check.output<T>(reduced ? Shape{} : scores.rows_shape, out,
                             {input, target, options.weight});
    const double divisor = reduction == Reduction::kMean ? static_cast<double>(scores.rows) : 1.0;
    run(loss_kernels().*kernel,
        ClassMarginForwardArgs<T>{scores.rows, scores.classes, scores.x.data(),
                                  scores.target.data(), data_or_null(scores.weight), options.margin,
                                  options.p == 2, reduced ? nullptr : y.mutable_data(),
                                  y.mutable_data(), divisor});
    return std::move(y);
  });
}

// grad_output is 0-d where the loss was reduced, by the mean if `mean`.
py::object class_margin_backward(const ClassMargin& loss, Backward kernel, py::handle grad_output,
                                 py::handle input, py::handle target, const MarginOptions& options,
                                 bool mean) {
  const Check check(loss.name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Scores<T> scores(check, loss, input, target, options.weight);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const bool scalar = grad.ndim() == 0;
    if (!scalar) check.shape("grad_output", grad, scores.rows_shape, "the loss's shape");
    auto grad_input = check.output<T>(shape_of(scores.x));
    run(loss_kernels().*kernel,
        ClassMarginBackwardArgs<T>{
            scores.rows, scores.classes, scores.x.data(), scores.target.data(),
            data_or_null(scores.weight), options.margin, options.p == 2, grad.data(), scalar,
            mean ? static_cast<double>(scores.rows) : 1.0, grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

void bind_class_margin(py::module_& m, const ClassMargin& loss, Forward forward,
                       Backward backward) {
  const std::string stem(loss.name);
  m.def((stem + "_forward").c_str(),
        [=](py::handle input, py::handle target, py::handle weight, int64_t p, double margin,
            py::handle reduction, py::handle out) {
          return class_margin_forward(loss, forward, input, target, {weight, p, margin}, reduction,
                                      out);
        },
        py::arg("input"), py::arg("target"), py::arg("weight"), py::arg("p"), py::arg("margin"),
        py::arg("reduction"), py::arg("out") = py::none());
  m.def((stem + "_backward").c_str(),
        [=](py::handle grad_output, py::handle input, py::handle target, py::handle weight,
            int64_t p, double margin, bool mean) {
          return class_margin_backward(loss, backward, grad_output, input, target,
                                       {weight, p, margin}, mean);
        },
        py::arg("grad_output"), py::arg("input"), py::arg("target"), py::arg("weight"),
        py::arg("p"), py::arg("margin"), py::arg("mean"));
}

}  // namespace

void init_class_margin(py::module_& m) {
  bind_class_margin(m, {"multi_margin_loss", true}, &LossKernels::multi_margin_loss_forward,
                    &LossKernels::multi_margin_loss_backward);
  bind_class_margin(m, {"multilabel_margin_loss", false},
                    &LossKernels::multilabel_margin_loss_forward,
                    &LossKernels::multilabel_margin_loss_backward);
}

}  // namespace fastnn
