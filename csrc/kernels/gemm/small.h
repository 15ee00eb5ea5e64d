// Products so small that what is done besides the arithmetic shows: one block, one thread, nothing
// fetched ahead.
#pragma once

#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

// Whether a product is so small that nothing is to be fetched ahead, and what its tiles cost
// besides their arithmetic shows. B is then one block.
template <class T>
bool is_small(const Cell& cell, int64_t k) {
  return cell.rows <= 128 && k <= kDepthBlock<T> &&
         cell.cols * k * static_cast<int64_t>(sizeof(T)) <= (64 << 10);
}

// gemm_cell for small products, of which `columns` is B's block.
template <class T, class Epilogue>
void small_cell(const Cell& cell, int64_t k, const DenseOperand<T>& a, const Panels<T>& columns,
                T* c, int64_t c_stride, T* scratch, const Epilogue& epilogue,
                const TileBias<T>& bias) {
  const int64_t panel = a.in_place() ? panel_rows(cell.rows) : cell.panel;
  for (int64_t i = 0; i < cell.rows; i += panel) {
    const int rows = static_cast<int>(min_of(panel, cell.rows - i));
    const int64_t row = cell.row + i, width = tile_vectors(rows) * Vec<T>::kSize;
    const TileRows<T> strip = a.a_block(scratch, row, rows, rows, 0, k).panel(0, rows);
    T* const tiles = c + row * c_stride + cell.col;
    for (int64_t j = 0; j < cell.cols; j += width) {
      const int64_t cols = min_of(width, cell.cols - j);
      run_tile<T>(rows, {k, strip, columns.data + j / kGroup<T> * columns.group_stride,
                         columns.stride, columns.group_stride, tiles + j, c_stride, cols, false,
                         Fetch<T>{}, bias.at(row, cell.col + j)});
    }
    epilogue(tiles, c_stride, row, cell.col, rows, cell.cols);
  }
}

}  // namespace fastnn::FASTNN_ISA
