// Recurrent layer, forward: all steps' input projections in one GEMM (in chunks of steps when
// nothing is saved), then one fused product and cell a step over recurrent weights packed once.
//
// Workspace, a direction: packed weights unless they came packed (G H rounded up to kGroup, times
// P; and P rounded up times H with a projection), biases ((G + 1) H), states (batch (2 P + 2 H)),
// and a chunk of input projections (kChunkBytes or one step; none when gates are saved). A worker:
// panels of a state (min(batch, kPackedRows) max(P, H)) and products (kTileRows * G * kGroup).
// Weights of reduced precision (reduced.h) take no copy, but products (batch G H) and a chunk of x.
// A single sequence (single_row.h) takes two chunks of at most kAheadRows instead, packed w_ih
// unless it came packed, and kAheadRows * I a worker.
#include "kernels/rnn/recurrence.h"
#include "kernels/rnn/reduced.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void pack_matrix(const PackMatrixArgs<T>& args);

namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;

using GemmCell = ::fastnn::FASTNN_ISA::Cell;

// The chunks of steps whose input projections are computed together, in packed rows.
struct Chunks {
  int64_t rows;  // at most, but for a step that is larger
  int64_t kept;  // rows of projections in the workspace; zero when gates are saved
  bool ahead;    // a single sequence, whose chunks are projected while the one before runs
};

template <class T>
bool is_reduced(const RnnForwardDirection<T>& args) {
  return args.reduced.w_hh.packed != nullptr;
}

template <class T>
Chunks plan_chunks(const RnnForwardArgs<T>& args, int gates, int64_t weight_bytes) {
  // A larger panel of x would not stay in cache beside the weights; and weights from far down in
  // L3 take all the requests that a core can have under way.
  constexpr int64_t kMaxPanelBytes = int64_t{1} << 20;
  const int64_t max_weight_bytes = 8 * cache_sizes().l2;
  constexpr int64_t kSize = static_cast<int64_t>(sizeof(T));
  const RnnRows& rows = args.sizes.rows;
  const int64_t all = rows_of_steps(rows, 0, rows.steps);
  const bool saved = args.direction[0].gates != nullptr;
  if (rows.batch == 1 && rows.steps > kAheadRows && weight_bytes <= max_weight_bytes &&
      !is_reduced(args.direction[0]) && kAheadRows * args.sizes.input * kSize <= kMaxPanelBytes) {
    const int64_t chunk = ceil_div(rows.steps, ceil_div(rows.steps, kAheadRows));
    return {chunk, saved ? 0 : 2 * chunk, true};
  }
  const int64_t row_bytes = gates * args.sizes.hidden * kSize;
  const int64_t chunk = saved ? all : min_of(all, max_of(rows.batch, kChunkBytes / row_bytes));
  return {chunk, saved ? 0 : chunk, false};
}

// One direction: its weights, states and steps.
template <class T, class Cell>
class Direction {
 public:
  static constexpr int kGates = Cell::kGates, kReserve = Cell::kReserve;
  // Gates whose products the first half of a step needs.
  static constexpr int kFirstGates = Cell::kResetFirst ? 2 : kGates;

