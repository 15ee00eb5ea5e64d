#include "ops/rnn.h"

#include <algorithm>
#include <numeric>

#include "bindings/common.h"
#include "bindings/fastcall.h"
#include "bindings/packed_matrix.h"
#include "ops/gemm.h"

namespace fastnn {
namespace {

struct CellInfo {
  RnnCell cell;
  int64_t gates, reserve;
  bool lstm;
};

CellInfo cell_info(const Check& check, const std::string& name) {
  if (name == "lstm") return {RnnCell::kLstm, 4, 4, true};
  if (name == "gru") return {RnnCell::kGru, 3, 4, false};
  if (name == "gru_reset_first") return {RnnCell::kGruResetFirst, 3, 3, false};
  if (name == "tanh") return {RnnCell::kTanh, 1, 1, false};
  if (name == "relu") return {RnnCell::kRelu, 1, 1, false};
  check.value_error("nonlinearity must be 'tanh' or 'relu', got '" + name + "'");
}

// The packed rows of a batch (ops/rnn.h) and where they lie in (steps, batch, ...) arrays.
class Layout {
 public:
  // lengths may be null: every sequence is `steps` long.
  Layout(int64_t steps, int64_t batch, const int64_t* lengths, bool batch_first)
      : order_(static_cast<size_t>(batch)), steps_(steps), batch_first_(batch_first) {
    std::iota(order_.begin(), order_.end(), int64_t{0});
    if (lengths != nullptr) {
      lengths_.assign(lengths, lengths + batch);
      std::stable_sort(order_.begin(), order_.end(),
                       [&](int64_t a, int64_t b) { return length(a) > length(b); });
    }
    step_rows_.reserve(static_cast<size_t>(steps));
    step_start_.reserve(static_cast<size_t>(steps));
    int64_t active = batch;
    for (int64_t s = 0; s < steps; ++s) {
      while (active > 0 && length(order_[static_cast<size_t>(active - 1)]) <= s) --active;
      if (active == 0) break;
      step_rows_.push_back(active);
      step_start_.push_back(packed_rows_);
      packed_rows_ += active;
    }
    rows_ = {static_cast<int64_t>(step_rows_.size()), batch, step_rows_.data(), step_start_.data(),
             order_.data()};
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  const RnnRows& rows() const { return rows_; }
  int64_t packed_rows() const { return packed_rows_; }

  // Where each packed row lies in an array (steps, batch, width), from element `start` on.
  std::vector<int64_t> offsets(bool reverse, int64_t width, int64_t start) const {
    std::vector<int64_t> result(static_cast<size_t>(packed_rows_));
    int64_t* offset = result.data();
    for (int64_t s = 0; s < rows_.steps; ++s) {
      for (int64_t r = 0; r < step_rows_[static_cast<size_t>(s)]; ++r) {
        const int64_t b = order_[static_cast<size_t>(r)];
        const int64_t t = reverse ? length(b) - 1 - s : s;
        *offset++ = (batch_first_ ? b * steps_ + t : t * rows_.batch + b) * width + start;
      }
    }
    return result;
  }

 private:
  int64_t length(int64_t b) const {
    return lengths_.empty() ? steps_ : lengths_[static_cast<size_t>(b)];
  }

  std::vector<int64_t> order_, lengths_, step_rows_, step_start_;
  int64_t steps_, packed_rows_ = 0;
  bool batch_first_;
  RnnRows rows_;
};

Array<int64_t> checked_lengths(const Check& check, py::handle lengths, int64_t batch,
                               int64_t steps) {
  if (lengths.is_none()) return py::reinterpret_steal<Array<int64_t>>(py::handle());
  auto a = check.indices("lengths", lengths);
  check.shape("lengths", a, {batch}, "batch size");
  for (int64_t b = 0; b < batch; ++b) {
    if (a.data()[b] < 0 || a.data()[b] > steps) {
      check.value_error("lengths[" + std::to_string(b) + "] must be in 0.." +
                        std::to_string(steps) + " (time steps), got " +
                        std::to_string(a.data()[b]));
    }
  }
  return a;
}

// An absent array; a default-constructed one is empty instead.
template <class T>
Array<T> absent() {
  return py::reinterpret_steal<Array<T>>(py::handle());
}

// An optional vector. A Shape is made for the message only: a step of a cell is a short call.
template <class T>
void check_vector(const Check& check, const char* name, const Array<T>& a, int64_t size,
                  const char* meaning) {
  if (a && (a.ndim() != 1 || extent(a, 0) != size)) check.shape(name, a, {size}, meaning);
}

// A matrix of reduced precision: a PackedMatrix of bfloat16, or a pair of a PackedInt8Matrix and
// the scales of its rows.
template <class T>
struct ReducedWeight {
  Array<int32_t> packed = absent<int32_t>();
  Array<T> scale = absent<T>();
  int64_t rows = 0, cols = 0;

