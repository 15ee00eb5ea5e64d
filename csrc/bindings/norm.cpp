#include "ops/norm.h"

#include <algorithm>

#include "bindings/common.h"

namespace fastnn {
namespace {

template <class T>
T epsilon(const Check& check, py::handle object, bool may_be_zero) {
  const double eps = check.number("eps", object);
  if (!(may_be_zero ? eps >= 0 : eps > 0)) {
    check.value_error("eps must be " + std::string(may_be_zero ? ">= 0" : "> 0") + ", got " +
                      std::string(py::repr(object)));
  }
  return static_cast<T>(eps);
}

// What a layer normalises over: the last dimensions of its input, given as an int or a sequence.
struct Rows {
  int64_t rows = 1, size = 1;
  Shape normalized_shape;
};

Rows rows_of(const Check& check, const py::array& x, py::handle normalized_shape) {
  Rows r;
  const bool single = PyIndex_Check(normalized_shape.ptr()) != 0;
  if (!single && !py::isinstance<py::tuple>(normalized_shape) &&
      !py::isinstance<py::list>(normalized_shape)) {
    check.type_error("normalized_shape must be an int or a tuple of ints, got " +
                     std::string(py::repr(normalized_shape)));
  }
  const auto add = [&](py::handle item) {
    const int64_t n = PyIndex_Check(item.ptr()) ? PyNumber_AsSsize_t(item.ptr(), nullptr) : -1;
    if (n < 0 || PyBool_Check(item.ptr())) {
      PyErr_Clear();
      check.type_error("normalized_shape must be an int or a tuple of ints, got " +
                       std::string(py::repr(normalized_shape)));
    }
    r.normalized_shape.push_back(n);
  };
  if (single) {
    add(normalized_shape);
  } else {
    for (const py::handle item : normalized_shape) add(item);
  }
  const Shape shape = shape_of(x);
  const size_t rank = r.normalized_shape.size();
  if (rank == 0) check.value_error("normalized_shape must not be empty");
  if (rank > shape.size() || !std::equal(r.normalized_shape.begin(), r.normalized_shape.end(),
                                         shape.end() - static_cast<std::ptrdiff_t>(rank))) {
    check.value_error("input.shape must end in " + to_string(r.normalized_shape) +
                      " (normalized_shape), got " + to_string(shape));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    (i + rank < shape.size() ? r.rows : r.size) *= shape[i];
  }
  return r;
}

template <class T>
Array<T> per_channel(const Check& check, const char* name, py::handle object, int64_t channels) {
  auto a = check.optional<T>(name, object);
  if (a) check.shape(name, a, {channels}, "input.shape[1]");
  return a;
}

// A running statistic, which the kernel writes in place.
template <class T>
T* running(const Check& check, const char* name, py::handle object, int64_t channels, bool write) {
  if (object.is_none()) return nullptr;
  auto a = check.contiguous<T>(name, object);
  check.shape(name, a, {channels}, "input.shape[1]");
  if (!write) return const_cast<T*>(a.data());
  if (a.ptr() != object.ptr()) {
    check.value_error(std::string(name) + " must be C-contiguous and aligned, to be updated");
  }
  if (!a.writeable()) check.value_error(std::string(name) + " must be writable, to be updated");
  return a.mutable_data();
}

constexpr int64_t kStatistics = 4;  // numbers in a NormStatistics

template <class T>
NormStatistics<T>* written_statistics(Array<T>& a) {
  static_assert(sizeof(NormStatistics<T>) == kStatistics * sizeof(T));
  return a ? reinterpret_cast<NormStatistics<T>*>(a.mutable_data()) : nullptr;
}

template <class T>
const NormStatistics<T>* read_statistics(const Check& check, const Array<T>& a, int64_t count) {
  check.shape("statistics", a, {count, kStatistics}, "what the forward pass returned");
  return reinterpret_cast<const NormStatistics<T>*>(a.data());
}

// Statistics are returned for the backward pass, which a call with `out` cannot have.
template <class T>
Array<T> new_statistics(const Check& check, int64_t count, bool wanted) {
  if (!wanted) return py::reinterpret_steal<Array<T>>(py::handle());
  return check.output<T>({count, kStatistics});
}

py::object or_none(py::object object) { return object ? object : py::none(); }

template <class Kernel>
py::tuple layer_norm(const char* name, Kernel NormKernels::*kernel, py::handle input,
                     py::handle normalized_shape, py::handle weight, py::handle bias,
                     py::handle eps, py::handle out) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Rows r = rows_of(check, x, normalized_shape);
    const auto w = check.optional<T>("weight", weight);
    const auto b = check.optional<T>("bias", bias);
    if (w) check.shape("weight", w, r.normalized_shape, "normalized_shape");
    if (b) check.shape("bias", b, r.normalized_shape, "normalized_shape");
    const T epsilon_value = epsilon<T>(check, eps, true);
    auto y = check.output<T>(shape_of(x), out, {input, weight, bias});
    auto statistics = new_statistics<T>(check, r.rows, out.is_none());
    run(norm_kernels().*kernel,
        LayerNormForwardArgs<T>{r.rows, r.size, x.data(), data_or_null(w), data_or_null(b),
                                epsilon_value, y.mutable_data(), written_statistics(statistics)});
    return py::make_tuple(y, or_none(statistics));
  });
}

