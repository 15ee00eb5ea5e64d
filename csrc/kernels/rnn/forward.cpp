// Recurrent layer, forward: all steps' input projections in one GEMM (in chunks of steps when
// nothing is saved), then one fused product and cell a step over recurrent weights packed once.
//
// Workspace: packed recurrent weights (G * ceil(hidden / kGroup) * kGroup * hidden), biases
// ((G + 1) * hidden), states (3 batch * hidden), a chunk of input projections (kChunkBytes or one
// step; none when gates are saved), and a worker's panels of h (min(batch, kPackedRows) * hidden)
// and products (kTileRows * G * kGroup).
#include "kernels/gemm/epilogue.h"
#include "kernels/rnn/cells.h"
#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;

template <class T, class Cell>
class Forward {
 public:
  explicit Forward(const RnnForwardArgs<T>& args)
      : args_(args),
        hidden_(args.hidden_size),
        blocks_(ceil_div(args.hidden_size, kGroup<T>)),
        split_(args.rows, blocks_, args.rows.batch * kGates * hidden_ * hidden_,
               weight_elements() * static_cast<int64_t>(sizeof(T))) {}

  void run() {
    const int64_t chunk_rows = plan_chunk();
    const int64_t batch = args_.rows.batch;
    const int64_t own_chunk = args_.gates != nullptr ? 0 : chunk_rows * kGates * hidden_;
    const int64_t elements = weight_elements() + (kGates + 1) * hidden_ + 3 * batch * hidden_ +
                             own_chunk + split_.workers() * worker_elements();
    Workspace workspace((elements + 8 * 64) * static_cast<int64_t>(sizeof(T)));
    weights_ = workspace.take<T>(weight_elements());
    bias_ = workspace.take<T>((kGates + 1) * hidden_);
    h_[0] = workspace.take<T>(batch * hidden_);
    h_[1] = workspace.take<T>(batch * hidden_);
    c_ = workspace.take<T>(batch * hidden_);
    T* const own_gates = workspace.take<T>(own_chunk);
    scratch_ = workspace.take<T>(split_.workers() * worker_elements());

    pack_weights();
    add_biases();
    gather_state(h_[0], args_.h0, args_.rows, hidden_);
    gather_state(c_, args_.c0, args_.rows, hidden_);
    finish_rows(0, batch, 0, hidden_, h_[0]);  // sequences of length 0 end before they start

    int64_t step = 0;
    while (step < args_.rows.steps) {
      const int64_t end = end_of_chunk(step, chunk_rows);
      const int64_t first = args_.rows.step_start[step];
      T* const gates = args_.gates != nullptr ? args_.gates + first * kStride * hidden_ : own_gates;
      project_inputs(first, args_.rows.step_start[end - 1] + args_.rows.step_rows[end - 1] - first,
                     gates);
      parallel_team(split_.workers(), [&](int worker, int workers) {
        const Share share = split_.share(worker, workers);
        for (int64_t s = step; s < end; ++s) {
          run_step(s, share, gates + (args_.rows.step_start[s] - first) * stride(),
                   scratch_ + worker * worker_elements());
          split_.meet(workers);
        }
      });
      step = end;
    }
  }

 private:
  static constexpr int kGates = Cell::kGates;
  static constexpr int kStride = Cell::kReserve;

  // Elements from one packed row of gates to the next.
  int64_t stride() const { return (args_.gates != nullptr ? kStride : kGates) * hidden_; }
  int64_t weight_elements() const { return blocks_ * kGates * kGroup<T> * hidden_; }
  // The panels of a worker's rows of h, and a tile's recurrent products.
  int64_t packed_elements() const {
    return round_up(min_of(args_.rows.batch, kPackedRows) * hidden_ + Vec<T>::kSize, Vec<T>::kSize);
  }
  int64_t worker_elements() const {
    return round_up(packed_elements() + kTileRows * kGates * kGroup<T>, 64);
  }

