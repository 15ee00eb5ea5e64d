// The memory of one direction of a forward pass: packed weights, biases, states in row order, and
// the input projections of a chunk of steps. What does not know the cell is compiled once for all.
#pragma once

#include "kernels/rnn/plan.h"
#include "kernels/rnn/reduced.h"

namespace fastnn::FASTNN_ISA {

// Both biases are added to the input projection, except the GRU's b_hn, which the reset gate
// scales: it comes behind the others.
template <class T>
void add_biases(T* bias, const RnnWeights<T>& w, const CellShape& cell, int64_t hidden) {
  T* const scaled = bias + cell.gates * hidden;
  for (int64_t j = 0; j < cell.gates * hidden; ++j) {
    const T ih = w.b_ih != nullptr ? w.b_ih[j] : T(0);
    const T hh = w.b_hh != nullptr ? w.b_hh[j] : T(0);
    const bool apart = cell.two_sided && j >= 2 * hidden;
    bias[j] = apart ? ih : ih + hh;
    if (apart) scaled[j - 2 * hidden] = hh;
  }
}

template <class T>
struct DirectionMemory {
  // Where the chunk keeps projections: elements from a row, a block of units and a gate to the
  // next.
  struct ChunkLayout {
    int64_t row, block, gate;
  };

  CellShape cell;
  const RnnSizes* sizes;
  const RnnForwardDirection<T>* args;
  const T* x;
  T* y;
  int64_t hidden, output;
  int64_t first;  // packed row at which the chunk begins
  int64_t kept;   // rows of the chunk
  ChunkLayout layout;
  const T *weights, *input_weights, *projection;
  T *bias, *h[2], *c, *inner, *chunk;  // inner: o tanh(c) before its projection, or r h
  T *products, *x_rows;                // of weights of reduced precision

  // Elements of workspace.
  static int64_t elements(const CellShape& cell, const RnnSizes& sizes,
                          const RnnForwardDirection<T>& args, const Plan& plan) {
    const int64_t hidden = sizes.hidden, batch = sizes.rows.batch;
    return (plan.packs_states() ? of_weights(args.packed_w_hh, sizes.output, cell, sizes, args)
                                : 0) +
           of_input_weights(cell, sizes, args, plan) + of_projection(sizes, args) +
           of_reduced(cell, sizes, args, plan) + (cell.gates + 1) * hidden +
           2 * batch * (sizes.output + hidden) + plan.kept * columns(cell, hidden) +
           11 * Vec<T>::kSize;
  }

  void start(const CellShape& shape, const RnnForwardArgs<T>& call, int direction, const Plan& plan,
             Workspace& workspace) {
    cell = shape;
    sizes = &call.sizes;
    args = &call.direction[direction];
    x = call.x;
    y = call.y;
    hidden = sizes->hidden;
    output = sizes->output;
    first = 0;
    kept = max_of(1, plan.kept);
    const int64_t step = kGroup<T>;
    layout = is_reduced(*args) ? ChunkLayout{cell.gates * hidden, step, hidden}
                               : ChunkLayout{columns(), cell.gates * step, step};
    take_memory(plan, workspace);
    add_biases(bias, args->weights, cell, hidden);
    gather_state(h[0], args->h0, sizes->rows, output);
    gather_state(c, args->c0, sizes->rows, hidden);
    finish_rows({0, sizes->rows.batch}, {0, output}, {0, hidden}, h[0]);  // of those of length 0
  }

  // Input projections of the steps [begin, end) into the chunk.
  void project_inputs(int64_t begin, int64_t end) {
    first = sizes->rows.step_start[begin];
    const int64_t rows = rows_of_steps(sizes->rows, begin, end), inputs = sizes->input;
    const int64_t* const offsets = args->x_offsets + first;
    T* const target = chunk_row(first);
    if (is_reduced(*args)) {
      reduced_product(args->reduced.w_ih, rows, cell.gates * hidden, inputs,
                      contiguous_rows(x_rows, x, offsets, rows, inputs), target);
      return;
    }
    gemm_grid<T>(1, {rows, columns(), inputs}, [&](int64_t, const Cell& part, T* scratch) {
      const GatheredRows<T> a{x, offsets};
      if (input_weights != nullptr) {
        gemm_cell<T>(part, inputs, a, grouped_inputs(), target, layout.row, false, scratch);
      } else {
        const UngroupedOperand<T> w{args->weights.w_ih, cell.gates, hidden, inputs};
        gemm_cell<T>(part, inputs, a, w, target, layout.row, false, scratch);
      }
    });
  }

