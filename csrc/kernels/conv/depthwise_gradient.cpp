#include "kernels/conv/depthwise_gradient.h"

#include "kernels/conv/depthwise_rows.h"
#include "kernels/conv/plane_filter.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostPairs = 96;                // of channels and filters, read in place
constexpr int64_t kMostChannels = 4;              // in a group whose planes are copied, and
constexpr int64_t kMostFilters = 8;               // more make a matrix product
constexpr int64_t kMostWidth = int64_t{1} << 20;  // of the input: bounds the workspace

#if defined(FASTNN_ISA_AVX512) || defined(FASTNN_ISA_NEON)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

// Tap rows summed at a time and gradient rows they are summed over at a time: the sums, those rows
// and what came before in the input's stay in registers.
constexpr int together(int taps, int step) {
  return !kManyRegisters ? 1 : taps == 3 ? 3 : step == 1 ? 3 : 2;
}
constexpr int tile_rows(int taps, int step) {
  return step == 2 ? 2 : taps == 5 || !kManyRegisters ? 3 : 4;
}
constexpr int source_rows(int taps, int step, int rows) { return (rows - 1) * step + taps; }

// Some rows of one plane of gradients and, as far as some rows of taps see them, of the input.
template <class T, int kTaps, int kStep>
struct GradientTile {
  const T* rows[source_rows(kTaps, kStep, tile_rows(kTaps, kStep))];
  int64_t source_width, first;  // `first`: the input column of tap 0 of gradient column 0
  const T* grad;
  int64_t width;
  T* sums;  // [tap row][tap column][kSize]
};

// Adds the products of input row r with tap columns kTap and those after it. kMasked: only the
// first `lanes` columns count.
template <bool kOneVector, bool kMasked, int kTap, class T, int kTaps, int kStep, int kTapRows,
          int kRows>
FASTNN_INLINE void add_row(int r, const Vec<T> (&before)[kStep], const Vec<T> (&now)[kStep],
                           const Vec<T> (&grad)[kRows], Mask<T> lanes,
                           Vec<T> (&sums)[kTapRows][kTaps]) {
  Vec<T> x = tap_lanes<kOneVector, kTaps, kTap>(before, now);
  if (kMasked) x = select(lanes, x, Vec<T>::zero());
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int h = r - i * kStep;
    if (h >= 0 && h < kTapRows) sums[h][kTap] = fma(grad[i], x, sums[h][kTap]);
  }
  if constexpr (kTap + 1 < kTaps) {
    add_row<kOneVector, kMasked, kTap + 1>(r, before, now, grad, lanes, sums);
  }
}

// The vector of gradient columns from `col` on, which sees input columns from `column` on.
template <bool kOneVector, bool kMasked, int kRows, class T, int kTaps, int kStep, int kTapRows,
          int kSources>
FASTNN_INLINE void correlate_vector(const GradientTile<T, kTaps, kStep>& tile, int64_t col,
                                    int64_t column, Vec<T> (&before)[kSources][kStep],
                                    Vec<T> (&sums)[kTapRows][kTaps]) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Mask<T> lanes = first_n_mask<T>(tile.width - col);
  Vec<T> grad[kRows];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const T* const source = tile.grad + i * tile.width + col;
    prefetch(source + kRows * tile.width);
    grad[i] = kMasked ? Vec<T>::load(source, lanes) : Vec<T>::load(source);
  }
  FASTNN_UNROLL
  for (int r = 0; r < kSources; ++r) {
    // The processor fetches too late what the next tile reads.
    if (r >= kTapRows - kStep) {
      const T* const below = tile.rows[r] + kRows * kStep * tile.source_width + column;
      FASTNN_UNROLL
      for (int i = 0; i < kStep; ++i) prefetch(below + i * kSize);
    }
    Vec<T> now[kStep];
    load_phases<kMasked>(tile.rows[r], column, tile.source_width, now);
    add_row<kOneVector, kMasked, 0>(r, before[r], now, grad, lanes, sums);
    FASTNN_UNROLL
    for (int i = 0; i < kStep; ++i) before[r][i] = now[i];
  }
}