// (grad_input, grad_weight, grad_bias); the last two have the shape of `weight_like` or are None.
template <class Kernel>
py::tuple layer_norm_gradient(const char* name, Kernel NormKernels::*kernel, py::handle grad_output,
                              py::handle input, py::handle normalized_shape, py::handle weight,
                              py::handle statistics, bool need_weight, bool need_bias) {
  const Check check(name);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Rows r = rows_of(check, x, normalized_shape);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, shape_of(x), "input.shape");
    const auto w = check.optional<T>("weight", weight);
    if (w) check.shape("weight", w, r.normalized_shape, "normalized_shape");
    const auto s = check.contiguous<T>("statistics", statistics);
    LayerNormBackwardArgs<T> args{};
    args.statistics = read_statistics(check, s, r.rows);
    auto grad_input = check.output<T>(shape_of(x));
    py::object grad_weight = py::none(), grad_bias = py::none();
    const auto make = [&](bool needed, py::object& object) -> T* {
      if (!needed) return nullptr;
      auto a = check.output<T>(r.normalized_shape);
      object = a;
      return a.mutable_data();
    };
    args.rows = r.rows;
    args.size = r.size;
    args.grad_y = grad.data();
    args.x = x.data();
    args.weight = data_or_null(w);
    args.grad_x = grad_input.mutable_data();
    args.grad_weight = make(need_weight, grad_weight);
    args.grad_bias = make(need_bias, grad_bias);
    run(norm_kernels().*kernel, args);
    return py::make_tuple(grad_input, grad_weight, grad_bias);
  });
}

// (batch, channels, size) of an array (N, C, ...).
struct Images {
  int64_t batch, channels, size = 1;
};

Images images_of(const Check& check, const py::array& x) {
  check.min_rank("input", x, 2);
  Images i{extent(x, 0), extent(x, 1)};
  for (int64_t axis = 2; axis < static_cast<int64_t>(x.ndim()); ++axis) i.size *= extent(x, axis);
  return i;
}

py::tuple group_norm(py::handle input, int64_t groups, py::handle weight, py::handle bias,
                     py::handle eps, py::handle out) {
  const Check check("group_norm");
  return check.dispatch("input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Images i = images_of(check, x);
    check.at_least("num_groups", groups, 1);
    if (i.channels % groups != 0) {
      check.value_error("input.shape[1] must be divisible by num_groups = " +
                        std::to_string(groups) + ", got " + std::to_string(i.channels));
    }
    if (i.batch * (i.channels / groups) * i.size == 1) {
      check.value_error("input must have more than 1 element to normalise, got shape " +
                        to_string(shape_of(x)));
    }
    const auto w = per_channel<T>(check, "weight", weight, i.channels);
    const auto b = per_channel<T>(check, "bias", bias, i.channels);
    const T epsilon_value = epsilon<T>(check, eps, true);
    auto y = check.output<T>(shape_of(x), out, {input, weight, bias});
    auto statistics = new_statistics<T>(check, i.batch * groups, out.is_none());
    run(norm_kernels().group_norm_forward,
        GroupNormForwardArgs<T>{i.batch, i.channels, i.size, groups, x.data(), data_or_null(w),
                                data_or_null(b), epsilon_value, y.mutable_data(),
                                written_statistics(statistics), T(0), nullptr, nullptr});
    return py::make_tuple(y, or_none(statistics));
  });
}

