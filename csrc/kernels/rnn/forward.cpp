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
#include "kernels/rnn/direct.h"
#include "kernels/rnn/direction_memory.h"

namespace fastnn::FASTNN_ISA {

namespace {

// The steps of one direction.
template <class T, class Cell>
class Direction {
 public:
  static constexpr int kGates = Cell::kGates, kReserve = Cell::kReserve;
  // Gates whose products the first half of a step needs. They are summed up in as many slots, those
  // of a GRU in r, z, n (recurrent side), n (input side).
  static constexpr int kFirstGates = Cell::kResetFirst ? 2 : kGates;
  static constexpr bool kTwoSided = Cell::kGru && !Cell::kResetFirst;
  static constexpr int kSlots = kTwoSided ? 4 : kFirstGates;

  static constexpr CellShape shape() { return CellShape::of<Cell>(); }

  // Elements of workspace, and of scratch for each worker.
  static int64_t elements(const RnnForwardArgs<T>& args, int direction, const Plan& plan) {
    return DirectionMemory<T>::elements(shape(), args.sizes, args.direction[direction], plan);
  }
  static int64_t worker_elements(const RnnSizes& sizes, const Plan& plan) {
    const int64_t ahead = plan.ahead ? ProjectionAhead<T>::scratch(sizes.input) : 0;
    return product_elements(sizes) + round_up(ahead, Vec<T>::kSize);
  }

  void start(const RnnForwardArgs<T>& args, int direction, const Plan& plan, Workspace& workspace) {
    m_.start(shape(), args, direction, plan, workspace);
  }
  void project_inputs(int64_t begin, int64_t end) { m_.project_inputs(begin, end); }

  // All steps of a single sequence, in chunks; the first one's input projections are there.
  void run_sequence(int64_t chunk, const Share& share, T* scratch) {
    const int64_t steps = m_.sizes->rows.steps;
    const Product<T> product = first_product(0);
    const Range blocks = share.blocks(ceil_div(m_.hidden, kGroup<T>));
    const int64_t products = ceil_div(blocks.end - blocks.begin, row_blocks(product));
    const Range tiles = part_of(m_.columns() / Vec<T>::kSize, share.worker, share.workers);
    T* const panels = scratch + product_elements(*m_.sizes);
    for (int64_t begin = 0, end; begin < steps; begin = end) {
      end = min_of(begin + chunk, steps);
      if (end == steps) {
        for (int64_t s = begin; s < end; ++s) run_step(s, false, share, scratch);
        return;
      }
      ProjectionAhead<T> ahead(
          {{m_.x, m_.args->x_offsets}, m_.grouped_inputs(), m_.chunk_row(end), m_.layout.row}, end,
          min_of(chunk, steps - end), tiles.begin, tiles.end, products * (end - begin), panels);
      for (int64_t s = begin; s < end; ++s) run_step(s, false, share, scratch, &ahead);
    }
  }

