#include "kernels/gemm/tile.h"

#include "simd/half.h"

namespace fastnn::FASTNN_ISA {
namespace {

// How many lanes of the last column of vectors are there: all, some, or at most half.
enum class Last { kWhole, kPartial, kHalf };

// What the last column of vectors is made of.
template <class T, Last kLast>
struct LastColumn {
  using Vector = Vec<T>;
  static FASTNN_INLINE Vector of(Vec<T> x) { return x; }
  FASTNN_INLINE Vector load(const T* p) const {
    return kLast == Last::kWhole ? Vec<T>::load(p) : Vec<T>::load(p, lanes);
  }
  FASTNN_INLINE void store(Vector x, T* p) const {
    if (kLast == Last::kWhole) {
      x.store(p);
    } else {
      x.store(p, lanes);
    }
  }
  int64_t lanes;
};
#if defined(FASTNN_ISA_AVX512)
template <class T>
struct LastColumn<T, Last::kHalf> {
  using Vector = Half<T>;
  static FASTNN_INLINE Vector of(Vec<T> x) { return Half<T>::of(x); }
  FASTNN_INLINE Vector load(const T* p) const { return Half<T>::load(p, lanes); }
  FASTNN_INLINE void store(Vector x, T* p) const { x.store(p, lanes); }
  int64_t lanes;
};
#endif

// kVectors columns of vectors, of which the last may be partial.
template <class T, int kRows, int kVectors, Last kLast>
void compute(const Tile<T>& tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kWhole = kVectors - 1, kArray = kWhole > 0 ? kWhole : 1;
  using Column = LastColumn<T, kLast>;
  const Column last{tile.cols - kWhole * kSize};
  const int64_t c_stride = tile.c_stride;
  Vec<T> acc[kRows][kArray];
  typename Column::Vector acc_last[kRows];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kWhole; ++j) acc[i][j] = Vec<T>::zero();
    acc_last[i] = Column::Vector::zero();
  }
  if (tile.accumulate) {
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const T* const c = tile.c + i * c_stride;
      FASTNN_UNROLL
      for (int j = 0; j < kWhole; ++j) acc[i][j] = Vec<T>::load(c + j * kSize);
      acc_last[i] = last.load(c + kWhole * kSize);
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
      const auto at = [=](int j) {
        return b + (j / kGroupVectors) * group_stride + (j % kGroupVectors) * kSize;
      };
      Vec<T> row[kArray];
      FASTNN_UNROLL
      for (int j = 0; j < kWhole; ++j) row[j] = Vec<T>::load(at(j));
      const typename Column::Vector row_last = last.load(at(kWhole));
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const T factor = a[i / 3][i % 3 * row_stride];
        const Vec<T> column = Vec<T>::broadcast(factor);
        FASTNN_UNROLL
        for (int j = 0; j < kWhole; ++j) acc[i][j] = fma(column, row[j], acc[i][j]);
        // Broadcasting to half a vector is cheaper, if it is all that is needed.
        acc_last[i] = fma(kWhole == 0 ? Column::Vector::broadcast(factor) : Column::of(column),
                          row_last, acc_last[i]);
      }
      FASTNN_UNROLL
      for (int i = 0; i < kBases; ++i) a[i] += depth_stride;
      b += b_stride;
    }
    run += tile.fetch.stride;
  }
  if (tile.bias.of_columns != nullptr) {
    FASTNN_UNROLL
    for (int j = 0; j < kWhole; ++j) {
      const Vec<T> bias = Vec<T>::load(tile.bias.of_columns + j * kSize);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][j] += bias;
    }
    const typename Column::Vector bias = last.load(tile.bias.of_columns + kWhole * kSize);
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) acc_last[i] = acc_last[i] + bias;
  }
  if (tile.bias.of_rows != nullptr) {
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> bias = Vec<T>::broadcast(tile.bias.of_rows[i]);
      FASTNN_UNROLL
      for (int j = 0; j < kWhole; ++j) acc[i][j] += bias;
      acc_last[i] = acc_last[i] + Column::of(bias);
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    T* const c = tile.c + i * c_stride;
    FASTNN_UNROLL
    for (int j = 0; j < kWhole; ++j) acc[i][j].store(c + j * kSize);
    last.store(acc_last[i], c + kWhole * kSize);
  }
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

// Tile functions for one number of rows and vectors, by Last.
template <class T>
struct LastFunctions {
  TileFunction<T> by_last[3];
};

// Half a vector is distinguished where it shows: in tiles of two.
template <class T, int kRows, int kVectors>
constexpr LastFunctions<T> last_functions() {
  if constexpr (kVectors > tile_vectors(kRows)) {
    return {};
  } else if constexpr (kHasHalf && tile_vectors(kRows) == 2) {
    return {{&compute<T, kRows, kVectors, Last::kWhole>,
             &compute<T, kRows, kVectors, Last::kPartial>,
             &compute<T, kRows, kVectors, Last::kHalf>}};
  } else {
    return {{&compute<T, kRows, kVectors, Last::kWhole>,
             &compute<T, kRows, kVectors, Last::kPartial>,
             &compute<T, kRows, kVectors, Last::kPartial>}};
  }
}

// Tile functions for one number of rows, by number of vectors.
template <class T>
struct RowFunctions {
  LastFunctions<T> by_vectors[kMaxTileVectors];
};

template <class T, int kRows>
constexpr RowFunctions<T> row_functions() {
  return {{last_functions<T, kRows, 1>(), last_functions<T, kRows, 2>(),
           last_functions<T, kRows, 3>(), last_functions<T, kRows, 4>(),
           last_functions<T, kRows, 5>(), last_functions<T, kRows, 6>(),
           last_functions<T, kRows, 7>(), last_functions<T, kRows, 8>()}};
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
  const int64_t vectors = (tile.cols + kSize - 1) / kSize, lanes = tile.cols % kSize;
  const Last last = lanes == 0 ? Last::kWhole : lanes <= kSize / 2 ? Last::kHalf : Last::kPartial;
  kFunctions[rows - 1].by_vectors[vectors - 1].by_last[static_cast<int>(last)](tile);
}

template void run_tile(int, const Tile<float>&);
template void run_tile(int, const Tile<double>&);

}  // namespace fastnn::FASTNN_ISA
