#include "kernels/gemm/tile.h"

namespace fastnn::FASTNN_ISA {
namespace {

// kMasked: the last of the kVectors columns of vectors is partial.
template <class T, int kRows, int kVectors, bool kMasked>
void compute(const Tile<T>& tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kLast = kVectors - 1;
  const int64_t tail = tile.cols - kLast * kSize;
  const auto load = [tail](const T* p, int j) {
    return kMasked && j == kLast ? Vec<T>::load(p, tail) : Vec<T>::load(p);
  };
  Vec<T> acc[kRows][kVectors];
  const int64_t c_stride = tile.c_stride;
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j] = tile.accumulate ? load(tile.c + i * c_stride + j * kSize, j) : Vec<T>::zero();
    }
  }
  // Three rows share a pointer: base, base + stride and base + 2 stride are all addressing modes.
  constexpr int kBases = (kRows + 2) / 3;
  const int64_t row_stride = tile.a.row_stride, depth_stride = tile.a.depth_stride;
  const T* a[kBases];
  FASTNN_UNROLL
  for (int i = 0; i < kBases; ++i) a[i] = tile.a.data + 3 * i * row_stride;
  const T* b = tile.b;
  const int64_t b_stride = tile.b_stride, group_stride = tile.b_group_stride;
  // With nothing to fetch one line is asked for again and again.
  const bool fetches = tile.fetch.data != nullptr;
  const T* run = fetches ? tile.fetch.data : tile.a.data;
  const int64_t line_step = fetches ? 2 * kFetchLine<T> : 0;
  const int64_t run_steps = fetches ? kFetchSteps : tile.depth;
  for (int64_t left = tile.depth; left > 0; left -= run_steps) {
    const T* line = run;
    for (int64_t step = left < run_steps ? left : run_steps; step > 0; --step) {
      __builtin_prefetch(line, 0, 2);
      __builtin_prefetch(line + kFetchLine<T>, 0, 2);
      line += line_step;
      Vec<T> row[kVectors];
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        row[j] = load(b + (j / kGroupVectors) * group_stride + (j % kGroupVectors) * kSize, j);
      }
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> column = Vec<T>::broadcast(a[i / 3][i % 3 * row_stride]);
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[i][j] = fma(column, row[j], acc[i][j]);
      }
      FASTNN_UNROLL
      for (int i = 0; i < kBases; ++i) a[i] += depth_stride;
      b += b_stride;
    }
    run += tile.fetch.stride;
  }
  if (tile.bias.of_columns != nullptr) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> bias = load(tile.bias.of_columns + j * kSize, j);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][j] += bias;
    }
  }
  if (tile.bias.of_rows != nullptr) {
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> bias = Vec<T>::broadcast(tile.bias.of_rows[i]);
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[i][j] += bias;
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      T* c = tile.c + i * c_stride + j * kSize;
      if (kMasked && j == kLast) {
        acc[i][j].store(c, tail);
      } else {
        acc[i][j].store(c);
      }
    }
  }
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

template <class T, int kRows, int kVectors>
constexpr TileFunction<T> choose(bool masked) {
  if constexpr (kVectors <= tile_vectors(kRows)) {
    return masked ? &compute<T, kRows, kVectors, true> : &compute<T, kRows, kVectors, false>;
  } else {
    return nullptr;
  }
}

// Tile functions for one number of rows, by number of vectors and maskedness.
template <class T>
struct RowFunctions {
  TileFunction<T> by_vectors[kMaxTileVectors][2];
};

template <class T, int kRows>
constexpr RowFunctions<T> row_functions() {
  return {{{choose<T, kRows, 1>(false), choose<T, kRows, 1>(true)},
           {choose<T, kRows, 2>(false), choose<T, kRows, 2>(true)},
           {choose<T, kRows, 3>(false), choose<T, kRows, 3>(true)},
           {choose<T, kRows, 4>(false), choose<T, kRows, 4>(true)},
           {choose<T, kRows, 5>(false), choose<T, kRows, 5>(true)},
           {choose<T, kRows, 6>(false), choose<T, kRows, 6>(true)},
           {choose<T, kRows, 7>(false), choose<T, kRows, 7>(true)},
           {choose<T, kRows, 8>(false), choose<T, kRows, 8>(true)}}};
}

}  // namespace

template <class T>
void run_tile(int rows, const Tile<T>& tile) {
  static constexpr RowFunctions<T> kFunctions[] = {
#define FASTNN_ROW_FUNCTIONS(rows) row_functions<T, rows>(),
      FASTNN_TILE_ROWS(FASTNN_ROW_FUNCTIONS)
#undef FASTNN_ROW_FUNCTIONS
  };
  static_assert(sizeof kFunctions / sizeof kFunctions[0] == kTileRows);
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t vectors = (tile.cols + kSize - 1) / kSize;
  kFunctions[rows - 1].by_vectors[vectors - 1][tile.cols % kSize != 0](tile);
}

template void run_tile(int, const Tile<float>&);
template void run_tile(int, const Tile<double>&);

}  // namespace fastnn::FASTNN_ISA
