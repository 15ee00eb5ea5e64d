// The GEMM engine: C (+)= A B over operands (operand.h) and an epilogue.
//
// gemm_cell computes a rectangle of C on one thread, after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008), with B's block in L2: for blocks of depth and of
// rows, pack A once; for blocks of columns, pack B; then run every tile. Where one block of columns
// is all there is, a block of rows is one panel, which is used up before the next is packed. What
// lies in memory as the tile can use it (operand.h) is not packed.
// gemm_grid cuts a batch of products into cells and runs them on all threads.
//
// An epilogue is called as epilogue(tile, stride, row, col, rows, cols) on each finished tile while
// it is in L1; NoEpilogue leaves C alone. A bias is added before, in registers.
//
// Workspace a thread: (row_block() + min(N, column_block())) * min(K, kDepthBlock) elements, that
// is at most 8 MiB and half of L2 (at least 256 KiB).
#pragma once

#include "kernels/gemm/operand.h"
#include "runtime/cache.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {

// kDepthBlock: so deep that reading and writing C between blocks hardly shows; a panel of A
// (kTileRows x depth) and a group of B stream from L2.
template <class T>
inline constexpr int64_t kDepthBlock = 4096 / static_cast<int64_t>(sizeof(T));
// kRowBlock x kDepthBlock: 8 MiB of packed A, which stays in L3.
inline constexpr int64_t kRowBlock = 2048;

inline constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Columns of B's packed block: half of L2.
template <class T>
int64_t column_block(int64_t k) {
  const int64_t depth = max_of(1, min_of(k, kDepthBlock<T>));
  const int64_t columns = cache_sizes().l2 / 2 / (depth * static_cast<int64_t>(sizeof(T)));
  return round_up(max_of(columns, 128), kGroup<T>);
}

// Rows a panel: M cut into the fewest panels, as evenly as possible. With little to sum, storing C
// counts: half as many rows, and tiles twice as wide, touch fewer pages at once.
inline constexpr int64_t kShallow = 32;
inline int64_t panel_rows(int64_t m, int64_t k = kShallow + 1) {
  const int64_t most = k > kShallow ? kTileRows : kTileRows / 2;
  return m <= 1 ? 1 : ceil_div(m, ceil_div(m, most));
}

struct GemmShape {
  int64_t m, n, k;
};

// A rectangle of C, cut into panels of `panel` rows; row is a whole number of them.
struct Cell {
  int64_t row, rows, col, cols, panel;
};

struct NoEpilogue {
  template <class T>
  void operator()(T*, int64_t, int64_t, int64_t, int64_t, int64_t) const {}
};

// What comes into L2 while a block's tiles are computed. `rows`: each panel of A while the one
// before it is in use, `next` after the last. Otherwise `next`, of so many runs, little by little.
template <class T>
struct Ahead {
  bool rows = false;
  Fetch<T> next{};
  int64_t runs = 0;
};

// All tiles of a block of A times a block of B.
template <class T, class Epilogue>
void gemm_block(const Cell& block, int64_t depth, const RowPanels<T>& a, const Panels<T>& b,
                Ahead<T>& ahead, T* c, int64_t c_stride, bool accumulate, bool last,
                const TileBias<T>& bias, const Epilogue& epilogue) {
  const int64_t runs_a_tile = depth / kFetchSteps;
  for (int64_t i = 0; i < block.rows; i += block.panel) {
    const int rows = static_cast<int>(min_of(block.panel, block.rows - i));
    const TileRows<T> panel = a.panel(i, rows);
    const int64_t width = tile_vectors(rows) * Vec<T>::kSize;
    const bool more = ahead.rows && i + block.panel < block.rows;
    Fetch<T> fetch = more ? a.fetch(i + block.panel, block.panel) : ahead.next;
    int64_t runs = ahead.rows ? block.panel : ahead.runs;  // a row of the block is at most one
    for (int64_t j = 0; j < block.cols; j += width) {
      const int64_t cols = min_of(width, block.cols - j);
      T* tile = c + (block.row + i) * c_stride + block.col + j;
      // The tile of C below is fetched into L2 while this one is computed.
      const T* const below = tile + block.panel * c_stride;
      for (int r = 0; r < rows; ++r) {
        __builtin_prefetch(below + r * c_stride, 1, 2);
        __builtin_prefetch(below + r * c_stride + Vec<T>::kSize, 1, 2);
      }
      run_tile<T>(rows,
                  {depth, panel, b.data + j / kGroup<T> * b.group_stride, b.stride, b.group_stride,
                   tile, c_stride, cols, accumulate, runs > 0 ? fetch : Fetch<T>{},
                   last ? bias.at(block.row + i, block.col + j) : TileBias<T>{}});
      fetch = fetch.from_run(runs_a_tile);
      runs -= runs_a_tile;
      if (last) epilogue(tile, c_stride, block.row + i, block.col + j, rows, cols);
    }
    if (!ahead.rows) ahead = {false, fetch, runs};
  }
}

