// In what order a forward pass projects its inputs and takes its steps. A step of many rows is one
// fused product of inputs and states with packed weights. For few rows, or weights that would have
// to come from memory at every step, the inputs of a chunk of steps are projected by one GEMM.
#pragma once

#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {

// What memory and plans need to know of a cell (cells.h).
struct CellShape {
  int gates;
  bool lstm, reset_first;
  bool two_sided;  // the n gate's inputs of both sides are kept apart, and so are its biases

  template <class Cell>
  static constexpr CellShape of() {
    return {Cell::kGates, Cell::kLstm, Cell::kResetFirst, Cell::kGru && !Cell::kResetFirst};
  }
};

inline constexpr int64_t kChunkBytes = int64_t{4} << 20;

// How the steps are taken: first `fused` of them, then chunks whose input projections are computed
// together, in packed rows.
struct Plan {
  int64_t fused;
  int64_t chunk;        // rows at most, but for a step that is larger
  int64_t kept;         // rows of projections in the workspace
  bool ahead;           // a single sequence, whose chunks are projected while the one before runs
  bool direct = false;  // a single step with weights as they are

  bool packs_states() const { return !direct; }
  // Chunks alone pack their part of w_ih as they go.
  bool packs_inputs() const { return !direct && (ahead || fused > 0); }
};

template <class T>
bool is_reduced(const RnnForwardDirection<T>& args) {
  return args.reduced.w_hh.packed != nullptr;
}

// Whether the only step is that of few rows, evenly spaced, and of weights that are not packed.
template <class T>
bool is_direct(const RnnForwardArgs<T>& args, const CellShape& cell) {
  const RnnRows& rows = args.sizes.rows;
  if (rows.steps != 1 || rows.batch > kTileRows || cell.reset_first) return false;
  for (int d = 0; d < args.directions; ++d) {
    const RnnForwardDirection<T>& direction = args.direction[d];
    if (direction.weights.w_ih == nullptr || direction.weights.w_hh == nullptr) return false;
    const int64_t count = rows.step_rows[0];
    if (count > 2 && even_stride(direction.x_offsets, count) == 0) return false;
  }
  return true;
}

// Of so many rows a step's product is bound by its multiply-adds, if the weights come from caches.
inline constexpr int64_t kFusedRows = 5;

// weight_bytes: all matrices', of one worker.
template <class T>
Plan plan_steps(const RnnForwardArgs<T>& args, const CellShape& cell, int64_t weight_bytes) {
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
  if (is_direct(args, cell)) return {1, 0, 0, false, true};
  int64_t fused = 0;
  if (!reduced && !cell.reset_first && near) {
    while (fused < rows.steps && rows.step_rows[fused] >= kFusedRows) ++fused;
  }
  // A single step, as of a cell, is one fused product however few its rows.
  const bool packed = args.direction[0].packed_w_ih != nullptr;
  if (packed && !cell.reset_first && rows.steps == 1) fused = 1;
  const int64_t left = all - rows_of_steps(rows, 0, fused);
  const int64_t row_bytes = round_up(args.sizes.hidden, kGroup<T>) * cell.gates * kSize;
  const int64_t chunk = min_of(left, max_of(rows.batch, kChunkBytes / row_bytes));
  return {fused, chunk, chunk, false};
}

}  // namespace fastnn::FASTNN_ISA