  RnnReducedWeight<T> pointers() const { return {data_or_null(packed), data_or_null(scale)}; }
};

// False where `weight` is nothing of the kind.
template <class T>
bool read_reduced(const Check& check, const char* name, py::handle weight, ReducedWeight<T>& w) {
  const GemmKernels* table = nullptr;
  if (py::isinstance<py::tuple>(weight)) {
    const auto pair = py::reinterpret_borrow<py::tuple>(weight);
    const auto& packed = py::cast<const PackedInt8Matrix&>(pair[0]);
    w = {packed.data, check.contiguous<T>(name, pair[1]), packed.out_features, packed.in_features};
    check_vector(check, "weight_scale", w.scale, w.rows, "weight.shape[0]");
    table = packed.table;
  } else if (const PackedMatrix* packed = as_packed_matrix(weight)) {
    if (!packed->is_bfloat16) return false;
    if (sizeof(T) != sizeof(float)) check.type_error("bfloat16 weights take float32 inputs");
    w = {py::reinterpret_borrow<Array<int32_t>>(packed->data), absent<T>(), packed->out_features,
         packed->in_features};
    table = packed->table;
  } else {
    return false;
  }
  require_active(check, name, table, &gemm_kernels());
  return true;
}

// The checked weights of one direction; keeps alive what the pointers point into.
template <class T>
struct Weights {
  Array<T> w_ih = absent<T>(), w_hh = absent<T>(), w_hr = absent<T>();
  Array<T> b_ih = absent<T>(), b_hh = absent<T>(), peephole = absent<T>();
  Array<T> packed_w_ih = absent<T>(), packed_w_hh = absent<T>();
  ReducedWeight<T> reduced_w_ih, reduced_w_hh, reduced_w_hr;
  int64_t rows_ih = 0, inputs = 0, rows_hh = 0, output = 0;  // w_ih's shape and w_hh's
  int64_t hidden = 0;