  // Elements of workspace.
  static int64_t elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args,
                          const Chunks& chunks) {
    const int64_t hidden = sizes.hidden, batch = sizes.rows.batch;
    return weight_elements(sizes, args) + input_weight_elements(sizes, args, chunks) +
           projection_elements(sizes, args) + reduced_elements(sizes, args, chunks) +
           (kGates + 1) * hidden + 2 * batch * (sizes.output + hidden) +
           chunks.kept * kGates * hidden + 11 * Vec<T>::kSize;
  }

  void start(const RnnSizes& sizes, const RnnForwardDirection<T>& args, const T* x, T* y,
             const Chunks& chunks, Workspace& workspace) {
    sizes_ = &sizes;
    args_ = &args;
    x_ = x;
    y_ = y;
    hidden_ = sizes.hidden;
    output_ = sizes.output;
    const int64_t batch = sizes.rows.batch;
    kept_ = max_of(1, chunks.kept);
    T* const weights = workspace.take<T>(weight_elements(sizes, args));
    T* const input_weights = workspace.take<T>(input_weight_elements(sizes, args, chunks));
    T* const projection = workspace.take<T>(projection_elements(sizes, args));
    bias_ = workspace.take<T>((kGates + 1) * hidden_);
    h_[0] = workspace.take<T>(batch * output_);
    h_[1] = workspace.take<T>(batch * output_);
    c_ = workspace.take<T>(batch * hidden_);
    inner_ = workspace.take<T>(batch * hidden_);
    chunk_ = workspace.take<T>(chunks.kept * kGates * hidden_);

    products_ = workspace.take<T>(is_reduced(args) ? batch * kGates * hidden_ : 0);
    x_rows_ = workspace.take<T>(is_reduced(args) ? chunks.kept * sizes.input : 0);

    const RnnWeights<T>& w = args.weights;
    weights_ = args.packed_w_hh;
    if (weights_ == nullptr && !is_reduced(args)) {
      pack_groups(weights, w.w_hh, kGates, hidden_, output_);
      weights_ = weights;
    }
    input_weights_ = args.packed_w_ih;
    if (chunks.ahead && input_weights_ == nullptr) {
      int64_t elements;
      pack_matrix<T>(
          {kGates * hidden_, sizes.input, w.w_ih, 1, sizes.input, input_weights, &elements});
      input_weights_ = input_weights;
    }
    projection_ = projection;
    if (w.w_hr != nullptr) pack_groups(projection, w.w_hr, 1, output_, hidden_);
    add_biases();
    gather_state(h_[0], args.h0, sizes.rows, output_);
    gather_state(c_, args.c0, sizes.rows, hidden_);
    finish_rows({0, batch}, {0, output_}, {0, hidden_}, h_[0]);  // of those of length 0
  }

  // Input projections of the steps [begin, end) into gates.
  void project_inputs(int64_t begin, int64_t end) {
    first_ = sizes_->rows.step_start[begin];
    const int64_t rows = rows_of_steps(sizes_->rows, begin, end), inputs = sizes_->input;
    T* const gates = gates_of(first_);
    if (is_reduced(*args_)) {
      const T* const x = contiguous_rows(x_rows_, x_, args_->x_offsets + first_, rows, inputs);
      reduced_product(args_->reduced.w_ih, rows, kGates * hidden_, inputs, x, gates);
      return;
    }
    const GatheredRows<T> x{x_, args_->x_offsets + first_};
    const DenseOperand<T> dense{args_->weights.w_ih, inputs, 1};
    const PackedOperand<T> packed = packed_inputs();
    gemm_grid<T>(1, {rows, kGates * hidden_, inputs},
                 [&](int64_t, const GemmCell& cell, T* scratch) {
                   if (packed.data != nullptr) {
                     gemm_cell<T>(cell, inputs, x, packed, gates, stride(), false, scratch);
                   } else {
                     gemm_cell<T>(cell, inputs, x, dense, gates, stride(), false, scratch);
                   }
                 });
  }

  static int64_t worker_elements(const RnnSizes& sizes, const Chunks& chunks) {
    const int64_t ahead = chunks.ahead ? ProjectionAhead<T>::scratch(sizes.input) : 0;
    return product_elements(sizes) + round_up(ahead, Vec<T>::kSize);
  }

  // All steps of a single sequence, in chunks; the first one's input projections are there.
  void run_sequence(int64_t chunk, const Share& share, T* scratch) {
    const int64_t steps = sizes_->rows.steps;
    const Product<T> product = first_product(0);
    const Range blocks = share.blocks(ceil_div(hidden_, kGroup<T>));
    const int64_t products = ceil_div(blocks.end - blocks.begin, row_blocks(product));
    const Range tiles =
        part_of(ceil_div(kGates * hidden_, Vec<T>::kSize), share.worker, share.workers);
    T* const panels = scratch + product_elements(*sizes_);
    for (int64_t begin = 0, end; begin < steps; begin = end) {
      end = min_of(begin + chunk, steps);
      if (end == steps) {
        for (int64_t s = begin; s < end; ++s) run_step(s, share, scratch);
        return;
      }
      ProjectionAhead<T> ahead({{x_, args_->x_offsets},
                                packed_inputs(),
                                sizes_->input,
                                kGates * hidden_,
                                gates_of(end),
                                stride()},
                               end, min_of(chunk, steps - end), tiles.begin, tiles.end,
                               products * (end - begin), panels);
      for (int64_t s = begin; s < end; ++s) run_step(s, share, scratch, &ahead);
    }
  }

  // `ahead`, of a single sequence, may be null.
  void run_step(int64_t s, const Share& share, T* scratch, ProjectionAhead<T>* ahead = nullptr) {
    const RnnRows& layout = sizes_->rows;
    const Range rows = share.rows(layout.batch, layout.step_rows[s]);
    const Range blocks = share.blocks(ceil_div(hidden_, kGroup<T>));
    T* const h = h_[1 - s % 2];
    const auto fetch = [&](int64_t row, int64_t block) { prefetch_gates(s, row, block); };
    const auto apply = [&](int64_t row, int64_t block, const T* products) {
      apply_first(s, row, block, {products, kGroup<T>});
    };
    if (ahead != nullptr) {
      multiply_row<T>(first_product(s), 0, blocks, scratch, ahead, apply);
    } else {
      multiply<T>(first_product(s), rows, blocks, scratch, fetch, apply);
    }
    const auto nothing = [](int64_t, int64_t) {};
    if constexpr (Cell::kResetFirst) {
      share.meet();
      multiply<T>({inner_, hidden_, hidden_, weights_, kGates, 2, 1}, rows, blocks, scratch,
                  nothing, [&](int64_t row, int64_t block, const T* products) {
                    apply_behind_reset(s, row, block, products);
                  });
    }
    if (projected()) {
      share.meet();
      multiply<T>({inner_, hidden_, hidden_, projection_, 1, 0, 1}, rows,
                  share.blocks(ceil_div(output_, kGroup<T>)), scratch, nothing,
                  [&](int64_t row, int64_t block, const T* products) {
                    const int64_t unit = block * kGroup<T>;
                    const int64_t count = min_of(kGroup<T>, output_ - unit);
                    T* const y = y_ + args_->y_offsets[layout.step_start[s] + row] + unit;
                    for (int64_t i = 0; i < count; i += Vec<T>::kSize) {
                      const Vec<T> v = Vec<T>::load(products + i);
                      v.store(h + row * output_ + unit + i, count - i);
                      v.store(y + i, count - i);
                    }
                  });
    }
    finish_rows({max_of(rows_after(s), rows.begin), rows.end}, share.units<T>(output_),
                share.units<T>(hidden_), h);
    share.meet();
  }

  // A step with weights of reduced precision; every product and the cells take all threads.
  void run_reduced_step(int64_t s) {
    const int64_t rows = sizes_->rows.step_rows[s], wide = kGates * hidden_;
    const RnnReducedWeights<T>& w = args_->reduced;
    reduced_product(w.w_hh, rows, wide, output_, h_[s % 2], products_);
    each_row_and_block(rows, [&](int64_t row, int64_t block) {
      apply_first(s, row, block, {products_ + row * wide + block * kGroup<T>, hidden_});
    });
    if constexpr (Cell::kResetFirst) {
      reduced_product(w.w_hh, rows, wide, hidden_, inner_, products_);
      each_row_and_block(rows, [&](int64_t row, int64_t block) {
        apply_behind_reset(s, row, block, products_ + row * wide + 2 * hidden_ + block * kGroup<T>);
      });
    }
    T* const h = h_[1 - s % 2];
    if (projected()) {
      reduced_product(w.w_hr, rows, output_, hidden_, inner_, h);
      for (int64_t row = 0; row < rows; ++row) {
        __builtin_memcpy(y_ + args_->y_offsets[sizes_->rows.step_start[s] + row], h + row * output_,
                         static_cast<unsigned long>(output_) * sizeof(T));
      }
    }
    finish_rows({rows_after(s), rows}, {0, output_}, {0, hidden_}, h);
  }

 private:
  // Products of a row and a block; those of gate g are `gate_stride` elements behind those of g -
  // 1.
  struct GateProducts {
    const T* data;
    int64_t gate_stride;
  };

  static int64_t product_elements(const RnnSizes& sizes) {
    return round_up(
        product_scratch<T>(sizes.rows.batch, max_of(sizes.output, sizes.hidden), kGates),
        Vec<T>::kSize);
  }
  static int64_t weight_elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args) {
    const bool packs = args.packed_w_hh == nullptr && !is_reduced(args);
    return packs ? packed_groups<T>(kGates, sizes.hidden, sizes.output) : 0;
  }
  static int64_t reduced_elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args,
                                  const Chunks& chunks) {
    if (!is_reduced(args)) return 0;
    return sizes.rows.batch * kGates * sizes.hidden + chunks.kept * sizes.input;
  }
  static int64_t input_weight_elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args,
                                       const Chunks& chunks) {
    const bool packs = chunks.ahead && args.packed_w_ih == nullptr;
    return packs ? round_up(kGates * sizes.hidden, kGroup<T>) * sizes.input : 0;
  }
  static int64_t projection_elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args) {
    return args.weights.w_hr == nullptr ? 0 : packed_groups<T>(1, sizes.output, sizes.hidden);
  }

  bool projected() const {
    return args_->weights.w_hr != nullptr || args_->reduced.w_hr.packed != nullptr;
  }
  int64_t rows_after(int64_t s) const {
    return s + 1 < sizes_->rows.steps ? sizes_->rows.step_rows[s + 1] : 0;
  }

  // Elements from one packed row of gates to the next.
  int64_t stride() const { return (args_->gates != nullptr ? kReserve : kGates) * hidden_; }
  T* gates_of(int64_t packed_row) const {
    return args_->gates != nullptr ? args_->gates + packed_row * stride()
                                   : chunk_ + (packed_row - first_) % kept_ * stride();
  }
  PackedOperand<T> packed_inputs() const {
    return {input_weights_, round_up(kGates * hidden_, kGroup<T>)};
  }
  Product<T> first_product(int64_t s) const {
    return {h_[s % 2], output_, output_, weights_, kGates, 0, kFirstGates};
  }
  T* gates_of(int64_t s, int64_t row) const { return gates_of(sizes_->rows.step_start[s] + row); }

  // Both biases are added to the input projection, except the GRU's b_hn, which the reset gate
  // scales.
  void add_biases() {
    const RnnWeights<T>& w = args_->weights;
    T* const scaled = bias_ + kGates * hidden_;
    for (int64_t j = 0; j < kGates * hidden_; ++j) {
      const T ih = w.b_ih != nullptr ? w.b_ih[j] : T(0);
      const T hh = w.b_hh != nullptr ? w.b_hh[j] : T(0);
      const bool apart = Cell::kGru && !Cell::kResetFirst && j >= 2 * hidden_;
      bias_[j] = apart ? ih : ih + hh;
      if (apart) scaled[j - 2 * hidden_] = hh;
    }
  }

  // The gates come from L3; their addresses are too scattered for the hardware to guess.
  void prefetch_gates(int64_t s, int64_t row, int64_t block) const {
    const T* const gates = gates_of(s, row) + block * kGroup<T>;
    for (int g = 0; g < kGates; ++g) {
      __builtin_prefetch(gates + g * hidden_, 1, 3);
      __builtin_prefetch(gates + g * hidden_ + kGroup<T> - 1, 1, 3);
    }
  }

  // Calls f(unit, lanes, offset inside the block) for a block's vectors.
  template <class F>
  FASTNN_INLINE void each_vector(int64_t block, const F& f) const {
    FASTNN_UNROLL
    for (int64_t v = 0; v < kGroupVectors; ++v) {
      const int64_t unit = block * kGroup<T> + v * Vec<T>::kSize;
      if (unit < hidden_) f(unit, min_of(Vec<T>::kSize, hidden_ - unit), v * Vec<T>::kSize);
    }
  }

  // A gate's input: projection of x, biases, recurrent product.
  FASTNN_INLINE Vec<T> gate_input(const T* gates, int g, int64_t unit, int64_t lanes) const {
    return Vec<T>::load(gates + g * hidden_ + unit, lanes) +
           Vec<T>::load(bias_ + g * hidden_ + unit, lanes);
  }

  template <class F>
  void each_row_and_block(int64_t rows, const F& f) const {
    constexpr int64_t kUnits = int64_t{1} << 13;  // some 15 microseconds
    parallel_for(rows, max_of(1, kUnits / hidden_), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t block = 0; block < ceil_div(hidden_, kGroup<T>); ++block) f(row, block);
      }
    });
  }

  // What follows the first product of a step.
  void apply_first(int64_t s, int64_t row, int64_t block, const GateProducts& products) const {
    if constexpr (Cell::kResetFirst) {
      reset(s, row, block, products);
    } else {
      apply_cell(s, row, block, products);
    }
  }

  // The cell on one row and one block: reads gates, writes h, c, y and what is saved.
  void apply_cell(int64_t s, int64_t row, int64_t block, const GateProducts& products) const {
    const int64_t packed_row = sizes_->rows.step_start[s] + row;
    T* const gates = gates_of(packed_row);
    // With a projection h and y are its products instead.
    T* const y = projected() ? nullptr : y_ + args_->y_offsets[packed_row];
    T* const h = projected() ? inner_ + row * hidden_ : h_[1 - s % 2] + row * hidden_;
    const T* const h_prev = h_[s % 2] + row * hidden_;
    T* const c = c_ + row * hidden_;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      Vec<T> pre[kGates], saved[kReserve];
      FASTNN_UNROLL
      for (int g = 0; g < kGates; ++g) {
        pre[g] = gate_input(gates, g, unit, lanes);
        if (g < 2 || !Cell::kGru) pre[g] = pre[g] + load_product(products, g, offset, lanes);
      }
      ForwardState<T> state{};
      if (Cell::kLstm) state.c = Vec<T>::load(c + unit, lanes);
      if (Cell::kGru) {
        state.h_prev = Vec<T>::load(h_prev + unit, lanes);
        state.rec_n = load_product(products, 2, offset, lanes) +
                      Vec<T>::load(bias_ + kGates * hidden_ + unit, lanes);
      }
      if (Cell::kPeephole) {
        FASTNN_UNROLL
        for (int i = 0; i < 3; ++i) {
          state.peephole[i] = Vec<T>::load(args_->weights.peephole + i * hidden_ + unit, lanes);
        }
      }
      const Vec<T> new_h = Cell::forward(pre, state, saved);
      new_h.store(h + unit, lanes);
      if (y != nullptr) new_h.store(y + unit, lanes);
      if (Cell::kLstm) state.c.store(c + unit, lanes);
      if (args_->gates == nullptr) return;
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) saved[g].store(gates + g * hidden_ + unit, lanes);
      if (Cell::kLstm) state.c.store(args_->cells + packed_row * hidden_ + unit, lanes);
    });
  }

  static FASTNN_INLINE Vec<T> load_product(const GateProducts& products, int g, int64_t offset,
                                           int64_t lanes) {
    return Vec<T>::load(products.data + g * products.gate_stride + offset, lanes);
  }

  // The halves of a step of the GRU with the reset first. r and z wait in `gates`.
  void reset(int64_t s, int64_t row, int64_t block, const GateProducts& products) const {
    T* const gates = gates_of(s, row);
    const T* const h_prev = h_[s % 2] + row * hidden_;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      Vec<T> r = gate_input(gates, 0, unit, lanes) + load_product(products, 0, offset, lanes);
      Vec<T> z = gate_input(gates, 1, unit, lanes) + load_product(products, 1, offset, lanes);
      Cell::reset(r, z, Vec<T>::load(h_prev + unit, lanes))
          .store(inner_ + row * hidden_ + unit, lanes);
      r.store(gates + unit, lanes);
      z.store(gates + hidden_ + unit, lanes);
    });
  }
  void apply_behind_reset(int64_t s, int64_t row, int64_t block, const T* products) const {
    const int64_t packed_row = sizes_->rows.step_start[s] + row;
    T* const gates = gates_of(packed_row);
    T* const y = y_ + args_->y_offsets[packed_row];
    T* const h = h_[1 - s % 2] + row * hidden_;
    const T* const h_prev = h_[s % 2] + row * hidden_;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      const Vec<T> pre = gate_input(gates, 2, unit, lanes) + Vec<T>::load(products + offset, lanes);
      Vec<T> n;
      const Vec<T> new_h = Cell::forward(pre, Vec<T>::load(gates + hidden_ + unit, lanes),
                                         Vec<T>::load(h_prev + unit, lanes), n);
      n.store(gates + 2 * hidden_ + unit, lanes);
      new_h.store(h + unit, lanes);
      new_h.store(y + unit, lanes);
    });
  }

  // Hands out the final states of rows that have ended.
  void finish_rows(Range ended, Range output_units, Range units, const T* h) const {
    scatter_state(args_->h_n, h, sizes_->rows, output_, ended, output_units);
    if (Cell::kLstm) scatter_state(args_->c_n, c_, sizes_->rows, hidden_, ended, units);
  }

  const RnnSizes* sizes_;
  const RnnForwardDirection<T>* args_;
  const T* x_;
  T* y_;
  int64_t hidden_, output_;
  int64_t first_ = 0;  // packed row at which the chunk begins
  int64_t kept_;       // rows of chunk_
  const T *weights_, *input_weights_, *projection_;
  T *bias_, *h_[2], *c_, *inner_, *chunk_;  // inner: o tanh(c) before its projection, or r h
  T *products_, *x_rows_;                   // of weights of reduced precision
};

