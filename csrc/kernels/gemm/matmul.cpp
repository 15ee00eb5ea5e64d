// Batched matrix product with its epilogue (engine.h has the algorithm and workspace).
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/multiply.h"
#include "kernels/gemm/small.h"
#include "kernels/gemm/thin.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void multiply_cell(const MatmulForwardArgs<T>& args, const T* a_data, const T* b_data,
                   const T* residual, T* c, int64_t c_stride, const Cell& cell, T* scratch) {
  // With one panel of rows every element of B is used once: reading it in place beats packing.
  const bool few_rows = args.m <= kTileRows, dense = args.packed_b == nullptr;
  const bool direct = args.b_col_stride == 1 && few_rows;
  const bool short_sum = dense && args.b_col_stride == 1 && args.k <= kShortSum;
  const bool transposed =
      dense && few_rows && !direct && args.b_row_stride == 1 && args.a_col_stride == 1;
  const bool bias_first = args.scale == T(1) && !short_sum && !transposed;
  const TileBias<T> bias{bias_first ? args.bias : nullptr, nullptr};
  const OutputEpilogue<T, ColumnBias<T>> epilogue{
      {bias_first ? nullptr : args.bias}, args.scale, residual, c_stride, args.activation};
  const DenseOperand<T> a{a_data, args.a_row_stride, args.a_col_stride};
  const DenseOperand<T> b{b_data, args.b_col_stride, args.b_row_stride, direct};
  const auto multiply = [&](const auto& columns) {
    if (is_small<T>(cell, args.k)) {
      T* const packed_b = scratch + packed_a_elements<T>(cell, args.k);
      small_cell<T>(cell, args.k, a, columns.b_block(packed_b, cell.col, cell.cols, 0, args.k), c,
                    c_stride, scratch, epilogue, bias);
    } else {
      gemm_cell<T>(cell, args.k, a, columns, c, c_stride, false, scratch, epilogue, bias);
    }
  };
  if (!dense) {
    multiply(PackedOperand<T>{args.packed_b, round_up(args.n, kGroup<T>)});
  } else if (short_sum) {
    multiply_short_sum(cell, args.k, a, b, c, c_stride, epilogue);
  } else if (transposed) {
    multiply_few_rows(cell, args.k, a, b, c, c_stride, epilogue);
  } else {
    multiply(b);
  }
}

template <class T>
void matmul_forward(const MatmulForwardArgs<T>& args) {
  const GemmShape shape{args.m, args.n, args.k};
  const auto multiply = [&args](int64_t i, const Cell& cell, T* scratch) {
    const int64_t offset = i * args.m * args.n;
    multiply_cell(args, args.a + args.a_offsets[i],
                  args.packed_b == nullptr ? args.b + args.b_offsets[i] : nullptr,
                  args.residual == nullptr ? nullptr : args.residual + offset, args.c + offset,
                  args.n, cell, scratch);
  };
  const Cell whole{0, args.m, 0, args.n, panel_rows(args.m, args.k)};
  const bool on_one_thread =
      args.batch == 1 && is_small<T>(whole, args.k) && args.m * args.n * args.k < 2 * kMinCellWork;
  if (on_one_thread) {
    const int64_t elements = gemm_scratch<T>(whole, args.k);
    Workspace workspace(elements * static_cast<int64_t>(sizeof(T)));
    multiply(0, whole, workspace.take<T>(elements));
  } else {
    gemm_grid<T>(args.batch, shape, multiply);
  }
}

template <class T>
void pack_matrix(const PackMatrixArgs<T>& args) {
  const int64_t cols = round_up(args.n, kGroup<T>);
  *args.elements = cols * args.k;
  if (args.packed == nullptr) return;
  const DenseOperand<T> b{args.b, args.b_col_stride, args.b_row_stride};
  const int64_t grain = max_of(1, (int64_t{1} << 16) / max_of(1, args.k * kGroup<T>));
  parallel_for(ceil_div(args.n, kGroup<T>), grain, [&](int64_t begin, int64_t end, int) {
    const int64_t col = begin * kGroup<T>, col_end = min_of(end * kGroup<T>, args.n);
    for (int64_t p = 0; p < args.k; p += kDepthBlock<T>) {
      const int64_t depth = min_of(kDepthBlock<T>, args.k - p);
      b.b_block(args.packed + p * cols + col * depth, col, col_end - col, p, depth);
    }
  });
}

template void multiply_cell(const MatmulForwardArgs<float>&, const float*, const float*,
                            const float*, float*, int64_t, const Cell&, float*);
template void multiply_cell(const MatmulForwardArgs<double>&, const double*, const double*,
                            const double*, double*, int64_t, const Cell&, double*);
template void matmul_forward(const MatmulForwardArgs<float>&);
template void matmul_forward(const MatmulForwardArgs<double>&);
template void pack_matrix(const PackMatrixArgs<float>&);
template void pack_matrix(const PackMatrixArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
