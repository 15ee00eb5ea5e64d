#include "kernels/conv/depthwise_in_place.h"

#include "kernels/conv/depthwise_rows.h"

namespace fastnn::FASTNN_ISA {
namespace {

#if defined(FASTNN_ISA_AVX512) || defined(FASTNN_ISA_AVX2)
constexpr bool kMaskedLoads = true;
#else
constexpr bool kMaskedLoads = false;
#endif
constexpr int64_t kMostWidth = int64_t{1} << 20;  // of the input: bounds the workspace

// Output rows of a register tile: what one vector sees, and the one before it, fits into registers.
constexpr int tile_rows(int taps, int step) { return taps == 5 && step == 2 ? 2 : 4; }

// The input rows that so many output rows see.
constexpr int source_rows(int taps, int step, int rows) { return (rows - 1) * step + taps; }

// Some rows of one plane of y.
template <class T, int kTaps, int kStep>
struct RowTile {
  const T* rows[source_rows(kTaps, kStep, tile_rows(kTaps, kStep))];  // column 0 of the input's
  int64_t source_width, first;  // `first`: the input column of tap 0 of output column 0
  T weights[kTaps][kTaps];
  T bias;
  bool adds;  // to what lies in y: the channels before this one
  T* y;
  int64_t width;
};

// The weights as vectors: 9 of them stay in registers, 25 are read where they are used.
template <class T, int kTaps, int kStep>
struct TileWeights {
  static constexpr int kKept = kTaps == 3 ? kTaps : 1;
  const RowTile<T, kTaps, kStep>& tile;
  Vec<T> kept[kKept][kKept];

  FASTNN_INLINE explicit TileWeights(const RowTile<T, kTaps, kStep>& owner) : tile(owner) {
    FASTNN_UNROLL
    for (int h = 0; h < kKept; ++h) {
      FASTNN_UNROLL
      for (int w = 0; w < kKept; ++w) kept[h][w] = Vec<T>::broadcast(tile.weights[h][w]);
    }
  }
  FASTNN_INLINE Vec<T> at(int h, int w) const {
    return kKept == kTaps ? kept[h][w] : Vec<T>::broadcast(tile.weights[h][w]);
  }
};

// Adds the products of input row r with tap columns kTap and those after it.
template <bool kOneVector, int kTap, class T, int kTaps, int kStep, int kRows>
FASTNN_INLINE void add_row(int r, const TileWeights<T, kTaps, kStep>& weights,
                           const Vec<T> (&before)[kStep], const Vec<T> (&now)[kStep],
                           Vec<T> (&acc)[kRows]) {
  const Vec<T> x = tap_lanes<kOneVector, kTaps, kTap>(before, now);
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int h = r - i * kStep;
    if (h >= 0 && h < kTaps) acc[i] = fma(weights.at(h, kTap), x, acc[i]);
  }
  if constexpr (kTap + 1 < kTaps) {
    add_row<kOneVector, kTap + 1, T, kTaps, kStep, kRows>(r, weights, before, now, acc);
  }
}

// The vector of output columns from `col` on, which sees input columns from `column` on.
template <bool kOneVector, bool kMasked, bool kSum, int kRows, class T, int kTaps, int kStep,
          int kSources>
FASTNN_INLINE void filter_vector(const RowTile<T, kTaps, kStep>& tile,
                                 const TileWeights<T, kTaps, kStep>& weights, int64_t col,
                                 int64_t column, Vec<T> (&before)[kSources][kStep]) {
  Vec<T> acc[kRows];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    acc[i] = Vec<T>::zero();
    if (kSum && tile.adds) {
      acc[i] =
          Vec<T>::load(tile.y + i * tile.width + col, kMasked ? tile.width - col : Vec<T>::kSize);
    }
  }
  FASTNN_UNROLL
  for (int r = 0; r < kSources; ++r) {
    // With a step of 2 the processor fetches too late what the next tile reads.
    if (kStep == 2 && r >= kTaps - kStep) {
      const T* const below = tile.rows[r] + kRows * kStep * tile.source_width + column;
      FASTNN_UNROLL
      for (int i = 0; i < kStep; ++i) prefetch(below + i * Vec<T>::kSize);
    }
    Vec<T> now[kStep];
    load_phases<kMasked>(tile.rows[r], column, tile.source_width, now);
    add_row<kOneVector, 0, T, kTaps, kStep, kRows>(r, weights, before[r], now, acc);
    FASTNN_UNROLL
    for (int i = 0; i < kStep; ++i) before[r][i] = now[i];
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> sum = acc[i] + Vec<T>::broadcast(tile.bias);
    T* const target = tile.y + i * tile.width + col;
    if (kMasked) {
      sum.store(target, tile.width - col);
    } else {
      sum.store(target);
    }
  }
}

// kRows output rows.
template <bool kOneVector, bool kSum, class T, int kTaps, int kStep, int kRows>
void filter_rows(const RowTile<T, kTaps, kStep>& tile) {
  constexpr int kSources = source_rows(kTaps, kStep, kRows);
  const TileWeights<T, kTaps, kStep> weights(tile);
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> before[kSources][kStep];
  if constexpr (kOneVector) {
    return filter_vector<true, true, kSum, kRows>(tile, weights, 0, tile.first, before);
  }
  int64_t column = tile.first + kTaps - kStep;
  FASTNN_UNROLL
  for (int r = 0; r < kSources; ++r) {
    load_phases<true>(tile.rows[r], column - kStep * kSize, tile.source_width, before[r]);
  }
  for (int64_t col = 0; col < tile.width; col += kSize, column += kStep * kSize) {
    if (column >= 0 && column + kStep * kSize <= tile.source_width && col + kSize <= tile.width) {
      filter_vector<false, false, kSum, kRows>(tile, weights, col, column, before);
    } else {
      filter_vector<false, true, kSum, kRows>(tile, weights, col, column, before);
    }
  }
}