  // Hands out the final states of rows that have ended.
  void finish_rows(Range ended, Range output_units, Range units, const T* state) const {
    scatter_state(args->h_n, state, sizes->rows, output, ended, output_units);
    if (cell.lstm) scatter_state(args->c_n, c, sizes->rows, hidden, ended, units);
  }

  // Of packed weights, and of a row of projections.
  int64_t columns() const { return columns(cell, hidden); }
  bool projected() const {
    return args->weights.w_hr != nullptr || args->reduced.w_hr.packed != nullptr;
  }
  int64_t rows_after(int64_t s) const {
    return s + 1 < sizes->rows.steps ? sizes->rows.step_rows[s + 1] : 0;
  }
  T* chunk_row(int64_t packed_row) const {
    return chunk + (packed_row - first) % kept * layout.row;
  }
  T* chunk_block(int64_t s, int64_t row, int64_t block) const {
    return chunk_row(sizes->rows.step_start[s] + row) + block * layout.block;
  }
  GroupedOperand<T> grouped_inputs() const { return {input_weights, sizes->input}; }

 private:
  static int64_t columns(const CellShape& cell, int64_t hidden) {
    return cell.gates * round_up(hidden, kGroup<T>);
  }
  static int64_t of_weights(const T* packed, int64_t depth, const CellShape& cell,
                            const RnnSizes& sizes, const RnnForwardDirection<T>& args) {
    return packed == nullptr && !is_reduced(args) ? columns(cell, sizes.hidden) * depth : 0;
  }
  static int64_t of_input_weights(const CellShape& cell, const RnnSizes& sizes,
                                  const RnnForwardDirection<T>& args, const Plan& plan) {
    return plan.packs_inputs() ? of_weights(args.packed_w_ih, sizes.input, cell, sizes, args) : 0;
  }
  static int64_t of_projection(const RnnSizes& sizes, const RnnForwardDirection<T>& args) {
    return args.weights.w_hr == nullptr ? 0 : packed_groups<T>(1, sizes.output, sizes.hidden);
  }
  static int64_t of_reduced(const CellShape& cell, const RnnSizes& sizes,
                            const RnnForwardDirection<T>& args, const Plan& plan) {
    if (!is_reduced(args)) return 0;
    return sizes.rows.batch * cell.gates * sizes.hidden + plan.kept * sizes.input;
  }

  void take_memory(const Plan& plan, Workspace& workspace) {
    const int64_t batch = sizes->rows.batch;
    const bool reduced = is_reduced(*args);
    const RnnWeights<T>& w = args->weights;
    weights = packed(args->packed_w_hh, w.w_hh, output, !reduced && plan.packs_states(), workspace);
    input_weights =
        packed(args->packed_w_ih, w.w_ih, sizes->input, !reduced && plan.packs_inputs(), workspace);
    T* const packed_projection = workspace.take<T>(of_projection(*sizes, *args));
    if (w.w_hr != nullptr) pack_groups(packed_projection, w.w_hr, 1, output, hidden);
    projection = packed_projection;
    bias = workspace.take<T>((cell.gates + 1) * hidden);
    h[0] = workspace.take<T>(batch * output);
    h[1] = workspace.take<T>(batch * output);
    c = workspace.take<T>(batch * hidden);
    inner = workspace.take<T>(batch * hidden);
    chunk = workspace.take<T>(plan.kept * columns());
    products = workspace.take<T>(reduced ? batch * cell.gates * hidden : 0);
    x_rows = workspace.take<T>(reduced ? plan.kept * sizes->input : 0);
  }
  // `given`, or else `matrix` packed if it is `wanted` so.
  const T* packed(const T* given, const T* matrix, int64_t depth, bool wanted,
                  Workspace& workspace) const {
    if (given != nullptr || !wanted) return given;
    T* const target = workspace.take<T>(columns() * depth);
    pack_groups(target, matrix, cell.gates, hidden, depth);
    return target;
  }
};

}  // namespace fastnn::FASTNN_ISA
