#include "ops/optim.h"

#include <cmath>

#include "bindings/common.h"

namespace fastnn {
namespace {

// Elements a part: arrays are cut and grouped to this many.
constexpr int64_t kPart = int64_t{1} << 14;
// A part with less room than this is closed before another array begins.
constexpr int64_t kLeastRoom = int64_t{1} << 10;

// The arrays of one call, checked; lives as long as the call.
template <class T>
class ArrayList {
 public:
  // Without params, the gradients are only read.
  ArrayList(const Check& check, py::handle params, py::handle grads)
      : check_(check),
        params_(list("params", params.is_none() ? grads : params)),
        grads_(list("grads", grads)) {
    same_length("grads", grads_);
    for (size_t i = 0; i < params_.size(); ++i) {
      const py::object param = params_[i];
      T* data = params.is_none() ? nullptr : in_place("params", i, param);
      const Shape shape = shape_of(check_.array("params", param));
      auto grad = check_.template contiguous<T>("grads", grads_[i]);
      check_.shape("grads", grad, shape, "the parameter's shape");
      arrays_.push_back({static_cast<int64_t>(grad.size()),
                         data,
                         grad.data(),
                         {nullptr, nullptr, nullptr},
                         0.0,
                         1.0,
                         false});
      shapes_.push_back(shape);
      kept_.push_back(std::move(grad));
    }
    cut();
  }

  // State arrays number `index` of every parameter; None leaves them null.
  void state(int index, const char* name, py::handle arrays) {
    if (arrays.is_none()) return;
    const py::list states = list(name, arrays);
    same_length(name, states);
    for (size_t i = 0; i < arrays_.size(); ++i) {
      arrays_[i].state[index] = in_place(name, i, states[i]);
      check_.shape(name, py::reinterpret_borrow<py::array>(states[i]), shapes_[i],
                   "the parameter's shape");
    }
  }

  // Calls set(array, number) with one number a parameter.
  template <class Set>
  void numbers(const char* name, py::handle values, const Set& set) {
    const py::list items = list(name, values);
    same_length(name, items);
    for (size_t i = 0; i < arrays_.size(); ++i) set(arrays_[i], items[i].template cast<double>());
  }

  void step_size(double value) {
    for (auto& array : arrays_) array.step_size = value;
  }

  OptimList<T> view() const {
    return {arrays_.data(), chunks_.data(), first_chunk_.data(),
            static_cast<int64_t>(first_chunk_.size()) - 1};
  }

 private:
  py::list list(const char* name, py::handle object) const {
    if (!py::isinstance<py::list>(object)) {
      check_.type_error(std::string(name) + " must be a list of numpy.ndarray");
    }
    return py::reinterpret_borrow<py::list>(object);
  }

  void same_length(const char* name, const py::list& items) const {
    if (items.size() != params_.size()) {
      check_.value_error(std::string(name) + " must have " + std::to_string(params_.size()) +
                         " items (params), got " + std::to_string(items.size()));
    }
  }

  T* in_place(const char* name, size_t index, py::handle object) const {
    const auto element = [&] { return std::string(name) + "[" + std::to_string(index) + "]"; };
    if (!py::isinstance<py::array_t<T>>(object)) {
      check_.type_error(element() + " must be a numpy.ndarray of the parameters' dtype");
    }
    auto array = py::reinterpret_borrow<py::array_t<T>>(object);
    if (!array.writeable()) {
      check_.value_error(element() + " must be writable, got a read-only array");
    }
    const int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & wanted) != wanted) {
      check_.value_error(element() + " must be C-contiguous and aligned, got another layout");
    }
    return array.mutable_data();
  }

  void cut() {
    first_chunk_.push_back(0);
    int64_t room = kPart;
    const auto close = [&] {
      const auto chunks = static_cast<int64_t>(chunks_.size());
      if (chunks > first_chunk_.back()) first_chunk_.push_back(chunks);
      room = kPart;
    };
    for (size_t i = 0; i < arrays_.size(); ++i) {
      int64_t begin = 0;
      while (begin < arrays_[i].n) {
        const int64_t left = arrays_[i].n - begin;
        if (left > room && room < kLeastRoom) close();
        const int64_t size = left < room ? left : room / 16 * 16;
        chunks_.push_back({static_cast<int64_t>(i), begin, begin + size});
        begin += size;
        room -= size;
        if (room < 16) close();
      }
    }
    close();
  }

  const Check& check_;
  py::list params_, grads_;
  std::vector<OptimArray<T>> arrays_;
  std::vector<Shape> shapes_;
  std::vector<OptimChunk> chunks_;
  std::vector<int64_t> first_chunk_;
  std::vector<py::object> kept_;
};

// f(list, T{}) with the dtype of the first gradient; nothing to do for an empty list.
template <class F>
void with_list(const Check& check, py::handle params, py::handle grads, const F& f) {
  if (!py::isinstance<py::list>(grads)) check.type_error("grads must be a list of numpy.ndarray");
  if (py::len(grads) == 0) return;
  const py::object first = py::reinterpret_borrow<py::list>(grads)[0];
  check.dispatch("grads", first, [&](auto zero) {
    using T = decltype(zero);
    ArrayList<T> list(check, params, grads);
    f(list, zero);
  });
}

