#include "ops/embedding.h"

#include <string>
#include <vector>

#include "bindings/common.h"

namespace fastnn {
namespace {

// Every id must be a row of the table.
void check_ids(const Check& check, const Array<int64_t>& ids, int64_t vocabulary) {
  const int64_t* id = ids.data();
  const int64_t n = ids.size();
  bool outside = false;
  for (int64_t i = 0; i < n; ++i) outside |= id[i] < 0 || id[i] >= vocabulary;
  if (!outside) return;
  int64_t bad = 0;
  while (id[bad] >= 0 && id[bad] < vocabulary) ++bad;
  Shape position = shape_of(ids);
  int64_t rest = bad;
  for (size_t axis = position.size(); axis-- > 0;) {
    const int64_t extent = position[axis];
    position[axis] = rest % extent;
    rest /= extent;
  }
  std::string where;
  for (const int64_t index : position) {
    where += (where.empty() ? "[" : ", ") + std::to_string(index);
  }
  check.value_error("input" + where + (where.empty() ? "" : "]") + " must be in 0.." +
                    std::to_string(vocabulary - 1) + " (weight has " + std::to_string(vocabulary) +
                    " rows), got " + std::to_string(id[bad]));
}

// A new array of zeros, from memory that the system clears when it is first touched.
template <class T>
Array<T> zeros(int64_t rows, int64_t columns) {
  const py::object made =
      py::module_::import("numpy").attr("zeros")(py::make_tuple(rows, columns), py::dtype::of<T>());
  return py::reinterpret_borrow<Array<T>>(made);
}

// 1 / (how often the id of each position occurs).
template <class T>
std::vector<T> inverse_frequencies(const Array<int64_t>& ids, int64_t vocabulary) {
  std::vector<int64_t> count(static_cast<size_t>(vocabulary));
  std::vector<T> inverse(static_cast<size_t>(ids.size()));
  for (int64_t i = 0; i < ids.size(); ++i) ++count[static_cast<size_t>(ids.data()[i])];
  for (size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = T(1) / static_cast<T>(count[static_cast<size_t>(ids.data()[i])]);
  }
  return inverse;
}

py::object embedding_forward(py::handle input, py::handle weight, py::handle out) {
  const Check check("embedding");
  return check.dispatch("weight", weight, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto ids = check.indices("input", input);
    const auto w = check.contiguous<T>("weight", weight);
    check.rank("weight", w, 2);
    check_ids(check, ids, extent(w, 0));
    Shape shape = shape_of(ids);
    shape.push_back(extent(w, 1));
    auto y = check.output<T>(shape, out, {weight});
    run(embedding_kernels().embedding_forward,
        EmbeddingForwardArgs<T>{ids.size(), extent(w, 1), ids.data(), w.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object embedding_backward(py::handle grad_output, py::handle input, int64_t vocabulary,
                              int64_t padding, bool scale_grad_by_freq) {
  const Check check("embedding");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const auto ids = check.indices("input", input);
    check.rank("grad_output", grad, static_cast<int64_t>(ids.ndim()) + 1);
    check_ids(check, ids, vocabulary);
    const int64_t dim = extent(grad, grad.ndim() - 1);
    Shape shape = shape_of(ids);
    shape.push_back(dim);
    check.shape("grad_output", grad, shape, "input.shape and the row's length");
    auto grad_weight = zeros<T>(vocabulary, dim);
    std::vector<T> factors;
    if (scale_grad_by_freq) factors = inverse_frequencies<T>(ids, vocabulary);
    run(embedding_kernels().embedding_backward,
        EmbeddingBackwardArgs<T>{ids.size(), vocabulary, dim, padding, ids.data(), nullptr,
                                 scale_grad_by_freq ? factors.data() : nullptr, grad.data(),
                                 grad_weight.mutable_data()});
    return std::move(grad_weight);
  });
}

BagMode bag_mode(const Check& check, const std::string& mode) {
  if (mode == "sum") return BagMode::kSum;
  if (mode == "mean") return BagMode::kMean;
  if (mode == "max") return BagMode::kMax;
  check.value_error("mode must be 'sum', 'mean' or 'max', got '" + mode + "'");
}

// Where each bag begins, and at last where the last one ends.
std::vector<int64_t> bag_offsets(const Check& check, const Array<int64_t>& offsets,
                                 bool include_last_offset, int64_t n) {
  check.rank("offsets", offsets, 1);
  std::vector<int64_t> all(offsets.data(), offsets.data() + offsets.size());
  if (include_last_offset && all.empty()) {
    check.value_error("offsets must not be empty where include_last_offset is true");
  }
  if (!include_last_offset) all.push_back(n);
  if (offsets.size() > 0 && all[0] != 0) {
    check.value_error("offsets[0] must be 0, got " + std::to_string(all[0]));
  }
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i] < all[i - 1] || all[i] > n) {
      const size_t at = i < static_cast<size_t>(offsets.size()) ? i : i - 1;
      check.value_error("offsets[" + std::to_string(at) + "] must be in " +
                        std::to_string(at > 0 ? all[at - 1] : 0) + ".." + std::to_string(n) +
                        ", got " + std::to_string(all[at]));
    }
  }
  return all;
}

// The arguments of embedding_bag, checked.
template <class T>
struct BagInputs {
  Array<int64_t> ids;
  Array<T> weight, factors;
  std::vector<int64_t> offsets;
  BagMode mode;
  int64_t bags, dim;

