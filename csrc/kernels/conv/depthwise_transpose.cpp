#include "kernels/conv/depthwise_transpose.h"

#include "kernels/conv/depthwise_rows.h"
#include "kernels/conv/finish.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostWidth = int64_t{1} << 20;  // of y: bounds the workspace
constexpr int kPairs = 2;                         // of rows of x at a time

// Padding is made odd by a column, and a row, before the first of x that are not stored. Then
// column 2 j + b of x sees with tap w, of the other parity than b, column j + origin + shift of y.
constexpr int shift(int b, int w) { return (b + 1 - w) / 2; }
constexpr int first_shift(int taps) { return shift(0, taps == 3 ? 1 : 3); }
constexpr int shifts(int taps) { return 2 - first_shift(taps); }
struct Origin {
  explicit Origin(int64_t padding)
      : skipped(padding % 2 == 0 ? 1 : 0), shift((padding - skipped - 1) / 2) {}
  int64_t skipped, shift;
};

// Up to kPairs pairs of rows of one plane of x.
template <class T, int kTaps>
struct TransposeTile {
  const T* rows[kPairs - 1 + shifts(kTaps)];  // of y
  int64_t y_width, origin;                    // origin: the column of y for column 0 and shift 0
  T weights[kTaps][kTaps];
  T bias;
  T* x[kPairs][2];  // null: not stored
  int64_t width, skipped;
};

// Columns 2 col .. 2 col + 2 kSize-1.
template <bool kMasked, class T, int kTaps>
FASTNN_INLINE void transpose_vector(const TransposeTile<T, kTaps>& tile, int64_t col) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kFirst = first_shift(kTaps), kShifts = shifts(kTaps);
  Vec<T> acc[kPairs][2][2];
  FASTNN_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < 4; ++j) acc[i][j / 2][j % 2] = Vec<T>::zero();
  }
  FASTNN_UNROLL
  for (int r = 0; r < kPairs - 1 + kShifts; ++r) {
    Vec<T> y[kShifts];
    FASTNN_UNROLL
    for (int e = 0; e < kShifts; ++e) {
      const int64_t first = col + tile.origin + kFirst + e;
      y[e] = kMasked
                 ? Vec<T>::load(tile.rows[r] + first, lanes_mask<T>(-first, tile.y_width - first))
                 : Vec<T>::load(tile.rows[r] + first);
    }
    FASTNN_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      FASTNN_UNROLL
      for (int h = 0; h < kTaps; ++h) {
        const int a = (h + 1) % 2;
        if (i + shift(a, h) - kFirst != r) continue;
        FASTNN_UNROLL
        for (int w = 0; w < kTaps; ++w) {
          const int b = (w + 1) % 2;
          acc[i][a][b] =
              fma(Vec<T>::broadcast(tile.weights[h][w]), y[shift(b, w) - kFirst], acc[i][a][b]);
        }
      }
    }
  }
  const Vec<T> bias = Vec<T>::broadcast(tile.bias);
  FASTNN_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    FASTNN_UNROLL
    for (int a = 0; a < 2; ++a) {
      if (tile.x[i][a] == nullptr) continue;
      Vec<T> low = acc[i][a][0] + bias, high = acc[i][a][1] + bias;
      interleave(low, high);
      const int64_t first = 2 * col - tile.skipped;
      T* const target = tile.x[i][a] + first;
      if (kMasked) {
        low.store(target, lanes_mask<T>(-first, tile.width - first));
        high.store(target + kSize, lanes_mask<T>(0, tile.width - first - kSize));
      } else {
        low.store(target);
        high.store(target + kSize);
      }
    }
  }
}

template <class T, int kTaps>
void transpose_rows(const TransposeTile<T, kTaps>& tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t pairs = ceil_div(tile.width + tile.skipped, 2);
  for (int64_t col = 0; col < pairs; col += kSize) {
    const int64_t first = col + tile.origin + first_shift(kTaps);
    if (first >= 0 && first + shifts(kTaps) - 1 + kSize <= tile.y_width &&
        2 * col >= tile.skipped && 2 * (col + kSize) - tile.skipped <= tile.width) {
      transpose_vector<false>(tile, col);
    } else {
      transpose_vector<true>(tile, col);
    }
  }
}

