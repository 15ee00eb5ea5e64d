#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "bindings/common.h"

namespace fastnn {
namespace {

constexpr int64_t kNoLimit = int64_t{1} << 40;

// How the scores are made, as Python hands it over: one tuple
// (left, right, lower_right, query_lengths, key_lengths, softcap, alibi_slopes), or None.
struct RuleArguments {
  int64_t left = kNoLimit, right = kNoLimit;
  bool lower_right = false;
  double softcap = 0;
  py::object query_lengths = py::none(), key_lengths = py::none(), slopes = py::none();

  explicit RuleArguments(py::handle object) {
    if (object.is_none()) return;
    const auto items = py::cast<py::tuple>(object);
    left = limit(items[0]);
    right = limit(items[1]);
    lower_right = items[2].cast<bool>();
    query_lengths = items[3];
    key_lengths = items[4];
    softcap = items[5].cast<double>();
    slopes = items[6];
  }
  static int64_t limit(py::handle value) {
    return value.is_none() ? kNoLimit : std::min(value.cast<int64_t>(), kNoLimit);
  }
};

// (threshold, scale, seed, stream), or None.
AttentionDropout dropout_of(py::handle object) {
  if (object.is_none()) return {};
  const auto items = py::cast<py::tuple>(object);
  return {items[0].cast<uint64_t>(), items[1].cast<double>(), items[2].cast<uint64_t>(),
          items[3].cast<uint64_t>()};
}

int64_t element_stride(const py::array& a, int64_t axis) {
  return static_cast<int64_t>(a.strides(static_cast<py::ssize_t>(axis))) /
         static_cast<int64_t>(a.itemsize());
}

// Sizes of 1 repeat; `what` names the arrays in the message.
Shape broadcast_shapes(const Check& check, const Shape& a, const Shape& b, const char* what) {
  Shape result = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const size_t shift = result.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    int64_t& size = result[shift + i];
    if (size == 1) {
      size = shorter[i];
    } else if (shorter[i] != 1 && shorter[i] != size) {
      check.value_error(std::string("leading dimensions of ") + what + " must broadcast, got " +
                        to_string(a) + " and " + to_string(b));
    }
  }
  return result;
}

// The element offset of every index of `shape` (in C order) into the first axes of `a`, all but the
// last `inner`; axes of size 1 and missing ones repeat.
std::vector<int64_t> offsets_of(const py::array& a, int64_t inner, const Shape& shape) {
  const int64_t outer = static_cast<int64_t>(a.ndim()) - inner;
  const int64_t shift = static_cast<int64_t>(shape.size()) - outer;
  std::vector<int64_t> offsets{0}, longer;
  for (int64_t axis = 0; axis < static_cast<int64_t>(shape.size()); ++axis) {
    const int64_t size = shape[static_cast<size_t>(axis)];
    const bool repeats = axis < shift || extent(a, axis - shift) == 1;
    const int64_t stride = repeats ? 0 : element_stride(a, axis - shift);
    longer.clear();
    longer.reserve(offsets.size() * static_cast<size_t>(size));
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < size; ++i) longer.push_back(offset + i * stride);
    }
    offsets.swap(longer);
  }
  return offsets;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.size() > to.size()) return false;
  for (size_t i = 0; i < from.size(); ++i) {
    const int64_t size = from[from.size() - 1 - i];
    if (size != 1 && size != to[to.size() - 1 - i]) return false;
  }
  return true;
}

// One matrix a head.
struct Stack {
  py::array array;
  std::vector<int64_t> offsets;

  template <class T>
  MatrixStack<T> matrices() const {
    return {array.data(), offsets.data(), element_stride(array, array.ndim() - 2),
            element_stride(array, array.ndim() - 1), is_bfloat16(array)};
  }
};

// f(T{}) with the type that an array is computed in.
template <class F>
auto dispatch(const Check& check, const char* name, py::handle object, const F& f) {
  return is_bfloat16(object) ? f(float{}) : check.dispatch(name, object, f);
}

