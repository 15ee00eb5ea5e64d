// The register tile with an A that is used where it lies: C[rows, cols] (+)= A[rows, depth]
// B[depth, cols] for any strides of A. A block of keys or values is multiplied only a few times, so
// that packing it would cost more than its scattered broadcasts do.
// Every element is one chain of fma in the order of p, as in gemm/tile.h.
#pragma once

#include "kernels/attention/prefetch.h"
#include "kernels/gemm/tile.h"

namespace fastnn::FASTNN_ISA {

template <class T>
struct StridedTile {
  int64_t depth;
  const T* a;
  int64_t a_row_stride, a_depth_stride;
  const T* b;
  int64_t b_stride;
  T* c;
  int64_t c_stride;
  int64_t cols;     // 1 .. kGroup<T>
  bool accumulate;  // start from C instead of zero
};

// Computes one tile of 1 <= rows <= kTileRows; `ahead` fetches its share meanwhile. Touches nothing
// of B and C past `cols`.
template <class T>
void run_strided_tile(int rows, const StridedTile<T>& tile, Prefetcher& ahead);

}  // namespace fastnn::FASTNN_ISA
