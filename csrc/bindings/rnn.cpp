#include <array>

#include "bindings/fastcall.h"
#include "bindings/packed_matrix.h"
#include "bindings/rnn_args.h"

namespace fastnn {
namespace {

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

// What a direction keeps for the backward pass.
template <class T>
struct Saved {
  Array<T> gates, cells;

  static Saved make(const Check& check, const CellInfo& info, int64_t rows, int64_t hidden) {
    return {check.output<T>({rows, info.reserve * hidden}),
            check.output<T>({info.lstm ? rows : 0, hidden})};
  }
  static Saved read(const Check& check, const CellInfo& info, const py::tuple& saved, int64_t rows,
                    int64_t hidden) {
    const Saved result{check.contiguous<T>("gates", saved[0]),
                       check.contiguous<T>("cells", saved[1])};
    check.shape("gates", result.gates, {rows, info.reserve * hidden}, "packed rows, gates");
    check.shape("cells", result.cells, {info.lstm ? rows : 0, hidden}, "packed rows, hidden_size");
    return result;
  }
};

// One layer. `weights` holds a tuple a direction; of two, the second runs backwards. States are
// (directions, batch, size). Returns (y, h_n, c_n, saved): c_n is None unless an LSTM, saved None
// or a tuple (gates, cells) a direction.
py::object rnn_forward(py::handle name, py::handle cell_name, py::handle input, py::handle h0,
                       py::handle c0, py::handle weight_tuples, py::handle is_reverse,
                       py::handle is_batch_first, py::handle lengths, py::handle is_saved) {
  const Check check(utf8(name));
  const CellInfo info = cell_info(check, utf8(cell_name));
  const auto weights = py::cast<py::tuple>(weight_tuples);
  const bool reverse = py::cast<bool>(is_reverse), batch_first = py::cast<bool>(is_batch_first);
  const bool save = py::cast<bool>(is_saved);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.rank("input", x, 3);
    const int64_t steps = extent(x, batch_first ? 1 : 0), batch = extent(x, batch_first ? 0 : 1);
    const int count = static_cast<int>(weights.size());
    RecurrentWeights<T> w[2];
    for (int d = 0; d < count; ++d) {
      w[d] = checked_weights<T>(check, info, weights[static_cast<size_t>(d)], extent(x, 2));
    }
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
                           data_or_null(w[d].w_ih.packed),
                           data_or_null(w[d].w_hh.packed),
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
      auto kept = Saved<T>::make(check, info, layout.packed_rows(), hidden);
      args.direction[d].gates = kept.gates.mutable_data();
      args.direction[d].cells = kept.cells.mutable_data();
      saved[static_cast<size_t>(d)] = py::make_tuple(kept.gates, kept.cells);
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
  const CellInfo info = cell_info(check, utf8(cell_name));
  const auto weights = py::cast<py::tuple>(weight_tuple);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const bool single = x.ndim() == 1;
    if (!single && x.ndim() != 2) {
      check.value_error("input must have 1 or 2 dimensions, got shape " + to_string(shape_of(x)));
    }
    const int64_t batch = single ? 1 : extent(x, 0), inputs = extent(x, x.ndim() - 1);
    const auto w = checked_weights<T>(check, info, weights, inputs);
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
                         data_or_null(w.w_ih.packed),
                         data_or_null(w.w_hh.packed),
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

// New arrays for the gradients of the weights that are needed, in their order, put into `result`
// from its third element on; None and null for the others.
template <class T>
std::array<T*, 6> weight_gradients(const Check& check, const CellInfo& info,
                                   const RecurrentWeights<T>& w, int64_t inputs,
                                   const py::tuple& needs, py::tuple& result) {
  const int64_t wide = info.gates * w.hidden;
  const Shape shapes[] = {{wide, inputs}, {wide, w.output},     {wide},
                          {wide},         {w.output, w.hidden}, {3 * w.hidden}};
  std::array<T*, 6> pointers{};
  for (size_t i = 0; i < pointers.size(); ++i) {
    result[i + 2] = py::none();
    if (!needs[i].template cast<bool>()) continue;
    auto grad = check.output<T>(shapes[i]);
    pointers[i] = grad.mutable_data();
    result[i + 2] = grad;
  }
  return pointers;
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
  const CellInfo info = cell_info(check, cell);
  return check.dispatch("y", y, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.rank("input", x, 3);
    const int64_t inputs = extent(x, 2);
    const int64_t steps = extent(x, batch_first ? 1 : 0), batch = extent(x, batch_first ? 0 : 1);
    const auto w = checked_weights<T>(check, info, weights, inputs);
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
    const auto kept = Saved<T>::read(check, info, saved, layout.packed_rows(), w.hidden);
    const auto x_offsets = layout.offsets(reverse, inputs, 0);
    const auto y_offsets = layout.offsets(reverse, directions * w.output, direction * w.output);
    auto dx = absent<T>();
    if (!grad_x.is_none()) dx = check.output<T>(shape_of(x), grad_x, {input});
    py::tuple result(8);
    const auto grads = weight_gradients(check, info, w, inputs, needs, result);
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
                           kept.gates.data(),
                           kept.cells.data(),
                           dx ? dx.mutable_data() : nullptr,
                           grad_h0.mutable_data(),
                           info.lstm ? grad_c0.mutable_data() : nullptr,
                           grads[0],
                           grads[1],
                           grads[4],
                           grads[2],
                           grads[3],
                           grads[5]});
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
