#include "ops/rnn.h"

#include <algorithm>
#include <numeric>

#include "bindings/common.h"

namespace fastnn {
namespace {

struct CellInfo {
  RnnCell cell;
  int64_t gates, reserve;
};

CellInfo cell_info(const Check& check, const std::string& name) {
  if (name == "lstm") return {RnnCell::kLstm, 4, 4};
  if (name == "gru") return {RnnCell::kGru, 3, 4};
  if (name == "tanh") return {RnnCell::kTanh, 1, 1};
  if (name == "relu") return {RnnCell::kRelu, 1, 1};
  check.value_error("nonlinearity must be 'tanh' or 'relu', got '" + name + "'");
}

// The packed rows of a batch (ops/rnn.h) and where they lie in (steps, batch, ...) arrays.
class Layout {
 public:
  // lengths may be null: every sequence is `steps` long.
  Layout(int64_t steps, int64_t batch, const int64_t* lengths, bool reverse, bool batch_first)
      : order_(static_cast<size_t>(batch)) {
    const auto length = [&](int64_t b) { return lengths != nullptr ? lengths[b] : steps; };
    std::iota(order_.begin(), order_.end(), int64_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int64_t a, int64_t b) { return length(a) > length(b); });
    int64_t active = batch;
    for (int64_t s = 0; s < steps; ++s) {
      while (active > 0 && length(order_[static_cast<size_t>(active - 1)]) <= s) --active;
      if (active == 0) break;
      step_rows_.push_back(active);
      step_start_.push_back(static_cast<int64_t>(cells_.size()));
      for (int64_t r = 0; r < active; ++r) {
        const int64_t b = order_[static_cast<size_t>(r)];
        const int64_t t = reverse ? length(b) - 1 - s : s;
        cells_.push_back(batch_first ? b * steps + t : t * batch + b);
      }
    }
    rows_ = {static_cast<int64_t>(step_rows_.size()), batch, step_rows_.data(), step_start_.data(),
             order_.data()};
  }

  const RnnRows& rows() const { return rows_; }
  int64_t packed_rows() const { return static_cast<int64_t>(cells_.size()); }
  // (time, sequence) of every packed row as an index into the flattened leading dimensions.
  const std::vector<int64_t>& cells() const { return cells_; }

  std::vector<int64_t> offsets(int64_t width) const {
    std::vector<int64_t> result(cells_);
    for (int64_t& offset : result) offset *= width;
    return result;
  }

