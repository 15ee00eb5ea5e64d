// The checked arguments of recurrent layers.
#pragma once

#include <string_view>
#include <vector>

#include "bindings/common.h"
#include "ops/rnn.h"

namespace fastnn {

struct CellInfo {
  RnnCell cell;
  int64_t gates, reserve;
  bool lstm;
};

CellInfo cell_info(const Check& check, std::string_view name);

// The packed rows of a batch (ops/rnn.h) and where they lie in (steps, batch, ...) arrays.
class Layout {
 public:
  // lengths may be null: every sequence is `steps` long.
  Layout(int64_t steps, int64_t batch, const int64_t* lengths, bool batch_first);
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  const RnnRows& rows() const { return rows_; }
  int64_t packed_rows() const { return packed_rows_; }

  // Where each packed row lies in an array (steps, batch, width), from element `start` on.
  std::vector<int64_t> offsets(bool reverse, int64_t width, int64_t start) const;

 private:
  int64_t length(int64_t b) const {
    return lengths_.empty() ? steps_ : lengths_[static_cast<size_t>(b)];
  }

  std::vector<int64_t> order_, lengths_, step_rows_, step_start_;
  int64_t steps_, packed_rows_ = 0;
  bool batch_first_;
  RnnRows rows_;
};

// An absent array; a default-constructed one is empty instead.
template <class T>
Array<T> absent() {
  return py::reinterpret_steal<Array<T>>(py::handle());
}

// `lengths`, or an absent array for None.
Array<int64_t> checked_lengths(const Check& check, py::handle lengths, int64_t batch,
                               int64_t steps);

// A matrix of weights: an array, from pack_recurrent, or of reduced precision.
template <class T>
struct RecurrentMatrix {
  Array<T> dense = absent<T>(), packed = absent<T>();
  Array<int32_t> reduced = absent<int32_t>();
  Array<T> scale = absent<T>();
  int64_t rows = 0, cols = 0;

  RnnReducedWeight<T> reduced_pointers() const {
    return {data_or_null(reduced), data_or_null(scale)};
  }
};

// The checked weights of one direction; keeps alive what the pointers point into.
template <class T>
struct RecurrentWeights {
  RecurrentMatrix<T> w_ih, w_hh, w_hr;
  Array<T> b_ih = absent<T>(), b_hh = absent<T>(), peephole = absent<T>();
  int64_t hidden = 0, output = 0;

  RnnWeights<T> pointers() const {
    return {data_or_null(w_ih.dense), data_or_null(w_hh.dense), data_or_null(w_hr.dense),
            data_or_null(b_ih),       data_or_null(b_hh),       data_or_null(peephole)};
  }
  RnnReducedWeights<T> reduced() const {
    return {w_ih.reduced_pointers(), w_hh.reduced_pointers(), w_hr.reduced_pointers()};
  }
};

// `weights` is (w_ih, w_hh, b_ih, b_hh, w_hr, peephole); the first two may be packed, or all three
// matrices of reduced precision.
template <class T>
RecurrentWeights<T> checked_weights(const Check& check, const CellInfo& cell,
                                    const py::tuple& weights, int64_t inputs);

// A state (directions, batch, size) or, of a single direction, an error that leaves out the first.
template <class T>
Array<T> checked_states(const Check& check, const char* name, py::handle state, Shape shape);

// A state of one direction.
template <class T>
Array<T> checked_state(const Check& check, const char* name, py::handle state, const Shape& shape);

}  // namespace fastnn