  RnnWeights<T> pointers() const {
    return {data_or_null(w_ih), data_or_null(w_hh), data_or_null(w_hr),
            data_or_null(b_ih), data_or_null(b_hh), data_or_null(peephole)};
  }
  RnnReducedWeights<T> reduced() const {
    return {reduced_w_ih.pointers(), reduced_w_hh.pointers(), reduced_w_hr.pointers()};
  }
};

template <class T>
void check_input_weight(const Check& check, py::handle w_ih, Weights<T>& w) {
  if (read_reduced(check, "w_ih", w_ih, w.reduced_w_ih)) {
    w.rows_ih = w.reduced_w_ih.rows;
    w.inputs = w.reduced_w_ih.cols;
  } else if (py::isinstance<PackedRecurrent>(w_ih)) {
    const auto& packed = py::cast<const PackedRecurrent&>(w_ih);
    require_active(check, "w_ih", packed.table, &rnn_kernels());
    w.packed_w_ih = check.contiguous<T>("w_ih", packed.data);
    w.rows_ih = packed.gates * packed.hidden_size;
    w.inputs = packed.depth;
  } else {
    w.w_ih = check.contiguous<T>("w_ih", w_ih);
    check.rank("w_ih", w.w_ih, 2);
    w.rows_ih = extent(w.w_ih, 0);
    w.inputs = extent(w.w_ih, 1);
  }
}

template <class T>
void check_recurrent_weight(const Check& check, py::handle w_hh, Weights<T>& w) {
  if (read_reduced(check, "w_hh", w_hh, w.reduced_w_hh)) {
    w.rows_hh = w.reduced_w_hh.rows;
    w.output = w.reduced_w_hh.cols;
  } else if (py::isinstance<PackedRecurrent>(w_hh)) {
    const auto& packed = py::cast<const PackedRecurrent&>(w_hh);
    require_active(check, "w_hh", packed.table, &rnn_kernels());
    w.packed_w_hh = check.contiguous<T>("w_hh", packed.data);
    w.rows_hh = packed.gates * packed.hidden_size;
    w.output = packed.depth;
  } else {
    w.w_hh = check.contiguous<T>("w_hh", w_hh);
    check.rank("w_hh", w.w_hh, 2);
    w.rows_hh = extent(w.w_hh, 0);
    w.output = extent(w.w_hh, 1);
  }
}

// `weights` is (w_ih, w_hh, b_ih, b_hh, w_hr, peephole); the first two may be packed, or all three
// matrices of reduced precision.
template <class T>
Weights<T> checked_weights(const Check& check, const std::string& cell, const py::tuple& weights,
                           int64_t inputs) {
  Weights<T> w;
  check_input_weight(check, weights[0], w);
  check_recurrent_weight(check, weights[1], w);
  check.at_least("w_hh.shape[1] (hidden_size)", w.output, 1);
  if (!w.reduced_w_ih.packed != !w.reduced_w_hh.packed) {
    check.value_error("w_ih and w_hh must both be of reduced precision, or neither");
  }
  w.b_ih = check.optional<T>("b_ih", weights[2]);
  w.b_hh = check.optional<T>("b_hh", weights[3]);
  const bool reduced_hr = read_reduced(check, "w_hr", weights[4], w.reduced_w_hr);
  if (!reduced_hr) w.w_hr = check.optional<T>("w_hr", weights[4]);
  w.peephole = check.optional<T>("peephole", weights[5]);
  w.hidden = w.output;
  if (reduced_hr) w.hidden = w.reduced_w_hr.cols;
  if (w.w_hr) {
    check.rank("w_hr", w.w_hr, 2);
    w.hidden = extent(w.w_hr, 1);
    check.at_least("w_hr.shape[1] (hidden_size)", w.hidden, 1);
    check.shape("w_hr", w.w_hr, {w.output, w.hidden}, "w_hh.shape[1], hidden_size");
  }
  const int64_t rows = cell_info(check, cell).gates * w.hidden;
  if (w.rows_hh != rows) {
    check.value_error("w_hh.shape must be " + to_string({rows, w.output}) +
                      " (gates * hidden_size, hidden_size), got " +
                      to_string({w.rows_hh, w.output}));
  }
  if (w.rows_ih != rows || w.inputs != inputs) {
    check.value_error("w_ih.shape must be " + to_string({rows, inputs}) +
                      " (gates * hidden_size, input size), got " +
                      to_string({w.rows_ih, w.inputs}));
  }
  check_vector(check, "b_ih", w.b_ih, rows, "gates * hidden_size");
  check_vector(check, "b_hh", w.b_hh, rows, "gates * hidden_size");
  check_vector(check, "peephole", w.peephole, 3 * w.hidden, "3 * hidden_size");
  return w;
}

// A state (directions, batch, size) or, of a single direction, an error that leaves out the first.
template <class T>
Array<T> checked_states(const Check& check, const char* name, py::handle state, Shape shape) {
  auto a = check.optional<T>(name, state);
  if (!a || shape_of(a) == shape) return a;
  Shape got = shape_of(a);
  const bool single = shape[0] == 1 && got.size() == 3 && got[0] == 1;
  if (single) {
    shape.erase(shape.begin());
    got.erase(got.begin());
  }
  check.value_error(std::string(name) + ".shape must be " + to_string(shape) +
                    (single ? " (batch, size), got " : " (directions, batch, size), got ") +
                    to_string(got));
}

// A state of one direction.
template <class T>
Array<T> checked_state(const Check& check, const char* name, py::handle state, const Shape& shape) {
  auto a = check.optional<T>(name, state);
  if (a) check.shape(name, a, shape, "batch, size");
  return a;
}

template <class T>
T* at_direction(const Array<T>& a, int d, int64_t size) {
  return a ? const_cast<T*>(a.data()) + d * size : nullptr;
}

// A str's characters, which live as long as it.
const char* utf8(py::handle text) {
  const char* const characters = PyUnicode_AsUTF8(text.ptr());
  if (characters == nullptr) throw py::error_already_set();
  return characters;
}

// One layer. `weights` holds a tuple a direction; of two, the second runs backwards. States are
// (directions, batch, size). Returns (y, h_n, c_n, saved): c_n is None unless an LSTM, saved None
// or a tuple (gates, cells) a direction.
py::object rnn_forward(py::handle name, py::handle cell_name, py::handle input, py::handle h0,
                       py::handle c0, py::handle weight_tuples, py::handle is_reverse,
                       py::handle is_batch_first, py::handle lengths, py::handle is_saved) {
  const Check check(utf8(name));
  const std::string cell = utf8(cell_name);
  const auto weights = py::cast<py::tuple>(weight_tuples);
  const bool reverse = py::cast<bool>(is_reverse), batch_first = py::cast<bool>(is_batch_first);
  const bool save = py::cast<bool>(is_saved);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.rank("input", x, 3);
    const int64_t steps = extent(x, batch_first ? 1 : 0), batch = extent(x, batch_first ? 0 : 1);
    const int count = static_cast<int>(weights.size());
    Weights<T> w[2];
    for (int d = 0; d < count; ++d) {
      w[d] = checked_weights<T>(check, cell, weights[static_cast<size_t>(d)], extent(x, 2));
    }
    const CellInfo info = cell_info(check, cell);
    const int64_t hidden = w[0].hidden, output = w[0].output, width = count * output;
    const Shape h_shape{count, batch, output}, c_shape{count, batch, hidden};
    const auto h = checked_states<T>(check, "h0", h0, h_shape);
    const auto c = checked_states<T>(check, "c0", c0, c_shape);
    const auto lens = checked_lengths(check, lengths, batch, steps);
    check.size("gates", {count, steps, batch, info.reserve, hidden}, sizeof(T));
    // Before the layout: with input_size 0 it is y that shows a batch too large for the memory.
    auto y = check.output<T>({extent(x, 0), extent(x, 1), width});
    const Layout layout(steps, batch, lens ? lens.data() : nullptr, batch_first);
    if (layout.packed_rows() < steps * batch) std::fill_n(y.mutable_data(), y.size(), T(0));
    auto h_n = check.output<T>(h_shape);
    auto c_n = info.lstm ? check.output<T>(c_shape) : absent<T>();
    RnnForwardArgs<T> args{{info.cell, layout.rows(), extent(x, 2), hidden, output},
                           x.data(),
                           y.mutable_data(),
                           count,
                           {}};
    std::vector<int64_t> offsets[2][2];
    py::tuple saved(save ? count : 0);
    for (int d = 0; d < count; ++d) {
      const bool backwards = count == 2 ? d == 1 : reverse;
      offsets[d][0] = layout.offsets(backwards, extent(x, 2), 0);
      offsets[d][1] = layout.offsets(backwards, width, d * output);
      args.direction[d] = {w[d].pointers(),
                           data_or_null(w[d].packed_w_ih),
                           data_or_null(w[d].packed_w_hh),
                           w[d].reduced(),
                           offsets[d][0].data(),
                           offsets[d][1].data(),
                           at_direction(h, d, batch * output),
                           at_direction(c, d, batch * hidden),
                           at_direction(h_n, d, batch * output),
                           at_direction(c_n, d, batch * hidden),
                           nullptr,
                           nullptr};
      if (!save) continue;
      auto gates = check.output<T>({layout.packed_rows(), info.reserve * hidden});
      auto cells = check.output<T>({info.lstm ? layout.packed_rows() : 0, hidden});
      args.direction[d].gates = gates.mutable_data();
      args.direction[d].cells = cells.mutable_data();
      saved[static_cast<size_t>(d)] = py::make_tuple(gates, cells);
    }
    run(rnn_kernels().rnn_forward, args);
    return py::make_tuple(y, h_n, info.lstm ? py::object(c_n) : py::none(),
                          save ? py::object(saved) : py::none());
  });
}

// One step of one direction: input (batch, inputs) or (inputs), states likewise. Returns (h, c), c
// None unless an LSTM.
py::object rnn_step(py::handle name, py::handle cell_name, py::handle input, py::handle h0,
                    py::handle c0, py::handle weight_tuple) {
  const Check check(utf8(name));
  const std::string cell = utf8(cell_name);
  const auto weights = py::cast<py::tuple>(weight_tuple);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const bool single = x.ndim() == 1;
    if (!single && x.ndim() != 2) {
      check.value_error("input must have 1 or 2 dimensions, got shape " + to_string(shape_of(x)));
    }
    const int64_t batch = single ? 1 : extent(x, 0), inputs = extent(x, x.ndim() - 1);
    const auto w = checked_weights<T>(check, cell, weights, inputs);
    const CellInfo info = cell_info(check, cell);
    const Shape h_shape = single ? Shape{w.output} : Shape{batch, w.output};
    const Shape c_shape = single ? Shape{w.hidden} : Shape{batch, w.hidden};
    const auto h = checked_state<T>(check, "h0", h0, h_shape);
    const auto c = checked_state<T>(check, "c0", c0, c_shape);
    auto h_n = check.output<T>(h_shape);
    auto c_n = info.lstm ? check.output<T>(c_shape) : absent<T>();
    const Layout layout(1, batch, nullptr, false);
    const auto x_offsets = layout.offsets(false, inputs, 0);
    const auto y_offsets = layout.offsets(false, w.output, 0);
    RnnForwardArgs<T> args{{info.cell, layout.rows(), inputs, w.hidden, w.output},
                           x.data(),
                           h_n.mutable_data(),  // the only output is the new state
                           1,
                           {}};
    args.direction[0] = {w.pointers(),
                         data_or_null(w.packed_w_ih),
                         data_or_null(w.packed_w_hh),
                         w.reduced(),
                         x_offsets.data(),
                         y_offsets.data(),
                         data_or_null(h),
                         data_or_null(c),
                         h_n.mutable_data(),
                         info.lstm ? c_n.mutable_data() : nullptr,
                         nullptr,
                         nullptr};
    run(rnn_kernels().rnn_forward, args);
    return py::make_tuple(h_n, info.lstm ? py::object(c_n) : py::none());
  });
}

