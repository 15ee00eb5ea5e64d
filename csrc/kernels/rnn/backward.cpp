// Recurrent layer, backward through time, in chunks of steps: at every step the cell's gradients in
// registers and one product with the recurrent weights, packed once; then, while the chunk's
// gradients of the gates are in cache, its part of the gradients of weights, biases and x.
//
// Workspace: packed weights (G H rounded-up P, and rounded-up H times P with a projection), two
// gradients of states (batch (P + H)), a chunk of at most max(batch, chunk_rows()) packed rows
// (R H rounded up + I, with a projection P + H, with the reset first H; three pointers), and
// min(batch, kPackedRows) * G H a worker. A single LSTM or RNN sequence (grad_x_ahead.h) takes
// packed input weights too (rounded-up I times G H), kAheadRows rows of the gradient of x, and
// kAheadRows * G H a worker.
#include "kernels/rnn/grad_x_ahead.h"
#include "kernels/rnn/gradients.h"
#include "kernels/rnn/state_gradient.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Enough rows for the weights' gradients, which are read and written once a chunk, not to show.
template <class T>
int64_t chunk_rows(int64_t row_elements) {
  const int64_t bytes = row_elements * static_cast<int64_t>(sizeof(T));
  return max_of((int64_t{4} << 20) / bytes, min_of(kDepthBlock<T>, (int64_t{32} << 20) / bytes));
}

// From a row to the next where rows have so many elements and must not share the sets of L1.
template <class T>
int64_t apart(int64_t row_elements) {
  const int64_t stride = round_up(row_elements, kFetchLine<T>);
  return stride % kConflict<T> == 0 ? stride + kFetchLine<T> : stride;
}

template <class T, class Cell>
class Backward {
 public:
  explicit Backward(const RnnBackwardArgs<T>& args)
      : args_(args),
        layout_(args.sizes.rows),
        hidden_(args.sizes.hidden),
        output_(args.sizes.output),
        inputs_(args.sizes.input),
        d_stride_(apart<T>(kReserve * hidden_)),
        projected_(args.weights.w_hr != nullptr) {}

  void run() {
    const int64_t batch = layout_.batch;
    chunk_capacity_ =
        min_of(rows_of_steps(layout_, 0, layout_.steps), max_of(batch, chunk_rows<T>(d_stride_)));
    const int64_t weight_count = round_up(output_, kGroup<T>) * kGates * hidden_;
    const Split split(layout_, ceil_div(hidden_, kGroup<T>), batch * weight_count,
                      weight_count * static_cast<int64_t>(sizeof(T)), 1);
    const int64_t worker_elements =
        round_up(product_scratch<T>(batch, kGates * max_of(hidden_, output_), 1), Vec<T>::kSize);
    if (kHasGradXAhead) grad_x_ahead_.plan(args_, kGates * hidden_, split.workers());
    Workspace workspace(
        bytes(weight_count + split.workers() * worker_elements + grad_x_ahead_.elements()));
    T* const scratch = workspace.take<T>(split.workers() * worker_elements);
    take_memory(workspace, weight_count);
    pack_weights();
    grad_x_ahead_.take_memory(workspace, [&](T* packed) {
      pack_columns(packed, args_.weights.w_ih, inputs_, kGates * hidden_);
    });
    gather_state(grad_h_, args_.grad_h_n, layout_, output_);
    gather_state(grad_c_, args_.grad_c_n, layout_, hidden_);
    run_chunks(split, scratch, worker_elements);
    scatter_state(args_.grad_h0, grad_h_, layout_, output_, {0, batch}, {0, output_});
    if (Cell::kLstm) {
      scatter_state(args_.grad_c0, grad_c_, layout_, hidden_, {0, batch}, {0, hidden_});
    }
  }

 private:
  static constexpr int kGates = Cell::kGates, kReserve = Cell::kReserve;
  // Not of a GRU, whose gradients of gates have two sides.
  static constexpr bool kHasGradXAhead = kGates != 3;