  BagInputs(const Check& check, py::handle input, py::handle weight_argument,
            py::handle offsets_argument, py::handle per_sample_weights,
            const std::string& mode_name, bool include_last_offset)
      : ids(check.indices("input", input)),
        weight(check.contiguous<T>("weight", weight_argument)),
        factors(check.optional<T>("per_sample_weights", per_sample_weights)),
        mode(bag_mode(check, mode_name)) {
    check.rank("input", ids, 1);
    check.rank("weight", weight, 2);
    if (factors) {
      check.shape("per_sample_weights", factors, shape_of(ids), "input.shape");
      if (mode != BagMode::kSum) {
        check.value_error("per_sample_weights must be None unless mode is 'sum', got mode '" +
                          mode_name + "'");
      }
    }
    offsets = bag_offsets(check, check.indices("offsets", offsets_argument), include_last_offset,
                          static_cast<int64_t>(ids.size()));
    check_ids(check, ids, extent(weight, 0));
    bags = static_cast<int64_t>(offsets.size()) - 1;
    dim = extent(weight, 1);
  }

  // The bag of each position up to the end of the last bag.
  std::vector<int64_t> bag_of_position() const {
    std::vector<int64_t> bag(static_cast<size_t>(offsets.back()));
    for (int64_t b = 0; b < bags; ++b) {
      for (int64_t i = offsets[size_t(b)]; i < offsets[size_t(b) + 1]; ++i) bag[size_t(i)] = b;
    }
    return bag;
  }

  // What the gradient of each position is multiplied by.
  std::vector<T> gradient_factors(int64_t padding, bool scale_grad_by_freq) const {
    std::vector<T> result(static_cast<size_t>(ids.size()), T(1));
    if (scale_grad_by_freq) result = inverse_frequencies<T>(ids, extent(weight, 0));
    for (int64_t b = 0; b < bags; ++b) {
      int64_t count = 0;
      const int64_t begin = offsets[size_t(b)], end = offsets[size_t(b) + 1];
      for (int64_t i = begin; i < end; ++i) count += ids.data()[i] != padding;
      for (int64_t i = begin; i < end; ++i) {
        if (factors) result[size_t(i)] *= factors.data()[i];
        if (mode == BagMode::kMean && count > 0) result[size_t(i)] /= static_cast<T>(count);
      }
    }
    return result;
  }
};

py::object embedding_bag_forward(py::handle input, py::handle weight, py::handle offsets,
                                 py::handle per_sample_weights, const std::string& mode,
                                 bool include_last_offset, int64_t padding, py::handle out) {
  const Check check("embedding_bag");
  return check.dispatch("weight", weight, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const BagInputs<T> in(check, input, weight, offsets, per_sample_weights, mode,
                          include_last_offset);
    auto y = check.output<T>({in.bags, in.dim}, out, {weight, per_sample_weights});
    run(embedding_kernels().embedding_bag_forward,
        EmbeddingBagForwardArgs<T>{in.bags, in.dim, padding, in.mode, in.ids.data(),
                                   in.offsets.data(), in.weight.data(), data_or_null(in.factors),
                                   y.mutable_data()});
    return std::move(y);
  });
}

