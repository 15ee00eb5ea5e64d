#include "kernels/conv/depthwise_in_place.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
namespace {

#if defined(FASTNN_ISA_AVX512) || defined(FASTNN_ISA_AVX2)
constexpr bool kMaskedLoads = true;
#else
constexpr bool kMaskedLoads = false;
#endif
constexpr int kRowsTogether = 4;
constexpr int64_t kMostVectors = 4;  // across a plane

// A vector of columns of one plane.
template <class T, int kTaps>
struct Columns {
  const T* x;  // of tap (0, 0) of output row 0
  int64_t source_width, source_height, first_row;
  Mask<T> masks[kTaps];  // lanes of each tap column inside the plane
  const T* weights;
  int64_t weight_strides[2];
  T bias;
  T* y;
  int64_t width, lanes;
};

// Output rows row .. row + kRows-1.
template <class T, int kTaps, int kRows, bool kMasked>
void filter_rows(const Columns<T, kTaps>& columns, int64_t row) {
  Vec<T> acc[kRows];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) acc[i] = Vec<T>::zero();
  FASTNN_UNROLL
  for (int r = 0; r < kRows + kTaps - 1; ++r) {
    const int64_t source_row = columns.first_row + row + r;
    if (source_row < 0 || source_row >= columns.source_height) continue;
    const T* const source = columns.x + (row + r) * columns.source_width;
    FASTNN_UNROLL
    for (int w = 0; w < kTaps; ++w) {
      const Vec<T> x =
          kMasked ? Vec<T>::load(source + w, columns.masks[w]) : Vec<T>::load(source + w);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const int h = r - i;
        if (h < 0 || h >= kTaps) continue;
        const Vec<T> factor = Vec<T>::broadcast(
            columns.weights[h * columns.weight_strides[0] + w * columns.weight_strides[1]]);
        acc[i] = fma(factor, x, acc[i]);
      }
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> sum = acc[i] + Vec<T>::broadcast(columns.bias);
    T* const target = columns.y + (row + i) * columns.width;
    if (columns.lanes >= Vec<T>::kSize) {
      sum.store(target);
    } else {
      sum.store(target, columns.lanes);
    }
  }
}

template <class T, int kTaps, bool kMasked>
void filter_columns(const Columns<T, kTaps>& columns, int64_t height) {
  int64_t row = 0;
  for (; row + kRowsTogether <= height; row += kRowsTogether) {
    filter_rows<T, kTaps, kRowsTogether, kMasked>(columns, row);
  }
  for (; row < height; ++row) filter_rows<T, kTaps, 1, kMasked>(columns, row);
}

template <class T, int kTaps>
void filter_plane(const Convolution<T>& conv, const Weights<T>& weights, int64_t index) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Axis &height = conv.axes[1], &width = conv.axes[2];
  const int64_t plane = index / conv.out_channels, m = index % conv.out_channels;
  const int64_t group = plane % conv.groups, filter = group * conv.out_channels + m;
  T* const y = conv.y + index * height.positions * width.positions;
  Columns<T, kTaps> columns{};
  columns.source_width = width.source;
  columns.source_height = height.source;
  columns.first_row = height.first;
  columns.weights = weights.data + group * conv.group_weights + m * weights.row_stride;
  columns.weight_strides[0] = weights.tap_stride[1];
  columns.weight_strides[1] = weights.tap_stride[2];
  columns.bias = conv.bias == nullptr ? T(0) : conv.bias[filter];
  columns.width = width.positions;
  for (int64_t col = 0; col < width.positions; col += kSize) {
    const int64_t first = col + width.first;
    columns.x = conv.x + plane * height.source * width.source + height.first * width.source + first;
    columns.y = y + col;
    columns.lanes = min_of(kSize, width.positions - col);
    for (int w = 0; w < kTaps; ++w) {
      columns.masks[w] =
          lanes_mask<T>(max_of(0, -(first + w)), max_of(0, width.source - first - w));
    }
    if (first < 0 || first + kTaps - 1 + kSize > width.source) {
      filter_columns<T, kTaps, true>(columns, height.positions);
    } else {
      filter_columns<T, kTaps, false>(columns, height.positions);
    }
  }
  if (!conv.finish.is_needed()) return;
  for (int64_t i = 0; i < height.positions; ++i) {
    conv.finish(y + i * width.positions, width.positions);
  }
}

}  // namespace

template <class T>
bool is_in_place(const Convolution<T>& conv) {
  const Axis &height = conv.axes[1], &width = conv.axes[2];
  // Wider planes, taken a vector of columns at a time, would leave each page too soon.
  bool result = kMaskedLoads && conv.mode == PaddingMode::kZeros &&
                width.positions <= kMostVectors * Vec<T>::kSize;
  for (int i = 1; i < 3; ++i) {
    const Axis& axis = conv.axes[i];
    result = result && axis.step == 1 && (axis.tap_step == 1 || axis.tap_step == -1) &&
             axis.positions == conv.output[i];
  }
  return result && height.taps == width.taps && (height.taps == 3 || height.taps == 5);
}

template <class T>
void convolve_in_place(const Convolution<T>& conv) {
  Convolution<T> ordered = conv;
  const Weights<T> weights = ascending_taps(&ordered);
  const int64_t planes = conv.batch * conv.groups * conv.out_channels;
  const int64_t work = max_of(1, positions_of(conv.axes) * taps_of(conv.axes));
  parallel_for(planes, max_of(1, kMinCellWork / work), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      if (ordered.axes[1].taps == 3) {
        filter_plane<T, 3>(ordered, weights, i);
      } else {
        filter_plane<T, 5>(ordered, weights, i);
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                       \
  template bool is_in_place(const Convolution<T>&); \
  template void convolve_in_place(const Convolution<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