  // Where the gradient of gate g's input lies in a row of d_. A GRU's order is r, z, n (recurrent
  // side), n (input side): the first three are in the order of W_hh's rows.
  static constexpr int column_of(int g) {
    return kGates == 3 && kReserve == 4 && g >= 2 ? 5 - g : g;
  }
  static constexpr int kInputN = column_of(2);

  // Rows a chunk keeps of the gradient of h, and of what W_hr or W_hn is multiplied by.
  int64_t grad_h_rows() const { return projected_ ? chunk_capacity_ : 0; }
  int64_t inner_rows() const { return projected_ || Cell::kResetFirst ? chunk_capacity_ : 0; }
  int64_t projection_count() const {
    return projected_ ? round_up(hidden_, kGroup<T>) * output_ : 0;
  }

  // Of the workspace, with `others` elements besides what take_memory takes.
  int64_t bytes(int64_t others) const {
    const int64_t elements = others + projection_count() + layout_.batch * (output_ + hidden_) +
                             chunk_capacity_ * (d_stride_ + inputs_) + grad_h_rows() * output_ +
                             inner_rows() * hidden_ + max_of(hidden_, output_);
    return elements * static_cast<int64_t>(sizeof(T)) +
           3 * chunk_capacity_ * static_cast<int64_t>(sizeof(T*)) + 20 * Workspace::kAlignment;
  }

  void take_memory(Workspace& workspace, int64_t weight_count) {
    const int64_t batch = layout_.batch, rows = chunk_capacity_;
    weights_ = workspace.take<T>(weight_count);
    projection_ = workspace.take<T>(projection_count());
    grad_h_ = workspace.take<T>(batch * output_);
    grad_c_ = workspace.take<T>(batch * hidden_);
    d_ = workspace.take<T>(rows * d_stride_);
    grad_x_ = workspace.take<T>(rows * inputs_);
    grad_h_rows_ = workspace.take<T>(grad_h_rows() * output_);
    inner_rows_ = workspace.take<T>(inner_rows() * hidden_);
    zero_ = workspace.take<T>(max_of(hidden_, output_));
    x_rows_ = workspace.take<const T*>(rows);
    h_prev_rows_ = workspace.take<const T*>(rows);
    c_prev_rows_ = workspace.take<const T*>(rows);
    for (int64_t i = 0; i < max_of(hidden_, output_); ++i) zero_[i] = T(0);
  }

  void run_chunks(const Split& split, T* scratch, int64_t worker_elements) {
    bool accumulate = false;
    for (int64_t end = layout_.steps, begin = end; end > 0; end = begin) {
      while (begin > 0 &&
             (begin == end || rows_of_steps(layout_, begin - 1, end) <= chunk_capacity_)) {
        --begin;
      }
      first_ = layout_.step_start[begin];
      const int64_t rows = rows_of_steps(layout_, begin, end);
      find_rows(begin, end);
      int64_t without_grad_x = rows;
      parallel_team(split.workers(), [&](int worker, int workers) {
        split.each_direction(1, worker, workers, [&](int, const Share& share) {
          const int64_t left = run_steps(begin, end, share, scratch + worker * worker_elements);
          if (worker == 0) without_grad_x = left;
        });
      });
      add_gradients(rows, without_grad_x, accumulate);
      accumulate = true;
    }
    if (!accumulate) add_gradients(0, 0, false);
  }

