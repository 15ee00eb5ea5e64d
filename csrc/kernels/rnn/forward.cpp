// Recurrent layer, forward. A step of many rows is one fused product of inputs and states with
// packed weights, and the cell behind it in cache. For few rows, or weights that would have to come
// from memory at every step, the inputs of a chunk of steps are projected by one GEMM. Every sum is
// one chain over the inputs and then the state, whichever way it is computed.
//
// Workspace, a direction: packed weights unless they came packed (G H rounded up to kGroup, times
// I + P; and P rounded up times H with a projection), biases ((G + 1) H), states (batch (2 P + 2
// H)), and a chunk of input projections (kChunkBytes or one step, none where all steps are fused).
// A worker: panels of inputs and a state (min(batch, kPackedRows) (I + max(P, H))) and products
// (kTileRows * 4 * kGroup). Weights of reduced precision (reduced.h) take no copy, but products
// (batch G H) and a chunk of x. A single sequence (single_row.h) takes two chunks of at most
// kAheadRows instead, and kAheadRows * I a worker.
#include "kernels/rnn/recurrence.h"
#include "kernels/rnn/reduced.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;

using GemmCell = ::fastnn::FASTNN_ISA::Cell;

// How the steps are taken: first `fused` of them, then chunks whose input projections are computed
// together, in packed rows.
struct Plan {
  int64_t fused;
  int64_t chunk;  // rows at most, but for a step that is larger
  int64_t kept;   // rows of projections in the workspace
  bool ahead;     // a single sequence, whose chunks are projected while the one before runs

  // Chunks alone pack their part of w_ih as they go.
  bool packs_inputs() const { return ahead || fused > 0; }
};

template <class T>
bool is_reduced(const RnnForwardDirection<T>& args) {
  return args.reduced.w_hh.packed != nullptr;
}

// Of so many rows a step's product is bound by its multiply-adds, if the weights come from caches.
constexpr int64_t kFusedRows = 5;

// weight_bytes: all matrices', of one worker.
template <class T, class Cell>
Plan plan_steps(const RnnForwardArgs<T>& args, int64_t weight_bytes) {
  // A larger panel of x would not stay in cache beside the weights; and weights from far down in
  // L3 take all the requests that a core can have under way.
  constexpr int64_t kMaxPanelBytes = int64_t{1} << 20;
  constexpr int64_t kSize = static_cast<int64_t>(sizeof(T));
  const bool near = weight_bytes <= 8 * cache_sizes().l2, reduced = is_reduced(args.direction[0]);
  const RnnRows& rows = args.sizes.rows;
  const int64_t all = rows_of_steps(rows, 0, rows.steps);
  if (rows.batch == 1 && rows.steps > kAheadRows && near && !reduced &&
      kAheadRows * args.sizes.input * kSize <= kMaxPanelBytes) {
    const int64_t chunk = ceil_div(rows.steps, ceil_div(rows.steps, kAheadRows));
    return {0, chunk, 2 * chunk, true};
  }
  int64_t fused = 0;
  if (!reduced && !Cell::kResetFirst && near) {
    while (fused < rows.steps && rows.step_rows[fused] >= kFusedRows) ++fused;
  }
  // A single step, as of a cell, is one fused product however few its rows.
  const bool packed = args.direction[0].packed_w_ih != nullptr;
  if (packed && !Cell::kResetFirst && rows.steps == 1) fused = 1;
  const int64_t left = all - rows_of_steps(rows, 0, fused);
  const int64_t row_bytes = round_up(args.sizes.hidden, kGroup<T>) * Cell::kGates * kSize;
  const int64_t chunk = min_of(left, max_of(rows.batch, kChunkBytes / row_bytes));
  return {fused, chunk, chunk, false};
}

// One direction: its weights, states and steps.
template <class T, class Cell>
class Direction {
 public:
  static constexpr int kGates = Cell::kGates, kReserve = Cell::kReserve;
  // Gates whose products the first half of a step needs. They are summed up in as many slots, those
  // of a GRU in r, z, n (recurrent side), n (input side).
  static constexpr int kFirstGates = Cell::kResetFirst ? 2 : kGates;
  static constexpr bool kTwoSided = Cell::kGru && !Cell::kResetFirst;
  static constexpr int kSlots = kTwoSided ? 4 : kFirstGates;

