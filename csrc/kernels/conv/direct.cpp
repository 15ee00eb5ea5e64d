#include "kernels/conv/direct.h"

#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_in_place.h"
#include "kernels/conv/few_inputs.h"
#include "kernels/conv/plane_filter.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int kTileFilters = 4;
constexpr int kTileVectors = kAccumulators >= 16 ? 4 : 2;

// What one tile needs beside its place.
template <class T>
struct DirectTile {
  const Filter<T>& filter;                // weights of the tile's first filter
  int64_t channels, plane;                // elements from one channel's block to the next
  int64_t filter_stride, channel_stride;  // of the weights
  const T* bias;
  T* out;
  int64_t out_stride;  // from one output channel to the next
};

template <class T, int kFilters, int kVectors>
void direct_tile(const DirectTile<T>& tile, const T* block, int64_t col, int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Filter<T>& filter = tile.filter;
  Vec<T> acc[kFilters][kVectors];
  FASTNN_UNROLL
  for (int k = 0; k < kFilters; ++k) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[k][j] = Vec<T>::zero();
  }
  for (int64_t c = 0; c < tile.channels; ++c) {
    const T* const plane = block + c * tile.plane + col;
    for (int64_t h = 0; h < filter.taps[0]; ++h) {
      const T* const row = plane + filter.tap_rows[h];
      const T* weight = filter.weights + c * tile.channel_stride + h * filter.weight_strides[0];
      for (int64_t w = 0; w < filter.taps[1]; ++w, weight += filter.weight_strides[1]) {
        Vec<T> x[kVectors];
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          x[j] = Vec<T>::load(row + filter.tap_cols[w] + j * kSize);
        }
        FASTNN_UNROLL
        for (int k = 0; k < kFilters; ++k) {
          const Vec<T> factor = Vec<T>::broadcast(weight[k * tile.filter_stride]);
          FASTNN_UNROLL
          for (int j = 0; j < kVectors; ++j) acc[k][j] = fma(factor, x[j], acc[k][j]);
        }
      }
    }
  }
  FASTNN_UNROLL
  for (int k = 0; k < kFilters; ++k) {
    const Vec<T> bias(tile.bias == nullptr ? T(0) : tile.bias[k]);
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const int64_t lanes = min_of(kSize, cols - j * kSize);
      if (lanes > 0) {
        (acc[k][j] + bias).store(tile.out + k * tile.out_stride + col + j * kSize, lanes);
      }
    }
  }
}

// One row of kFilters output channels. Reads at most a vector behind `cols`.
template <class T, int kFilters>
void direct_row(const DirectTile<T>& tile, const T* block, int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t col = 0;
  while (col < cols) {
    const int64_t left = ceil_div(cols - col, kSize);
    if (left >= kTileVectors) {
      direct_tile<T, kFilters, kTileVectors>(tile, block, col, cols - col);
      col += kTileVectors * kSize;
    } else if (left >= 2) {
      direct_tile<T, kFilters, 2>(tile, block, col, cols - col);
      col += 2 * kSize;
    } else {
      direct_tile<T, kFilters, 1>(tile, block, col, cols - col);
      col += kSize;
    }
  }
}

// All output channels of the rows of a block, which go to out (channels, rows, cols by strides).
template <class T>
void direct_block(const Convolution<T>& conv, const Weights<T>& weights, Filter<T>* filter,
                  int64_t group, const T* block, int64_t plane, int64_t rows, int64_t cols, T* out,
                  int64_t row_stride, int64_t channel_stride) {
  const T* const first = weights.data + group * conv.group_weights;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < conv.out_channels; k += kTileFilters) {
      filter->weights = first + k * weights.row_stride;
      const DirectTile<T> tile{
          *filter,
          conv.in_channels,
          plane,
          weights.row_stride,
          weights.channel_stride,
          conv.bias == nullptr ? nullptr : conv.bias + group * conv.out_channels + k,
          out + k * channel_stride + i * row_stride,
          channel_stride};
      const T* const source = block + i * filter->row_step;
      switch (min_of(kTileFilters, conv.out_channels - k)) {
        case 1:
          direct_row<T, 1>(tile, source, cols);
          break;
        case 2:
          direct_row<T, 2>(tile, source, cols);
          break;
        case 3:
          direct_row<T, 3>(tile, source, cols);
          break;
        default:
          direct_row<T, 4>(tile, source, cols);
      }
    }
  }
}

// Where the inputs lie that output 0 sees, in the order of the weights.
template <class T>
void place_inputs(const Convolution<T>& conv, const Filter<T>& filter, int64_t plane,
                  int64_t* offsets) {
  for (int64_t c = 0; c < conv.in_channels; ++c) {
    for (int64_t h = 0; h < filter.taps[0]; ++h) {
      for (int64_t w = 0; w < filter.taps[1]; ++w) {
        *offsets++ = c * plane + filter.tap_rows[h] + filter.tap_cols[w];
      }
    }
  }
}

// target[filter of every group][input].
template <class T>
void pack_filters(const Convolution<T>& conv, const Weights<T>& weights, T* target) {
  for (int64_t k = 0; k < conv.groups * conv.out_channels; ++k, target += weights.columns) {
    Weights<T> w = weights;
    w.data += k / conv.out_channels * conv.group_weights;
    w.pack(target, k % conv.out_channels, 1, 1, 0, weights.columns);
  }
}

