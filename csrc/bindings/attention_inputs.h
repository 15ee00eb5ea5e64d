// The checked inputs of attention's bindings.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "bindings/common.h"
#include "ops/attention.h"

namespace fastnn {

inline constexpr int64_t kNoLimit = int64_t{1} << 40;

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
inline AttentionDropout dropout_of(py::handle object) {
  if (object.is_none()) return {};
  const auto items = py::cast<py::tuple>(object);
  return {items[0].cast<uint64_t>(), items[1].cast<double>(), items[2].cast<uint64_t>(),
          items[3].cast<uint64_t>()};
}

inline int64_t element_stride(const py::array& a, int64_t axis) {
  return static_cast<int64_t>(a.strides(static_cast<py::ssize_t>(axis))) /
         static_cast<int64_t>(a.itemsize());
}

// Sizes of 1 repeat; `what` names the arrays in the message.
inline Shape broadcast_shapes(const Check& check, const Shape& a, const Shape& b,
                              const char* what) {
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
inline std::vector<int64_t> offsets_of(const py::array& a, int64_t inner, const Shape& shape) {
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

inline bool broadcasts_to(const Shape& from, const Shape& to) {
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

inline py::array new_array(const Check& check, const Shape& shape, const py::dtype& dtype) {
  const LargeOutput memory(check.size("output", shape, dtype.itemsize()) * dtype.itemsize());
  return py::array(dtype, std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

// An array of float32, which may be given as bfloat16 if query is.
inline py::handle widened(py::handle object, bool is_reduced, py::object& memory) {
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

}  // namespace fastnn
