// Recurrent layer, backward through time: at every step the cell's gradients in registers, then
// one product with the recurrent weights, packed once. Weight and input gradients are plain
// products over all packed rows, left to the caller.
//
// Workspace: packed recurrent weights (G * hidden * ceil(hidden / kGroup) * kGroup), two gradients
// of states (batch * hidden each), min(batch, kPackedRows) * G * hidden a
// worker.
#include "kernels/rnn/cells.h"
#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T, class Cell>
class Backward {
 public:
  explicit Backward(const RnnBackwardArgs<T>& args)
      : args_(args),
        hidden_(args.hidden_size),
        depth_(kGates * args.hidden_size),
        blocks_(ceil_div(args.hidden_size, kGroup<T>)),
        split_(args.rows, blocks_, args.rows.batch * depth_ * hidden_,
               weight_elements() * static_cast<int64_t>(sizeof(T))) {}

  void run() {
    const int64_t state = args_.rows.batch * hidden_;
    const int64_t elements = weight_elements() + 2 * state + split_.workers() * worker_elements();
    Workspace workspace((elements + 4 * 64) * static_cast<int64_t>(sizeof(T)));
    weights_ = workspace.take<T>(weight_elements());
    grad_h_ = workspace.take<T>(state);
    grad_c_ = workspace.take<T>(state);
    T* const scratch = workspace.take<T>(split_.workers() * worker_elements());

    pack_weights();
    gather_state(grad_h_, args_.grad_h_n, args_.rows, hidden_);
    gather_state(grad_c_, args_.grad_c_n, args_.rows, hidden_);
    parallel_team(split_.workers(), [&](int worker, int workers) {
      const Share share = split_.share(worker, workers);
      for (int64_t s = args_.rows.steps; s-- > 0;) {
        const int64_t end = min_of(share.row_end, args_.rows.step_rows[s]);
        for (int64_t row = share.row_begin; row < end; ++row) apply_cell(s, row, share);
        split_.meet(workers);
        for (int64_t first = share.row_begin; first < end; first += kPackedRows) {
          multiply(s, share, first, min_of(kPackedRows, end - first),
                   scratch + worker * worker_elements());
        }
      }
    });
    scatter_state(args_.grad_h0, grad_h_, args_.rows, hidden_);
    scatter_state(args_.grad_c0, grad_c_, args_.rows, hidden_);
  }

 private:
  static constexpr int kGates = Cell::kGates;
  static constexpr int kReserve = Cell::kReserve;

  int64_t weight_elements() const { return blocks_ * kGroup<T> * depth_; }
  int64_t worker_elements() const {
    return round_up(min_of(args_.rows.batch, kPackedRows) * depth_ + Vec<T>::kSize, 64);
  }
  T* gates_of(int64_t packed_row) const { return args_.gates + packed_row * kReserve * hidden_; }