  // A step of rows whose inputs are in the chunk, or of a fused product. `ahead`, of a single
  // sequence, may be null.
  __attribute__((noinline)) void run_step(int64_t s, bool fused, const Share& share, T* scratch,
                                          ProjectionAhead<T>* ahead = nullptr) {
    const RnnRows& layout = m_.sizes->rows;
    const Range rows = share.rows(layout.batch, layout.step_rows[s]);
    const Range blocks = share.blocks(ceil_div(m_.hidden, kGroup<T>));
    T* const h = m_.h[1 - s % 2];
    const InputProduct<T> input{{m_.x, m_.args->x_offsets + layout.step_start[s]},
                                fused ? m_.sizes->input : 0,
                                fused ? m_.input_weights : nullptr,
                                kGates};
    const auto start = [&](int64_t row, int64_t block, T* sums) {
      start_sums(fused ? nullptr : m_.chunk_block(s, row, block), is_falling(s), sums);
    };
    const auto apply = [&](int64_t row, int64_t block, const T* sums) {
      apply_first(s, row, block, sums);
    };
    if (m_.weights != nullptr) {
      multiply<T>(first_product(s), input, rows, blocks, scratch, ahead, start, apply);
    } else if constexpr (!Cell::kResetFirst) {
      multiply_direct<T>(direct_product(layout.step_rows[s]), rows, blocks, scratch, apply);
    }
    if constexpr (Cell::kResetFirst) {
      share.meet();
      multiply<T>(m_.inner, m_.hidden, m_.hidden, m_.weights, kGates, rows, blocks, scratch,
                  [&](int64_t row, int64_t block, const T* products) {
                    apply_behind_reset(s, row, block, products);
                  });
    }
    if (projected()) {
      share.meet();
      multiply<T>(m_.inner, m_.hidden, m_.hidden, m_.projection, 1, rows,
                  share.blocks(ceil_div(m_.output, kGroup<T>)), scratch,
                  [&](int64_t row, int64_t block, const T* products) {
                    const int64_t unit = block * kGroup<T>;
                    const int64_t count = min_of(kGroup<T>, m_.output - unit);
                    T* const y = m_.y + m_.args->y_offsets[layout.step_start[s] + row] + unit;
                    for (int64_t i = 0; i < count; i += Vec<T>::kSize) {
                      const Vec<T> v = Vec<T>::load(products + i);
                      v.store(h + row * m_.output + unit + i, count - i);
                      v.store(y + i, count - i);
                    }
                  });
    }
    m_.finish_rows({max_of(m_.rows_after(s), rows.begin), rows.end}, share.units<T>(m_.output),
                   share.units<T>(m_.hidden), h);
    share.meet();
  }

  // A step with weights of reduced precision; every product and the cells take all threads.
  void run_reduced_step(int64_t s) {
    const int64_t rows = m_.sizes->rows.step_rows[s], wide = kGates * m_.hidden;
    const RnnReducedWeights<T>& w = m_.args->reduced;
    reduced_product(w.w_hh, rows, wide, m_.output, m_.h[s % 2], m_.products);
    each_row_and_block(rows, [&](int64_t row, int64_t block) {
      T sums[kSlots * kGroup<T>];
      add_products(m_.chunk_block(s, row, block), m_.products + row * wide + block * kGroup<T>,
                   min_of(kGroup<T>, m_.hidden - block * kGroup<T>), sums);
      apply_first(s, row, block, sums);
    });
    if constexpr (Cell::kResetFirst) {
      reduced_product(w.w_hh, rows, wide, m_.hidden, m_.inner, m_.products);
      each_row_and_block(rows, [&](int64_t row, int64_t block) {
        apply_behind_reset(s, row, block,
                           m_.products + row * wide + 2 * m_.hidden + block * kGroup<T>);
      });
    }
    T* const h = m_.h[1 - s % 2];
    if (projected()) {
      reduced_product(w.w_hr, rows, m_.output, m_.hidden, m_.inner, h);
      for (int64_t row = 0; row < rows; ++row) {
        __builtin_memcpy(m_.y + m_.args->y_offsets[m_.sizes->rows.step_start[s] + row],
                         h + row * m_.output, static_cast<unsigned long>(m_.output) * sizeof(T));
      }
    }
    m_.finish_rows({m_.rows_after(s), rows}, {0, m_.output}, {0, m_.hidden}, h);
  }

 private:
  bool projected() const { return Cell::kLstm && m_.projected(); }
  static int64_t product_elements(const RnnSizes& sizes) {
    return round_up(product_scratch<T>(sizes.rows.batch,
                                       sizes.input + max_of(sizes.output, sizes.hidden), kSlots),
                    Vec<T>::kSize);
  }

  // What L2 has kept for the next step are the weights that were read last.
  static bool is_falling(int64_t s) { return s % 2 == 1; }
  Product<T> first_product(int64_t s) const {
    return {m_.h[s % 2], m_.output,   m_.output, m_.weights, kGates,
            0,           kFirstGates, kSlots,    true,       is_falling(s)};
  }