template <bool kOneVector, bool kSum, class T, int kTaps, int kStep, int kRows>
void choose_rows(int64_t rows, const RowTile<T, kTaps, kStep>& tile) {
  if (rows == kRows) return filter_rows<kOneVector, kSum, T, kTaps, kStep, kRows>(tile);
  if constexpr (kRows > 1) {
    choose_rows<kOneVector, kSum, T, kTaps, kStep, kRows - 1>(rows, tile);
  }
}

// kSum: of several channels.
template <class T, int kTaps, int kStep, bool kSum>
class InPlace {
 public:
  explicit InPlace(const Convolution<T>& conv) : conv_(conv), weights_(ascending_taps(&conv_)) {}

  void run() {
    const Axis& width = conv_.axes[2];
    const int64_t planes = conv_.batch * conv_.groups * conv_.out_channels;
    const int64_t work = max_of(1, positions_of(conv_.axes) * weights_.columns);
    const int64_t zeros = round_up(width.source, Vec<T>::kSize);
    Workspace workspace(zeros * static_cast<int64_t>(sizeof(T)));
    T* const zero_row = workspace.take<T>(zeros);
    for (int64_t i = 0; i < zeros; ++i) zero_row[i] = T(0);
    zero_row_ = zero_row;
    parallel_for(planes, max_of(1, kMinCellWork / work), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) filter_plane(i);
    });
  }

 private:
  static constexpr int kTileRows = tile_rows(kTaps, kStep);

  void filter_plane(int64_t index) const {
    const Axis &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t plane = index / conv_.out_channels, m = index % conv_.out_channels;
    const int64_t group = plane % conv_.groups, channels = kSum ? conv_.in_channels : 1;
    const T* const x = conv_.x + plane * channels * height.source * width.source;
    T* const y = conv_.y + index * height.positions * width.positions;
    const T* const weights = weights_.data + group * conv_.group_weights + m * weights_.row_stride;
    const T bias = conv_.bias == nullptr ? T(0) : conv_.bias[group * conv_.out_channels + m];
    RowTile<T, kTaps, kStep> tile{};
    tile.source_width = width.source;
    tile.first = width.first;
    tile.width = width.positions;
    const int64_t tiles = ceil_div(height.positions, kTileRows);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = t * height.positions / tiles;
      const int64_t rows = (t + 1) * height.positions / tiles - row;
      tile.y = y + row * width.positions;
      for (int64_t c = 0; c < channels; ++c) {
        tile.adds = c > 0;
        tile.bias = c + 1 < channels ? T(0) : bias;
        if (t == 0 || channels > 1) read_weights(weights + c * weights_.channel_stride, &tile);
        filter_tile(x + c * height.source * width.source, row, rows, &tile);
      }
      conv_.finish(tile.y, rows * width.positions);
    }
  }

  void read_weights(const T* weights, RowTile<T, kTaps, kStep>* tile) const {
    for (int h = 0; h < kTaps; ++h) {
      for (int w = 0; w < kTaps; ++w) {
        tile->weights[h][w] = weights[h * weights_.tap_stride[1] + w * weights_.tap_stride[2]];
      }
    }
  }

  // Rows row .. row + rows-1 of y, from one channel's plane.
  void filter_tile(const T* x, int64_t row, int64_t rows, RowTile<T, kTaps, kStep>* tile) const {
    const Axis &height = conv_.axes[1], &width = conv_.axes[2];
    for (int r = 0; r < source_rows(kTaps, kStep, static_cast<int>(rows)); ++r) {
      const int64_t source = height.first + row * kStep + r;
      const bool inside = source >= 0 && source < height.source;
      tile->rows[r] = inside ? x + source * width.source : zero_row_;
    }
    if (tile->width <= Vec<T>::kSize && width.source - width.first <= kStep * Vec<T>::kSize) {
      choose_rows<true, kSum, T, kTaps, kStep, kTileRows>(rows, *tile);
    } else {
      choose_rows<false, kSum, T, kTaps, kStep, kTileRows>(rows, *tile);
    }
  }

  Convolution<T> conv_;
  Weights<T> weights_;
  const T* zero_row_ = nullptr;
};

}  // namespace

template <class T>
bool is_in_place(const Convolution<T>& conv) {
  const Axis &height = conv.axes[1], &width = conv.axes[2];
  bool result = kMaskedLoads && conv.mode == PaddingMode::kZeros && width.source <= kMostWidth;
  for (int i = 1; i < 3; ++i) {
    const Axis& axis = conv.axes[i];
    result = result && axis.step == height.step && axis.taps == height.taps &&
             (axis.tap_step == 1 || axis.tap_step == -1) && axis.positions == conv.output[i];
  }
  if (conv.in_channels > 1) {
    return result && conv.out_channels == 1 && height.taps == 3 && height.step == 1;
  }
  return result && (height.taps == 3 || height.taps == 5) && height.step <= 2;
}

template <class T>
void convolve_in_place(const Convolution<T>& conv) {
  if (conv.in_channels > 1) return InPlace<T, 3, 1, true>(conv).run();
  const bool wide = conv.axes[1].taps == 5;
  if (conv.axes[1].step == 1) {
    return wide ? InPlace<T, 5, 1, false>(conv).run() : InPlace<T, 3, 1, false>(conv).run();
  }
  return wide ? InPlace<T, 5, 2, false>(conv).run() : InPlace<T, 3, 2, false>(conv).run();
}

#define FASTNN_INSTANTIATE(T)                       \
  template bool is_in_place(const Convolution<T>&); \
  template void convolve_in_place(const Convolution<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
