// What forward and backward share: how the threads share a recurrence, the product of a step's rows
// with packed weights, and states in row order.
#pragma once

#include "kernels/rnn/cells.h"
#include "kernels/rnn/single_row.h"
#include "ops/rnn.h"

namespace fastnn::FASTNN_ISA {

// Rows of a step that are packed together, which bounds a worker's scratch.
inline constexpr int64_t kPackedRows = 256;

struct Range {
  int64_t begin, end;
};

inline Range part_of(int64_t n, int64_t i, int64_t parts) {
  return {n * i / parts, n * (i + 1) / parts};
}

// What one worker computes at every step: some rows, or some blocks of kGroup units.
struct Share {
  bool by_rows;
  int worker, workers;

  Range rows(int64_t batch, int64_t step_rows) const {
    if (!by_rows) return {0, step_rows};
    const Range part = part_of(batch, worker, workers);
    return {min_of(part.begin, step_rows), min_of(part.end, step_rows)};
  }
  Range blocks(int64_t count) const {
    return by_rows ? Range{0, count} : part_of(count, worker, workers);
  }
  // The units of this worker's blocks.
  template <class T>
  Range units(int64_t count) const {
    const Range part = blocks(ceil_div(count, kGroup<T>));
    return {part.begin * kGroup<T>, min_of(part.end * kGroup<T>, count)};
  }
  // Before reading what the other workers have written.
  void meet() const {
    if (!by_rows && workers > 1) team_barrier();
  }
};

// Splits a recurrence. By units, every worker keeps its slice of the recurrent weights in its own
// L2 and all meet at a barrier; by rows, a worker has its sequences to itself. Two directions go to
// two halves of the workers.
class Split {
 public:
  // step_work: multiply-adds of one step; weight_bytes: the packed recurrent weights.
  Split(const RnnRows& rows, int64_t blocks, int64_t step_work, int64_t weight_bytes,
        int directions) {
    // Below this a barrier costs more than half a step saves, and opening a region more than half
    // a call.
    constexpr int64_t kMinStepWork = int64_t{1} << 16, kMinWork = int64_t{1} << 19;
    constexpr int64_t kMinRows = 16;
    const int64_t threads = plan_workers(num_threads());
    const bool same_length = rows.steps == 0 || rows.step_rows[rows.steps - 1] == rows.batch;
    apart_ = directions == 2 && threads % 2 == 0 && rows.steps * step_work >= kMinWork;
    const int64_t mates = apart_ ? threads / 2 : threads;
    by_rows_ = same_length && rows.batch >= kMinRows * mates && weight_bytes <= cache_sizes().l2;
    const int64_t useful = by_rows_ ? rows.batch / kMinRows : blocks;
    const int64_t planned = step_work < kMinStepWork ? 1 : max_of(1, min_of(mates, useful));
    workers_ = static_cast<int>(apart_ ? 2 * planned : planned);
  }

  int workers() const { return workers_; }

  // Calls f(direction, share) for what `worker` of the `workers` that really run has to do.
  template <class F>
  void each_direction(int directions, int worker, int workers, const F& f) const {
    if (apart_ && workers % 2 == 0) {
      f(worker % 2, Share{by_rows_, worker / 2, workers / 2});
    } else {
      for (int d = 0; d < directions; ++d) f(d, Share{by_rows_, worker, workers});
    }
  }