  // Returns how many packed rows of the chunk, the first ones, have no gradient of x yet.
  int64_t run_steps(int64_t begin, int64_t end, const Share& share, T* scratch) {
    if (kHasGradXAhead && grad_x_ahead_.active()) {
      return run_single(begin, end, share, scratch);
    }
    for (int64_t s = end; s-- > begin;) run_step(s, share, scratch, nullptr);
    return rows_of_steps(layout_, begin, end);
  }
  int64_t run_single(int64_t begin, int64_t end, const Share& share, T* scratch) {
    const Range units = share.units<T>(output_);
    return grad_x_ahead_.each_part(end - begin, d_, d_stride_, args_, first_, share,
                                   ceil_div(units.end - units.begin, kMaxRowGroups * kGroup<T>),
                                   [&](int64_t first, int64_t last, ProjectionAhead<T>* ahead) {
                                     for (int64_t s = begin + last; s-- > begin + first;)
                                       run_step(s, share, scratch, ahead);
                                   });
  }

  // Columns of W_hh and of W_hr in groups, all rows deep. With the reset first, W_hn lies apart.
  void pack_weights() {
    const int64_t first = Cell::kResetFirst ? 2 * hidden_ : kGates * hidden_;
    pack_columns(weights_, args_.weights.w_hh, output_, first);
    if (Cell::kResetFirst) {
      reset_weights_ = weights_ + round_up(output_, kGroup<T>) * first;
      pack_columns(reset_weights_, args_.weights.w_hh + first * output_, output_, hidden_);
    }
    if (projected_) pack_columns(projection_, args_.weights.w_hr, hidden_, output_);
  }
  static void pack_columns(T* packed, const T* weights, int64_t cols, int64_t depth) {
    const int64_t grain = max_of(1, (int64_t{1} << 15) / max_of(1, kGroup<T> * depth));
    parallel_for(ceil_div(cols, kGroup<T>), grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t col = begin * kGroup<T>; col < min_of(end * kGroup<T>, cols); col += kGroup<T>) {
        pack_panel<T, true>(packed + col * depth, kGroup<T>, weights + col,
                            min_of(kGroup<T>, cols - col), 1, depth, cols);
      }
    });
  }

  // For every packed row of the chunk: its x, and the states before it.
  void find_rows(int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t r = 0; r < layout_.step_rows[s]; ++r) {
        const int64_t row = layout_.step_start[s] + r, i = row - first_;
        x_rows_[i] = args_.x + args_.x_offsets[row];
        if (s > 0) {
          const int64_t previous = layout_.step_start[s - 1] + r;
          h_prev_rows_[i] = args_.y + args_.y_offsets[previous];
          c_prev_rows_[i] = Cell::kLstm ? args_.cells + previous * hidden_ : nullptr;
        } else {
          const int64_t sequence = layout_.order[r];
          h_prev_rows_[i] = args_.h0 != nullptr ? args_.h0 + sequence * output_ : zero_;
          c_prev_rows_[i] = args_.c0 != nullptr ? args_.c0 + sequence * hidden_ : zero_;
        }
      }
    }
  }

  // `ahead`, of a single sequence, may be null.
  void run_step(int64_t s, const Share& share, T* scratch, ProjectionAhead<T>* ahead) {
    const Range rows = share.rows(layout_.batch, layout_.step_rows[s]);
    const int64_t start = layout_.step_start[s] - first_;
    const Range units = share.units<T>(hidden_);
    if (Cell::kLstm && projected_) {  // others have none
      total_gradients(s, rows, share.units<T>(output_));
      share.meet();
      multiply<T>(grad_h_rows_ + start * output_, output_, output_, projection_, 1, rows,
                  share.blocks(ceil_div(hidden_, kGroup<T>)), scratch,
                  [&](int64_t row, int64_t block, const T* products) {
                    const int64_t unit = block * kGroup<T>;
                    apply_cell(s, row, {unit, min_of(unit + kGroup<T>, hidden_)}, products,
                               nullptr);
                  });
    } else {
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const int64_t offset = args_.y_offsets[layout_.step_start[s] + row];
        apply_cell(s, row, units, grad_h_ + row * output_ + units.begin,
                   args_.grad_y != nullptr ? args_.grad_y + offset + units.begin : nullptr);
      }
    }
    share.meet();
    const T* const d = d_ + start * d_stride_;
    if constexpr (Cell::kResetFirst) {
      multiply<T>(d + 2 * hidden_, d_stride_, hidden_, reset_weights_, 1, rows,
                  share.blocks(ceil_div(hidden_, kGroup<T>)), scratch,
                  [&](int64_t row, int64_t block, const T* products) {
                    apply_reset(start, row, block, products);
                  });
      share.meet();
    }
    const StateGradient<T> gradient{weights_, (Cell::kResetFirst ? 2 : kGates) * hidden_, d_stride_,
                                    grad_h_, output_};
    if (kHasGradXAhead && ahead != nullptr) {
      return gradient.add_row(d, share.units<T>(output_), *ahead);
    }
    for (int64_t first = rows.begin; first < rows.end; first += kPackedRows) {
      gradient.add(d + first * d_stride_, {first, min_of(first + kPackedRows, rows.end)},
                   share.units<T>(output_), scratch);
    }
  }

  // With a projection: what reaches h from above and from the next step, kept for W_hr's gradient.
  void total_gradients(int64_t s, Range rows, Range units) const {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t packed_row = layout_.step_start[s] + row;
      const T* const grad_y =
          args_.grad_y != nullptr ? args_.grad_y + args_.y_offsets[packed_row] : zero_;
      T* const total = grad_h_rows_ + (packed_row - first_) * output_;
      T* const grad_h = grad_h_ + row * output_;
      for (int64_t unit = units.begin; unit < units.end; unit += Vec<T>::kSize) {
        const int64_t lanes = units.end - unit;
        (Vec<T>::load(grad_h + unit, lanes) + Vec<T>::load(grad_y + unit, lanes))
            .store(total + unit, lanes);
        Vec<T>::zero().store(grad_h + unit, lanes);
      }
    }
  }

  // Gradients of one row's gates for some units, from the gradient of h (the sum of two, of which
  // the second may be null; both begin at the first of the units). Leaves in grad_h_ what reaches
  // h_{t-1} directly.
  void apply_cell(int64_t s, int64_t row, Range units, const T* grad_h, const T* grad_y) const {
    if (args_.weights.peephole != nullptr || args_.sizes.cell == RnnCell::kRelu) {
      apply_variant<!Cell::kGru>(s, row, units, grad_h, grad_y);
    } else {
      apply_variant<false>(s, row, units, grad_h, grad_y);
    }
  }

  // kVariant: with peepholes, or ReLU.
  template <bool kVariant>
  void apply_variant(int64_t s, int64_t row, Range units, const T* grad_h, const T* grad_y) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t packed_row = layout_.step_start[s] + row, i = packed_row - first_;
    const T* const gates = args_.gates + packed_row * kReserve * hidden_;
    T* const d = d_ + i * d_stride_;
    const T* const h_prev = h_prev_rows_[i];
    const T* const c_prev = c_prev_rows_[i];
    T* const direct = grad_h_ + row * output_;
    T* const grad_c = grad_c_ + row * hidden_;
    for (int64_t unit = units.begin; unit < units.end; unit += kSize) {
      const int64_t lanes = min_of(kSize, units.end - unit), offset = unit - units.begin;
      Vec<T> saved[kReserve];
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) {
        saved[g] = Vec<T>::load(gates + g * hidden_ + unit, lanes);
      }
      Vec<T> grad = Vec<T>::load(grad_h + offset, lanes);
      if (grad_y != nullptr) grad = grad + Vec<T>::load(grad_y + offset, lanes);
      BackwardState<T> state{};
      if (Cell::kGru) state.h_prev = Vec<T>::load(h_prev + unit, lanes);
      if (Cell::kLstm) {
        state.c_prev = Vec<T>::load(c_prev + unit, lanes);
        state.c = Vec<T>::load(args_.cells + packed_row * hidden_ + unit, lanes);
        state.grad_c = Vec<T>::load(grad_c + unit, lanes);
        if (projected_) {
          (saved[kReserve - 1] * tanh(state.c)).store(inner_rows_ + i * hidden_ + unit, lanes);
        }
      }
      state.variant = kVariant;
      if (Cell::kLstm && kVariant) {
        FASTNN_UNROLL
        for (int k = 0; k < 3; ++k) {
          state.peephole[k] = Vec<T>::load(args_.weights.peephole + k * hidden_ + unit, lanes);
        }
      }
      Cell::backward(saved, grad, state);
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) {
        saved[g].store(d + column_of(g) * hidden_ + unit, lanes);
      }
      if (!projected_) state.direct.store(direct + unit, lanes);
      if (Cell::kLstm) state.grad_c.store(grad_c + unit, lanes);
    }
  }

  // The reset gate's gradient from that of r h; keeps r h for W_hn's gradient.
  void apply_reset(int64_t start, int64_t row, int64_t block, const T* products) const {
    const int64_t i = start + row;
    T* const d = d_ + i * d_stride_;
    for (int64_t v = 0; v < kGroup<T>; v += Vec<T>::kSize) {
      const int64_t unit = block * kGroup<T> + v, lanes = min_of(Vec<T>::kSize, hidden_ - unit);
      if (lanes <= 0) break;
      const Vec<T> r = Vec<T>::load(args_.gates + (first_ + i) * kReserve * hidden_ + unit, lanes);
      BackwardState<T> state{};
      state.h_prev = Vec<T>::load(h_prev_rows_[i] + unit, lanes);
      state.direct = Vec<T>::load(grad_h_ + row * output_ + unit, lanes);
      if constexpr (Cell::kResetFirst) {
        Cell::reset_backward(r, Vec<T>::load(products + v), state).store(d + unit, lanes);
      }
      state.direct.store(grad_h_ + row * output_ + unit, lanes);
      (r * state.h_prev).store(inner_rows_ + i * hidden_ + unit, lanes);
    }
  }

  // The chunk's part of every gradient that is a sum over packed rows, and grad_x of its first
  // rows.
  void add_gradients(int64_t rows, int64_t without_grad_x, bool accumulate) {
    const int64_t stride = d_stride_, two = 2 * hidden_;
    const GatheredDepth<T> x{x_rows_}, h_prev{h_prev_rows_};
    // Input side: all gates, or r and z and then n.
    const int64_t first = kGates == 3 ? two : kGates * hidden_;
    const T* const d_n = d_ + kInputN * hidden_;
    if (args_.grad_w_ih != nullptr) {
      add_weight_gradient(args_.grad_w_ih, d_, stride, rows, first, inputs_, x, accumulate);
      if (kGates == 3) {
        add_weight_gradient(args_.grad_w_ih + first * inputs_, d_n, stride, rows, hidden_, inputs_,
                            x, accumulate);
      }
    }
    if (args_.grad_w_hh != nullptr) {
      const int64_t recurrent = Cell::kResetFirst ? two : kGates * hidden_;
      add_weight_gradient(args_.grad_w_hh, d_, stride, rows, recurrent, output_, h_prev,
                          accumulate);
      if (Cell::kResetFirst) {
        add_weight_gradient(args_.grad_w_hh + two * output_, d_n, stride, rows, hidden_, output_,
                            DenseOperand<T>{inner_rows_, 1, hidden_}, accumulate);
      }
    }
    if (args_.grad_w_hr != nullptr) {
      add_weight_gradient(args_.grad_w_hr, grad_h_rows_, output_, rows, output_, hidden_,
                          DenseOperand<T>{inner_rows_, 1, hidden_}, accumulate);
    }
    if (args_.grad_b_ih != nullptr) {
      add_column_sums<T>(args_.grad_b_ih, d_, stride, rows, first, nullptr, accumulate);
      if (kGates == 3) {
        add_column_sums<T>(args_.grad_b_ih + first, d_n, stride, rows, hidden_, nullptr,
                           accumulate);
      }
    }
    if (args_.grad_b_hh != nullptr) {
      add_column_sums<T>(args_.grad_b_hh, d_, stride, rows, kGates * hidden_, nullptr, accumulate);
    }
    if (args_.grad_peephole != nullptr) add_peepholes(rows, accumulate);
    if (args_.grad_x != nullptr) add_grad_x(without_grad_x, first, d_n);
  }

  void add_peepholes(int64_t rows, bool accumulate) {
    T* const grad = args_.grad_peephole;
    const int64_t stride = d_stride_;
    add_column_sums<T>(grad, d_, stride, rows, hidden_, c_prev_rows_, accumulate);
    add_column_sums<T>(grad + hidden_, d_ + hidden_, stride, rows, hidden_, c_prev_rows_,
                       accumulate);
    // The output gate sees the new cell. The pointers to the old ones are not needed any more.
    for (int64_t i = 0; i < rows; ++i) c_prev_rows_[i] = args_.cells + (first_ + i) * hidden_;
    add_column_sums<T>(grad + 2 * hidden_, d_ + 3 * hidden_, stride, rows, hidden_, c_prev_rows_,
                       accumulate);
  }

  // Rows of grad_x lie anywhere: each finished tile is added to its place.
  void add_grad_x(int64_t rows, int64_t first, const T* d_n) {
    const int64_t stride = d_stride_;
    const auto scatter = [&](T* tile, int64_t tile_stride, int64_t row, int64_t col, int64_t height,
                             int64_t cols) {
      for (int64_t i = 0; i < height; ++i) {
        T* const target = args_.grad_x + args_.x_offsets[first_ + row + i] + col;
        for (int64_t j = 0; j < cols; j += Vec<T>::kSize) {
          (Vec<T>::load(target + j, cols - j) + Vec<T>::load(tile + i * tile_stride + j, cols - j))
              .store(target + j, cols - j);
        }
      }
    };
    gemm_grid<T>(1, {rows, inputs_, first},
                 [&](int64_t, const ::fastnn::FASTNN_ISA::Cell& cell, T* scratch) {
                   const DenseOperand<T> d{d_, stride, 1}, w{args_.weights.w_ih, 1, inputs_};
                   if (kGates == 3) {
                     gemm_cell<T>(cell, first, d, w, grad_x_, inputs_, false, scratch);
                     const DenseOperand<T> n{d_n, stride, 1};
                     const DenseOperand<T> w_n{args_.weights.w_ih + first * inputs_, 1, inputs_};
                     gemm_cell<T>(cell, hidden_, n, w_n, grad_x_, inputs_, true, scratch, scatter);
                   } else {
                     gemm_cell<T>(cell, first, d, w, grad_x_, inputs_, false, scratch, scatter);
                   }
                 });
  }

  const RnnBackwardArgs<T>& args_;
  const RnnRows& layout_;
  int64_t hidden_, output_, inputs_;
  int64_t d_stride_;  // from a row of d_ to the next, no multiple of 4 KiB
  bool projected_;
  int64_t chunk_capacity_ = 0;
  int64_t first_ = 0;  // packed row at which the chunk begins
  T *weights_, *reset_weights_, *projection_, *grad_h_, *grad_c_;
  T* d_;            // gradients of the gates' inputs, of the chunk's rows
  T* grad_h_rows_;  // with a projection: gradients of h
  T* inner_rows_;   // with a projection: o tanh(c); with the reset first: r h
  T *grad_x_, *zero_;
  GradXAhead<T> grad_x_ahead_;
  const T **x_rows_, **h_prev_rows_, **c_prev_rows_;
};

}  // namespace

template <class T>
void rnn_backward(const RnnBackwardArgs<T>& args) {
  with_cell<T>(args.sizes.cell, [&](auto cell) { Backward<T, decltype(cell)>(args).run(); });
}

template void rnn_backward(const RnnBackwardArgs<float>&);
template void rnn_backward(const RnnBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