  DirectProduct<T> direct_product(int64_t rows) const {
    const RnnWeights<T>& w = m_.args->weights;
    const int64_t* const offsets = m_.args->x_offsets;
    const int64_t inputs = m_.sizes->input;
    return {{m_.x + offsets[0], even_stride(offsets, rows), inputs, w.w_ih},
            {m_.h[0], m_.output, m_.output, w.w_hh},
            m_.hidden,
            kGates,
            kSlots,
            kTwoSided};
  }

  // What is kept for the backward pass, of a packed row.
  T* saved_row(int64_t packed_row) const {
    return m_.args->gates + packed_row * kReserve * m_.hidden;
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
      const T* const x = chunk + (g == 3 && kTwoSided ? 2 : g) * m_.hidden;
      const T* const h = products + g * m_.hidden;
      const bool from_x = !kTwoSided || g != 2, from_h = !kTwoSided || g != 3;
      for (int64_t j = 0; j < kStep; ++j) {
        sums[g * kStep + j] = j >= units         ? T(0)
                              : from_x && from_h ? x[j] + h[j]
                              : from_x           ? x[j]
                                                 : h[j];
      }
    }
  }

  // Calls f(unit, lanes, offset inside the block) for a block's vectors.
  template <class F>
  FASTNN_INLINE void each_vector(int64_t block, const F& f) const {
    FASTNN_UNROLL
    for (int64_t v = 0; v < kGroupVectors; ++v) {
      const int64_t unit = block * kGroup<T> + v * Vec<T>::kSize;
      if (unit < m_.hidden) f(unit, min_of(Vec<T>::kSize, m_.hidden - unit), v * Vec<T>::kSize);
    }
  }

  // A gate's input: a sum and biases.
  FASTNN_INLINE Vec<T> gate_input(const T* sum, int g, int64_t unit, int64_t lanes) const {
    return Vec<T>::load(sum, lanes) + Vec<T>::load(m_.bias + g * m_.hidden + unit, lanes);
  }