  // Elements of workspace.
  static int64_t elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args,
                          const Plan& plan) {
    const int64_t hidden = sizes.hidden, batch = sizes.rows.batch;
    return weight_elements(args.packed_w_hh, sizes.output, sizes, args) +
           (plan.packs_inputs() ? weight_elements(args.packed_w_ih, sizes.input, sizes, args) : 0) +
           projection_elements(sizes, args) + reduced_elements(sizes, args, plan) +
           (kGates + 1) * hidden + 2 * batch * (sizes.output + hidden) +
           plan.kept * columns(hidden) + 11 * Vec<T>::kSize;
  }

  void start(const RnnSizes& sizes, const RnnForwardDirection<T>& args, const T* x, T* y,
             const Plan& plan, Workspace& workspace) {
    sizes_ = &sizes;
    args_ = &args;
    x_ = x;
    y_ = y;
    hidden_ = sizes.hidden;
    output_ = sizes.output;
    const int64_t batch = sizes.rows.batch;
    const bool reduced = is_reduced(args);
    kept_ = max_of(1, plan.kept);
    chunk_layout_ = reduced ? ChunkLayout{kGates * hidden_, kGroup<T>, hidden_}
                            : ChunkLayout{columns(hidden_), kGates * kGroup<T>, kGroup<T>};
    T* const weights = workspace.take<T>(weight_elements(args.packed_w_hh, output_, sizes, args));
    T* const input_weights = workspace.take<T>(
        plan.packs_inputs() ? weight_elements(args.packed_w_ih, sizes.input, sizes, args) : 0);
    T* const projection = workspace.take<T>(projection_elements(sizes, args));
    bias_ = workspace.take<T>((kGates + 1) * hidden_);
    h_[0] = workspace.take<T>(batch * output_);
    h_[1] = workspace.take<T>(batch * output_);
    c_ = workspace.take<T>(batch * hidden_);
    inner_ = workspace.take<T>(batch * hidden_);
    chunk_ = workspace.take<T>(plan.kept * columns(hidden_));
    products_ = workspace.take<T>(reduced ? batch * kGates * hidden_ : 0);
    x_rows_ = workspace.take<T>(reduced ? plan.kept * sizes.input : 0);

    const RnnWeights<T>& w = args.weights;
    weights_ = args.packed_w_hh;
    if (weights_ == nullptr && !reduced) {
      pack_groups(weights, w.w_hh, kGates, hidden_, output_);
      weights_ = weights;
    }
    input_weights_ = args.packed_w_ih;
    if (input_weights_ == nullptr && !reduced && plan.packs_inputs()) {
      pack_groups(input_weights, w.w_ih, kGates, hidden_, sizes.input);
      input_weights_ = input_weights;
    }
    projection_ = projection;
    if (w.w_hr != nullptr) pack_groups(projection, w.w_hr, 1, output_, hidden_);
    add_biases();
    gather_state(h_[0], args.h0, sizes.rows, output_);
    gather_state(c_, args.c0, sizes.rows, hidden_);
    finish_rows({0, batch}, {0, output_}, {0, hidden_}, h_[0]);  // of those of length 0
  }

  // Input projections of the steps [begin, end) into the chunk.
  void project_inputs(int64_t begin, int64_t end) {
    first_ = sizes_->rows.step_start[begin];
    const int64_t rows = rows_of_steps(sizes_->rows, begin, end), inputs = sizes_->input;
    T* const gates = chunk_row(first_);
    if (is_reduced(*args_)) {
      const T* const x = contiguous_rows(x_rows_, x_, args_->x_offsets + first_, rows, inputs);
      reduced_product(args_->reduced.w_ih, rows, kGates * hidden_, inputs, x, gates);
      return;
    }
    gemm_grid<T>(1, {rows, columns(hidden_), inputs},
                 [&](int64_t, const GemmCell& cell, T* scratch) {
                   const GatheredRows<T> x{x_, args_->x_offsets + first_};
                   const int64_t stride = chunk_layout_.row;
                   if (input_weights_ != nullptr) {
                     gemm_cell<T>(cell, inputs, x, grouped_inputs(), gates, stride, false, scratch);
                   } else {
                     const UngroupedOperand<T> w{args_->weights.w_ih, kGates, hidden_, inputs};
                     gemm_cell<T>(cell, inputs, x, w, gates, stride, false, scratch);
                   }
                 });
  }

  static int64_t worker_elements(const RnnSizes& sizes, const Plan& plan) {
    const int64_t ahead = plan.ahead ? ProjectionAhead<T>::scratch(sizes.input) : 0;
    return product_elements(sizes) + round_up(ahead, Vec<T>::kSize);
  }

  // All steps of a single sequence, in chunks; the first one's input projections are there.
  void run_sequence(int64_t chunk, const Share& share, T* scratch) {
    const int64_t steps = sizes_->rows.steps;
    const Product<T> product = first_product(0);
    const Range blocks = share.blocks(ceil_div(hidden_, kGroup<T>));
    const int64_t products = ceil_div(blocks.end - blocks.begin, row_blocks(product));
    const Range tiles = part_of(columns(hidden_) / Vec<T>::kSize, share.worker, share.workers);
    T* const panels = scratch + product_elements(*sizes_);
    for (int64_t begin = 0, end; begin < steps; begin = end) {
      end = min_of(begin + chunk, steps);
      if (end == steps) {
        for (int64_t s = begin; s < end; ++s) run_step(s, false, share, scratch);
        return;
      }
      ProjectionAhead<T> ahead(
          {{x_, args_->x_offsets}, grouped_inputs(), chunk_row(end), chunk_layout_.row}, end,
          min_of(chunk, steps - end), tiles.begin, tiles.end, products * (end - begin), panels);
      for (int64_t s = begin; s < end; ++s) run_step(s, false, share, scratch, &ahead);
    }
  }

  // A step of rows whose inputs are in the chunk, or of a fused product. `ahead`, of a single
  // sequence, may be null.
  void run_step(int64_t s, bool fused, const Share& share, T* scratch,
                ProjectionAhead<T>* ahead = nullptr) {
    const RnnRows& layout = sizes_->rows;
    const Range rows = share.rows(layout.batch, layout.step_rows[s]);
    const Range blocks = share.blocks(ceil_div(hidden_, kGroup<T>));
    T* const h = h_[1 - s % 2];
    const InputProduct<T> input{{x_, args_->x_offsets + layout.step_start[s]},
                                fused ? sizes_->input : 0,
                                fused ? input_weights_ : nullptr,
                                kGates};
    const auto start = [&](int64_t row, int64_t block, T* sums) {
      start_sums(fused ? nullptr : chunk_block(s, row, block), is_falling(s), sums);
    };
    const auto apply = [&](int64_t row, int64_t block, const T* sums) {
      apply_first(s, row, block, sums);
    };
    multiply<T>(first_product(s), input, rows, blocks, scratch, ahead, start, apply);
    if constexpr (Cell::kResetFirst) {
      share.meet();
      multiply<T>(inner_, hidden_, hidden_, weights_, kGates, rows, blocks, scratch,
                  [&](int64_t row, int64_t block, const T* products) {
                    apply_behind_reset(s, row, block, products);
                  });
    }
    if (projected()) {
      share.meet();
      multiply<T>(inner_, hidden_, hidden_, projection_, 1, rows,
                  share.blocks(ceil_div(output_, kGroup<T>)), scratch,
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
      T sums[kSlots * kGroup<T>];
      add_products(chunk_block(s, row, block), products_ + row * wide + block * kGroup<T>,
                   min_of(kGroup<T>, hidden_ - block * kGroup<T>), sums);
      apply_first(s, row, block, sums);
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
  // Where the chunk keeps projections: elements from a row, a block of units and a gate to the
  // next.
  struct ChunkLayout {
    int64_t row, block, gate;
  };

  // Of packed weights, and of a row of projections.
  static int64_t columns(int64_t hidden) { return kGates * round_up(hidden, kGroup<T>); }

  static int64_t product_elements(const RnnSizes& sizes) {
    return round_up(product_scratch<T>(sizes.rows.batch,
                                       sizes.input + max_of(sizes.output, sizes.hidden), kSlots),
                    Vec<T>::kSize);
  }
  static int64_t weight_elements(const T* packed, int64_t depth, const RnnSizes& sizes,
                                 const RnnForwardDirection<T>& args) {
    return packed == nullptr && !is_reduced(args) ? columns(sizes.hidden) * depth : 0;
  }
  static int64_t reduced_elements(const RnnSizes& sizes, const RnnForwardDirection<T>& args,
                                  const Plan& plan) {
    if (!is_reduced(args)) return 0;
    return sizes.rows.batch * kGates * sizes.hidden + plan.kept * sizes.input;
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

  T* chunk_row(int64_t packed_row) const {
    return chunk_ + (packed_row - first_) % kept_ * chunk_layout_.row;
  }
  T* chunk_block(int64_t s, int64_t row, int64_t block) const {
    return chunk_row(sizes_->rows.step_start[s] + row) + block * chunk_layout_.block;
  }
  // What is kept for the backward pass, of a packed row.
  T* saved_row(int64_t packed_row) const { return args_->gates + packed_row * kReserve * hidden_; }
  GroupedOperand<T> grouped_inputs() const { return {input_weights_, sizes_->input}; }
  // What L2 has kept for the next step are the weights that were read last.
  static bool is_falling(int64_t s) { return s % 2 == 1; }
  Product<T> first_product(int64_t s) const {
    return {h_[s % 2], output_,     output_, weights_, kGates,
            0,         kFirstGates, kSlots,  true,     is_falling(s)};
  }

  // What the product of a step is added to: a block of projections, or what a fused product has
  // left, for null.
  FASTNN_INLINE void start_sums(const T* chunk, bool falling, T* sums) const {
    constexpr int64_t kStep = kGroup<T>, kBytes = kStep * static_cast<int64_t>(sizeof(T));
    if (kTwoSided) __builtin_memset(sums + 2 * kStep, 0, kBytes);
    if (chunk == nullptr) return;
    constexpr int kAdded = kTwoSided ? 2 : kFirstGates;
    __builtin_memcpy(sums, chunk, kAdded * kBytes);
    if (kTwoSided) __builtin_memcpy(sums + 3 * kStep, chunk + 2 * kStep, kBytes);
    const T* const next = chunk + (falling ? -kGates : kGates) * kStep;  // comes from L3
    for (int64_t i = 0; i < kGates * kStep; i += kFetchLine<T>) __builtin_prefetch(next + i);
  }
  // The sums of a block with weights of reduced precision.
  void add_products(const T* chunk, const T* products, int64_t units, T* sums) const {
    constexpr int64_t kStep = kGroup<T>;
    for (int g = 0; g < kSlots; ++g) {
      const T* const x = chunk + (g == 3 && kTwoSided ? 2 : g) * hidden_;
      const T* const h = products + g * hidden_;
      const bool from_x = !kTwoSided || g != 2, from_h = !kTwoSided || g != 3;
      for (int64_t j = 0; j < kStep; ++j) {
        sums[g * kStep + j] = j >= units         ? T(0)
                              : from_x && from_h ? x[j] + h[j]
                              : from_x           ? x[j]
                                                 : h[j];
      }
    }
  }

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

  // Calls f(unit, lanes, offset inside the block) for a block's vectors.
  template <class F>
  FASTNN_INLINE void each_vector(int64_t block, const F& f) const {
    FASTNN_UNROLL
    for (int64_t v = 0; v < kGroupVectors; ++v) {
      const int64_t unit = block * kGroup<T> + v * Vec<T>::kSize;
      if (unit < hidden_) f(unit, min_of(Vec<T>::kSize, hidden_ - unit), v * Vec<T>::kSize);
    }
  }

  // A gate's input: a sum and biases.
  FASTNN_INLINE Vec<T> gate_input(const T* sum, int g, int64_t unit, int64_t lanes) const {
    return Vec<T>::load(sum, lanes) + Vec<T>::load(bias_ + g * hidden_ + unit, lanes);
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
  void apply_first(int64_t s, int64_t row, int64_t block, const T* sums) const {
    if constexpr (Cell::kResetFirst) {
      reset(s, row, block, sums);
    } else if (args_->weights.peephole != nullptr || sizes_->cell == RnnCell::kRelu) {
      apply_cell<!Cell::kGru>(s, row, block, sums);
    } else {
      apply_cell<false>(s, row, block, sums);
    }
  }

  // The cell on one row and one block: reads sums, writes h, c, y and what is saved. kVariant: with
  // peepholes, or ReLU.
  template <bool kVariant>
  void apply_cell(int64_t s, int64_t row, int64_t block, const T* sums) const {
    const int64_t packed_row = sizes_->rows.step_start[s] + row;
    // With a projection h and y are its products instead.
    T* const y = projected() ? nullptr : y_ + args_->y_offsets[packed_row];
    T* const h = projected() ? inner_ + row * hidden_ : h_[1 - s % 2] + row * hidden_;
    const T* const h_prev = h_[s % 2] + row * hidden_;
    T* const c = c_ + row * hidden_;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      const auto slot = [&](int g) { return sums + g * kGroup<T> + offset; };
      Vec<T> pre[kGates], saved[kReserve];
      FASTNN_UNROLL
      for (int g = 0; g < kGates; ++g) {
        pre[g] = gate_input(slot(g == 2 && Cell::kGru ? 3 : g), g, unit, lanes);
      }
      ForwardState<T> state{};
      if (Cell::kLstm) state.c = Vec<T>::load(c + unit, lanes);
      if (Cell::kGru) {
        state.h_prev = Vec<T>::load(h_prev + unit, lanes);
        state.rec_n = gate_input(slot(2), kGates, unit, lanes);
      }
      state.variant = kVariant;
      if (Cell::kLstm && kVariant) {
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
      T* const gates = saved_row(packed_row) + unit;
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) saved[g].store(gates + g * hidden_, lanes);
      if (Cell::kLstm) state.c.store(args_->cells + packed_row * hidden_ + unit, lanes);
    });
  }

  // The halves of a step of the GRU with the reset first. z waits in the chunk.
  void reset(int64_t s, int64_t row, int64_t block, const T* sums) const {
    T* const chunk = chunk_block(s, row, block);
    const T* const h_prev = h_[s % 2] + row * hidden_;
    const int64_t packed_row = sizes_->rows.step_start[s] + row;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      Vec<T> r = gate_input(sums + offset, 0, unit, lanes);
      Vec<T> z = gate_input(sums + kGroup<T> + offset, 1, unit, lanes);
      Cell::reset(r, z, Vec<T>::load(h_prev + unit, lanes))
          .store(inner_ + row * hidden_ + unit, lanes);
      z.store(chunk + chunk_layout_.gate + offset, lanes);
      if (args_->gates == nullptr) return;
      r.store(saved_row(packed_row) + unit, lanes);
      z.store(saved_row(packed_row) + hidden_ + unit, lanes);
    });
  }
  void apply_behind_reset(int64_t s, int64_t row, int64_t block, const T* products) const {
    const int64_t packed_row = sizes_->rows.step_start[s] + row;
    const T* const z = chunk_block(s, row, block) + chunk_layout_.gate;
    const T* const chunk = z + chunk_layout_.gate;
    T* const y = y_ + args_->y_offsets[packed_row];
    T* const h = h_[1 - s % 2] + row * hidden_;
    const T* const h_prev = h_[s % 2] + row * hidden_;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      const Vec<T> pre =
          Vec<T>::load(chunk + offset, lanes) + gate_input(products + offset, 2, unit, lanes);
      Vec<T> n;
      const Vec<T> new_h = Cell::forward(pre, Vec<T>::load(z + offset, lanes),
                                         Vec<T>::load(h_prev + unit, lanes), n);
      new_h.store(h + unit, lanes);
      new_h.store(y + unit, lanes);
      if (args_->gates != nullptr) {
        n.store(saved_row(packed_row) + 2 * hidden_ + unit, lanes);
      }
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
  ChunkLayout chunk_layout_;
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
  const int64_t inputs = packed_groups<T>(Cell::kGates, args.sizes.hidden, args.sizes.input);
  const Plan plan = plan_steps<T, Cell>(
      args, (weights + inputs) * static_cast<int64_t>(sizeof(T)) / split.workers());
  const int64_t worker_elements = Dir::worker_elements(args.sizes, plan);
  int64_t elements = split.workers() * worker_elements;
  for (int d = 0; d < args.directions; ++d) {
    elements += Dir::elements(args.sizes, args.direction[d], plan);
  }
  Workspace workspace((elements + 20 * 64) * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(split.workers() * worker_elements);
  Dir directions[2];
  for (int d = 0; d < args.directions; ++d) {
    directions[d].start(args.sizes, args.direction[d], args.x, args.y, plan, workspace);
  }
  const auto run_steps = [&](int64_t begin, int64_t end, bool fused) {
    parallel_team(split.workers(), [&](int worker, int workers) {
      split.each_direction(args.directions, worker, workers, [&](int d, const Share& share) {
        T* const own = scratch + worker * worker_elements;
        if (plan.ahead) return directions[d].run_sequence(plan.chunk, share, own);
        for (int64_t s = begin; s < end; ++s) directions[d].run_step(s, fused, share, own);
      });
    });
  };
  if (plan.fused > 0) run_steps(0, plan.fused, true);
  for (int64_t begin = plan.fused, end = begin; begin < rows.steps; begin = end) {
    while (end < rows.steps &&
           (end == begin || rows_of_steps(rows, begin, end + 1) <= plan.chunk)) {
      ++end;
    }
    for (int d = 0; d < args.directions; ++d) directions[d].project_inputs(begin, end);
    if (is_reduced(args.direction[0])) {
      for (int d = 0; d < args.directions; ++d) {
        for (int64_t s = begin; s < end; ++s) directions[d].run_reduced_step(s);
      }
      continue;
    }
    if (plan.ahead) end = rows.steps;
    run_steps(begin, end, false);
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