struct VariantOptions {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;
};

void sgd_step(py::handle params, py::handle grads, py::handle buffers, py::handle first, double lr,
              double momentum, double dampening, double weight_decay, bool nesterov,
              bool maximize) {
  with_list(Check("sgd_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "momentum_buffers", buffers);
    list.step_size(lr);
    list.numbers("first", first, [](auto& array, double value) { array.first = value != 0; });
    run(optim_kernels().sgd_step,
        SgdStepArgs<T>{list.view(), momentum, dampening, weight_decay, nesterov, maximize});
  });
}

void adam_step(py::handle params, py::handle grads, py::handle means, py::handle squares,
               py::handle largest, py::handle steps, double lr, double beta1, double beta2,
               double eps, double weight_decay, bool decoupled, bool maximize) {
  with_list(Check("adam_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "exp_avgs", means);
    list.state(1, "exp_avg_sqs", squares);
    list.state(2, "max_exp_avg_sqs", largest);
    list.numbers("steps", steps, [&](auto& array, double step) {
      array.step_size = lr / (1 - std::pow(beta1, step));
      array.correction = 1 / std::sqrt(1 - std::pow(beta2, step));
    });
    run(optim_kernels().adam_step,
        AdamStepArgs<T>{list.view(), beta1, beta2, eps, decoupled ? 0 : weight_decay,
                        decoupled ? 1 - lr * weight_decay : 1, maximize});
  });
}

// What the variants of Adam have in common; `set` fills the numbers of the arrays.
template <class Set>
void variant_step(const char* name, Kernel<AdamVariantStepArgs> OptimKernels::*kernel,
                  py::handle params, py::handle grads, py::handle means, const char* second_name,
                  py::handle second, const VariantOptions& options, const Set& set) {
  with_list(Check(name), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "exp_avgs", means);
    list.state(1, second_name, second);
    set(list);
    run(optim_kernels().*kernel,
        AdamVariantStepArgs<T>{list.view(), options.beta1, options.beta2, options.eps,
                               options.decoupled ? 0 : options.weight_decay,
                               options.decoupled ? 1 - options.lr * options.weight_decay : 1,
                               options.maximize});
  });
}

void adamax_step(py::handle params, py::handle grads, py::handle means, py::handle largest,
                 py::handle steps, double lr, double beta1, double beta2, double eps,
                 double weight_decay, bool maximize) {
  variant_step("adamax_step", &OptimKernels::adamax_step, params, grads, means, "exp_infs", largest,
               {lr, beta1, beta2, eps, weight_decay, false, maximize}, [&](auto& list) {
                 list.numbers("steps", steps, [&](auto& array, double step) {
                   array.step_size = lr / (1 - std::pow(beta1, step));
                 });
               });
}

// The momentum of this step, of the next and the product of all so far come with each parameter.
void nadam_step(py::handle params, py::handle grads, py::handle means, py::handle squares,
                py::handle steps, py::handle momenta, py::handle next_momenta, py::handle products,
                double lr, double beta1, double beta2, double eps, double weight_decay,
                bool decoupled, bool maximize) {
  variant_step("nadam_step", &OptimKernels::nadam_step, params, grads, means, "exp_avg_sqs",
               squares, {lr, beta1, beta2, eps, weight_decay, decoupled, maximize},
               [&](auto& list) {
                 list.numbers("steps", steps, [&](auto& array, double step) {
                   array.correction = 1 / std::sqrt(1 - std::pow(beta2, step));
                 });
                 list.numbers("products", products, [&](auto& array, double product) {
                   array.gradient_size = array.step_size = product;
                 });
                 list.numbers("momenta", momenta, [&](auto& array, double momentum) {
                   array.gradient_size = lr * (1 - momentum) / (1 - array.gradient_size);
                 });
                 list.numbers("next_momenta", next_momenta, [&](auto& array, double momentum) {
                   array.step_size = lr * momentum / (1 - array.step_size * momentum);
                 });
               });
}

void radam_step(py::handle params, py::handle grads, py::handle means, py::handle squares,
                py::handle steps, double lr, double beta1, double beta2, double eps,
                double weight_decay, bool decoupled, bool maximize) {
  const double limit = 2 / (1 - beta2) - 1;
  variant_step("radam_step", &OptimKernels::radam_step, params, grads, means, "exp_avg_sqs",
               squares, {lr, beta1, beta2, eps, weight_decay, decoupled, maximize},
               [&](auto& list) {
                 list.numbers("steps", steps, [&](auto& array, double step) {
                   const double power = std::pow(beta2, step);
                   const double length = limit - 2 * step * power / (1 - power);
                   array.first = length <= 5;
                   array.step_size = lr / (1 - std::pow(beta1, step));
                   if (array.first) return;
                   array.step_size *= std::sqrt((1 - power) * (length - 4) * (length - 2) * limit /
                                                ((limit - 4) * (limit - 2) * length));
                 });
               });
}