 private:
  std::vector<int64_t> order_, step_rows_, step_start_, cells_;
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

// Everything about a call but its states: checked sizes and weights.
template <class T>
struct Layer {
  CellInfo info;
  int64_t steps, batch, input_size, hidden_size;
  Array<T> x, w_ih, w_hh, b_ih, b_hh;
};

template <class T>
Layer<T> checked_layer(const Check& check, const std::string& cell, py::handle input,
                       py::handle w_ih, py::handle w_hh, py::handle b_ih, py::handle b_hh,
                       bool batch_first) {
  Layer<T> layer{cell_info(check, cell),
                 0,
                 0,
                 0,
                 0,
                 check.contiguous<T>("input", input),
                 check.contiguous<T>("w_ih", w_ih),
                 check.contiguous<T>("w_hh", w_hh),
                 check.optional<T>("b_ih", b_ih),
                 check.optional<T>("b_hh", b_hh)};
  check.rank("input", layer.x, 3);
  check.rank("w_ih", layer.w_ih, 2);
  check.rank("w_hh", layer.w_hh, 2);
  layer.steps = extent(layer.x, batch_first ? 1 : 0);
  layer.batch = extent(layer.x, batch_first ? 0 : 1);
  layer.input_size = extent(layer.x, 2);
  layer.hidden_size = extent(layer.w_hh, 1);
  check.at_least("w_hh.shape[1] (hidden_size)", layer.hidden_size, 1);
  const int64_t rows = layer.info.gates * layer.hidden_size;
  check.shape("w_hh", layer.w_hh, {rows, layer.hidden_size}, "gates * hidden_size, hidden_size");
  check.shape("w_ih", layer.w_ih, {rows, layer.input_size}, "gates * hidden_size, input size");
  if (layer.b_ih) check.shape("b_ih", layer.b_ih, {rows}, "gates * hidden_size");
  if (layer.b_hh) check.shape("b_hh", layer.b_hh, {rows}, "gates * hidden_size");
  return layer;
}

template <class T>
Array<T> checked_state(const Check& check, const char* name, py::handle state, const Shape& shape) {
  auto a = check.optional<T>(name, state);
  if (a) check.shape(name, a, shape, "batch, hidden_size");
  return a;
}

// Returns (y, h_n, c_n, gates, cells, packed index); None for what the cell or `save` leaves out.
py::object rnn_forward(const char* name, const std::string& cell, py::handle input, py::handle h0,
                       py::handle c0, py::handle w_ih, py::handle w_hh, py::handle b_ih,
                       py::handle b_hh, bool reverse, bool batch_first, py::handle lengths,
                       bool save) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto layer = checked_layer<T>(check, cell, input, w_ih, w_hh, b_ih, b_hh, batch_first);
    const bool lstm = layer.info.cell == RnnCell::kLstm;
    const int64_t hidden = layer.hidden_size;
    const Shape state{layer.batch, hidden};
    const auto h = checked_state<T>(check, "h0", h0, state);
    const auto c = checked_state<T>(check, "c0", c0, state);
    const auto lens = checked_lengths(check, lengths, layer.batch, layer.steps);
    check.size("gates", {layer.steps, layer.batch, layer.info.reserve, hidden}, sizeof(T));
    // Before the layout: with input_size 0 it is y that shows a batch too large for the memory.
    auto y = check.output<T>({extent(layer.x, 0), extent(layer.x, 1), hidden});
    const Layout layout(layer.steps, layer.batch, lens ? lens.data() : nullptr, reverse,
                        batch_first);
    const auto x_offsets = layout.offsets(layer.input_size);
    const auto y_offsets = layout.offsets(hidden);
    if (layout.packed_rows() < layer.steps * layer.batch) {
      std::fill_n(y.mutable_data(), y.size(), T(0));
    }
    auto h_n = check.output<T>(state);
    auto c_n = check.output<T>(lstm ? state : Shape{0});
    const int64_t saved = save ? layout.packed_rows() : 0;
    auto gates = check.output<T>({saved, layer.info.reserve * hidden});
    auto cells = check.output<T>({lstm ? saved : 0, hidden});
    run(rnn_kernels().rnn_forward,
        RnnForwardArgs<T>{layer.info.cell, layout.rows(), layer.input_size, hidden, layer.x.data(),
                          x_offsets.data(), layer.w_ih.data(), layer.w_hh.data(),
                          data_or_null(layer.b_ih), data_or_null(layer.b_hh), data_or_null(h),
                          data_or_null(c), y.mutable_data(), y_offsets.data(), h_n.mutable_data(),
                          c_n.mutable_data(), save ? gates.mutable_data() : nullptr,
                          save ? cells.mutable_data() : nullptr});
    py::array_t<int64_t> packed(static_cast<py::ssize_t>(save ? layout.cells().size() : 0));
    if (save) std::copy(layout.cells().begin(), layout.cells().end(), packed.mutable_data());
    return py::make_tuple(y, h_n, c_n, gates, cells, packed);
  });
}

