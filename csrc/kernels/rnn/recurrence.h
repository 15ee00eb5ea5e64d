// What forward and backward share: how the threads share a recurrence, the product of a step's rows
// with packed weights, and states in row order.
#pragma once

#include "kernels/rnn/cells.h"
#include "kernels/rnn/single_row.h"
#include "ops/rnn.h"

namespace fastnn::FASTNN_ISA {

// Rows of a step that are packed at once, which bounds a worker's scratch.
inline constexpr int64_t kPackedRows = 256;

// So few rows stay where they lie, unless that is the same sets of L1; packing more than that pays.
inline constexpr int64_t kRowsInPlace = 32;

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
// the groups [first_group, first_group + groups) of `block_groups`. A row has `slots` groups of
// sums, the first of which the product adds to, or sets.
template <class T>
struct Product {
  const T* rows;
  int64_t row_stride, depth;
  const T* weights;
  int block_groups, first_group, groups, slots;
  bool adds;
  bool falling = false;  // a single row takes the last block first
};

// What sets the slots before the product of a step adds to them: the step's inputs times all groups
// of a block, the last of which goes to the last slot. No inputs for null weights.
template <class T>
struct InputProduct {
  GatheredRows<T> x;
  int64_t depth;
  const T* weights;
  int groups;
};

// Elements of scratch that multiply() needs for as many rows; `depth` is that of both products.
template <class T>
int64_t product_scratch(int64_t rows, int64_t depth, int64_t slots) {
  const int64_t packed = min_of(rows, kPackedRows) * depth + Vec<T>::kSize;
  return round_up(packed, Vec<T>::kSize) + kTileRows * slots * kGroup<T>;
}

// Blocks that one row takes at once, so that its sums are enough independent chains.
template <class T>
int64_t row_blocks(const Product<T>& product) {
  const bool side_by_side = product.groups == product.block_groups;
  return side_by_side ? max_of(1, kMaxRowGroups / product.slots) : 1;
}

// The input product of one row and some blocks. What does not know the cell is not inlined into the
// many functions that do.
template <class T>
__attribute__((noinline)) void project_row(const InputProduct<T>& input, int64_t row, int64_t block,
                                           int64_t blocks, int slots, T* sums) {
  const int64_t size = kGroup<T> * input.depth, last = input.groups - 1;
  RowTile<T> tile{input.x.data + input.x.offsets[row],
                  input.depth,
                  input.weights + block * input.groups * size,
                  size,
                  sums,
                  false};
  if (input.groups == slots) return run_row_tile<T>(blocks * slots, tile, nullptr);
  run_row_tile<T>(last, tile, nullptr);
  tile.weights += last * size;
  tile.sums += (slots - 1) * kGroup<T>;
  run_row_tile<T>(1, tile, nullptr);
}

// multiply() for a single row; `ahead` may be null.
template <class T, class Start, class Apply>
void multiply_row(const Product<T>& product, const InputProduct<T>& input, int64_t row,
                  Range blocks, T* sums, ProjectionAhead<T>* ahead, const Start& start,
                  const Apply& apply) {
  const int64_t group_size = kGroup<T> * product.depth, at_once = row_blocks(product);
  const int64_t width = product.slots * kGroup<T>;
  for (int64_t taken = 0, count; taken < blocks.end - blocks.begin; taken += count) {
    count = min_of(at_once, blocks.end - blocks.begin - taken);
    const int64_t block = product.falling ? blocks.end - taken - count : blocks.begin + taken;
    if (input.weights != nullptr) project_row(input, row, block, count, product.slots, sums);
    for (int64_t i = 0; i < count; ++i) start(row, block + i, sums + i * width);
    const int64_t first_group = block * product.block_groups + product.first_group;
    const RowTile<T> tile{product.rows + row * product.row_stride,
                          product.depth,
                          product.weights + first_group * group_size,
                          group_size,
                          sums,
                          product.adds};
    if (ahead != nullptr) {
      ahead->run_with(count * product.groups, tile);
    } else {
      run_row_tile<T>(count * product.groups, tile, nullptr);
    }
    for (int64_t i = 0; i < count; ++i) apply(row, block + i, sums + i * width);
  }
}

// Sums of some rows, (height, slots * kGroup), (+)= rows times groups of weights, one after
// the other from slot 0 on. The weights behind a group come into L2 while it is used.
template <class T>
__attribute__((noinline)) void add_groups(int64_t height, int64_t depth, const TileRows<T>& rows,
                                          const T* weights, int64_t groups, T* sums,
                                          int64_t sums_stride, bool accumulate) {
  constexpr int64_t kStep = kGroup<T>;
  const int64_t at_once = min_of(tile_vectors(static_cast<int>(height)) / kGroupVectors, groups);
  for (int64_t g = 0; g < groups; g += at_once) {
    run_tile<T>(static_cast<int>(height),
                {depth, rows, weights + g * kStep * depth, kStep, kStep * depth, sums + g * kStep,
                 sums_stride, min_of(at_once, groups - g) * kStep, accumulate,
                 Fetch<T>::contiguous(weights + (g + at_once) * kStep * depth)});
  }
}

// The input product of some rows and a block.
template <class T>
void project_rows(const InputProduct<T>& input, int64_t height, const TileRows<T>& rows,
                  int64_t block, int slots, T* sums) {
  const int64_t size = kGroup<T> * input.depth, width = slots * kGroup<T>, last = input.groups - 1;
  const T* const weights = input.weights + block * input.groups * size;
  const bool straight = input.groups == slots;
  add_groups(height, input.depth, rows, weights, straight ? slots : last, sums, width, false);
  if (straight) return;
  add_groups(height, input.depth, rows, weights + last * size, 1, sums + width - kGroup<T>, width,
             false);
}

// From a row to the next, if that is the same for all; else 0.
inline int64_t even_stride(const int64_t* offsets, int64_t rows) {
  const int64_t stride = rows > 1 ? offsets[1] - offsets[0] : 0;
  for (int64_t i = 2; i < rows; ++i) {
    if (offsets[i] - offsets[i - 1] != stride) return 0;
  }
  return stride;
}

// Rows of a step, and where their sums go in the scratch.
template <class T>
struct StepRows {
  int64_t panel;
  RowPanels<T> state, x;
  T* sums;
};

template <class T>
__attribute__((noinline)) StepRows<T> place_rows(const Product<T>& product,
                                                 const InputProduct<T>& input, int64_t first,
                                                 int64_t count, T* scratch) {
  const auto lie_well = [&](int64_t stride) {
    return count <= kRowsInPlace && stride % kConflict<T> != 0;
  };
  StepRows<T> rows{panel_rows(count), {}, {}, nullptr};
  const DenseOperand<T> state{product.rows + first * product.row_stride, product.row_stride, 1};
  rows.state = lie_well(product.row_stride)
                   ? state.a_block(nullptr, 0, count, rows.panel, 0, product.depth)
                   : state.a_panels(scratch, 0, count, rows.panel, 0, product.depth);
  if (input.weights != nullptr) {
    T* const x = scratch + count * product.depth;
    const int64_t* const offsets = input.x.offsets + first;
    const int64_t stride = even_stride(offsets, count);
    rows.x = lie_well(stride) ? RowPanels<T>{input.x.data + offsets[0], stride, 0, false}
                              : input.x.a_block(x, first, count, rows.panel, 0, input.depth);
  }
  const int64_t packed = count * (product.depth + input.depth) + Vec<T>::kSize;
  rows.sums = scratch + round_up(packed, Vec<T>::kSize);
  return rows;
}

// For every row and block: the input product, start(row, block, sums), the product, and
// apply(row, block, sums). Every block of weights is read once for kPackedRows rows. `ahead`, of a
// single sequence, may be null.
template <class T, class Start, class Apply>
void multiply(const Product<T>& product, const InputProduct<T>& input, Range rows, Range blocks,
              T* scratch, ProjectionAhead<T>* ahead, const Start& start, const Apply& apply) {
  if (rows.end - rows.begin == 1) {
    return multiply_row<T>(product, input, rows.begin, blocks, scratch, ahead, start, apply);
  }
  const int64_t depth = product.depth, width = product.slots * kGroup<T>;
  for (int64_t first = rows.begin; first < rows.end; first += kPackedRows) {
    const int64_t count = min_of(kPackedRows, rows.end - first);
    const StepRows<T> step = place_rows(product, input, first, count, scratch);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t first_group = block * product.block_groups + product.first_group;
      const T* const weights = product.weights + first_group * kGroup<T> * depth;
      for (int64_t i = 0; i < count; i += step.panel) {
        const int64_t height = min_of(step.panel, count - i);
        if (input.weights != nullptr) {
          project_rows(input, height, step.x.panel(i, height), block, product.slots, step.sums);
        }
        for (int64_t r = 0; r < height; ++r) start(first + i + r, block, step.sums + r * width);
        add_groups(height, depth, step.state.panel(i, height), weights, product.groups, step.sums,
                   width, product.adds);
        for (int64_t r = 0; r < height; ++r) apply(first + i + r, block, step.sums + r * width);
      }
    }
  }
}

// A product alone, of one group.
template <class T, class Apply>
void multiply(const T* data, int64_t row_stride, int64_t depth, const T* weights, int block_groups,
              Range rows, Range blocks, T* scratch, const Apply& apply) {
  const Product<T> product{data, row_stride, depth, weights, block_groups, block_groups - 1,
                           1,    1,          false};
  multiply<T>(product, {}, rows, blocks, scratch, nullptr, [](int64_t, int64_t, T*) {}, apply);
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
    case RnnCell::kRelu:
      return f(PlainCell<T>());
    case RnnCell::kLstm:
      return f(LstmCell<T>());
    case RnnCell::kGru:
      return f(GruCell<T>());
    case RnnCell::kGruResetFirst:
      return f(GruResetFirstCell<T>());
  }
}

}  // namespace fastnn::FASTNN_ISA
