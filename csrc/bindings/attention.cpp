#include "bindings/attention_inputs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace fastnn {
namespace {

// The shape with its last dimension but one left out.
Shape row_shape(const Shape& matrix) { return Shape(matrix.begin(), matrix.end() - 1); }

template <class T>
Array<T> zeros(const Check& check, const Shape& shape) {
  auto a = check.output<T>(shape);
  std::fill_n(a.mutable_data(), a.size(), T(0));
  return a;
}

py::object forward(py::handle query, py::handle key, py::handle value, py::handle attn_mask,
                   py::handle scale, bool enable_gqa, py::handle rules, py::handle dropout,
                   py::handle out) {
  const Check check("scaled_dot_product_attention");
  return dispatch(check, "query", query, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Inputs<T> inputs(check, query, key, value, attn_mask, scale, enable_gqa, rules, dropout);
    const AttentionProblem<T>& p = inputs.problem();
    const Shape shape = inputs.query_shape(p.queries, p.value_width);
    py::array output =
        out.is_none()
            ? laid_out_as(shape, py::reinterpret_borrow<py::array>(query),
                          [&](const Shape& s) { return new_array(check, s, inputs.dtype()); })
            : destination<T>(check, shape, out, is_bfloat16(query), {query, key, value, attn_mask});
    auto log_sum_exp = check.output<T>(row_shape(shape));
    const auto offsets = offsets_of(output, 2, inputs.lead());
    run(attention_kernels().scaled_dot_product_attention_forward,
        AttentionForwardArgs<T>{p, output.mutable_data(), offsets.data(),
                                element_stride(output, output.ndim() - 2),
                                log_sum_exp.mutable_data()});
    return py::make_tuple(std::move(output), std::move(log_sum_exp));
  });
}

// `needs`: which gradients of query, key, value and attn_mask to compute. That of attn_mask has the
// shape that it broadcasts to, and those of query, key and value the broadcast leading dimensions.
py::object backward(py::handle query, py::handle key, py::handle value, py::handle attn_mask,
                    py::handle scale, bool enable_gqa, py::handle rules, py::handle dropout,
                    py::handle grad_output, py::handle output, py::handle log_sum_exp,
                    py::handle grad_log_sum_exp, py::handle weights, py::handle grad_weights,
                    const py::tuple& needs) {
  const Check check("scaled_dot_product_attention_backward");
  return dispatch(check, "query", query, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Inputs<T> inputs(check, query, key, value, attn_mask, scale, enable_gqa, rules, dropout);
    const AttentionProblem<T>& p = inputs.problem();
    const auto out = inputs.like_output("output", output);
    const auto grad = inputs.like_output("grad_output", grad_output);
    const Shape rows = row_shape(inputs.query_shape(p.queries, 1));
    const Shape full = inputs.query_shape(p.queries, p.keys);
    const auto lse = check.contiguous<T>("log_sum_exp", log_sum_exp);
    check.shape("log_sum_exp", lse, rows, "query.shape[:-1]");
    const auto grad_lse = check.optional<T>("grad_log_sum_exp", grad_log_sum_exp);
    if (grad_lse) check.shape("grad_log_sum_exp", grad_lse, rows, "query.shape[:-1]");
    const auto w = check.optional<T>("weights", weights);
    const auto grad_w = check.optional<T>("grad_weights", grad_weights);
    if (w) check.shape("weights", w, full, "the weights' shape");
    if (grad_w) check.shape("grad_weights", grad_w, full, "the weights' shape");
    if (!w != !grad_w) check.value_error("weights and grad_weights must be given together");
    const auto wanted = [&](size_t i, const Shape& shape) -> py::object {
      if (!needs[i].cast<bool>()) return py::none();
      if (i == 3) return zeros<T>(check, shape);
      return new_array(check, shape, inputs.dtype());
    };
    auto delta = check.output<T>(rows);
    py::object grad_query = wanted(0, inputs.query_shape(p.queries, p.width));
    py::object grad_key = wanted(1, inputs.key_shape(p.keys, p.width));
    py::object grad_value = wanted(2, inputs.key_shape(p.keys, p.value_width));
    py::object grad_mask = wanted(3, full);
    const auto pointer = [](const py::object& a) {
      return a.is_none() ? nullptr : py::reinterpret_borrow<py::array>(a).mutable_data();
    };
    run(attention_kernels().scaled_dot_product_attention_backward,
        AttentionBackwardArgs<T>{p, out.template matrices<T>(), grad.template matrices<T>(),
                                 lse.data(), data_or_null(grad_lse), data_or_null(w),
                                 data_or_null(grad_w), delta.mutable_data(), pointer(grad_query),
                                 pointer(grad_key), pointer(grad_value),
                                 static_cast<T*>(pointer(grad_mask))});
    return py::make_tuple(grad_query, grad_key, grad_value, grad_mask);
  });
}