py::tuple instance_norm(py::handle input, py::handle running_mean, py::handle running_var,
                        py::handle weight, py::handle bias, py::handle momentum, py::handle eps,
                        py::handle out) {
  const Check check("instance_norm");
  return check.dispatch("input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Images i = images_of(check, x);
    if (i.size == 1) {
      check.value_error("input must have more than 1 element per channel, got shape " +
                        to_string(shape_of(x)));
    }
    const auto w = per_channel<T>(check, "weight", weight, i.channels);
    const auto b = per_channel<T>(check, "bias", bias, i.channels);
    const T epsilon_value = epsilon<T>(check, eps, false);
    const T rate = static_cast<T>(check.number("momentum", momentum));
    if (running_mean.is_none() != running_var.is_none()) {
      check.value_error("running_mean and running_var must both be given or both be None");
    }
    T* const mean = running<T>(check, "running_mean", running_mean, i.channels, true);
    T* const var = running<T>(check, "running_var", running_var, i.channels, true);
    auto y = check.output<T>(shape_of(x), out, {input, weight, bias, running_mean, running_var});
    auto statistics =
        new_statistics<T>(check, i.batch * i.channels, out.is_none() || mean != nullptr);
    run(norm_kernels().group_norm_forward,
        GroupNormForwardArgs<T>{i.batch, i.channels, i.size, i.channels > 0 ? i.channels : 1,
                                x.data(), data_or_null(w), data_or_null(b), epsilon_value,
                                y.mutable_data(), written_statistics(statistics), rate, mean, var});
    return py::make_tuple(y, or_none(statistics));
  });
}

py::tuple batch_norm(py::handle input, py::handle running_mean, py::handle running_var,
                     py::handle weight, py::handle bias, bool training, py::handle momentum,
                     py::handle eps, py::handle out) {
  const Check check("batch_norm");
  return check.dispatch("input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Images i = images_of(check, x);
    if (training && i.batch == 1 && i.size == 1) {
      check.value_error("input must have more than 1 element per channel in training, got shape " +
                        to_string(shape_of(x)));
    }
    if (running_mean.is_none() != running_var.is_none()) {
      check.value_error("running_mean and running_var must both be given or both be None");
    }
    if (!training && running_mean.is_none()) {
      check.value_error("running_mean and running_var must be given when training is False");
    }
    const auto w = per_channel<T>(check, "weight", weight, i.channels);
    const auto b = per_channel<T>(check, "bias", bias, i.channels);
    const T epsilon_value = epsilon<T>(check, eps, !training);
    const T rate = static_cast<T>(check.number("momentum", momentum));
    T* const mean = running<T>(check, "running_mean", running_mean, i.channels, training);
    T* const var = running<T>(check, "running_var", running_var, i.channels, training);
    auto y = check.output<T>(shape_of(x), out, {input, weight, bias, running_mean, running_var});
    auto statistics = new_statistics<T>(check, i.channels, true);
    run(norm_kernels().batch_norm_forward,
        BatchNormForwardArgs<T>{i.batch, i.channels, i.size, x.data(), data_or_null(w),
                                data_or_null(b), epsilon_value, y.mutable_data(),
                                written_statistics(statistics), training, rate, mean, var});
    return py::make_tuple(y, statistics);
  });
}

// What group_norm's and batch_norm's backward share: checks, and the gradients (input, weight,
// bias). call(args...) with `statistics_count(images)` statistics expected.
template <template <class> class Args, class Fill, class Kernel>
py::tuple image_gradient(const char* name, const Kernel& kernel, py::handle grad_output,
                         py::handle input, py::handle weight, py::handle statistics,
                         bool need_weight, bool need_bias, const Fill& fill) {
  const Check check(name);
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const Images i = images_of(check, x);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, shape_of(x), "input.shape");
    const auto w = per_channel<T>(check, "weight", weight, i.channels);
    const auto s = check.contiguous<T>("statistics", statistics);
    Args<T> args{};
    args.statistics = read_statistics(check, s, fill(check, i, args));
    auto grad_input = check.output<T>(shape_of(x));
    py::object grad_weight = py::none(), grad_bias = py::none();
    const auto make = [&](bool needed, py::object& object) -> T* {
      if (!needed) return nullptr;
      auto a = check.output<T>({i.channels});
      object = a;
      return a.mutable_data();
    };
    args.batch = i.batch;
    args.channels = i.channels;
    args.size = i.size;
    args.grad_y = grad.data();
    args.x = x.data();
    args.weight = data_or_null(w);
    args.grad_x = grad_input.mutable_data();
    args.grad_weight = make(need_weight, grad_weight);
    args.grad_bias = make(need_bias, grad_bias);
    run(kernel, args);
    return py::make_tuple(grad_input, grad_weight, grad_bias);
  });
}