// Turns gates into gradients in place; returns (grad_h0, grad_c0, h_prev) with h_prev the hidden
// state before every packed row.
py::object rnn_backward(const std::string& cell, py::handle w_hh, py::handle h0, py::handle c0,
                        py::handle y, py::handle grad_y, py::handle grad_h_n, py::handle grad_c_n,
                        py::handle gates, py::handle cells, bool reverse, bool batch_first,
                        py::handle lengths) {
  const Check check("rnn_backward");
  return check.dispatch("y", y, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const CellInfo info = cell_info(check, cell);
    const bool lstm = info.cell == RnnCell::kLstm;
    const auto weights = check.contiguous<T>("w_hh", w_hh);
    const auto output = check.contiguous<T>("y", y);
    check.rank("y", output, 3);
    const int64_t steps = extent(output, batch_first ? 1 : 0);
    const int64_t batch = extent(output, batch_first ? 0 : 1);
    const int64_t hidden = extent(output, 2);
    check.shape("w_hh", weights, {info.gates * hidden, hidden}, "gates * hidden_size");
    const Shape state{batch, hidden};
    const auto h = checked_state<T>(check, "h0", h0, state);
    const auto c = checked_state<T>(check, "c0", c0, state);
    const auto dh = checked_state<T>(check, "grad_h_n", grad_h_n, state);
    const auto dc = checked_state<T>(check, "grad_c_n", grad_c_n, state);
    const auto dy = check.optional<T>("grad_y", grad_y);
    if (dy) check.shape("grad_y", dy, shape_of(output), "y.shape");
    const auto lens = checked_lengths(check, lengths, batch, steps);
    const Layout layout(steps, batch, lens ? lens.data() : nullptr, reverse, batch_first);
    const int64_t rows = layout.packed_rows();
    auto d = check.output<T>({rows, info.reserve * hidden}, gates, {y});
    const auto saved_cells = check.contiguous<T>("cells", cells);
    check.shape("cells", saved_cells, {lstm ? rows : 0, hidden}, "packed rows, hidden_size");
    const auto offsets = layout.offsets(hidden);
    auto grad_h0 = check.output<T>(state);
    auto grad_c0 = check.output<T>(lstm ? state : Shape{0});
    run(rnn_kernels().rnn_backward,
        RnnBackwardArgs<T>{info.cell, layout.rows(), hidden, weights.data(), data_or_null(h),
                           data_or_null(c), output.data(), offsets.data(), data_or_null(dy),
                           data_or_null(dh), data_or_null(dc), d.mutable_data(), saved_cells.data(),
                           grad_h0.mutable_data(), lstm ? grad_c0.mutable_data() : nullptr});
    auto h_prev = check.output<T>({rows, hidden});
    T* target = h_prev.mutable_data();
    for (int64_t s = 0; s < layout.rows().steps; ++s) {
      for (int64_t r = 0; r < layout.rows().step_rows[s]; ++r, target += hidden) {
        const T* source = nullptr;
        if (s > 0) {
          source =
              output.data() + offsets[static_cast<size_t>(layout.rows().step_start[s - 1] + r)];
        } else if (h) {
          source = h.data() + layout.rows().order[r] * hidden;
        }
        if (source != nullptr) {
          std::copy_n(source, hidden, target);
        } else {
          std::fill_n(target, hidden, T(0));
        }
      }
    }
    return py::make_tuple(grad_h0, grad_c0, h_prev);
  });
}

}  // namespace

void init_rnn(py::module_& m) {
  m.def("rnn_forward", &rnn_forward, py::arg("name"), py::arg("cell"), py::arg("input"),
        py::arg("h0"), py::arg("c0"), py::arg("w_ih"), py::arg("w_hh"), py::arg("b_ih"),
        py::arg("b_hh"), py::arg("reverse"), py::arg("batch_first"), py::arg("lengths"),
        py::arg("save"));
  m.def("rnn_backward", &rnn_backward, py::arg("cell"), py::arg("w_hh"), py::arg("h0"),
        py::arg("c0"), py::arg("y"), py::arg("grad_y"), py::arg("grad_h_n"), py::arg("grad_c_n"),
        py::arg("gates"), py::arg("cells"), py::arg("reverse"), py::arg("batch_first"),
        py::arg("lengths"));
}

}  // namespace fastnn
