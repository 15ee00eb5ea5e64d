#include "kernels/attention/strided_tile.h"

namespace fastnn::FASTNN_ISA {
namespace {

// kMasked: the last of the kVectors columns of vectors is partial.
template <class T, int kRows, int kVectors, bool kMasked>
void compute(const StridedTile<T>& tile, Prefetcher& ahead) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kLast = kVectors - 1;
  const int64_t tail = tile.cols - kLast * kSize;
  const auto load = [tail](const T* p, int j) {
    return kMasked && j == kLast ? Vec<T>::load(p, tail) : Vec<T>::load(p);
  };
  Vec<T> acc[kRows][kVectors];
  const int64_t c_stride = tile.c_stride;
  T* c = tile.c;
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i, c += c_stride) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j] = tile.accumulate ? load(c + j * kSize, j) : Vec<T>::zero();
    }
  }
  // Three rows share a pointer: base, base + stride and base + 2 stride are all addressing modes.
  constexpr int kBases = (kRows + 2) / 3;
  const int64_t row_stride = tile.a_row_stride, depth_stride = tile.a_depth_stride;
  const T* a[kBases];
  FASTNN_UNROLL
  for (int i = 0; i < kBases; ++i) a[i] = tile.a + 3 * i * row_stride;
  const T* b = tile.b;
  const int64_t b_stride = tile.b_stride;
  ahead.begin_tile();
  for (int64_t p = tile.depth; p > 0; --p) {
    ahead.step();
    Vec<T> row[kVectors];
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) row[j] = load(b + j * kSize, j);
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
  c = tile.c;
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i, c += c_stride) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if (kMasked && j == kLast) {
        acc[i][j].store(c + j * kSize, tail);
      } else {
        acc[i][j].store(c + j * kSize);
      }
    }
  }
}

template <class T>
using TileFunction = void (*)(const StridedTile<T>&, Prefetcher&);

// For one number of rows, by number of vectors and maskedness.
template <class T>
struct RowFunctions {
  TileFunction<T> by_vectors[kGroupVectors][2];
};

template <class T, int kRows>
constexpr RowFunctions<T> row_functions() {
  return {{{&compute<T, kRows, 1, false>, &compute<T, kRows, 1, true>},
           {&compute<T, kRows, 2, false>, &compute<T, kRows, 2, true>}}};
}

}  // namespace

template <class T>
void run_strided_tile(int rows, const StridedTile<T>& tile, Prefetcher& ahead) {
  static constexpr RowFunctions<T> kFunctions[] = {
#define FASTNN_ROW_FUNCTIONS(rows) row_functions<T, rows>(),
      FASTNN_TILE_ROWS(FASTNN_ROW_FUNCTIONS)
#undef FASTNN_ROW_FUNCTIONS
  };
  static_assert(sizeof kFunctions / sizeof kFunctions[0] == kTileRows);
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t vectors = (tile.cols + kSize - 1) / kSize;
  kFunctions[rows - 1].by_vectors[vectors - 1][tile.cols % kSize != 0](tile, ahead);
}

template void run_strided_tile(int, const StridedTile<float>&, Prefetcher&);
template void run_strided_tile(int, const StridedTile<double>&, Prefetcher&);

}  // namespace fastnn::FASTNN_ISA