 private:
  bool apart_, by_rows_;
  int workers_;
};

// Rows of a state times groups of packed weights (pack_recurrent): for every block of kGroup units,
// the groups [first_group, first_group + groups) of `block_groups`.
template <class T>
struct Product {
  const T* rows;
  int64_t row_stride, depth;
  const T* weights;
  int block_groups, first_group, groups;
};

// Elements of scratch that multiply() needs for as many rows.
template <class T>
int64_t product_scratch(int64_t rows, int64_t depth, int64_t groups) {
  const int64_t packed = min_of(rows, kPackedRows) * depth + Vec<T>::kSize;
  return round_up(packed, Vec<T>::kSize) + kTileRows * groups * kGroup<T>;
}

// Blocks that one row takes at once, so that its sums are enough independent chains.
template <class T>
int64_t row_blocks(const Product<T>& product) {
  const bool side_by_side = product.groups == product.block_groups;
  return side_by_side ? max_of(1, kMaxRowGroups / product.groups) : 1;
}

// multiply() for a single row; `ahead` may be null.
template <class T, class Apply>
void multiply_row(const Product<T>& product, int64_t row, Range blocks, T* sums,
                  ProjectionAhead<T>* ahead, const Apply& apply) {
  const int64_t group_size = kGroup<T> * product.depth, at_once = row_blocks(product);
  for (int64_t block = blocks.begin; block < blocks.end; block += at_once) {
    const int64_t count = min_of(at_once, blocks.end - block);
    const int64_t first_group = block * product.block_groups + product.first_group;
    const RowTile<T> tile{product.rows + row * product.row_stride, product.depth,
                          product.weights + first_group * group_size, group_size, sums};
    if (ahead != nullptr) {
      ahead->run_with(count * product.groups, tile);
    } else {
      run_row_tile<T>(count * product.groups, tile, nullptr);
    }
    for (int64_t i = 0; i < count; ++i) {
      apply(row, block + i, sums + i * product.groups * kGroup<T>);
    }
  }
}

// Calls before(row, block), and apply(row, block, product) with groups * kGroup products of that
// row. Every block of weights is read once for kPackedRows rows.
template <class T, class Before, class Apply>
void multiply(const Product<T>& product, Range rows, Range blocks, T* scratch, const Before& before,
              const Apply& apply) {
  if (rows.end - rows.begin == 1) {
    return multiply_row<T>(product, rows.begin, blocks, scratch, nullptr, apply);
  }
  constexpr int64_t kStep = kGroup<T>;
  const int64_t depth = product.depth, width = product.groups * kStep;
  for (int64_t first = rows.begin; first < rows.end; first += kPackedRows) {
    const int64_t count = min_of(kPackedRows, rows.end - first), panel = panel_rows(count);
    const T* packed = product.rows + first * product.row_stride;
    T* tile = scratch;
    if (count > 1) {
      packed = DenseOperand<T>{packed, product.row_stride, 1}
                   .a_panels(scratch, 0, count, panel, 0, depth)
                   .data;
      tile += round_up(count * depth + Vec<T>::kSize, Vec<T>::kSize);
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const T* const weights =
          product.weights + (block * product.block_groups + product.first_group) * kStep * depth;
      for (int64_t i = 0; i < count; i += panel) {
        const int height = static_cast<int>(min_of(panel, count - i));
        for (int64_t r = 0; r < height; ++r) before(first + i + r, block);
        const int64_t at_once = min_of(tile_vectors(height) / kGroupVectors, product.groups);
        for (int64_t g = 0; g < product.groups; g += at_once) {
          run_tile<T>(height, {depth,
                               {packed + i * depth, 1, height},
                               weights + g * kStep * depth,
                               kStep,
                               kStep * depth,
                               tile + g * kStep,
                               width,
                               min_of(at_once, product.groups - g) * kStep,
                               false});
        }
        for (int64_t r = 0; r < height; ++r) apply(first + i + r, block, tile + r * width);
      }
    }
  }
}

// Packs rows [g * units, (g + 1) * units) of every group g, (groups * units, depth) in all.
template <class T>
void pack_groups(T* packed, const T* weights, int64_t groups, int64_t units, int64_t depth) {
  const int64_t size = kGroup<T> * depth;
  parallel_for(ceil_div(units, kGroup<T>) * groups, max_of(1, (int64_t{1} << 15) / max_of(1, size)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t unit = i / groups * kGroup<T>;
                   pack_panel<T, true>(packed + i * size, kGroup<T>,
                                       weights + (i % groups * units + unit) * depth,
                                       min_of(kGroup<T>, units - unit), depth, depth, 1);
                 }
               });
}

template <class T>
int64_t packed_groups(int64_t groups, int64_t units, int64_t depth) {
  return round_up(units, kGroup<T>) * groups * depth;
}

// Copies the state of every sequence into row order, or zeroes it.
template <class T>
void gather_state(T* state, const T* source, const RnnRows& rows, int64_t width) {
  for (int64_t r = 0; r < rows.batch; ++r) {
    T* target = state + r * width;
    if (source != nullptr) {
      __builtin_memcpy(target, source + rows.order[r] * width,
                       static_cast<unsigned long>(width) * sizeof(T));
    } else {
      __builtin_memset(target, 0, static_cast<unsigned long>(width) * sizeof(T));
    }
  }
}

// The reverse of gather_state, for rows and units of a state.
template <class T>
void scatter_state(T* target, const T* state, const RnnRows& rows, int64_t width, Range ended,
                   Range units) {
  for (int64_t r = ended.begin; r < ended.end; ++r) {
    __builtin_memcpy(target + rows.order[r] * width + units.begin, state + r * width + units.begin,
                     static_cast<unsigned long>(units.end - units.begin) * sizeof(T));
  }
}

// Packed rows of the steps [begin, end).
inline int64_t rows_of_steps(const RnnRows& rows, int64_t begin, int64_t end) {
  if (begin >= end) return 0;
  return rows.step_start[end - 1] + rows.step_rows[end - 1] - rows.step_start[begin];
}

// The cell's type: f(Cell) is called with one of cells.h.
template <class T, class F>
void with_cell(RnnCell cell, const F& f) {
  switch (cell) {
    case RnnCell::kTanh:
      return f(TanhCell<T>());
    case RnnCell::kRelu:
      return f(ReluCell<T>());
    case RnnCell::kLstm:
      return f(LstmCell<T, false>());
    case RnnCell::kPeepholeLstm:
      return f(LstmCell<T, true>());
    case RnnCell::kGru:
      return f(GruCell<T>());
    case RnnCell::kGruResetFirst:
      return f(GruResetFirstCell<T>());
  }
}

}  // namespace fastnn::FASTNN_ISA