// One direction of `directions`, whose y and grad_y hold all of them side by side. Adds to grad_x
// (or None). Returns the gradients of h0, c0 and of the weights, in their order; None for those
// that `needs` leaves out.
py::object rnn_backward(const std::string& cell, py::handle input, py::handle h0, py::handle c0,
                        const py::tuple& weights, py::handle y, py::handle grad_y,
                        py::handle grad_h_n, py::handle grad_c_n, const py::tuple& saved,
                        py::handle grad_x, const py::tuple& needs, bool reverse, bool batch_first,
                        py::handle lengths, int direction, int directions) {
  const Check check("rnn_backward");
  return check.dispatch("y", y, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.rank("input", x, 3);
    const int64_t inputs = extent(x, 2);
    const int64_t steps = extent(x, batch_first ? 1 : 0), batch = extent(x, batch_first ? 0 : 1);
    const auto w = checked_weights<T>(check, cell, weights, inputs);
    const CellInfo info = cell_info(check, cell);
    const Shape h_shape{batch, w.output}, c_shape{batch, w.hidden};
    const auto h = checked_state<T>(check, "h0", h0, h_shape);
    const auto c = checked_state<T>(check, "c0", c0, c_shape);
    const auto dh = checked_state<T>(check, "grad_h_n", grad_h_n, h_shape);
    const auto dc = checked_state<T>(check, "grad_c_n", grad_c_n, c_shape);
    const auto output = check.contiguous<T>("y", y);
    check.shape("y", output, {extent(x, 0), extent(x, 1), directions * w.output}, "input.shape");
    const auto dy = check.optional<T>("grad_y", grad_y);
    if (dy) check.shape("grad_y", dy, shape_of(output), "y.shape");
    const auto lens = checked_lengths(check, lengths, batch, steps);
    const Layout layout(steps, batch, lens ? lens.data() : nullptr, batch_first);
    const auto gates = check.contiguous<T>("gates", saved[0]);
    const auto cells = check.contiguous<T>("cells", saved[1]);
    const int64_t rows = layout.packed_rows();
    check.shape("gates", gates, {rows, info.reserve * w.hidden}, "packed rows, gates");
    check.shape("cells", cells, {info.lstm ? rows : 0, w.hidden}, "packed rows, hidden_size");
    const auto x_offsets = layout.offsets(reverse, inputs, 0);
    const auto y_offsets = layout.offsets(reverse, directions * w.output, direction * w.output);
    auto dx = absent<T>();
    if (!grad_x.is_none()) dx = check.output<T>(shape_of(x), grad_x, {input});
    const int64_t wide = info.gates * w.hidden;
    const Shape shapes[] = {{wide, inputs}, {wide, w.output},     {wide},
                            {wide},         {w.output, w.hidden}, {3 * w.hidden}};
    Array<T> grads[6];
    T* pointers[6];
    py::tuple result(8);
    for (size_t i = 0; i < 6; ++i) {
      const bool wanted = needs[i].template cast<bool>();
      if (wanted) grads[i] = check.output<T>(shapes[i]);
      pointers[i] = wanted ? grads[i].mutable_data() : nullptr;
      result[i + 2] = wanted ? py::object(grads[i]) : py::none();
    }
    auto grad_h0 = check.output<T>(h_shape);
    auto grad_c0 = check.output<T>(info.lstm ? c_shape : Shape{0});
    result[0] = grad_h0;
    result[1] = grad_c0;
    run(rnn_kernels().rnn_backward,
        RnnBackwardArgs<T>{{info.cell, layout.rows(), inputs, w.hidden, w.output},
                           w.pointers(),
                           x.data(),
                           x_offsets.data(),
                           data_or_null(h),
                           data_or_null(c),
                           output.data(),
                           data_or_null(dy),
                           y_offsets.data(),
                           data_or_null(dh),
                           data_or_null(dc),
                           gates.data(),
                           cells.data(),
                           dx ? dx.mutable_data() : nullptr,
                           grad_h0.mutable_data(),
                           info.lstm ? grad_c0.mutable_data() : nullptr,
                           pointers[0],
                           pointers[1],
                           pointers[4],
                           pointers[2],
                           pointers[3],
                           pointers[5]});
    return std::move(result);
  });
}