py::tuple group_norm_gradient(py::handle grad_output, py::handle input, int64_t groups,
                              py::handle weight, py::handle statistics, bool need_weight,
                              bool need_bias) {
  return image_gradient<GroupNormBackwardArgs>(
      "group_norm_backward", norm_kernels().group_norm_backward, grad_output, input, weight,
      statistics, need_weight, need_bias, [&](const Check& check, const Images& i, auto& args) {
        check.at_least("num_groups", groups, 1);
        if (i.channels % groups != 0) check.value_error("num_groups must divide input.shape[1]");
        args.groups = groups;
        return i.batch * groups;
      });
}

py::tuple batch_norm_gradient(py::handle grad_output, py::handle input, py::handle weight,
                              py::handle statistics, bool training, bool need_weight,
                              bool need_bias) {
  return image_gradient<BatchNormBackwardArgs>(
      "batch_norm_backward", norm_kernels().batch_norm_backward, grad_output, input, weight,
      statistics, need_weight, need_bias, [&](const Check&, const Images& i, auto& args) {
        args.training = training;
        return i.channels;
      });
}

template <class T>
LocalResponseNormArgs<T> local_response_args(const Check& check, const Array<T>& x, int64_t size,
                                             double alpha, double beta, double k) {
  check.min_rank("input", x, 3);
  check.at_least("size", size, 1);
  const Images i = images_of(check, x);
  LocalResponseNormArgs<T> args{};
  args.batch = i.batch;
  args.channels = i.channels;
  args.size = i.size;
  args.window = size;
  args.alpha = static_cast<T>(alpha);
  args.beta = static_cast<T>(beta);
  args.k = static_cast<T>(k);
  args.x = x.data();
  return args;
}

py::object local_response_norm(py::handle input, int64_t size, double alpha, double beta, double k,
                               py::handle out) {
  const Check check("local_response_norm");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    auto args = local_response_args<T>(check, x, size, alpha, beta, k);
    auto y = check.output<T>(shape_of(x), out, {input});
    args.y = y.mutable_data();
    if (x.size() > 0) run(norm_kernels().local_response_norm_forward, args);
    return std::move(y);
  });
}

py::object local_response_norm_gradient(py::handle grad_output, py::handle input, int64_t size,
                                        double alpha, double beta, double k) {
  const Check check("local_response_norm_backward");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, shape_of(x), "input.shape");
    auto args = local_response_args<T>(check, x, size, alpha, beta, k);
    auto grad_input = check.output<T>(shape_of(x));
    args.grad_y = grad.data();
    args.grad_x = grad_input.mutable_data();
    if (x.size() > 0) run(norm_kernels().local_response_norm_backward, args);
    return std::move(grad_input);
  });
}

py::tuple normalize(py::handle input, py::handle dim, py::handle eps, py::handle out) {
  const Check check("normalize");
  return check.dispatch("input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const int64_t rank = x.ndim() > 0 ? static_cast<int64_t>(x.ndim()) : 1;
    const Split s = split_at(x, check.axis("dim", dim, rank));
    const T epsilon_value = epsilon<T>(check, eps, true);
    auto y = check.output<T>(shape_of(x), out, {input});
    auto norms = py::reinterpret_steal<Array<T>>(py::handle());
    if (out.is_none()) norms = check.output<T>({s.outer, s.inner});
    run(norm_kernels().normalize_forward,
        NormalizeForwardArgs<T>{s.outer, s.length, s.inner, epsilon_value, x.data(),
                                y.mutable_data(), norms ? norms.mutable_data() : nullptr});
    return py::make_tuple(y, or_none(norms));
  });
}