// Rows of A packed at a time.
template <class T>
int64_t row_block(int64_t cols, int64_t panel, int64_t k) {
  return cols <= column_block<T>(k) ? panel : kRowBlock / panel * panel;
}

// Elements of scratch that gemm_cell needs for a cell.
template <class T>
int64_t packed_a_elements(const Cell& cell, int64_t k) {
  const int64_t rows = min_of(cell.rows, row_block<T>(cell.cols, cell.panel, k));
  return rows * copied_stride<T>(min_of(k, kDepthBlock<T>));
}

template <class T>
int64_t gemm_scratch(const Cell& cell, int64_t k) {
  const int64_t cols = round_up(min_of(cell.cols, column_block<T>(k)), kGroup<T>);
  return packed_a_elements<T>(cell, k) + cols * min_of(k, kDepthBlock<T>) + Vec<T>::kSize;
}

// Computes the rectangle `cell` of C = A B (c points at element (0, 0) of the whole C).
template <class T, class A, class B, class Epilogue = NoEpilogue>
void gemm_cell(const Cell& cell, int64_t k, const A& a, const B& b, T* c, int64_t c_stride,
               bool accumulate, T* scratch, const Epilogue& epilogue = {},
               const TileBias<T>& bias = {}) {
  // An A that stays in L2 leaves room there for two narrow blocks of B: one is on its way.
  const int panel_vectors = tile_vectors(static_cast<int>(min_of(cell.panel, cell.rows)));
  const bool rows_stay = cell.rows * k * static_cast<int64_t>(sizeof(T)) <= cache_sizes().l2;
  const bool narrow = rows_stay && kIsPacked<B> && cell.cols > column_block<T>(k);
  // A single panel uses a tile's columns of B up at once.
  const int64_t column_step = cell.rows <= cell.panel ? panel_vectors * Vec<T>::kSize
                              : narrow                ? round_up(column_block<T>(k) / 4, kGroup<T>)
                                                      : column_block<T>(k);
  const int64_t row_step = row_block<T>(cell.cols, cell.panel, k);
  T* const packed_a = scratch;
  T* const packed_b = scratch + packed_a_elements<T>(cell, k);
  Panels<T> block_b{};
  int64_t p = 0;
  do {  // once even for k = 0, which leaves C zero and runs the epilogue
    const int64_t depth = min_of(kDepthBlock<T>, k - p);
    const int64_t spacing = copied_stride<T>(depth);  // of rows, or panels of them, in scratch
    for (int64_t row = 0; row < cell.rows; row += row_step) {
      const int64_t rows = min_of(row_step, cell.rows - row);
      const bool last = p + depth >= k;
      RowPanels<T> block_a{};
      for (int64_t col = 0; col < cell.cols; col += column_step) {
        const Cell block{cell.row + row, rows, cell.col + col, min_of(column_step, cell.cols - col),
                         cell.panel};
        if (row == 0 || cell.cols > column_step) {
          block_b = b.b_block(packed_b, block.col, block.cols, p, depth);
        }
        // Only where a tile takes one group is all of the next block there in time.
        Ahead<T> ahead{!rows_stay, a.source(block.row, p)};
        if (rows_stay && block_b.next != nullptr && panel_vectors == kGroupVectors) {
          ahead = {false, Fetch<T>::contiguous(block_b.next),
                   ceil_div(block.cols * depth, kFetchRun * kFetchLine<T>)};
        }
        if (col > 0) {
          gemm_block(block, depth, block_a, block_b, ahead, c, c_stride, accumulate || p > 0, last,
                     bias, epilogue);
          continue;
        }
        // The first block of columns packs each panel of A just before it is used.
        for (int64_t i = 0; i < rows; i += cell.panel) {
          const Cell strip{block.row + i, min_of(cell.panel, rows - i), block.col, block.cols,
                           cell.panel};
          const RowPanels<T> panel =
              a.a_block(packed_a + i * spacing, strip.row, strip.rows, cell.panel, p, depth);
          if (i == 0) {
            block_a = panel;
            // Panels packed here are as far apart as copied rows would be.
            if (panel.data == packed_a) block_a.row_stride = spacing;
          }
          if (ahead.rows) {
            ahead.next = a.source(cell.row + min_of(row + i + cell.panel, cell.rows - 1), p);
          }
          gemm_block(strip, depth, panel, block_b, ahead, c, c_stride, accumulate || p > 0, last,
                     bias, epilogue);
        }
      }
    }
    p += depth;
  } while (p < k);
}

