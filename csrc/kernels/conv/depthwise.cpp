#include "kernels/conv/depthwise.h"

#include "kernels/conv/depthwise_in_place.h"
#include "kernels/conv/plane_filter.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
FASTNN_INLINE void store_lanes(Vec<T> y, T* target, int64_t lanes) {
  if (lanes >= Vec<T>::kSize) {
    y.store(target);
  } else {
    y.store(target, lanes);
  }
}

// kRows output rows, any taps.
template <class T, int kRows>
void filter_rows(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                 int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t j = 0; j < cols; j += kSize) {
    Vec<T> acc[kRows];
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) acc[i] = Vec<T>::zero();
    for (int64_t h = 0; h < filter.taps[0]; ++h) {
      const T* const row = block + filter.tap_rows[h] + j;
      const T* weight = filter.weights + h * filter.weight_strides[0];
      for (int64_t w = 0; w < filter.taps[1]; ++w, weight += filter.weight_strides[1]) {
        const T* const source = row + filter.tap_cols[w];
        const Vec<T> factor = Vec<T>::broadcast(*weight);
        FASTNN_UNROLL
        for (int i = 0; i < kRows; ++i) {
          acc[i] = fma(factor, Vec<T>::load(source + i * filter.row_step), acc[i]);
        }
      }
    }
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      store_lanes(acc[i] + Vec<T>::broadcast(bias), out + i * out_stride + j, cols - j);
    }
  }
}

// kVectors of columns of kRows output rows whose taps lie in consecutive rows, any number of them:
// what is loaded of a row serves all output rows that see it.
template <class T, int kRows, int kVectors>
void filter_dense_columns(const Filter<T>& filter, const T* block, T bias, T* out,
                          int64_t out_stride, int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t height = filter.taps[0], width = filter.taps[1];
  const int64_t down = filter.weight_strides[0], across = filter.weight_strides[1];
  Vec<T> acc[kRows][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = Vec<T>::zero();
  }
  for (int64_t r = 0; r < height + kRows - 1; ++r) {
    const T* const row = block + filter.tap_rows[0] + r * filter.row_step;
    const T* weights = filter.weights + r * down;  // output row i sees it with tap row r - i
    const bool all = r >= kRows - 1 && r < height;
    for (int64_t w = 0; w < width; ++w, weights += across) {
      Vec<T> x[kVectors];
      FASTNN_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        x[v] = Vec<T>::load(row + filter.tap_cols[w] + v * kSize);
      }
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        if (!all && (i > r || i <= r - height)) continue;
        const Vec<T> factor = Vec<T>::broadcast(weights[-i * down]);
        FASTNN_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(factor, x[v], acc[i][v]);
      }
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      store_lanes(acc[i][v] + Vec<T>::broadcast(bias), out + i * out_stride + v * kSize,
                  cols - v * kSize);
    }
  }
}

template <class T, int kRows>
void filter_dense_rows(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                       int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t j = 0;
  for (; j + kSize < cols; j += 2 * kSize) {
    filter_dense_columns<T, kRows, 2>(filter, block + j, bias, out + j, out_stride, cols - j);
  }
  if (j < cols) {
    filter_dense_columns<T, kRows, 1>(filter, block + j, bias, out + j, out_stride, cols - j);
  }
}

// kRows output rows of a kTaps x kTaps filter whose taps lie in consecutive rows: the weights stay
// in registers, and what is loaded serves every row that sees it.
template <class T, int kTaps, int kStep, int kRows>
void dense_rows(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t pitch = filter.tap_rows[1] - filter.tap_rows[0];
  Vec<T> weights[kTaps][kTaps];
  FASTNN_UNROLL
  for (int h = 0; h < kTaps; ++h) {
    FASTNN_UNROLL
    for (int w = 0; w < kTaps; ++w) {
      weights[h][w] = Vec<T>::broadcast(
          filter.weights[h * filter.weight_strides[0] + w * filter.weight_strides[1]]);
    }
  }
  for (int64_t j = 0; j < cols; j += kSize) {
    Vec<T> acc[kRows];
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) acc[i] = Vec<T>::zero();
    FASTNN_UNROLL
    for (int r = 0; r < (kRows - 1) * kStep + kTaps; ++r) {
      FASTNN_UNROLL
      for (int w = 0; w < kTaps; ++w) {
        const Vec<T> x = Vec<T>::load(block + r * pitch + filter.tap_cols[w] + j);
        FASTNN_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const int h = r - i * kStep;
          if (h >= 0 && h < kTaps) acc[i] = fma(weights[h][w], x, acc[i]);
        }
      }
    }
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      store_lanes(acc[i] + Vec<T>::broadcast(bias), out + i * out_stride + j, cols - j);
    }
  }
}

template <class T>
using RowsFunction = void (*)(const Filter<T>&, const T*, T, T*, int64_t, int64_t);