py::object normalize_gradient(py::handle grad_output, py::handle output, py::handle norms,
                              py::handle dim, py::handle eps) {
  const Check check("normalize_backward");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto y = check.contiguous<T>("output", output);
    check.shape("output", y, shape_of(grad), "grad_output.shape");
    const int64_t rank = y.ndim() > 0 ? static_cast<int64_t>(y.ndim()) : 1;
    const Split s = split_at(y, check.axis("dim", dim, rank));
    const auto saved = check.contiguous<T>("norms", norms);
    check.shape("norms", saved, {s.outer, s.inner}, "what the forward pass returned");
    const T epsilon_value = epsilon<T>(check, eps, true);
    auto grad_input = check.output<T>(shape_of(grad));
    run(norm_kernels().normalize_backward,
        NormalizeBackwardArgs<T>{s.outer, s.length, s.inner, epsilon_value, grad.data(), y.data(),
                                 saved.data(), grad_input.mutable_data()});
    return std::move(grad_input);
  });
}

}  // namespace

void init_norm(py::module_& m) {
  using py::arg;
#define FASTNN_LAYER_NORM(name)                                                                    \
  m.def(                                                                                           \
      #name "_forward",                                                                            \
      [](py::handle input, py::handle normalized_shape, py::handle weight, py::handle bias,        \
         py::handle eps, py::handle out) {                                                         \
        return layer_norm(#name, &NormKernels::name##_forward, input, normalized_shape, weight,    \
                          bias, eps, out);                                                         \
      },                                                                                           \
      arg("input"), arg("normalized_shape"), arg("weight"), arg("bias"), arg("eps"),               \
      arg("out") = py::none());                                                                    \
  m.def(                                                                                           \
      #name "_backward",                                                                           \
      [](py::handle grad_output, py::handle input, py::handle normalized_shape, py::handle weight, \
         py::handle statistics, bool need_weight, bool need_bias) {                                \
        return layer_norm_gradient(#name "_backward", &NormKernels::name##_backward, grad_output,  \
                                   input, normalized_shape, weight, statistics, need_weight,       \
                                   need_bias);                                                     \
      },                                                                                           \
      arg("grad_output"), arg("input"), arg("normalized_shape"), arg("weight"), arg("statistics"), \
      arg("need_weight"), arg("need_bias"))
  FASTNN_LAYER_NORM(layer_norm);
  FASTNN_LAYER_NORM(rms_norm);
#undef FASTNN_LAYER_NORM
  m.def("group_norm_forward", &group_norm, arg("input"), arg("num_groups"), arg("weight"),
        arg("bias"), arg("eps"), arg("out") = py::none());
  m.def("group_norm_backward", &group_norm_gradient, arg("grad_output"), arg("input"),
        arg("num_groups"), arg("weight"), arg("statistics"), arg("need_weight"), arg("need_bias"));
  m.def("instance_norm_forward", &instance_norm, arg("input"), arg("running_mean"),
        arg("running_var"), arg("weight"), arg("bias"), arg("momentum"), arg("eps"),
        arg("out") = py::none());
  m.def("batch_norm_forward", &batch_norm, arg("input"), arg("running_mean"), arg("running_var"),
        arg("weight"), arg("bias"), arg("training"), arg("momentum"), arg("eps"),
        arg("out") = py::none());
  m.def("batch_norm_backward", &batch_norm_gradient, arg("grad_output"), arg("input"),
        arg("weight"), arg("statistics"), arg("training"), arg("need_weight"), arg("need_bias"));
  m.def("local_response_norm_forward", &local_response_norm, arg("input"), arg("size"),
        arg("alpha"), arg("beta"), arg("k"), arg("out") = py::none());
  m.def("local_response_norm_backward", &local_response_norm_gradient, arg("grad_output"),
        arg("input"), arg("size"), arg("alpha"), arg("beta"), arg("k"));
  m.def("normalize_forward", &normalize, arg("input"), arg("dim"), arg("eps"),
        arg("out") = py::none());
  m.def("normalize_backward", &normalize_gradient, arg("grad_output"), arg("output"), arg("norms"),
        arg("dim"), arg("eps"));
}

}  // namespace fastnn