  // Packed rows a chunk of steps may have; with gates saved there is one chunk.
  int64_t plan_chunk() const {
    const int64_t all = packed_rows(args_.rows);
    if (args_.gates != nullptr) return all;
    const int64_t row_bytes = kGates * hidden_ * static_cast<int64_t>(sizeof(T));
    return min_of(all, max_of(args_.rows.batch, kChunkBytes / row_bytes));
  }

  int64_t end_of_chunk(int64_t step, int64_t chunk_rows) const {
    int64_t rows = 0, end = step;
    while (end < args_.rows.steps && rows + args_.rows.step_rows[end] <= chunk_rows) {
      rows += args_.rows.step_rows[end++];
    }
    return end;
  }

  // Group block * kGates + gate holds the weights of kGroup hidden units for one gate.
  void pack_weights() {
    const int64_t group = kGroup<T> * hidden_;
    parallel_for(blocks_ * kGates, max_of(1, (int64_t{1} << 15) / group),
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t g = begin; g < end; ++g) {
                     const int64_t unit = g / kGates * kGroup<T>;
                     pack_panel<T, true>(weights_ + g * group, kGroup<T>,
                                         args_.w_hh + (g % kGates * hidden_ + unit) * hidden_,
                                         min_of(kGroup<T>, hidden_ - unit), hidden_, hidden_, 1);
                   }
                 });
  }

  // Both biases go into the input projection, except the GRU's b_hn, which the reset gate scales.
  void add_biases() {
    T* const rec_bias = bias_ + kGates * hidden_;
    for (int64_t j = 0; j < kGates * hidden_; ++j) {
      const T ih = args_.b_ih != nullptr ? args_.b_ih[j] : T(0);
      const T hh = args_.b_hh != nullptr ? args_.b_hh[j] : T(0);
      const bool scaled = kGates == 3 && j >= 2 * hidden_;
      bias_[j] = scaled ? ih : ih + hh;
      if (scaled) rec_bias[j - 2 * hidden_] = hh;
    }
  }

  void project_inputs(int64_t first, int64_t rows, T* gates) {
    const GatheredRows<T> x{args_.x, args_.x_offsets + first};
    const DenseOperand<T> weights{args_.w_ih, args_.input_size, 1};
    const ColumnBias<T> epilogue{bias_};
    gemm_grid<T>(1, {rows, kGates * hidden_, args_.input_size},
                 [&](int64_t, const GemmCell& cell, T* scratch) {
                   gemm_cell<T>(cell, args_.input_size, x, weights, gates, stride(), false, scratch,
                                epilogue);
                 });
  }

  using GemmCell = ::fastnn::FASTNN_ISA::Cell;

  void run_step(int64_t s, const Share& share, T* gates, T* scratch) {
    const int64_t end = min_of(share.row_end, args_.rows.step_rows[s]);
    for (int64_t first = share.row_begin; first < end; first += kPackedRows) {
      multiply_and_apply(s, share, first, min_of(kPackedRows, end - first), gates, scratch);
    }
    const int64_t next = s + 1 < args_.rows.steps ? args_.rows.step_rows[s + 1] : 0;
    const int64_t unit = share.block_begin * kGroup<T>;
    finish_rows(max_of(next, share.row_begin), end, unit,
                min_of(share.block_end * kGroup<T>, hidden_), h_[1 - s % 2]);
  }

  // The rows [first, first + count) of a step. Every block of weights is read once for all of them.
  void multiply_and_apply(int64_t s, const Share& share, int64_t first, int64_t count, T* gates,
                          T* scratch) const {
    const int64_t panel = panel_rows(count);
    T* const rec = scratch + packed_elements();
    const T* packed = h_[s % 2] + first * hidden_;
    if (count > 1) {
      packed =
          DenseOperand<T>{packed, hidden_, 1}.a_block(scratch, 0, count, panel, 0, hidden_).data;
    }
    for (int64_t block = share.block_begin; block < share.block_end; ++block) {
      for (int64_t i = 0; i < count; i += panel) {
        const int64_t rows = min_of(panel, count - i), row = first + i;
        multiply(rows, packed + i * hidden_, block, rec);
        for (int64_t r = 0; r < rows; ++r) {
          apply_cell(s, row + r, block, rec + r * kGates * kGroup<T>, gates + (row + r) * stride());
        }
      }
    }
  }

  // rec[rows, kGates * kGroup] = panel of h times the weights of one block of hidden units.
  void multiply(int64_t rows, const T* a, int64_t block, T* rec) const {
    constexpr int64_t kStep = kGroup<T>;
    const int64_t groups = min_of(tile_vectors(static_cast<int>(rows)) / kGroupVectors, kGates);
    for (int64_t g = 0; g < kGates; g += groups) {
      const int64_t count = min_of(groups, kGates - g);
      run_tile<T>(static_cast<int>(rows),
                  {hidden_, a, weights_ + (block * kGates + g) * kStep * hidden_, kStep,
                   kStep * hidden_, rec + g * kStep, kGates * kStep, count * kStep, false});
    }
  }

  // The cell on one row and one block: reads gates, writes h, c, y and what is saved.
  void apply_cell(int64_t s, int64_t row, int64_t block, const T* rec, T* gates) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t packed_row = args_.rows.step_start[s] + row;
    T* const y = args_.y + args_.y_offsets[packed_row];
    const T* const h_prev = h_[s % 2] + row * hidden_;
    T* const h = h_[1 - s % 2] + row * hidden_;
    T* const c = c_ + row * hidden_;
    for (int64_t v = 0; v < kGroupVectors; ++v) {
      const int64_t unit = block * kGroup<T> + v * kSize;
      const int64_t lanes = min_of(kSize, hidden_ - unit);
      if (lanes <= 0) break;
      Vec<T> x[kGates], product[kGates], saved[kStride];
      FASTNN_UNROLL
      for (int g = 0; g < kGates; ++g) {
        x[g] = Vec<T>::load(gates + g * hidden_ + unit, lanes);
        product[g] = Vec<T>::load(rec + g * kGroup<T> + v * kSize);
      }
      ForwardState<T> state{Vec<T>::load(h_prev + unit, lanes), Vec<T>::load(c + unit, lanes),
                            Vec<T>::load(bias_ + kGates * hidden_ + unit, lanes)};
      const Vec<T> new_h = Cell::forward(x, product, state, saved);
      new_h.store(h + unit, lanes);
      new_h.store(y + unit, lanes);
      if (kGates == 4) state.c.store(c + unit, lanes);
      if (args_.gates == nullptr) continue;
      FASTNN_UNROLL
      for (int g = 0; g < kStride; ++g) saved[g].store(gates + g * hidden_ + unit, lanes);
      if (kGates == 4) state.c.store(args_.cells + packed_row * hidden_ + unit, lanes);
    }
  }

  // Hands out the final state of rows that have ended, for hidden units [unit, unit_end).
  void finish_rows(int64_t row, int64_t row_end, int64_t unit, int64_t unit_end, const T* h) const {
    for (; row < row_end; ++row) {
      const int64_t from = row * hidden_, to = args_.rows.order[row] * hidden_;
      for (int64_t u = unit; u < unit_end; ++u) {
        args_.h_n[to + u] = h[from + u];
        if (kGates == 4) args_.c_n[to + u] = c_[from + u];
      }
    }
  }

  const RnnForwardArgs<T>& args_;
  int64_t hidden_, blocks_;
  Split split_;
  T *weights_, *bias_, *h_[2], *c_, *scratch_;
};

}  // namespace

template <class T>
void rnn_forward(const RnnForwardArgs<T>& args) {
  switch (args.cell) {
    case RnnCell::kTanh:
      return Forward<T, TanhCell<T>>(args).run();
    case RnnCell::kRelu:
      return Forward<T, ReluCell<T>>(args).run();
    case RnnCell::kLstm:
      return Forward<T, LstmCell<T>>(args).run();
    case RnnCell::kGru:
      return Forward<T, GruCell<T>>(args).run();
  }
}

template void rnn_forward(const RnnForwardArgs<float>&);
template void rnn_forward(const RnnForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