// An array of T, or with is_reduced of bfloat16; copied only if misaligned.
template <class T>
py::array stored(const Check& check, const char* name, py::handle object, bool is_reduced) {
  if (!is_reduced) return check.strided<T>(name, object);
  if (!is_bfloat16(object)) {
    check.type_error(std::string(name) + ".dtype must be bfloat16 like the other arrays, got " +
                     kind_of(object));
  }
  const auto a = py::reinterpret_borrow<py::array>(object);
  return has_whole_strides(a) ? a : py::array(a.attr("copy")());
}

py::array new_array(const Check& check, const Shape& shape, const py::dtype& dtype) {
  const LargeOutput memory(check.size("output", shape, dtype.itemsize()) * dtype.itemsize());
  return py::array(dtype, std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

// An array of float32, which may be given as bfloat16 if query is.
py::handle widened(py::handle object, bool is_reduced, py::object& memory) {
  if (!is_reduced || !is_bfloat16(object)) return object;
  memory = object.attr("astype")("float32");
  return memory;
}

// The checked inputs of a call, with everything that the argument struct points to.
template <class T>
class Inputs {
 public:
  Inputs(const Check& check, py::handle query, py::handle key, py::handle value, py::handle mask,
         py::handle scale, bool enable_gqa, py::handle rules, py::handle dropout)
      : check_(check), is_bfloat16_(is_bfloat16(query)) {
    query_.array = matrices("query", query);
    key_.array = matrices("key", key);
    value_.array = matrices("value", value);
    problem_.queries = extent(query_.array, query_.array.ndim() - 2);
    problem_.width = extent(query_.array, query_.array.ndim() - 1);
    problem_.keys = extent(key_.array, key_.array.ndim() - 2);
    problem_.value_width = extent(value_.array, value_.array.ndim() - 1);
    check.dim("key", key_.array, key_.array.ndim() - 1, problem_.width, "query.shape[-1]");
    check.dim("value", value_.array, value_.array.ndim() - 2, problem_.keys, "key.shape[-2]");
    lay_out(enable_gqa);
    problem_.scale = static_cast<T>(
        scale.is_none() ? 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, problem_.width)))
                        : scale.cast<double>());
    problem_.query = query_.matrices<T>();
    problem_.key = key_.matrices<T>();
    problem_.value = value_.matrices<T>();
    set_rules(RuleArguments(rules));
    problem_.dropout = dropout_of(dropout);
    set_mask(mask);
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  const AttentionProblem<T>& problem() const { return problem_; }
  // query's (or key's) leading dimensions, then these two.
  Shape query_shape(int64_t rows, int64_t cols) const { return with(lead_, rows, cols); }
  Shape key_shape(int64_t rows, int64_t cols) const { return with(key_lead_, rows, cols); }
  const Shape& lead() const { return lead_; }
  py::dtype dtype() const { return query_.array.dtype(); }

  // A further array with query's leading dimensions.
  Stack like_output(const char* name, py::handle object) const {
    Stack stack;
    stack.array = matrices(name, object);
    check_.shape(name, stack.array, query_shape(problem_.queries, problem_.value_width),
                 "the output's shape");
    stack.offsets = offsets_of(stack.array, 2, lead_);
    return stack;
  }

 private:
  py::array matrices(const char* name, py::handle object) const {
    py::array a = stored<T>(check_, name, object, is_bfloat16_);
    check_.min_rank(name, a, 2);
    return a;
  }
  static Shape lead_of(const py::array& a) { return Shape(a.shape(), a.shape() + a.ndim() - 2); }
  static Shape with(Shape shape, int64_t rows, int64_t cols) {
    shape.insert(shape.end(), {rows, cols});
    return shape;
  }

  void lay_out(bool enable_gqa) {
    lead_ = lead_of(query_.array);
    const Shape key_lead = lead_of(key_.array), value_lead = lead_of(value_.array);
    int64_t heads = 1, key_heads = 1;
    if (enable_gqa) {
      if (lead_.empty() || key_lead.empty() || value_lead.empty()) {
        check_.value_error("query, key and value must have at least 3 dimensions with enable_gqa");
      }
      heads = lead_.back();
      key_heads = key_lead.back();
      check_.dim("value", value_.array, value_.array.ndim() - 3, key_heads, "key.shape[-3]");
      if (key_heads == 0 ? heads != 0 : heads % key_heads != 0) {
        check_.value_error("query.shape[-3] must be a multiple of key.shape[-3] (" +
                           std::to_string(key_heads) + "), got " + std::to_string(heads));
      }
      lead_.back() = key_heads;
    }
    key_lead_ = broadcast_shapes(check_, lead_,
                                 broadcast_shapes(check_, key_lead, value_lead, "key and value"),
                                 "query and key");
    lead_ = key_lead_;
    if (enable_gqa) lead_.back() = heads;
    problem_.group = enable_gqa && key_heads > 0 ? std::max<int64_t>(1, heads / key_heads) : 1;
    problem_.heads = check_.size("query", lead_, sizeof(T));
    check_.size("query", query_shape(problem_.queries, problem_.width), sizeof(T));
    query_.offsets = offsets_of(query_.array, 2, lead_);
    key_.offsets = offsets_of(key_.array, 2, key_lead_);
    value_.offsets = offsets_of(value_.array, 2, key_lead_);
  }

  void set_rules(const RuleArguments& rules) {
    AttentionRules<T>& r = problem_.rules;
    r.left = rules.left;
    r.right = rules.right;
    r.lower_right = rules.lower_right;
    r.softcap = static_cast<T>(rules.softcap);
    // Lengths belong to the batch: all leading dimensions but that of the heads.
    r.query_lengths = lengths("lengths", rules.query_lengths, problem_.queries, query_lengths_);
    r.key_lengths = lengths("kv_lengths", rules.key_lengths, problem_.keys, key_lengths_);
    if (!rules.slopes.is_none()) {
      py::object memory;
      const auto slopes =
          check_.strided<T>("alibi_slopes", widened(rules.slopes, is_bfloat16_, memory));
      if (!broadcasts_to(shape_of(slopes), lead_)) {
        check_.value_error("alibi_slopes.shape must broadcast to " + to_string(lead_) +
                           " (query.shape[:-2]), got " + to_string(shape_of(slopes)));
      }
      for (const int64_t offset : offsets_of(slopes, 0, lead_)) {
        slopes_.push_back(slopes.data()[offset]);
      }
      r.slopes = slopes_.data();
    }
  }

  const int64_t* lengths(const char* name, py::handle object, int64_t most,
                         std::vector<int64_t>& values) const {
    if (object.is_none()) return nullptr;
    const auto a = check_.indices(name, object);
    Shape batch = lead_;
    if (!batch.empty()) batch.pop_back();
    if (!broadcasts_to(shape_of(a), batch)) {
      check_.value_error(std::string(name) + ".shape must broadcast to " + to_string(batch) +
                         " (query.shape[:-3]), got " + to_string(shape_of(a)));
    }
    const int64_t heads = lead_.empty() ? 1 : lead_.back();
    for (const int64_t offset : offsets_of(a, 0, batch)) {
      const int64_t length = a.data()[offset];
      if (length < 0 || length > most) {
        check_.value_error(std::string(name) + " must be in 0.." + std::to_string(most) + ", got " +
                           std::to_string(length));
      }
      values.insert(values.end(), static_cast<size_t>(heads), length);
    }
    return values.data();
  }

  void set_mask(py::handle mask) {
    if (mask.is_none()) return;
    AttentionRules<T>& r = problem_.rules;
    if (py::isinstance<py::array_t<bool>>(mask)) {
      mask_ = py::reinterpret_borrow<py::array>(mask);
      r.allowed = static_cast<const uint8_t*>(mask_.data());
    } else {
      py::object memory;
      const py::handle wide = widened(mask, is_bfloat16_, memory);
      if (py::isinstance<py::array>(wide) && !py::isinstance<py::array_t<float>>(wide) &&
          !py::isinstance<py::array_t<double>>(wide)) {
        check_.type_error("attn_mask.dtype must be bool or query's, got " +
                          std::string(py::str(mask.attr("dtype"))));
      }
      const auto bias = check_.strided<T>("attn_mask", wide);
      r.bias = bias.data();
      mask_ = bias;
    }
    const Shape full = query_shape(problem_.queries, problem_.keys);
    if (!broadcasts_to(shape_of(mask_), full)) {
      check_.value_error("attn_mask.shape must broadcast to " + to_string(full) +
                         " (query.shape[:-1], key.shape[-2]), got " + to_string(shape_of(mask_)));
    }
    const auto inner = std::min<int64_t>(2, mask_.ndim());
    const auto stride = [&](int64_t axis) {  // counted from the last
      if (axis >= mask_.ndim() || extent(mask_, mask_.ndim() - 1 - axis) == 1) return int64_t{0};
      return element_stride(mask_, mask_.ndim() - 1 - axis);
    };
    r.mask_key_stride = stride(0);
    r.mask_query_stride = stride(1);
    mask_offsets_ = offsets_of(mask_, inner, lead_);
    r.mask_offsets = mask_offsets_.data();
  }

  const Check& check_;
  bool is_bfloat16_;
  Stack query_, key_, value_;
  py::array mask_;
  Shape lead_, key_lead_;
  std::vector<int64_t> mask_offsets_, query_lengths_, key_lengths_;
  std::vector<T> slopes_;
  AttentionProblem<T> problem_{};
};