// Functions for 1 .. kStripRows output rows.
template <class T>
struct RowsFunctions {
  RowsFunction<T> by_rows[kStripRows];
};

template <class T, int kTaps, int kStep>
constexpr RowsFunctions<T> dense_functions() {
  return {{&dense_rows<T, kTaps, kStep, 1>, &dense_rows<T, kTaps, kStep, 2>,
           &dense_rows<T, kTaps, kStep, 3>, &dense_rows<T, kTaps, kStep, 4>}};
}

template <class T>
RowsFunctions<T> choose_functions(const Axis (&axes)[3]) {
  const int64_t taps = axes[1].taps, step = axes[1].step;
  if (axes[2].taps == taps && axes[1].tap_step == 1) {
    if (taps == 3 && step == 1) return dense_functions<T, 3, 1>();
    if (taps == 3 && step == 2) return dense_functions<T, 3, 2>();
    if (taps == 5 && step == 1) return dense_functions<T, 5, 1>();
    if (taps == 5 && step == 2) return dense_functions<T, 5, 2>();
  }
  if (axes[1].tap_step == 1 && step == 1 && taps >= kStripRows) {
    return {{&filter_dense_rows<T, 1>, &filter_dense_rows<T, 2>, &filter_dense_rows<T, 3>,
             &filter_dense_rows<T, 4>}};
  }
  return {{&filter_rows<T, 1>, &filter_rows<T, 2>, &filter_rows<T, 3>, &filter_rows<T, 4>}};
}

template <class T>
void convolve_plane(const Convolution<T>& conv, const Weights<T>& weights, const Strip& strip,
                    const PlaneLayout<T>& layout, const RowsFunctions<T>& functions,
                    Filter<T>* filter, int64_t plane, T* scratch) {
  const int64_t group = plane % conv.groups, multiplier = conv.out_channels;
  const T* const x = conv.x + plane * conv.axes[1].source * conv.axes[2].source;
  const int64_t height = conv.axes[1].positions, width = conv.axes[2].positions;
  const bool whole = is_whole(conv);
  T* const results = scratch + layout.size(strip.rows);
  for (int64_t row = 0; row < height; row += strip.rows) {
    for (int64_t col = 0; col < width; col += strip.cols) {
      const int64_t rows = min_of(strip.rows, height - row);
      const int64_t cols = min_of(strip.cols, width - col);
      layout.load(x, conv.mode, row, rows, col, scratch);
      for (int64_t m = 0; m < multiplier; ++m) {
        const T bias = conv.bias == nullptr ? T(0) : conv.bias[group * multiplier + m];
        T* const y = conv.y + (plane * multiplier + m) * conv.output[1] * conv.output[2];
        T* const out = whole ? y + row * width + col : results;
        const int64_t stride = whole ? width : cols;
        filter->weights = weights.data + group * conv.group_weights + m * weights.row_stride;
        for (int64_t i = 0; i < rows; i += kStripRows) {
          functions.by_rows[min_of(kStripRows, rows - i) - 1](
              *filter, scratch + i * filter->row_step, bias, out + i * stride, stride, cols);
        }
        if (whole && conv.finish.is_needed()) conv.finish(out, stride, rows, cols);
        if (!whole) scatter_results(conv, results, row, rows, col, cols, y);
      }
    }
  }
}

}  // namespace

template <class T>
bool is_depthwise(const Axis (&axes)[3], int64_t in_channels, int64_t filters) {
  return in_channels == 1 && filters <= kMostFilters && fits_block<T>(axes);
}

template <class T>
void convolve_depthwise(const Convolution<T>& conv) {
  if (is_in_place(conv)) return convolve_in_place(conv);
  Convolution<T> ordered = conv;
  const Weights<T> weights = ascending_taps(&ordered);
  const Strip strip = choose_strip<T>(ordered.axes, 1, kStripRows);
  const PlaneLayout<T> layout(ordered.axes[1], ordered.axes[2], strip.cols);
  const RowsFunctions<T> functions = choose_functions<T>(ordered.axes);
  Filter<T> filter(layout);
  filter.weight_strides[0] = weights.tap_stride[1];
  filter.weight_strides[1] = weights.tap_stride[2];
  const int64_t scratch =
      round_up(layout.size(strip.rows) + strip.rows * strip.cols + Vec<T>::kSize, 16);
  const int64_t work =
      positions_of(conv.axes) * (taps_of(conv.axes) * conv.out_channels + kCopyWork);
  for_each_plane<T>(conv.batch * conv.groups, work, scratch, [&](int64_t plane, T* memory) {
    Filter<T> mine = filter;
    convolve_plane(ordered, weights, strip, layout, functions, &mine, plane, memory);
  });
}

#define FASTNN_INSTANTIATE(T)                                        \
  template bool is_depthwise<T>(const Axis(&)[3], int64_t, int64_t); \
  template void convolve_depthwise(const Convolution<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