// The same where an output sees few inputs: `kept` has their weights and places.
template <class T>
void few_inputs_block(const Convolution<T>& conv, FewInputs<T> kept, int64_t group, const T* block,
                      int64_t row_step, int64_t rows, int64_t cols, T* out, int64_t row_stride,
                      int64_t channel_stride) {
  kept.weights += group * kept.filters * kFewInputs;
  kept.bias = conv.bias == nullptr ? nullptr : conv.bias + group * conv.out_channels;
  kept.filter_stride = channel_stride;
  for (int64_t i = 0; i < rows; ++i) {
    kept.x = block + i * row_step;
    kept.y = out + i * row_stride;
    filter_few_inputs(kept, cols);
  }
}

// Finishes one channel's results of a block, which lie in plane y if it is `whole`.
template <class T>
void finish_plane(const Convolution<T>& conv, bool whole, T* results, int64_t row, int64_t rows,
                  int64_t col, int64_t cols, T* y) {
  if (!whole) return scatter_results(conv, results, row, rows, col, cols, y);
  if (conv.finish.is_needed()) conv.finish(results, conv.output[2], rows, cols);
}

template <class T>
int64_t block_size(const Convolution<T>& conv, const Strip& strip) {
  return conv.in_channels * PlaneLayout<T>(conv.axes[1], conv.axes[2], strip.cols).size(strip.rows);
}

}  // namespace

// Few enough filters that packing the patches for them would show.
template <class T>
bool is_direct(const Convolution<T>& conv) {
  const int64_t m = conv.out_channels, k = conv.in_channels;
  const bool some = m <= 16 && k <= 16 && conv.weights.columns > k;
  const bool few = (m <= 4 && k <= 256) || some || (m <= 32 && k <= 4) ||
                   (k == 1 && conv.weights.columns == kFewInputs);
  if (!few || k < 1 || !is_planar(conv.axes) || conv.axes[2].positions < Vec<T>::kSize / 2)
    return false;
  if (k > 1 && is_in_place(conv)) return true;
  return block_size(conv, choose_strip<T>(conv.axes, k, 1)) <= kPlaneBlock;
}

template <class T>
void convolve_direct(const Convolution<T>& conv) {
  if (conv.in_channels > 1 && is_in_place(conv)) return convolve_in_place(conv);
  Convolution<T> ordered = conv;
  const Weights<T> weights = ascending_taps(&ordered);
  const Strip strip = choose_strip<T>(ordered.axes, ordered.in_channels, 1);
  const PlaneLayout<T> layout(ordered.axes[1], ordered.axes[2], strip.cols);
  const Filter<T> filter(layout);
  const bool whole = is_whole(conv);
  const int64_t plane = layout.size(strip.rows), blocks = conv.in_channels * plane;
  const int64_t results = whole ? 0 : conv.out_channels * strip.rows * strip.cols;
  const int64_t scratch = round_up(blocks + results, 16);
  const int64_t height = conv.axes[1].positions, width = conv.axes[2].positions;
  const int64_t down = ceil_div(height, strip.rows), across = ceil_div(width, strip.cols);
  const int64_t source = conv.axes[1].source * conv.axes[2].source;
  const int64_t items = conv.batch * conv.groups * down * across;
  const int64_t work =
      strip.rows * strip.cols * conv.in_channels * conv.out_channels * taps_of(conv.axes);
  const int64_t grain = max_of(1, min_of(kMinCellWork / max_of(1, work), items));
  const int workers = plan_workers(ceil_div(items, grain));
  const bool few_inputs = weights.columns == kFewInputs;
  const int64_t packed = few_inputs ? conv.groups * conv.out_channels * kFewInputs : 0;
  Workspace workspace((workers * scratch + packed) * static_cast<int64_t>(sizeof(T)) +
                      2 * Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  T* const packed_weights = workspace.take<T>(packed);
  int64_t offsets[kFewInputs];
  if (few_inputs) {
    place_inputs(ordered, filter, plane, offsets);
    pack_filters(ordered, weights, packed_weights);
  }
  const FewInputs<T> kept{conv.out_channels, packed_weights, nullptr, nullptr, offsets, nullptr, 0};
  parallel_for(items, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const block = memory + worker * scratch;
    Filter<T> mine = filter;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t index = item / (down * across), group = index % conv.groups;
      const int64_t row = item / across % down * strip.rows, col = item % across * strip.cols;
      const int64_t rows = min_of(strip.rows, height - row), cols = min_of(strip.cols, width - col);
      for (int64_t c = 0; c < conv.in_channels; ++c) {
        layout.load(conv.x + (index * conv.in_channels + c) * source, conv.mode, row, rows, col,
                    block + c * plane);
      }
      const int64_t output = conv.output[1] * conv.output[2];
      T* const y = conv.y + index * conv.out_channels * output;
      mine.weight_strides[0] = weights.tap_stride[1];
      mine.weight_strides[1] = weights.tap_stride[2];
      T* const out = whole ? y + row * width + col : block + blocks;
      const int64_t row_stride = whole ? width : cols, stride = whole ? output : rows * cols;
      if (few_inputs) {
        few_inputs_block(ordered, kept, group, block, mine.row_step, rows, cols, out, row_stride,
                         stride);
      } else {
        direct_block(ordered, weights, &mine, group, block, plane, rows, cols, out, row_stride,
                     stride);
      }
      for (int64_t k = 0; k < conv.out_channels; ++k) {
        finish_plane(conv, whole, out + k * stride, row, rows, col, cols, y + k * output);
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                     \
  template bool is_direct(const Convolution<T>&); \
  template void convolve_direct(const Convolution<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