// Multiply-adds below which a part is not worth a thread of its own (some 5 microseconds).
inline constexpr int64_t kMinCellWork = int64_t{1} << 18;

// How gemm_grid cuts each product of a batch: `down` x `across` cells.
struct Grid {
  int64_t down, across, cell_rows, cell_cols;
};

// For a batch of equal products, and for one product in some number of cells.
template <class T>
Grid choose_grid(int64_t batch, const GemmShape& shape);
template <class T>
Grid cut_into_cells(const GemmShape& shape, int64_t cells);

// The cell of so many, row by row.
inline Cell cell_of(const GemmShape& shape, const Grid& grid, int64_t index) {
  const int64_t row = index / grid.across * grid.cell_rows;
  const int64_t col = index % grid.across * grid.cell_cols;
  return {row, min_of(grid.cell_rows, shape.m - row), col, min_of(grid.cell_cols, shape.n - col),
          panel_rows(shape.m, shape.k)};
}

// Elements of scratch that gemm_cell needs for any of a grid's cells.
template <class T>
int64_t grid_scratch(const GemmShape& shape, const Grid& grid) {
  return gemm_scratch<T>({0, grid.cell_rows, 0, grid.cell_cols, panel_rows(shape.m, shape.k)},
                         shape.k);
}

// Calls run(i, cell, scratch) for every cell of every product i < batch, on all threads. The cut
// may follow the number of threads: no element depends on it. `scratch` is what gemm_cell needs and
// `extra` elements before it.
template <class T, class Run>
void gemm_grid(int64_t batch, const GemmShape& shape, const Grid& grid, int64_t extra,
               const Run& run) {
  if (batch <= 0 || shape.m <= 0 || shape.n <= 0) return;
  const int64_t cells = grid.down * grid.across;
  const int64_t scratch = round_up(extra + grid_scratch<T>(shape, grid), 16);
  // Small products share a part, so that starting it does not outweigh the work.
  const int64_t work = max_of(1, grid.cell_rows * grid.cell_cols * max_of(1, shape.k));
  const int64_t grain = max_of(1, min_of(kMinCellWork / work, batch * cells));
  const int workers = plan_workers(ceil_div(batch * cells, grain));
  Workspace workspace(workers * scratch * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  parallel_for(batch * cells, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t item = begin; item < end; ++item) {
      run(item / cells, cell_of(shape, grid, item % cells), memory + worker * scratch);
    }
  });
}

template <class T, class Run>
void gemm_grid(int64_t batch, const GemmShape& shape, const Run& run) {
  gemm_grid<T>(batch, shape, choose_grid<T>(batch, shape), 0, run);
}

}  // namespace fastnn::FASTNN_ISA
