// cosine_similarity and pairwise_distance, over the last axis.
#include "bindings/common.h"
#include "ops/loss.h"

namespace fastnn {

void init_distance(py::module_& m);

namespace {

template <class T>
struct Pair {
  Array<T> a, b;
  Shape rows_shape;
  int64_t rows, size;
};

template <class T>
Pair<T> pair_of_rows(const Check& check, py::handle x1, py::handle x2) {
  Pair<T> pair{check.contiguous<T>("x1", x1), check.contiguous<T>("x2", x2), {}, 1, 0};
  check.min_rank("x1", pair.a, 1);
  check.shape("x2", pair.b, shape_of(pair.a), "x1.shape");
  pair.rows_shape = shape_of(pair.a);
  pair.size = pair.rows_shape.back();
  pair.rows_shape.pop_back();
  pair.rows = check.size("x1", pair.rows_shape, 1);
  return pair;
}

// Gradients of x1 and x2 as `needs` asks, None for the others.
template <class T>
py::tuple wanted_gradients(const Check& check, const Pair<T>& pair, py::handle needs,
                           T* (&pointers)[2]) {
  py::tuple gradients(2);
  for (int i = 0; i < 2; ++i) {
    pointers[i] = nullptr;
    gradients[static_cast<size_t>(i)] = py::none();
    if (!needs[py::int_(i)].cast<bool>()) continue;
    auto gradient = check.output<T>(shape_of(pair.a));
    pointers[i] = gradient.mutable_data();
    gradients[static_cast<size_t>(i)] = std::move(gradient);
  }
  return gradients;
}

// (similarity, norms), norms None unless `keep` asks for what the gradient needs.
py::object cosine_similarity_forward(py::handle x1, py::handle x2, double eps, bool add_eps,
                                     bool keep, py::handle out) {
  const Check check("cosine_similarity");
  return check.dispatch("x1", x1, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto pair = pair_of_rows<T>(check, x1, x2);
    auto similarity = check.output<T>(pair.rows_shape, out, {x1, x2});
    py::object norms = py::none();
    T* norms_data = nullptr;
    if (keep) {
      auto both = check.output<T>({2, pair.rows});
      norms_data = both.mutable_data();
      norms = std::move(both);
    }
    run(loss_kernels().cosine_similarity_forward,
        CosineForwardArgs<T>{pair.rows, pair.size, pair.a.data(), pair.b.data(), eps, add_eps,
                             norms_data, similarity.mutable_data()});
    return py::make_tuple(similarity, norms);
  });
}

py::object cosine_similarity_backward(py::handle grad_output, py::handle x1, py::handle x2,
                                      double eps, bool add_eps, py::handle similarity,
                                      py::handle norms, py::handle needs) {
  const Check check("cosine_similarity_backward");
  return check.dispatch("x1", x1, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto pair = pair_of_rows<T>(check, x1, x2);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, pair.rows_shape, "the rows");
    const auto saved = check.contiguous<T>("similarity", similarity);
    check.shape("similarity", saved, pair.rows_shape, "the rows");
    const auto saved_norms = check.contiguous<T>("norms", norms);
    check.shape("norms", saved_norms, {2, pair.rows}, "the rows");
    T* pointers[2];
    auto gradients = wanted_gradients(check, pair, needs, pointers);
    run(loss_kernels().cosine_similarity_backward,
        CosineBackwardArgs<T>{pair.rows, pair.size, pair.a.data(), pair.b.data(), eps, add_eps,
                              saved_norms.data(), saved.data(), grad.data(), pointers[0],
                              pointers[1]});
    return std::move(gradients);
  });
}

py::object pairwise_distance_forward(py::handle x1, py::handle x2, double p, double eps,
                                     bool keepdim, py::handle out) {
  const Check check("pairwise_distance");
  return check.dispatch("x1", x1, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto pair = pair_of_rows<T>(check, x1, x2);
    Shape shape = pair.rows_shape;
    if (keepdim) shape.push_back(1);
    auto distance = check.output<T>(shape, out, {x1, x2});
    run(loss_kernels().pairwise_distance_forward,
        DistanceForwardArgs<T>{pair.rows, pair.size, pair.a.data(), pair.b.data(), p, eps,
                               distance.mutable_data()});
    return std::move(distance);
  });
}

py::object pairwise_distance_backward(py::handle grad_output, py::handle x1, py::handle x2,
                                      double p, double eps, py::handle distance, py::handle needs) {
  const Check check("pairwise_distance_backward");
  return check.dispatch("x1", x1, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto pair = pair_of_rows<T>(check, x1, x2);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.shape("grad_output", grad, pair.rows_shape, "the rows");
    const auto saved = check.contiguous<T>("distance", distance);
    check.shape("distance", saved, pair.rows_shape, "the rows");
    T* pointers[2];
    auto gradients = wanted_gradients(check, pair, needs, pointers);
    run(loss_kernels().pairwise_distance_backward,
        DistanceBackwardArgs<T>{pair.rows, pair.size, pair.a.data(), pair.b.data(), p, eps,
                                saved.data(), grad.data(), pointers[0], pointers[1]});
    return std::move(gradients);
  });
}

}  // namespace

void init_distance(py::module_& m) {
  m.def("cosine_similarity_forward", &cosine_similarity_forward, py::arg("x1"), py::arg("x2"),
        py::arg("eps"), py::arg("add_eps"), py::arg("keep"), py::arg("out") = py::none());
  m.def("cosine_similarity_backward", &cosine_similarity_backward, py::arg("grad_output"),
        py::arg("x1"), py::arg("x2"), py::arg("eps"), py::arg("add_eps"), py::arg("similarity"),
        py::arg("norms"), py::arg("needs"));
  m.def("pairwise_distance_forward", &pairwise_distance_forward, py::arg("x1"), py::arg("x2"),
        py::arg("p"), py::arg("eps"), py::arg("keepdim") = false, py::arg("out") = py::none());
  m.def("pairwise_distance_backward", &pairwise_distance_backward, py::arg("grad_output"),
        py::arg("x1"), py::arg("x2"), py::arg("p"), py::arg("eps"), py::arg("distance"),
        py::arg("needs"));
}

}  // namespace fastnn