// The shape with its last dimension but one left out.
Shape row_shape(const Shape& matrix) { return Shape(matrix.begin(), matrix.end() - 1); }

template <class T>
Array<T> zeros(const Check& check, const Shape& shape) {
  auto a = check.output<T>(shape);
  std::fill_n(a.mutable_data(), a.size(), T(0));
  return a;
}

// A new array of some type, laid out as query is: where its positions lie outside of its heads in
// memory, so do the output's.
template <class New>
py::array laid_out_as(const Shape& shape, const py::array& query, const New& new_array) {
  const py::ssize_t rank = query.ndim();
  const auto heads_inside = [&] {
    return rank >= 3 && rank == static_cast<py::ssize_t>(shape.size()) &&
           query.shape(rank - 3) > 1 && query.shape(rank - 2) > 1 && query.strides(rank - 3) > 0 &&
           query.strides(rank - 3) < query.strides(rank - 2);
  };
  if (!heads_inside()) return new_array(shape);
  Shape memory = shape;
  const size_t last = shape.size() - 1;
  std::swap(memory[last - 1], memory[last - 2]);
  const py::array base = new_array(memory);
  std::vector<py::ssize_t> strides(base.strides(), base.strides() + rank);
  std::swap(strides[last - 1], strides[last - 2]);
  return py::array(base.dtype(), std::vector<py::ssize_t>(shape.begin(), shape.end()), strides,
                   base.data(), base);
}

// `out`, checked.
template <class T>
py::array destination(const Check& check, const Shape& shape, py::handle out, bool is_reduced,
                      std::initializer_list<py::handle> inputs) {
  if (!is_reduced) return check.output<T>(shape, out, inputs);
  if (!is_bfloat16(out)) {
    check.type_error("out must be a numpy.ndarray of bfloat16, got " + kind_of(out));
  }
  auto y = py::reinterpret_borrow<py::array>(out);
  check.destination(y, shape, inputs);
  return y;
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
