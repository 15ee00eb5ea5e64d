// Batched matrix product with an optional bias row (engine.h has the algorithm and workspace).
#include "kernels/gemm/engine.h"
#include "kernels/gemm/epilogue.h"
#include "ops/gemm.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void matmul_forward(const MatmulForwardArgs<T>& args) {
  // With one panel of rows every element of B is used once: reading it in place beats packing.
  const bool direct = args.b_col_stride == 1 && args.m <= kTileRows;
  const ColumnBias<T> epilogue{args.bias};
  gemm_grid<T>(args.batch, {args.m, args.n, args.k}, [&](int64_t i, const Cell& cell, T* scratch) {
    const DenseOperand<T> a{args.a + args.a_offsets[i], args.a_row_stride, args.a_col_stride};
    const DenseOperand<T> b{args.b + args.b_offsets[i], args.b_col_stride, args.b_row_stride,
                            direct};
    gemm_cell<T>(cell, args.k, a, b, args.c + i * args.m * args.n, args.n, false, scratch,
                 epilogue);
  });
}

// Rows are added in chunks of kChunk, and the chunks in order, which keeps the rounding error at
// (kChunk + rows / kChunk) eps.
template <class T>
void column_sum_forward(const ColumnSumForwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize, kChunk = 128;
  const int64_t strips = ceil_div(args.cols, kSize);
  const int64_t grain = max_of(1, (int64_t{1} << 16) / max_of(1, args.rows * kSize));
  parallel_for(strips, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t col = strip * kSize, lanes = min_of(kSize, args.cols - col);
      Vec<T> total = Vec<T>::zero();
      for (int64_t first = 0; first < args.rows; first += kChunk) {
        Vec<T> sum = Vec<T>::zero();
        for (int64_t i = first; i < min_of(first + kChunk, args.rows); ++i) {
          sum += Vec<T>::load(args.x + i * args.cols + col, lanes);
        }
        total += sum;
      }
      total.store(args.sums + col, lanes);
    }
  });
}

template void matmul_forward(const MatmulForwardArgs<float>&);
template void matmul_forward(const MatmulForwardArgs<double>&);
template void column_sum_forward(const ColumnSumForwardArgs<float>&);
template void column_sum_forward(const ColumnSumForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
