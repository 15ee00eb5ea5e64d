// The register tile: C[rows, cols] (+)= A[rows, depth] B[depth, cols], the inner loop of every
// dense kernel.
//
// A has any strides. B comes in groups of two vectors: column j of step p is at
// b[(j / kGroup) * b_group_stride + p * b_stride + j % kGroup], which covers packed panels
// (b_stride kGroup), several panels side by side, and plain rows of a matrix.
// Every element is one chain of fma in the order of p, starting from C or from zero: its bits do
// not depend on the tile it falls into, on blocking or on threads.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// Tile shapes, chosen by measurement. kAccumulators is what fits into the registers beside the
// operands; with fewer rows than kTileRows a tile is wider instead, so that there are always enough
// independent chains to hide the latency of fma. FASTNN_TILE_ROWS(ROW) is ROW(1) .. ROW(kTileRows),
// for tables of functions.
#define FASTNN_TILE_ROWS_5(ROW) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5)
#define FASTNN_TILE_ROWS_6(ROW) FASTNN_TILE_ROWS_5(ROW) ROW(6)
#define FASTNN_TILE_ROWS_12(ROW) \
  FASTNN_TILE_ROWS_6(ROW) ROW(7) ROW(8) ROW(9) ROW(10) ROW(11) ROW(12)
#if defined(FASTNN_ISA_AVX512)
inline constexpr int kTileRows = 14, kAccumulators = 28;
#define FASTNN_TILE_ROWS(ROW) FASTNN_TILE_ROWS_12(ROW) ROW(13) ROW(14)
#elif defined(FASTNN_ISA_AVX2)
inline constexpr int kTileRows = 6, kAccumulators = 12;
#define FASTNN_TILE_ROWS(ROW) FASTNN_TILE_ROWS_6(ROW)
#elif defined(FASTNN_ISA_NEON)
inline constexpr int kTileRows = 12, kAccumulators = 24;
#define FASTNN_TILE_ROWS(ROW) FASTNN_TILE_ROWS_12(ROW)
#else
inline constexpr int kTileRows = 5, kAccumulators = 10;
#define FASTNN_TILE_ROWS(ROW) FASTNN_TILE_ROWS_5(ROW)
#endif

inline constexpr int kGroupVectors = 2;
// Columns of a group of B.
template <class T>
inline constexpr int64_t kGroup = kGroupVectors * Vec<T>::kSize;

// Vectors across the widest tile of so many rows: 2, 4 or 8.
inline constexpr int tile_vectors(int rows) {
  return rows * 8 <= kAccumulators ? 8 : rows * 4 <= kAccumulators ? 4 : 2;
}
inline constexpr int kMaxTileVectors = 8;

// Memory to be fetched into L2 while a tile is computed, two lines a step (what a step reads of a
// group of B): runs of kFetchRun cache lines, `stride` elements from one to the next; null for
// nothing.
inline constexpr int64_t kFetchRun = 64, kFetchSteps = kFetchRun / 2;
template <class T>
inline constexpr int64_t kFetchLine = 64 / static_cast<int64_t>(sizeof(T));
template <class T>
struct Fetch {
  const T* data = nullptr;
  int64_t stride = 0;

  static Fetch contiguous(const T* data) { return {data, kFetchRun * kFetchLine<T>}; }
  Fetch from_run(int64_t run) const { return {data + run * stride, stride}; }
};

// The rows of A: packed, with a row stride of 1, or where they lie.
template <class T>
struct TileRows {
  const T* data;
  int64_t row_stride, depth_stride;
};

// Added to finished sums: to every column its own, to every row its own, or nothing.
template <class T>
struct TileBias {
  const T* of_columns = nullptr;
  const T* of_rows = nullptr;

  TileBias at(int64_t row, int64_t col) const {
    return {of_columns == nullptr ? nullptr : of_columns + col,
            of_rows == nullptr ? nullptr : of_rows + row};
  }
};

template <class T>
struct Tile {
  int64_t depth;
  TileRows<T> a;
  const T* b;
  int64_t b_stride, b_group_stride;
  T* c;
  int64_t c_stride;
  int64_t cols;     // 1 .. tile_vectors(rows) * Vec<T>::kSize
  bool accumulate;  // start from C instead of zero
  Fetch<T> fetch{};
  TileBias<T> bias{};
};

// Computes one tile of 1 <= rows <= kTileRows. Touches nothing of B and C past `cols`.
template <class T>
void run_tile(int rows, const Tile<T>& tile);

}  // namespace fastnn::FASTNN_ISA
