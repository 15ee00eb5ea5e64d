// ctc_loss: the losses of a batch of samples, unreduced.
#include "bindings/common.h"
#include "ops/loss.h"

namespace fastnn {

void init_ctc(py::module_& m);

namespace {

std::string item(const char* name, int64_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

// The samples of a call, checked. log_probs is (steps, batch, classes); targets are (batch,
// longest) rows or one after the other.
struct Samples {
  Array<int64_t> targets, input_lengths, target_lengths;
  std::vector<int64_t> offsets;
  int64_t steps, batch, classes, max_target;
};

Array<int64_t> lengths(const Check& check, const char* name, py::handle object, int64_t batch,
                       int64_t most, const char* meaning) {
  auto values = check.indices(name, object);
  check.shape(name, values, {batch}, "log_probs.shape[1]");
  for (int64_t n = 0; n < batch; ++n) {
    const int64_t value = values.data()[n];
    if (value < 0 || value > most) {
      check.value_error(item(name, n) + " must be in 0.." + std::to_string(most) + " (" + meaning +
                        "), got " + std::to_string(value));
    }
  }
  return values;
}

Samples samples(const Check& check, const py::array& log_probs, py::handle targets,
                py::handle input_lengths, py::handle target_lengths, int64_t blank) {
  check.rank("log_probs", log_probs, 3);
  Samples s{};
  s.steps = extent(log_probs, 0);
  s.batch = extent(log_probs, 1);
  s.classes = extent(log_probs, 2);
  if (blank < 0 || blank >= s.classes) {
    check.value_error("blank must be in 0.." + std::to_string(s.classes - 1) +
                      " (log_probs.shape[2] classes), got " + std::to_string(blank));
  }
  s.targets = check.indices("targets", targets);
  const bool padded = s.targets.ndim() == 2;
  if (padded) {
    check.dim("targets", s.targets, 0, s.batch, "log_probs.shape[1]");
  } else {
    check.rank("targets", s.targets, 1);
  }
  const int64_t width = extent(s.targets, padded ? 1 : 0);
  s.input_lengths =
      lengths(check, "input_lengths", input_lengths, s.batch, s.steps, "log_probs.shape[0]");
  s.target_lengths = lengths(check, "target_lengths", target_lengths, s.batch, width,
                             padded ? "targets.shape[1]" : "targets.shape[0]");
  int64_t next = 0;
  for (int64_t n = 0; n < s.batch; ++n) {
    const int64_t length = s.target_lengths.data()[n];
    s.offsets.push_back(padded ? n * width : next);
    next += length;
    if (length > s.max_target) s.max_target = length;
    if (!padded && next > width) break;
  }
  if (!padded && next != width) {
    check.value_error("target_lengths must add up to " + std::to_string(width) +
                      " (targets.shape[0])");
  }
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t i = 0; i < s.target_lengths.data()[n]; ++i) {
      const int64_t label = s.targets.data()[s.offsets[static_cast<size_t>(n)] + i];
      if (label < 0 || label >= s.classes) {
        check.value_error("targets: label " + std::to_string(i) + " of sample " +
                          std::to_string(n) + " must be in 0.." + std::to_string(s.classes - 1) +
                          ", got " + std::to_string(label));
      }
    }
  }
  return s;
}

// (losses, alpha, offsets), the last two None unless `keep` asks for what the gradient needs.
py::object ctc_loss_forward(py::handle log_probs, py::handle targets, py::handle input_lengths,
                            py::handle target_lengths, int64_t blank, bool keep, py::handle out) {
  const Check check("ctc_loss");
  return check.dispatch("log_probs", log_probs, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("log_probs", log_probs);
    const Samples s = samples(check, x, targets, input_lengths, target_lengths, blank);
    auto loss = check.output<T>({s.batch}, out, {log_probs});
    py::object alpha = py::none(), offsets = py::none();
    T* alpha_data = nullptr;
    double* offsets_data = nullptr;
    if (keep) {
      auto states = check.output<T>({s.batch, s.steps, 2 * s.max_target + 3});
      auto row_offsets = check.output<double>({s.batch, s.steps + 1});
      alpha_data = states.mutable_data();
      offsets_data = row_offsets.mutable_data();
      alpha = std::move(states);
      offsets = std::move(row_offsets);
    }
    run(loss_kernels().ctc_loss_forward,
        CtcLossForwardArgs<T>{s.steps, s.batch, s.classes, s.max_target, x.data(), s.targets.data(),
                              s.offsets.data(), s.input_lengths.data(), s.target_lengths.data(),
                              blank, alpha_data, offsets_data, loss.mutable_data()});
    return py::make_tuple(loss, alpha, offsets);
  });
}

py::object ctc_loss_backward(py::handle grad_output, py::handle log_probs, py::handle targets,
                             py::handle input_lengths, py::handle target_lengths, int64_t blank,
                             py::handle alpha, py::handle offsets, bool zero_infinity) {
  const Check check("ctc_loss_backward");
  return check.dispatch("log_probs", log_probs, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("log_probs", log_probs);
    const Samples s = samples(check, x, targets, input_lengths, target_lengths, blank);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, {s.batch}, "log_probs.shape[1]");
    const auto states = check.contiguous<T>("alpha", alpha);
    check.shape("alpha", states, {s.batch, s.steps, 2 * s.max_target + 3}, "the forward pass's");
    const auto row_offsets = check.contiguous<double>("offsets", offsets);
    check.shape("offsets", row_offsets, {s.batch, s.steps + 1}, "the forward pass's");
    auto grad_log_probs = check.output<T>(shape_of(x));
    run(loss_kernels().ctc_loss_backward,
        CtcLossBackwardArgs<T>{s.steps, s.batch, s.classes, s.max_target, x.data(),
                               s.targets.data(), s.offsets.data(), s.input_lengths.data(),
                               s.target_lengths.data(), blank, states.data(), row_offsets.data(),
                               grad.data(), zero_infinity, grad_log_probs.mutable_data()});
    return std::move(grad_log_probs);
  });
}

}  // namespace

void init_ctc(py::module_& m) {
  m.def("ctc_loss_forward", &ctc_loss_forward, py::arg("log_probs"), py::arg("targets"),
        py::arg("input_lengths"), py::arg("target_lengths"), py::arg("blank"), py::arg("keep"),
        py::arg("out") = py::none());
  m.def("ctc_loss_backward", &ctc_loss_backward, py::arg("grad_output"), py::arg("log_probs"),
        py::arg("targets"), py::arg("input_lengths"), py::arg("target_lengths"), py::arg("blank"),
        py::arg("alpha"), py::arg("offsets"), py::arg("zero_infinity"));
}

}  // namespace fastnn