template <bool kOneVector, class T, int kTaps, int kStep, int kTapRows, int kRows>
void correlate_rows(const GradientTile<T, kTaps, kStep>& tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kSources = source_rows(kTapRows, kStep, kRows);
  Vec<T> sums[kTapRows][kTaps];
  FASTNN_UNROLL
  for (int h = 0; h < kTapRows; ++h) {
    FASTNN_UNROLL
    for (int w = 0; w < kTaps; ++w) sums[h][w] = Vec<T>::load(tile.sums + (h * kTaps + w) * kSize);
  }
  Vec<T> before[kSources][kStep];
  if constexpr (kOneVector) {
    correlate_vector<true, true, kRows>(tile, 0, tile.first, before, sums);
  } else {
    int64_t column = tile.first + kTaps - kStep;
    FASTNN_UNROLL
    for (int r = 0; r < kSources; ++r) {
      load_phases<true>(tile.rows[r], column - kStep * kSize, tile.source_width, before[r]);
    }
    for (int64_t col = 0; col < tile.width; col += kSize, column += kStep * kSize) {
      if (column >= 0 && column + kStep * kSize <= tile.source_width && col + kSize <= tile.width) {
        correlate_vector<false, false, kRows>(tile, col, column, before, sums);
      } else {
        correlate_vector<false, true, kRows>(tile, col, column, before, sums);
      }
    }
  }
  FASTNN_UNROLL
  for (int h = 0; h < kTapRows; ++h) {
    FASTNN_UNROLL
    for (int w = 0; w < kTaps; ++w) sums[h][w].store(tile.sums + (h * kTaps + w) * kSize);
  }
}

template <bool kOneVector, int kTapRows, class T, int kTaps, int kStep, int kRows>
void choose_rows(int64_t rows, const GradientTile<T, kTaps, kStep>& tile) {
  if (rows == kRows) return correlate_rows<kOneVector, T, kTaps, kStep, kTapRows, kRows>(tile);
  if constexpr (kRows > 1) {
    choose_rows<kOneVector, kTapRows, T, kTaps, kStep, kRows - 1>(rows, tile);
  }
}

template <class T, int kTaps, int kStep>
class InPlaceGradient {
 public:
  explicit InPlaceGradient(const DepthwiseWeights<T>& args) : args_(args) {}