template <class T, int kTaps>
class DepthwiseTranspose {
 public:
  explicit DepthwiseTranspose(const ConvBackwardInputArgs<T>& args)
      : args_(args), finish_(args.epilogue, args.x) {}

  void run() {
    const ConvGeometry& g = args_.geometry;
    const int64_t work = max_of(1, g.output[1] * g.output[2] * kTaps * kTaps);
    const int64_t zeros = round_up(g.output[2], Vec<T>::kSize);
    Workspace workspace(zeros * static_cast<int64_t>(sizeof(T)));
    T* const zero_row = workspace.take<T>(zeros);
    for (int64_t i = 0; i < zeros; ++i) zero_row[i] = T(0);
    zero_row_ = zero_row;
    parallel_for(g.batch * g.groups, max_of(1, kMinCellWork / work),
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t i = begin; i < end; ++i) transpose_plane(i);
                 });
  }

 private:
  void transpose_plane(int64_t index) const {
    const ConvGeometry& g = args_.geometry;
    const int64_t channel = index % g.groups, height = g.input[1], width = g.input[2];
    const T* const y = args_.y + index * g.output[1] * g.output[2];
    T* const x = args_.x + index * height * width;
    const Origin rows(g.padding[1]), cols(g.padding[2]);
    TransposeTile<T, kTaps> tile{};
    tile.y_width = g.output[2];
    tile.origin = cols.shift;
    tile.width = width;
    tile.skipped = cols.skipped;
    tile.bias = args_.bias == nullptr ? T(0) : args_.bias[channel];
    for (int i = 0; i < kTaps * kTaps; ++i) {
      tile.weights[i / kTaps][i % kTaps] = args_.w[channel * kTaps * kTaps + i];
    }
    const int64_t pairs = ceil_div(height + rows.skipped, 2);
    for (int64_t pair = 0; pair < pairs; pair += kPairs) {
      for (int r = 0; r < kPairs - 1 + shifts(kTaps); ++r) {
        const int64_t source = pair + rows.shift + first_shift(kTaps) + r;
        const bool inside = source >= 0 && source < g.output[1];
        tile.rows[r] = inside ? y + source * g.output[2] : zero_row_;
      }
      const int64_t begin = max_of(0, 2 * pair - rows.skipped);
      const int64_t end = min_of(height, 2 * (pair + kPairs) - rows.skipped);
      for (int64_t i = 0; i < 2 * kPairs; ++i) {
        const int64_t row = 2 * pair - rows.skipped + i;
        tile.x[i / 2][i % 2] = row >= begin && row < end ? x + row * width : nullptr;
      }
      transpose_rows(tile);
      if (finish_.is_needed()) finish_(x + begin * width, (end - begin) * width);
    }
  }

  const ConvBackwardInputArgs<T>& args_;
  Finish<T> finish_;
  const T* zero_row_ = nullptr;
};

}  // namespace

bool is_depthwise_transpose(const ConvGeometry& g) {
  bool result = g.mode == PaddingMode::kZeros && g.in_channels == g.groups &&
                g.out_channels == g.groups && g.output[2] <= kMostWidth && g.kernel[0] == 1 &&
                g.stride[0] == 1 && g.padding[0] == 0 && g.input[0] == 1 && g.output[0] == 1 &&
                (g.kernel[1] == 3 || g.kernel[1] == 5);
  for (int i = 1; i < 3; ++i) {
    result = result && g.kernel[i] == g.kernel[1] && g.stride[i] == 2 && g.dilation[i] == 1;
  }
  return result;
}

template <class T>
void depthwise_transpose(const ConvBackwardInputArgs<T>& args) {
  if (args.geometry.kernel[1] == 3) return DepthwiseTranspose<T, 3>(args).run();
  DepthwiseTranspose<T, 5>(args).run();
}

template void depthwise_transpose(const ConvBackwardInputArgs<float>&);
template void depthwise_transpose(const ConvBackwardInputArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