// The gradient with respect to weight, for the modes 'sum' and 'mean'.
py::object embedding_bag_backward(py::handle grad_output, py::handle input, py::handle weight,
                                  py::handle offsets, py::handle per_sample_weights,
                                  const std::string& mode, bool include_last_offset,
                                  int64_t padding, bool scale_grad_by_freq) {
  const Check check("embedding_bag");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const BagInputs<T> in(check, input, weight, offsets, per_sample_weights, mode,
                          include_last_offset);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, {in.bags, in.dim}, "the output's shape");
    const int64_t vocabulary = extent(in.weight, 0);
    auto grad_weight = zeros<T>(vocabulary, in.dim);
    const auto rows = in.bag_of_position();
    const auto factors = in.gradient_factors(padding, scale_grad_by_freq);
    run(embedding_kernels().embedding_backward,
        EmbeddingBackwardArgs<T>{in.offsets.back(), vocabulary, in.dim, padding, in.ids.data(),
                                 rows.data(), factors.data(), grad.data(),
                                 grad_weight.mutable_data()});
    return std::move(grad_weight);
  });
}

py::object embedding_bag_backward_max(py::handle grad_output, py::handle input, py::handle weight,
                                      py::handle offsets, bool include_last_offset,
                                      int64_t padding) {
  const Check check("embedding_bag");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const BagInputs<T> in(check, input, weight, offsets, py::none(), "max", include_last_offset);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, {in.bags, in.dim}, "the output's shape");
    auto grad_weight = zeros<T>(extent(in.weight, 0), in.dim);
    run(embedding_kernels().embedding_bag_backward_max,
        EmbeddingBagBackwardMaxArgs<T>{in.bags, in.dim, padding, in.ids.data(), in.offsets.data(),
                                       in.weight.data(), grad.data(), grad_weight.mutable_data()});
    return std::move(grad_weight);
  });
}

// The gradient with respect to per_sample_weights, for mode 'sum'.
py::object embedding_bag_backward_factors(py::handle grad_output, py::handle input,
                                          py::handle weight, py::handle offsets,
                                          bool include_last_offset, int64_t padding) {
  const Check check("embedding_bag");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const BagInputs<T> in(check, input, weight, offsets, py::none(), "sum", include_last_offset);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, {in.bags, in.dim}, "the output's shape");
    const auto rows = in.bag_of_position();
    auto grad_factors = check.output<T>(shape_of(in.ids));
    T* result = grad_factors.mutable_data();
    for (int64_t i = in.offsets.back(); i < in.ids.size(); ++i) result[i] = 0;
    run(embedding_kernels().embedding_bag_backward_factors,
        EmbeddingBagBackwardFactorsArgs<T>{in.offsets.back(), in.dim, padding, in.ids.data(),
                                           rows.data(), in.weight.data(), grad.data(), result});
    return std::move(grad_factors);
  });
}

}  // namespace

void init_embedding(py::module_& m) {
  m.def("embedding_forward", &embedding_forward, py::arg("input"), py::arg("weight"),
        py::arg("out") = py::none());
  m.def("embedding_backward", &embedding_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("vocabulary"), py::arg("padding"), py::arg("scale_grad_by_freq"));
  m.def("embedding_bag_forward", &embedding_bag_forward, py::arg("input"), py::arg("weight"),
        py::arg("offsets"), py::arg("per_sample_weights"), py::arg("mode"),
        py::arg("include_last_offset"), py::arg("padding"), py::arg("out") = py::none());
  m.def("embedding_bag_backward", &embedding_bag_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("weight"), py::arg("offsets"), py::arg("per_sample_weights"), py::arg("mode"),
        py::arg("include_last_offset"), py::arg("padding"), py::arg("scale_grad_by_freq"));
  m.def("embedding_bag_backward_max", &embedding_bag_backward_max, py::arg("grad_output"),
        py::arg("input"), py::arg("weight"), py::arg("offsets"), py::arg("include_last_offset"),
        py::arg("padding"));
  m.def("embedding_bag_backward_factors", &embedding_bag_backward_factors, py::arg("grad_output"),
        py::arg("input"), py::arg("weight"), py::arg("offsets"), py::arg("include_last_offset"),
        py::arg("padding"));
}

}  // namespace fastnn