  void run() {
    const Axis &height = args_.axes[1], &width = args_.axes[2];
    const int64_t work =
        max_of(1, args_.batch * height.positions * width.positions * kTaps * kTaps);
    const int64_t zeros = round_up(width.source, kSize);
    Workspace workspace(zeros * static_cast<int64_t>(sizeof(T)));
    T* const zero_row = workspace.take<T>(zeros);
    for (int64_t i = 0; i < zeros; ++i) zero_row[i] = T(0);
    zero_row_ = zero_row;
    parallel_for(args_.groups * args_.filters * args_.channels, max_of(1, kMinCellWork / work),
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t i = begin; i < end; ++i) correlate_pair(i);
                 });
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;
  static constexpr int kTileRows = tile_rows(kTaps, kStep);

  // One filter's channel: the index-th kTaps x kTaps of grad_w.
  void correlate_pair(int64_t index) const {
    const Axis &height = args_.axes[1], &width = args_.axes[2];
    const int64_t filter = index / args_.channels, group = filter / args_.filters;
    const int64_t channel = group * args_.channels + index % args_.channels;
    T totals[kTaps * kTaps * kSize], sums[kTaps * kTaps * kSize];
    for (T& total : totals) total = T(0);
    for (int64_t n = 0; n < args_.batch; ++n) {
      for (T& sum : sums) sum = T(0);
      correlate_planes<0>(
          args_.x + (n * args_.groups * args_.channels + channel) * height.source * width.source,
          args_.grad_y +
              (n * args_.groups * args_.filters + filter) * height.positions * width.positions,
          sums);
      for (int64_t i = 0; i < kTaps * kTaps * kSize; ++i) totals[i] += sums[i];
    }
    for (int64_t tap = 0; tap < kTaps * kTaps; ++tap) {
      args_.grad_w[index * kTaps * kTaps + tap] = reduce_add(Vec<T>::load(totals + tap * kSize));
    }
  }

  // Tap rows kFirst and those after it.
  template <int kFirst>
  void correlate_planes(const T* x, const T* grad, T* sums) const {
    constexpr int kLeft = kTaps - kFirst, kMost = together(kTaps, kStep);
    constexpr int kTapRows = kLeft < kMost ? kLeft : kMost;
    const Axis &height = args_.axes[1], &width = args_.axes[2];
    GradientTile<T, kTaps, kStep> tile{};
    tile.source_width = width.source;
    tile.first = width.first;
    tile.width = width.positions;
    tile.sums = sums + kFirst * kTaps * kSize;
    const bool one_vector = tile.width <= kSize && tile.source_width - tile.first <= kStep * kSize;
    const int64_t tiles = ceil_div(height.positions, kTileRows);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = t * height.positions / tiles;
      const int64_t rows = (t + 1) * height.positions / tiles - row;
      for (int r = 0; r < source_rows(kTapRows, kStep, static_cast<int>(rows)); ++r) {
        const int64_t source = height.first + row * kStep + kFirst + r;
        const bool inside = source >= 0 && source < height.source;
        tile.rows[r] = inside ? x + source * width.source : zero_row_;
      }
      tile.grad = grad + row * width.positions;
      if (one_vector) {
        choose_rows<true, kTapRows, T, kTaps, kStep, kTileRows>(rows, tile);
      } else {
        choose_rows<false, kTapRows, T, kTaps, kStep, kTileRows>(rows, tile);
      }
    }
    if constexpr (kFirst + kTapRows < kTaps) {
      correlate_planes<kFirst + kTapRows>(x, grad, sums);
    }
  }

  const DepthwiseWeights<T>& args_;
  const T* zero_row_ = nullptr;
};

template <class T>
bool is_in_place(const DepthwiseWeights<T>& args) {
  const Axis &height = args.axes[1], &width = args.axes[2];
  return args.mode == PaddingMode::kZeros && is_planar(args.axes) && width.source <= kMostWidth &&
         height.taps == width.taps && height.step == width.step && height.tap_step == 1 &&
         width.tap_step == 1 && (height.taps == 3 || height.taps == 5) && height.step <= 2 &&
         (width.taps - 1) / width.step <= Vec<T>::kSize;  // taps see one vector and the one before
}

template <class T>
void correlate_in_place(const DepthwiseWeights<T>& args) {
  const bool wide = args.axes[1].taps == 5;
  if (args.axes[1].step == 1) {
    return wide ? InPlaceGradient<T, 5, 1>(args).run() : InPlaceGradient<T, 3, 1>(args).run();
  }
  return wide ? InPlaceGradient<T, 5, 2>(args).run() : InPlaceGradient<T, 3, 2>(args).run();
}

// Adds the products of one block's outputs with kTaps neighbouring taps of a row to kTaps sums.
template <class T, int kTaps>
void correlate(const T* grad, int64_t grad_stride, const T* source, int64_t row_step,
               const int64_t* tap_cols, int64_t rows, int64_t cols, T* sums) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> acc[kTaps];
  FASTNN_UNROLL
  for (int t = 0; t < kTaps; ++t) acc[t] = Vec<T>::zero();
  for (int64_t i = 0; i < rows; ++i) {
    const T* const g = grad + i * grad_stride;
    const T* const x = source + i * row_step;
    int64_t j = 0;
    for (; j + kSize <= cols; j += kSize) {
      const Vec<T> y = Vec<T>::load(g + j);
      FASTNN_UNROLL
      for (int t = 0; t < kTaps; ++t) acc[t] = fma(y, Vec<T>::load(x + tap_cols[t] + j), acc[t]);
    }
    if (j == cols) continue;
    const Vec<T> y = Vec<T>::load(g + j, cols - j);
    FASTNN_UNROLL
    for (int t = 0; t < kTaps; ++t) {
      acc[t] = fma(y, Vec<T>::load(x + tap_cols[t] + j, cols - j), acc[t]);
    }
  }
  FASTNN_UNROLL
  for (int t = 0; t < kTaps; ++t) sums[t] += reduce_add(acc[t]);
}