py::object attention_weights(py::handle query, py::handle key, py::handle value,
                             py::handle attn_mask, py::handle scale, bool enable_gqa,
                             py::handle rules, py::handle dropout, py::handle log_sum_exp) {
  const Check check("attention_weights");
  return dispatch(check, "query", query, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Inputs<T> inputs(check, query, key, value, attn_mask, scale, enable_gqa, rules, dropout);
    const AttentionProblem<T>& p = inputs.problem();
    const auto lse = check.contiguous<T>("log_sum_exp", log_sum_exp);
    check.shape("log_sum_exp", lse, row_shape(inputs.query_shape(p.queries, 1)),
                "query.shape[:-1]");
    auto weights = zeros<T>(check, inputs.query_shape(p.queries, p.keys));
    run(attention_kernels().attention_weights,
        AttentionWeightsArgs<T>{p, lse.data(), weights.mutable_data()});
    return std::move(weights);
  });
}

// The positions of every row, broadcast to input's leading dimensions and rows, or 0, 1, ...
Array<int64_t> positions_of(const Check& check, py::handle object, const Shape& shape) {
  if (object.is_none()) {
    Array<int64_t> counted(static_cast<py::ssize_t>(shape.back()));
    std::iota(counted.mutable_data(), counted.mutable_data() + shape.back(), int64_t{0});
    return counted;
  }
  auto positions = check.indices("positions", object);
  if (!broadcasts_to(shape_of(positions), shape)) {
    check.value_error("positions.shape must broadcast to " + to_string(shape) +
                      " (input.shape[:-1]), got " + to_string(shape_of(positions)));
  }
  return positions;
}

py::object rotary_embedding(py::handle input, py::handle positions, double base, bool interleaved,
                            py::handle rotary_dim, bool inverse, py::handle out) {
  const Check check("rotary_embedding");
  const bool is_reduced = is_bfloat16(input);
  return dispatch(check, "input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    auto x = stored<T>(check, "input", input, is_reduced);
    check.min_rank("input", x, 2);
    if (element_stride(x, x.ndim() - 1) != 1) x = x.attr("copy")();
    const Shape shape = shape_of(x);
    const int64_t rows = shape[shape.size() - 2], width = shape.back();
    const int64_t turned = rotary_dim.is_none() ? width : rotary_dim.cast<int64_t>();
    if (turned % 2 != 0 || turned < 0 || turned > width) {
      check.value_error("rotary_dim must be even and in 0.." + std::to_string(width) + ", got " +
                        std::to_string(turned));
    }
    const auto where = positions_of(check, positions, row_shape(shape));
    std::vector<double> frequencies(static_cast<size_t>(turned / 2));
    for (size_t i = 0; i < frequencies.size(); ++i) {
      frequencies[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(turned));
    }
    const Shape lead(shape.begin(), shape.end() - 2);
    py::array output =
        out.is_none()
            ? laid_out_as(shape, x, [&](const Shape& s) { return new_array(check, s, x.dtype()); })
            : destination<T>(check, shape, out, is_reduced, {input});
    const auto input_offsets = offsets_of(x, 2, lead), output_offsets = offsets_of(output, 2, lead);
    const auto position_offsets = offsets_of(where, std::min<int64_t>(1, where.ndim()), lead);
    const bool repeats = where.ndim() == 0 || extent(where, where.ndim() - 1) == 1;
    run(attention_kernels().rotary_embedding_forward,
        RotaryEmbeddingArgs<T>{static_cast<int64_t>(input_offsets.size()), rows, width, turned / 2,
                               interleaved, inverse, is_reduced, frequencies.data(), where.data(),
                               position_offsets.data(), repeats ? 0 : 1, x.data(),
                               input_offsets.data(), element_stride(x, x.ndim() - 2),
                               output.mutable_data(), output_offsets.data(),
                               element_stride(output, output.ndim() - 2)});
    return std::move(output);
  });
}

}  // namespace

void init_attention(py::module_& m) {
  m.def("scaled_dot_product_attention_forward", &forward, py::arg("query"), py::arg("key"),
        py::arg("value"), py::arg("attn_mask"), py::arg("scale"), py::arg("enable_gqa"),
        py::arg("rules") = py::none(), py::arg("dropout") = py::none(), py::arg("out") = py::none(),
        "Returns (output, log_sum_exp); `rules` is (left, right, lower_right, query_lengths, "
        "key_lengths, softcap, alibi_slopes) or None, `dropout` (threshold, scale, seed, stream)");
  m.def("scaled_dot_product_attention_backward", &backward, py::arg("query"), py::arg("key"),
        py::arg("value"), py::arg("attn_mask"), py::arg("scale"), py::arg("enable_gqa"),
        py::arg("rules"), py::arg("dropout"), py::arg("grad_output"), py::arg("output"),
        py::arg("log_sum_exp"), py::arg("grad_log_sum_exp"), py::arg("weights"),
        py::arg("grad_weights"), py::arg("needs"));
  m.def("attention_weights", &attention_weights, py::arg("query"), py::arg("key"), py::arg("value"),
        py::arg("attn_mask"), py::arg("scale"), py::arg("enable_gqa"), py::arg("rules"),
        py::arg("dropout"), py::arg("log_sum_exp"));
  m.def("rotary_embedding_forward", &rotary_embedding, py::arg("input"), py::arg("positions"),
        py::arg("base"), py::arg("interleaved"), py::arg("rotary_dim"), py::arg("inverse"),
        py::arg("out") = py::none(),
        "Turns pairs of features by their positions; inverse turns them back");
}

}  // namespace fastnn
