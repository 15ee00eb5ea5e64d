#include "bindings/rnn_args.h"

#include <algorithm>
#include <numeric>

#include "bindings/packed_matrix.h"
#include "ops/gemm.h"

namespace fastnn {

CellInfo cell_info(const Check& check, std::string_view name) {
  if (name == "lstm") return {RnnCell::kLstm, 4, 4, true};
  if (name == "gru") return {RnnCell::kGru, 3, 4, false};
  if (name == "gru_reset_first") return {RnnCell::kGruResetFirst, 3, 3, false};
  if (name == "tanh") return {RnnCell::kTanh, 1, 1, false};
  if (name == "relu") return {RnnCell::kRelu, 1, 1, false};
  check.value_error("nonlinearity must be 'tanh' or 'relu', got '" + std::string(name) + "'");
}

Layout::Layout(int64_t steps, int64_t batch, const int64_t* lengths, bool batch_first)
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
std::vector<int64_t> Layout::offsets(bool reverse, int64_t width, int64_t start) const {
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

namespace {

// An optional vector. A Shape is made for the message only: a step of a cell is a short call.
template <class T>
void check_vector(const Check& check, const char* name, const Array<T>& a, int64_t size,
                  const char* meaning) {
  if (a && (a.ndim() != 1 || extent(a, 0) != size)) check.shape(name, a, {size}, meaning);
}

// False where `weight` is no matrix of reduced precision: neither a PackedMatrix of bfloat16, nor a
// pair of a PackedInt8Matrix and the scales of its rows.
template <class T>
bool read_reduced(const Check& check, const char* name, py::handle weight, RecurrentMatrix<T>& w) {
  const GemmKernels* table = nullptr;
  if (py::isinstance<py::tuple>(weight)) {
    const auto pair = py::reinterpret_borrow<py::tuple>(weight);
    const auto& packed = py::cast<const PackedInt8Matrix&>(pair[0]);
    w.reduced = packed.data;
    w.scale = check.contiguous<T>(name, pair[1]);
    w.rows = packed.out_features;
    w.cols = packed.in_features;
    check_vector(check, "weight_scale", w.scale, w.rows, "weight.shape[0]");
    table = packed.table;
  } else if (const auto* packed = as_pack<PackedMatrix>(weight)) {
    if (!packed->is_bfloat16) return false;
    if (sizeof(T) != sizeof(float)) check.type_error("bfloat16 weights take float32 inputs");
    w.reduced = py::reinterpret_borrow<Array<int32_t>>(packed->data);
    w.rows = packed->out_features;
    w.cols = packed->in_features;
    table = packed->table;
  } else {
    return false;
  }
  require_active(check, name, table, &gemm_kernels());
  return true;
}

template <class T>
RecurrentMatrix<T> checked_matrix(const Check& check, const char* name, py::handle weight) {
  RecurrentMatrix<T> w;
  if (const auto* packed = as_pack<PackedRecurrent>(weight)) {
    require_active(check, name, packed->table, &rnn_kernels());
    w.packed = check.contiguous<T>(name, packed->data);
    w.rows = packed->gates * packed->hidden_size;
    w.cols = packed->depth;
  } else if (!read_reduced(check, name, weight, w)) {
    w.dense = check.contiguous<T>(name, weight);
    check.rank(name, w.dense, 2);
    w.rows = extent(w.dense, 0);
    w.cols = extent(w.dense, 1);
  }
  return w;
}

template <class T>
void check_matrix_shape(const Check& check, const char* name, const RecurrentMatrix<T>& w,
                        int64_t rows, int64_t cols, const char* meaning) {
  if (w.rows == rows && w.cols == cols) return;
  check.value_error(std::string(name) + ".shape must be " + to_string({rows, cols}) + " (" +
                    meaning + "), got " + to_string({w.rows, w.cols}));
}

}  // namespace

template <class T>
RecurrentWeights<T> checked_weights(const Check& check, const CellInfo& cell,
                                    const py::tuple& weights, int64_t inputs) {
  RecurrentWeights<T> w;
  w.w_ih = checked_matrix<T>(check, "w_ih", weights[0]);
  w.w_hh = checked_matrix<T>(check, "w_hh", weights[1]);
  w.output = w.w_hh.cols;
  check.at_least("w_hh.shape[1] (hidden_size)", w.output, 1);
  if (!w.w_ih.reduced != !w.w_hh.reduced) {
    check.value_error("w_ih and w_hh must both be of reduced precision, or neither");
  }
  w.b_ih = check.optional<T>("b_ih", weights[2]);
  w.b_hh = check.optional<T>("b_hh", weights[3]);
  w.peephole = check.optional<T>("peephole", weights[5]);
  w.hidden = w.output;
  if (read_reduced(check, "w_hr", weights[4], w.w_hr)) {
    w.hidden = w.w_hr.cols;
  } else if ((w.w_hr.dense = check.optional<T>("w_hr", weights[4]))) {
    check.rank("w_hr", w.w_hr.dense, 2);
    w.hidden = extent(w.w_hr.dense, 1);
    check.at_least("w_hr.shape[1] (hidden_size)", w.hidden, 1);
    check.shape("w_hr", w.w_hr.dense, {w.output, w.hidden}, "w_hh.shape[1], hidden_size");
  }
  const int64_t rows = cell.gates * w.hidden;
  check_matrix_shape(check, "w_hh", w.w_hh, rows, w.output, "gates * hidden_size, hidden_size");
  check_matrix_shape(check, "w_ih", w.w_ih, rows, inputs, "gates * hidden_size, input size");
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

#define FASTNN_INSTANTIATE(T)                                                                      \
  template RecurrentWeights<T> checked_weights<T>(const Check&, const CellInfo&, const py::tuple&, \
                                                  int64_t);                                        \
  template Array<T> checked_states<T>(const Check&, const char*, py::handle, Shape);               \
  template Array<T> checked_state<T>(const Check&, const char*, py::handle, const Shape&);

FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)

}  // namespace fastnn
