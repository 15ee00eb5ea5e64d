// The register tile over words (simd/dot.h): sums[rows, cols] (+)= A[rows, depth] B[depth, cols].
//
// The layouts are those of tile.h with words for elements: A is a[p * rows + i], B is in groups of
// kWordGroup columns, padded, b[(j / kWordGroup) * b_group_stride + p * kWordGroup + j %
// kWordGroup]. Every element is one chain of sums in the order of p, starting from `sums` or from
// zero.
#pragma once

#include "simd/dot.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kWordGroup = 2 * Words::kSize;

// Sums that fit into the registers beside the operands, which take more room where a Dot has to
// split them.
#if defined(FASTNN_ISA_AVX512)
inline constexpr int kEmulatedSums = 20;
#elif defined(FASTNN_ISA_NEON)
inline constexpr int kEmulatedSums = 16;
#else
inline constexpr int kEmulatedSums = 8;
#endif
inline constexpr int kMaxSums = 28;
template <class Dot>
inline constexpr int kSums = Dot::kNative ? kMaxSums : kEmulatedSums;
template <class Dot>
inline constexpr int kWordTileRows = kSums<Dot> / 2;

// Vectors across the widest tile of so many rows: wide enough to hide the latency of a sum.
template <class Dot>
constexpr int word_tile_vectors(int rows) {
  return Dot::kNative && rows * 8 <= kSums<Dot> ? 8 : rows * 4 <= kSums<Dot> ? 4 : 2;
}

template <class Lane>
struct WordTile {
  int64_t depth;
  const int32_t* a;
  const int32_t* b;
  int64_t b_group_stride;
  Lane* sums;
  int64_t sums_stride;
  bool accumulate;  // start from `sums` instead of zero
};

template <class Dot, int kRows, int kVectors>
void compute_words(const WordTile<typename Dot::Lane>& tile) {
  using Sum = typename Dot::Sum;
  using Operand = typename Dot::Operand;
  Sum sums[kRows][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j] = tile.accumulate ? Sum::load(tile.sums + i * tile.sums_stride + j * Words::kSize)
                                   : Sum::zero();
    }
  }
  const int32_t* a = tile.a;
  const int32_t* b = tile.b;
  for (int64_t p = tile.depth; p > 0; --p) {
    Operand right[kVectors];
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      right[j] = Dot::right(Words::load(b + j / 2 * tile.b_group_stride + j % 2 * Words::kSize));
    }
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Operand left = Dot::left(Words::broadcast(a[i]));
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) sums[i][j] = Dot::add(sums[i][j], left, right[j]);
    }
    a += kRows;
    b += kWordGroup;
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j].store(tile.sums + i * tile.sums_stride + j * Words::kSize);
    }
  }
}

template <class Dot, int kRows, int kVectors>
void run_word_groups(int64_t groups, const WordTile<typename Dot::Lane>& tile) {
  if constexpr (kVectors > 2) {
    if (2 * groups < kVectors) return run_word_groups<Dot, kRows, kVectors - 2>(groups, tile);
  }
  compute_words<Dot, kRows, kVectors>(tile);
}

// Computes a tile of 1 <= rows <= kWordTileRows and 1 .. word_tile_vectors(rows) / 2 groups.
template <class Dot, int kRows = kWordTileRows<Dot>>
void run_word_tile(int64_t rows, int64_t groups, const WordTile<typename Dot::Lane>& tile) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_word_tile<Dot, kRows - 1>(rows, groups, tile);
  }
  run_word_groups<Dot, kRows, word_tile_vectors<Dot>(kRows)>(groups, tile);
}

}  // namespace fastnn::FASTNN_ISA