void adadelta_step(py::handle params, py::handle grads, py::handle squares, py::handle steps,
                   double lr, double rho, double eps, double weight_decay, bool maximize) {
  with_list(Check("adadelta_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "square_avgs", squares);
    list.state(1, "acc_deltas", steps);
    list.step_size(lr);
    run(optim_kernels().adadelta_step,
        AdadeltaStepArgs<T>{list.view(), rho, eps, weight_decay, maximize});
  });
}

void rmsprop_step(py::handle params, py::handle grads, py::handle squares, py::handle means,
                  py::handle buffers, double lr, double alpha, double eps, double weight_decay,
                  double momentum, bool maximize) {
  with_list(Check("rmsprop_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "square_avgs", squares);
    list.state(1, "grad_avgs", means);
    list.state(2, "momentum_buffers", buffers);
    list.step_size(lr);
    run(optim_kernels().rmsprop_step,
        RmspropStepArgs<T>{list.view(), alpha, eps, weight_decay, momentum, maximize});
  });
}

void adagrad_step(py::handle params, py::handle grads, py::handle sums, py::handle steps, double lr,
                  double lr_decay, double eps, double weight_decay, bool maximize) {
  with_list(Check("adagrad_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "sums", sums);
    list.numbers("steps", steps, [&](auto& array, double step) {
      array.step_size = lr / (1 + (step - 1) * lr_decay);
    });
    run(optim_kernels().adagrad_step, AdagradStepArgs<T>{list.view(), eps, weight_decay, maximize});
  });
}

void lion_step(py::handle params, py::handle grads, py::handle means, double lr, double beta1,
               double beta2, double weight_decay, bool maximize) {
  with_list(Check("lion_step"), params, grads, [&](auto& list, auto zero) {
    using T = decltype(zero);
    list.state(0, "exp_avgs", means);
    list.step_size(lr);
    run(optim_kernels().lion_step,
        LionStepArgs<T>{list.view(), beta1, beta2, 1 - lr * weight_decay, maximize});
  });
}

double sum_of_squares(py::handle arrays) {
  double total = 0;
  with_list(Check("sum_of_squares"), py::none(), arrays, [&](auto& list, auto zero) {
    using T = decltype(zero);
    run(optim_kernels().sum_of_squares, SumOfSquaresArgs<T>{list.view(), &total});
  });
  return total;
}

void scale_arrays(py::handle arrays, double factor) {
  with_list(Check("scale_arrays"), arrays, arrays, [&](auto& list, auto zero) {
    using T = decltype(zero);
    run(optim_kernels().scale_arrays, ScaleArraysArgs<T>{list.view(), factor});
  });
}

}  // namespace

// Lists of arrays of one dtype; params and state are changed in place.
void init_optim(py::module_& m) {
  m.def("sgd_step", &sgd_step, py::arg("params"), py::arg("grads"), py::arg("momentum_buffers"),
        py::arg("first"), py::arg("lr"), py::arg("momentum"), py::arg("dampening"),
        py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"));
  m.def("adam_step", &adam_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_avg_sqs"), py::arg("max_exp_avg_sqs"), py::arg("steps"), py::arg("lr"),
        py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"),
        py::arg("decoupled"), py::arg("maximize"));
  m.def("adamax_step", &adamax_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_infs"), py::arg("steps"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
        py::arg("eps"), py::arg("weight_decay"), py::arg("maximize"));
  m.def("nadam_step", &nadam_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_avg_sqs"), py::arg("steps"), py::arg("momenta"), py::arg("next_momenta"),
        py::arg("products"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"), py::arg("eps"),
        py::arg("weight_decay"), py::arg("decoupled"), py::arg("maximize"));
  m.def("radam_step", &radam_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_avg_sqs"), py::arg("steps"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
        py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("maximize"));
  m.def("adadelta_step", &adadelta_step, py::arg("params"), py::arg("grads"),
        py::arg("square_avgs"), py::arg("acc_deltas"), py::arg("lr"), py::arg("rho"),
        py::arg("eps"), py::arg("weight_decay"), py::arg("maximize"));
  m.def("rmsprop_step", &rmsprop_step, py::arg("params"), py::arg("grads"), py::arg("square_avgs"),
        py::arg("grad_avgs"), py::arg("momentum_buffers"), py::arg("lr"), py::arg("alpha"),
        py::arg("eps"), py::arg("weight_decay"), py::arg("momentum"), py::arg("maximize"));
  m.def("adagrad_step", &adagrad_step, py::arg("params"), py::arg("grads"), py::arg("sums"),
        py::arg("steps"), py::arg("lr"), py::arg("lr_decay"), py::arg("eps"),
        py::arg("weight_decay"), py::arg("maximize"));
  m.def("lion_step", &lion_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("lr"), py::arg("beta1"), py::arg("beta2"), py::arg("weight_decay"),
        py::arg("maximize"));
  m.def("sum_of_squares", &sum_of_squares, py::arg("arrays"));
  m.def("scale_arrays", &scale_arrays, py::arg("arrays"), py::arg("factor"));
}

}  // namespace fastnn
