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
  const T* a = tile.a;
  const T* b = tile.b;
  const int64_t b_stride = tile.b_stride, group_stride = tile.b_group_stride;
  const Fetch<T> fetch = tile.fetch;
  const int64_t depth = tile.depth;
  for (int64_t p = 0; p < depth; ++p) {
    __builtin_prefetch(fetch.data + p % kFetchRun * kFetchLine<T> + p / kFetchRun * fetch.stride, 0,
                       2);
    Vec<T> row[kVectors];
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      row[j] = load(b + (j / kGroupVectors) * group_stride + (j % kGroupVectors) * kSize, j);
    }
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> column = Vec<T>::broadcast(a[i]);
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[i][j] = fma(column, row[j], acc[i][j]);
    }
    a += kRows;
    b += b_stride;
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