  template <class F>
  void each_row_and_block(int64_t rows, const F& f) const {
    constexpr int64_t kUnits = int64_t{1} << 13;  // some 15 microseconds
    parallel_for(rows, max_of(1, kUnits / m_.hidden), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t block = 0; block < ceil_div(m_.hidden, kGroup<T>); ++block) f(row, block);
      }
    });
  }

  // What follows the first product of a step.
  void apply_first(int64_t s, int64_t row, int64_t block, const T* sums) const {
    if constexpr (Cell::kResetFirst) {
      reset(s, row, block, sums);
    } else if (m_.args->weights.peephole != nullptr || m_.sizes->cell == RnnCell::kRelu) {
      apply_cell<!Cell::kGru>(s, row, block, sums);
    } else {
      apply_cell<false>(s, row, block, sums);
    }
  }

  // The cell on one row and one block: reads sums, writes h, c, y and what is saved. kVariant: with
  // peepholes, or ReLU.
  template <bool kVariant>
  void apply_cell(int64_t s, int64_t row, int64_t block, const T* sums) const {
    const int64_t packed_row = m_.sizes->rows.step_start[s] + row;
    // With a projection h and y are its products instead.
    T* const y = projected() ? nullptr : m_.y + m_.args->y_offsets[packed_row];
    T* const h = projected() ? m_.inner + row * m_.hidden : m_.h[1 - s % 2] + row * m_.hidden;
    const T* const h_prev = m_.h[s % 2] + row * m_.hidden;
    T* const c = m_.c + row * m_.hidden;
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
          state.peephole[i] = Vec<T>::load(m_.args->weights.peephole + i * m_.hidden + unit, lanes);
        }
      }
      const Vec<T> new_h = Cell::forward(pre, state, saved);
      new_h.store(h + unit, lanes);
      if (y != nullptr) new_h.store(y + unit, lanes);
      if (Cell::kLstm) state.c.store(c + unit, lanes);
      if (m_.args->gates == nullptr) return;
      T* const gates = saved_row(packed_row) + unit;
      FASTNN_UNROLL
      for (int g = 0; g < kReserve; ++g) saved[g].store(gates + g * m_.hidden, lanes);
      if (Cell::kLstm) state.c.store(m_.args->cells + packed_row * m_.hidden + unit, lanes);
    });
  }

  // The halves of a step of the GRU with the reset first. z waits in the chunk.
  void reset(int64_t s, int64_t row, int64_t block, const T* sums) const {
    T* const chunk = m_.chunk_block(s, row, block);
    const T* const h_prev = m_.h[s % 2] + row * m_.hidden;
    const int64_t packed_row = m_.sizes->rows.step_start[s] + row;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      Vec<T> r = gate_input(sums + offset, 0, unit, lanes);
      Vec<T> z = gate_input(sums + kGroup<T> + offset, 1, unit, lanes);
      Cell::reset(r, z, Vec<T>::load(h_prev + unit, lanes))
          .store(m_.inner + row * m_.hidden + unit, lanes);
      z.store(chunk + m_.layout.gate + offset, lanes);
      if (m_.args->gates == nullptr) return;
      r.store(saved_row(packed_row) + unit, lanes);
      z.store(saved_row(packed_row) + m_.hidden + unit, lanes);
    });
  }
  void apply_behind_reset(int64_t s, int64_t row, int64_t block, const T* products) const {
    const int64_t packed_row = m_.sizes->rows.step_start[s] + row;
    const T* const z = m_.chunk_block(s, row, block) + m_.layout.gate;
    const T* const chunk = z + m_.layout.gate;
    T* const y = m_.y + m_.args->y_offsets[packed_row];
    T* const h = m_.h[1 - s % 2] + row * m_.hidden;
    const T* const h_prev = m_.h[s % 2] + row * m_.hidden;
    each_vector(block, [&](int64_t unit, int64_t lanes, int64_t offset) {
      const Vec<T> pre =
          Vec<T>::load(chunk + offset, lanes) + gate_input(products + offset, 2, unit, lanes);
      Vec<T> n;
      const Vec<T> new_h = Cell::forward(pre, Vec<T>::load(z + offset, lanes),
                                         Vec<T>::load(h_prev + unit, lanes), n);
      new_h.store(h + unit, lanes);
      new_h.store(y + unit, lanes);
      if (m_.args->gates != nullptr) {
        n.store(saved_row(packed_row) + 2 * m_.hidden + unit, lanes);
      }
    });
  }

  DirectionMemory<T> m_;
};

template <class T, class Cell>
void run_forward(const RnnForwardArgs<T>& args) {
  using Dir = Direction<T, Cell>;
  const RnnRows& rows = args.sizes.rows;
  const int64_t weights = packed_groups<T>(Cell::kGates, args.sizes.hidden, args.sizes.output);
  const Split split(rows, ceil_div(args.sizes.hidden, kGroup<T>), rows.batch * weights,
                    weights * static_cast<int64_t>(sizeof(T)), args.directions);
  const int64_t inputs = packed_groups<T>(Cell::kGates, args.sizes.hidden, args.sizes.input);
  const Plan plan = plan_steps<T>(
      args, Dir::shape(), (weights + inputs) * static_cast<int64_t>(sizeof(T)) / split.workers());
  const int64_t worker_elements = Dir::worker_elements(args.sizes, plan);
  int64_t elements = split.workers() * worker_elements;
  for (int d = 0; d < args.directions; ++d) {
    elements += Dir::elements(args, d, plan);
  }
  Workspace workspace((elements + 20 * 64) * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(split.workers() * worker_elements);
  Dir directions[2];
  for (int d = 0; d < args.directions; ++d) {
    directions[d].start(args, d, plan, workspace);
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
