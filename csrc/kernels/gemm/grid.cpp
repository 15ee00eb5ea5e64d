#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

namespace {

// Multiply-adds that packing one element costs the time of.
constexpr int64_t kPackCost = 8;

template <class T>
Grid make_grid(const GemmShape& shape, int64_t down, int64_t across) {
  Grid grid{};
  grid.cell_rows = down == 1 ? max_of(shape.m, 1)
                             : round_up(ceil_div(shape.m, down), panel_rows(shape.m, shape.k));
  grid.cell_cols =
      across == 1 ? max_of(shape.n, 1) : round_up(ceil_div(shape.n, across), kGroup<T>);
  grid.down = ceil_div(shape.m, grid.cell_rows);
  grid.across = ceil_div(shape.n, grid.cell_cols);
  return grid;
}

}  // namespace

// Of all cuts into so many cells, the one whose largest cell is the cheapest to pack and multiply.
template <class T>
Grid cut_into_cells(const GemmShape& shape, int64_t cells) {
  Grid best{};
  int64_t best_cost = INT64_MAX;
  for (int64_t down = 1; down <= cells; ++down) {
    if (cells % down != 0) continue;
    const Grid grid = make_grid<T>(shape, down, cells / down);
    const int64_t cost = round_up(grid.cell_rows, 2) * round_up(grid.cell_cols, Vec<T>::kSize) +
                         kPackCost * (grid.cell_rows + grid.cell_cols);
    if (cost < best_cost) {
      best_cost = cost;
      best = grid;
    }
  }
  return best;
}

// As many cells as there are threads. A batch that feeds the threads evenly is not cut.
template <class T>
Grid choose_grid(int64_t batch, const GemmShape& shape) {
  const int64_t work = batch * shape.m * shape.n * max_of(1, shape.k);
  const int64_t threads = min_of(plan_workers(num_threads()), work / kMinCellWork);
  const bool whole = threads <= 1 || batch % threads == 0 || batch >= 4 * threads;
  return cut_into_cells<T>(shape, whole ? 1 : threads);
}

template Grid cut_into_cells<float>(const GemmShape&, int64_t);
template Grid cut_into_cells<double>(const GemmShape&, int64_t);
template Grid choose_grid<float>(int64_t, const GemmShape&);
template Grid choose_grid<double>(int64_t, const GemmShape&);

}  // namespace fastnn::FASTNN_ISA
