// Reductions over a dimension that is not the last: many columns side by side, a vector of them at
// a time, so that nothing is transposed.
#pragma once

#include "kernels/rows.h"
#include "runtime/parallel.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int kTileVectors = 4;
template <class T>
inline constexpr int64_t kTileColumns = kTileVectors * Vec<T>::kSize;

// Sums down a column go in runs of this many rows: long ones stay accurate, and what is passed over
// twice stays in the first-level cache.
inline constexpr int64_t kColumnRun = 64;

// The columns of all (outer, inner) slices in tiles of up to kTileColumns:
// f(slice, first column, number of columns, worker).
template <class T, class F>
FASTNN_INLINE void for_column_tiles(int64_t outer, int64_t length, int64_t inner, const F& f) {
  const int64_t tiles = (inner + kTileColumns<T> - 1) / kTileColumns<T>;
  parallel_for(outer * tiles, rows_a_part(length * kTileColumns<T>),
               [&](int64_t begin, int64_t end, int worker) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t column = i % tiles * kTileColumns<T>;
                   const int64_t left = inner - column;
                   f(i / tiles, column, left < kTileColumns<T> ? left : kTileColumns<T>, worker);
                 }
               });
}

// f(column, lanes, tag) for the vectors of a tile: four at once where the tile is whole. The tag's
// index is how many vectors there are.
template <class T, class F>
FASTNN_INLINE void for_tile_vectors(int64_t columns, const F& f) {
  if (columns == kTileColumns<T>) {
    f(int64_t{0}, AllLanes<T>(), Chain<kTileVectors>());
    return;
  }
  for_vectors<T>(columns,
                 [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA { f(i, lanes, Chain<1>()); });
}

// sums[v] += term(i, v) over the rows i.
template <int kVectors, class T, class Term>
FASTNN_INLINE void sum_columns(int64_t length, Vec<T> (&sums)[kVectors], const Term& term) {
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) sums[v] = Vec<T>::zero();
  for (int64_t begin = 0; begin < length; begin += kColumnRun) {
    const int64_t end = length - begin < kColumnRun ? length : begin + kColumnRun;
    Vec<T> run[kVectors];
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) run[v] = Vec<T>::zero();
    for (int64_t i = begin; i < end; ++i) {
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) run[v] += term(i, v);
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[v] += run[v];
  }
}

}  // namespace fastnn::FASTNN_ISA