  void pack_weights() {
    parallel_for(blocks_, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t unit = block * kGroup<T>;
        pack_panel<T, true>(weights_ + unit * depth_, kGroup<T>, args_.w_hh + unit,
                            min_of(kGroup<T>, hidden_ - unit), 1, depth_, hidden_);
      }
    });
  }

  // Gradients of one row's gates, for the share's hidden units; leaves in grad_h_ what reaches
  // h_{t-1} directly.
  void apply_cell(int64_t s, int64_t row, const Share& share) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t packed_row = args_.rows.step_start[s] + row;
    const int64_t previous = s > 0 ? args_.rows.step_start[s - 1] + row : -1;
    const int64_t initial = args_.rows.order[row] * hidden_;
    const T* const h_prev = s > 0 ? args_.y + args_.y_offsets[previous]
                                  : (args_.h0 != nullptr ? args_.h0 + initial : nullptr);
    const T* c_prev = nullptr;
    if (kGates == 4) {
      c_prev = s > 0 ? args_.cells + previous * hidden_
                     : (args_.c0 != nullptr ? args_.c0 + initial : nullptr);
    }
    const T* const grad_y =
        args_.grad_y != nullptr ? args_.grad_y + args_.y_offsets[packed_row] : nullptr;
    T* const gates = gates_of(packed_row);
    T* const grad_h = grad_h_ + row * hidden_;
    T* const grad_c = grad_c_ + row * hidden_;
    const auto load = [](const T* p, int64_t unit, int64_t lanes) {
      return p != nullptr ? Vec<T>::load(p + unit, lanes) : Vec<T>::zero();
    };
    const int64_t unit_end = min_of(share.block_end * kGroup<T>, hidden_);
    for (int64_t unit = share.block_begin * kGroup<T>; unit < unit_end; unit += kSize) {
      const int64_t lanes = min_of(kSize, unit_end - unit);
      Vec<T> saved[kReserve];
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) {
        saved[g] = Vec<T>::load(gates + g * hidden_ + unit, lanes);
      }
      BackwardState<T> state{};
      state.h_prev = load(h_prev, unit, lanes);
      if (kGates == 4) {
        state.c_prev = load(c_prev, unit, lanes);
        state.c = Vec<T>::load(args_.cells + packed_row * hidden_ + unit, lanes);
        state.grad_c = Vec<T>::load(grad_c + unit, lanes);
      }
      Cell::backward(saved, Vec<T>::load(grad_h + unit, lanes) + load(grad_y, unit, lanes), state);
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) saved[g].store(gates + g * hidden_ + unit, lanes);
      state.direct.store(grad_h + unit, lanes);
      if (kGates == 4) state.grad_c.store(grad_c + unit, lanes);
    }
  }

  // grad_h_ += (gradients of the recurrent products) W_hh for rows [first, first + count) and the
  // share's units. Every block of weights is read once for all of them.
  void multiply(int64_t s, const Share& share, int64_t first, int64_t count, T* packed) const {
    const int64_t panel = panel_rows(count);
    for (int64_t i = 0; i < count; i += panel) {
      pack_gradients(gates_of(args_.rows.step_start[s] + first + i), min_of(panel, count - i),
                     packed + i * depth_);
    }
    const int64_t unit_end = min_of(share.block_end * kGroup<T>, hidden_);
    const int64_t width = tile_vectors(static_cast<int>(min_of(panel, count))) * Vec<T>::kSize;
    for (int64_t unit = share.block_begin * kGroup<T>; unit < unit_end; unit += width) {
      for (int64_t p = 0; p < depth_; p += kDepthBlock<T>) {
        const int64_t depth = min_of(kDepthBlock<T>, depth_ - p);
        for (int64_t i = 0; i < count; i += panel) {
          const int64_t rows = min_of(panel, count - i);
          run_tile<T>(
              static_cast<int>(rows),
              {depth, packed + i * depth_ + p * rows, weights_ + unit * depth_ + p * kGroup<T>,
               kGroup<T>, kGroup<T> * depth_, grad_h_ + (first + i) * hidden_ + unit, hidden_,
               min_of(width, unit_end - unit), true});
        }
      }
    }
  }

  // The gates in the order of W_hh's rows; the GRU's n is its fourth column.
  void pack_gradients(const T* gates, int64_t rows, T* packed) const {
    const int64_t stride = kReserve * hidden_;
    const int64_t first = kGates == 3 ? 2 * hidden_ : depth_;
    pack_panel<T, false>(packed, rows, gates, rows, stride, first, 1);
    if (kGates == 3) {
      pack_panel<T, false>(packed + first * rows, rows, gates + 3 * hidden_, rows, stride, hidden_,
                           1);
    }
  }

  const RnnBackwardArgs<T>& args_;
  int64_t hidden_, depth_, blocks_;
  Split split_;
  T *weights_, *grad_h_, *grad_c_;
};

}  // namespace

template <class T>
void rnn_backward(const RnnBackwardArgs<T>& args) {
  switch (args.cell) {
    case RnnCell::kTanh:
      return Backward<T, TanhCell<T>>(args).run();
    case RnnCell::kRelu:
      return Backward<T, ReluCell<T>>(args).run();
    case RnnCell::kLstm:
      return Backward<T, LstmCell<T>>(args).run();
    case RnnCell::kGru:
      return Backward<T, GruCell<T>>(args).run();
  }
}

template void rnn_backward(const RnnBackwardArgs<float>&);
template void rnn_backward(const RnnBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