template <class T>
void correlate_block(const Filter<T>& filter, const T* data, const T* grad, int64_t grad_stride,
                     int64_t rows, int64_t cols, T* sums) {
  const int64_t* const tap_cols = filter.tap_cols;
  for (int64_t h = 0; h < filter.taps[0]; ++h) {
    const T* const source = data + filter.tap_rows[h];
    T* const row = sums + h * filter.taps[1];
    int64_t w = 0;
    for (; w + 4 < filter.taps[1]; w += 5) {
      correlate<T, 5>(grad, grad_stride, source, filter.row_step, tap_cols + w, rows, cols,
                      row + w);
    }
    for (; w + 2 < filter.taps[1]; w += 3) {
      correlate<T, 3>(grad, grad_stride, source, filter.row_step, tap_cols + w, rows, cols,
                      row + w);
    }
    for (; w < filter.taps[1]; ++w) {
      correlate<T, 1>(grad, grad_stride, source, filter.row_step, tap_cols + w, rows, cols,
                      row + w);
    }
  }
}

// The gradient of the filters of one group with respect to one of its input channels.
template <class T>
void correlate_channel(const DepthwiseWeights<T>& args, const Strip& strip,
                       const PlaneLayout<T>& layout, const Filter<T>& filter, int64_t group,
                       int64_t channel, T* data) {
  const int64_t taps = filter.taps[0] * filter.taps[1], filters = args.filters;
  const int64_t height = args.axes[1].positions, width = args.axes[2].positions;
  const auto sums = [&](int64_t m) {
    return args.grad_w + ((group * filters + m) * args.channels + channel) * taps;
  };
  for (int64_t m = 0; m < filters; ++m) {
    for (int64_t i = 0; i < taps; ++i) sums(m)[i] = T(0);
  }
  for (int64_t n = 0; n < args.batch; ++n) {
    const int64_t index = n * args.groups + group;
    const T* const x =
        args.x + (index * args.channels + channel) * args.axes[1].source * args.axes[2].source;
    for (int64_t row = 0; row < height; row += strip.rows) {
      for (int64_t col = 0; col < width; col += strip.cols) {
        const int64_t rows = min_of(strip.rows, height - row);
        layout.load(x, args.mode, row, rows, col, data);
        for (int64_t m = 0; m < filters; ++m) {
          const T* const grad =
              args.grad_y + (index * filters + m) * height * width + row * width + col;
          correlate_block(filter, data, grad, width, rows, min_of(strip.cols, width - col),
                          sums(m));
        }
      }
    }
  }
}

template <class T>
void correlate_copies(const DepthwiseWeights<T>& args) {
  const Strip strip = choose_strip<T>(args.axes, 1, kStripRows);
  const PlaneLayout<T> layout(args.axes[1], args.axes[2], strip.cols);
  const Filter<T> filter(layout);
  const int64_t work =
      args.batch * positions_of(args.axes) * (taps_of(args.axes) * args.filters + kCopyWork);
  for_each_plane<T>(args.groups * args.channels, work, round_up(layout.size(strip.rows), 16),
                    [&](int64_t i, T* memory) {
                      correlate_channel(args, strip, layout, filter, i / args.channels,
                                        i % args.channels, memory);
                    });
}

}  // namespace

template <class T>
bool is_depthwise_gradient(const DepthwiseWeights<T>& args) {
  const bool few = args.channels == 1 || args.channels * args.filters <= kMostPairs;
  if (few && is_in_place(args)) return true;
  return args.channels <= kMostChannels && args.filters <= kMostFilters && fits_block<T>(args.axes);
}

template <class T>
void depthwise_gradient(const DepthwiseWeights<T>& args) {
  if (is_in_place(args)) return correlate_in_place(args);
  correlate_copies(args);
}

#define FASTNN_INSTANTIATE(T)                                      \
  template bool is_depthwise_gradient(const DepthwiseWeights<T>&); \
  template void depthwise_gradient(const DepthwiseWeights<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