template <class T, class Cell>
void run_forward(const RnnForwardArgs<T>& args) {
  using Dir = Direction<T, Cell>;
  const RnnRows& rows = args.sizes.rows;
  const int64_t weights = packed_groups<T>(Cell::kGates, args.sizes.hidden, args.sizes.output);
  const Split split(rows, ceil_div(args.sizes.hidden, kGroup<T>), rows.batch * weights,
                    weights * static_cast<int64_t>(sizeof(T)), args.directions);
  const Chunks chunks =
      plan_chunks(args, Cell::kGates, weights * static_cast<int64_t>(sizeof(T)) / split.workers());
  const int64_t worker_elements = Dir::worker_elements(args.sizes, chunks);
  int64_t elements = split.workers() * worker_elements;
  for (int d = 0; d < args.directions; ++d) {
    elements += Dir::elements(args.sizes, args.direction[d], chunks);
  }
  Workspace workspace((elements + 20 * 64) * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(split.workers() * worker_elements);
  Dir directions[2];
  for (int d = 0; d < args.directions; ++d) {
    directions[d].start(args.sizes, args.direction[d], args.x, args.y, chunks, workspace);
  }
  for (int64_t begin = 0, end = 0; begin < rows.steps; begin = end) {
    while (end < rows.steps &&
           (end == begin || rows_of_steps(rows, begin, end + 1) <= chunks.rows)) {
      ++end;
    }
    for (int d = 0; d < args.directions; ++d) directions[d].project_inputs(begin, end);
    if (is_reduced(args.direction[0])) {
      for (int d = 0; d < args.directions; ++d) {
        for (int64_t s = begin; s < end; ++s) directions[d].run_reduced_step(s);
      }
      continue;
    }
    if (chunks.ahead) end = rows.steps;
    parallel_team(split.workers(), [&](int worker, int workers) {
      split.each_direction(args.directions, worker, workers, [&](int d, const Share& share) {
        T* const own = scratch + worker * worker_elements;
        if (chunks.ahead) return directions[d].run_sequence(chunks.rows, share, own);
        for (int64_t s = begin; s < end; ++s) directions[d].run_step(s, share, own);
      });
    });
  }
}

}  // namespace

template <class T>
void rnn_forward(const RnnForwardArgs<T>& args) {
  with_cell<T>(args.sizes.cell, [&](auto cell) { run_forward<T, decltype(cell)>(args); });
}

template <class T>
void pack_recurrent(const PackRecurrentArgs<T>& args) {
  *args.elements = packed_groups<T>(args.gates, args.hidden, args.depth);
  if (args.packed == nullptr) return;
  pack_groups(args.packed, args.weights, args.gates, args.hidden, args.depth);
}

template void rnn_forward(const RnnForwardArgs<float>&);
template void rnn_forward(const RnnForwardArgs<double>&);
template void pack_recurrent(const PackRecurrentArgs<float>&);
template void pack_recurrent(const PackRecurrentArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