PackedRecurrent pack_recurrent(py::handle weight, int64_t gates) {
  const Check check("pack_recurrent");
  return check.dispatch("weight", weight, [&](auto zero) -> PackedRecurrent {
    using T = decltype(zero);
    const auto w = check.contiguous<T>("weight", weight);
    check.rank("weight", w, 2);
    check.at_least("gates", gates, 1);
    int64_t elements = 0;
    PackRecurrentArgs<T> args{gates,    extent(w, 0) / gates, extent(w, 1), w.data(), nullptr,
                              &elements};
    const RnnKernels& table = rnn_kernels();
    run(table.pack_recurrent, args);
    auto packed = aligned_array<T>(elements);
    args.packed = packed.mutable_data();
    run(table.pack_recurrent, args);
    return {packed, gates, args.hidden, args.depth, &table};
  });
}

}  // namespace

void init_rnn(py::module_& m) {
  py::class_<PackedRecurrent>(m, "PackedRecurrent", "Recurrent weights packed by pack_recurrent");
  m.def(
      "pack_recurrent", &pack_recurrent, py::arg("weight"), py::arg("gates"),
      "Packs w_ih or w_hh (gates * hidden, depth) for rnn_forward, for the active instruction set");
  define<&rnn_forward>(m, "rnn_forward",
                       {{"name"},
                        {"cell"},
                        {"input"},
                        {"h0"},
                        {"c0"},
                        {"weights"},
                        {"reverse"},
                        {"batch_first"},
                        {"lengths"},
                        {"save"}});
  define<&rnn_step>(m, "rnn_step", {{"name"}, {"cell"}, {"input"}, {"h0"}, {"c0"}, {"weights"}});
  m.def("rnn_backward", &rnn_backward, py::arg("cell"), py::arg("input"), py::arg("h0"),
        py::arg("c0"), py::arg("weights"), py::arg("y"), py::arg("grad_y"), py::arg("grad_h_n"),
        py::arg("grad_c_n"), py::arg("saved"), py::arg("grad_x"), py::arg("needs"),
        py::arg("reverse"), py::arg("batch_first"), py::arg("lengths"), py::arg("direction"),
        py::arg("directions"));
}

}  // namespace fastnn
