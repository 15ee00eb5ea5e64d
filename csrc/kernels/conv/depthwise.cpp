#include "kernels/conv/depthwise.h"

#include "kernels/conv/plane.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int kTileRowsOut = 4;    // output rows of a tile
constexpr int64_t kMostTaps = 64;  // along each dimension
constexpr int64_t kBlockCols = 1024;

// The block of rows and columns that a strip of the output is computed from.
struct Strip {
  int64_t rows, cols;
};

template <class T>
Strip strip_of(const Axis (&axes)[3]) {
  const int64_t cols = min_of(axes[2].positions, kBlockCols);
  const PlaneBlock<T> row{axes[1], axes[2], 0, 1, 0, cols};
  // A block takes about half of an L2 of 256 KiB, but at least a tile of rows.
  const int64_t source_rows =
      (int64_t{1} << 17) / static_cast<int64_t>(sizeof(T)) / row.row_pitch();
  const int64_t fit = (source_rows - PlaneBlock<T>::span(axes[1])) / axes[1].step + 1;
  return {min_of(axes[1].positions, max_of(fit, kTileRowsOut)), cols};
}

// A tile of output rows: what is read, and the taps.
template <class T>
struct Filter {
  const T* weights;  // (taps of height, taps of width), with these strides
  int64_t weight_strides[2];
  int64_t taps[2];
  int64_t tap_rows[kMostTaps], tap_cols[kMostTaps];  // offsets in the block
  int64_t row_step;                                  // from an output row to the next
};

template <class T, int kRows, int kVectors>
void filter_tile(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                 int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> acc[kRows][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Vec<T>::zero();
  }
  for (int64_t h = 0; h < filter.taps[0]; ++h) {
    const T* const row = block + filter.tap_rows[h];
    const T* weight = filter.weights + h * filter.weight_strides[0];
    for (int64_t w = 0; w < filter.taps[1]; ++w, weight += filter.weight_strides[1]) {
      const T* const source = row + filter.tap_cols[w];
      const Vec<T> factor = Vec<T>::broadcast(*weight);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          acc[i][j] =
              fma(factor, Vec<T>::load(source + i * filter.row_step + j * kSize), acc[i][j]);
        }
      }
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const int64_t lanes = cols - j * kSize;
      const Vec<T> y = acc[i][j] + Vec<T>::broadcast(bias);
      T* const target = out + i * out_stride + j * kSize;
      if (lanes >= kSize) {
        y.store(target);
      } else if (lanes > 0) {
        y.store(target, lanes);
      }
    }
  }
}

template <class T, int kRows>
void filter_rows(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                 int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t j = 0;
  for (; j + kSize < cols; j += 2 * kSize) {
    filter_tile<T, kRows, 2>(filter, block + j, bias, out + j, out_stride, cols - j);
  }
  if (j < cols) filter_tile<T, kRows, 1>(filter, block + j, bias, out + j, out_stride, cols - j);
}

// All of a block: rows x cols outputs.
template <class T>
void filter_block(const Filter<T>& filter, const T* block, T bias, T* out, int64_t out_stride,
                  int64_t rows, int64_t cols) {
  int64_t i = 0;
  for (; i + kTileRowsOut <= rows; i += kTileRowsOut) {
    filter_rows<T, kTileRowsOut>(filter, block + i * filter.row_step, bias, out + i * out_stride,
                                 out_stride, cols);
  }
  for (; i < rows; ++i) {
    filter_rows<T, 1>(filter, block + i * filter.row_step, bias, out + i * out_stride, out_stride,
                      cols);
  }
}

template <class T>
void fill_offsets(const PlaneBlock<T>& block, Filter<T>* filter) {
  const int64_t pitch = block.row_pitch();
  for (int64_t h = 0; h < block.height.taps; ++h) filter->tap_rows[h] = block.tap_row(h) * pitch;
  for (int64_t w = 0; w < block.width.taps; ++w) filter->tap_cols[w] = block.tap_col(w);
  filter->row_step = block.height.step * pitch;
}

// Spreads rows x cols results over the phase of y.
template <class T>
void scatter(const Convolution<T>& conv, const PlaneBlock<T>& block, const T* results, T* y) {
  const Phase& phase = conv.phase;
  for (int64_t i = 0; i < block.rows; ++i) {
    T* const row = y + (phase.first[1] + (block.row + i) * phase.step[1]) * conv.output[2] +
                   phase.first[2] + block.col * phase.step[2];
    for (int64_t j = 0; j < block.cols; ++j) row[j * phase.step[2]] = results[i * block.cols + j];
  }
}

template <class T>
void convolve_plane(const Convolution<T>& conv, const Strip& strip, int64_t image, int64_t group,
                    T* scratch) {
  const int64_t plane = image * conv.groups + group, multiplier = conv.out_channels;
  const T* const x = conv.x + plane * conv.axes[1].source * conv.axes[2].source;
  const int64_t output = conv.output[1] * conv.output[2];
  const bool direct = conv.phase.step[1] == 1 && conv.phase.step[2] == 1;
  Filter<T> filter;
  filter.weight_strides[0] = conv.weights.tap_stride[1];
  filter.weight_strides[1] = conv.weights.tap_stride[2];
  filter.taps[0] = conv.axes[1].taps;
  filter.taps[1] = conv.axes[2].taps;
  for (int64_t row = 0; row < conv.axes[1].positions; row += strip.rows) {
    for (int64_t col = 0; col < conv.axes[2].positions; col += strip.cols) {
      const PlaneBlock<T> block{conv.axes[1], conv.axes[2],
                                row,          min_of(strip.rows, conv.axes[1].positions - row),
                                col,          min_of(strip.cols, conv.axes[2].positions - col)};
      T* const results = scratch + round_up(block.size(), Vec<T>::kSize);
      block.load(x, conv.mode, scratch);
      fill_offsets(block, &filter);
      for (int64_t m = 0; m < multiplier; ++m) {
        const int64_t channel = group * multiplier + m;
        const T bias = conv.bias == nullptr ? T(0) : conv.bias[channel];
        T* const y = conv.y + (plane * multiplier + m) * output;
        filter.weights =
            conv.weights.data + group * conv.group_weights + m * conv.weights.row_stride;
        if (direct) {
          filter_block(filter, scratch, bias, y + row * conv.output[2] + col, conv.output[2],
                       block.rows, block.cols);
        } else {
          filter_block(filter, scratch, bias, results, block.cols, block.rows, block.cols);
          scatter(conv, block, results, y);
        }
      }
    }
  }
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
    for (int64_t j = 0; j < cols; j += kSize) {
      const Vec<T> g = Vec<T>::load(grad + i * grad_stride + j, min_of(kSize, cols - j));
      const T* const x = source + i * row_step + j;
      FASTNN_UNROLL
      for (int t = 0; t < kTaps; ++t) acc[t] = fma(g, Vec<T>::load(x + tap_cols[t]), acc[t]);
    }
  }
  FASTNN_UNROLL
  for (int t = 0; t < kTaps; ++t) sums[t] += reduce_add(acc[t]);
}

template <class T>
void correlate_block(const Filter<T>& filter, const PlaneBlock<T>& block, const T* data,
                     const T* grad, T* sums) {
  const int64_t stride = block.width.positions, row_step = filter.row_step;
  for (int64_t h = 0; h < filter.taps[0]; ++h) {
    const T* const source = data + filter.tap_rows[h];
    T* const row = sums + h * filter.taps[1];
    const int64_t* const cols = filter.tap_cols;
    int64_t w = 0;
    for (; w + 4 < filter.taps[1]; w += 5) {
      correlate<T, 5>(grad, stride, source, row_step, cols + w, block.rows, block.cols, row + w);
    }
    for (; w + 2 < filter.taps[1]; w += 3) {
      correlate<T, 3>(grad, stride, source, row_step, cols + w, block.rows, block.cols, row + w);
    }
    for (; w < filter.taps[1]; ++w) {
      correlate<T, 1>(grad, stride, source, row_step, cols + w, block.rows, block.cols, row + w);
    }
  }
}

template <class T>
int64_t scratch_size(const Axis (&axes)[3]) {
  const Strip strip = strip_of<T>(axes);
  const PlaneBlock<T> block{axes[1], axes[2], 0, strip.rows, 0, strip.cols};
  return round_up(block.size() + strip.rows * strip.cols, 16) + 16;
}

}  // namespace

template <class T>
bool is_depthwise(const Axis (&axes)[3], int64_t in_channels) {
  const Axis& depth = axes[0];
  const bool planar =
      depth.taps == 1 && depth.positions == 1 && depth.source == 1 && depth.first == 0;
  return in_channels == 1 && planar && axes[1].taps >= 1 && axes[2].taps >= 1 &&
         axes[1].taps <= kMostTaps && axes[2].taps <= kMostTaps &&
         PlaneBlock<T>::span(axes[2]) <= 4096 && axes[2].step <= 64 &&
         scratch_size<T>(axes) <= kPlaneBlock;
}

template <class T>
bool is_depthwise(const Convolution<T>& conv) {
  return conv.out_channels <= kMostFilters && is_depthwise<T>(conv.axes, conv.in_channels);
}

template <class T>
void convolve_depthwise(const Convolution<T>& conv) {
  const Strip strip = strip_of<T>(conv.axes);
  const int64_t scratch = scratch_size<T>(conv.axes);
  const int64_t work =
      max_of(1, positions_of(conv.axes) * (taps_of(conv.axes) + 4) * conv.out_channels);
  const int64_t planes = conv.batch * conv.groups;
  const int64_t grain = max_of(1, min_of(kMinCellWork / work, planes));
  const int workers = plan_workers(ceil_div(planes, grain));
  Workspace workspace(workers * scratch * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  parallel_for(planes, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      convolve_plane(conv, strip, i / conv.groups, i % conv.groups, memory + worker * scratch);
    }
  });
}

template <class T>
void depthwise_backward_weight(const DepthwiseWeights<T>& args) {
  const Strip strip = strip_of<T>(args.axes);
  const int64_t scratch = scratch_size<T>(args.axes), taps = taps_of(args.axes);
  const int64_t positions = positions_of(args.axes);
  const int64_t source = args.axes[1].source * args.axes[2].source;
  const int64_t work = max_of(1, args.batch * positions * (taps + 4) * args.multiplier);
  const int64_t grain = max_of(1, min_of(kMinCellWork / work, args.in_channels));
  const int workers = plan_workers(ceil_div(args.in_channels, grain));
  Workspace workspace(workers * scratch * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  parallel_for(args.in_channels, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const data = memory + worker * scratch;
    for (int64_t c = begin; c < end; ++c) {
      T* const sums = args.grad_w + c * args.multiplier * taps;
      for (int64_t i = 0; i < args.multiplier * taps; ++i) sums[i] = T(0);
      for (int64_t n = 0; n < args.batch; ++n) {
        const int64_t plane = n * args.in_channels + c;
        for (int64_t row = 0; row < args.axes[1].positions; row += strip.rows) {
          for (int64_t col = 0; col < args.axes[2].positions; col += strip.cols) {
            const PlaneBlock<T> block{
                args.axes[1], args.axes[2],
                row,          min_of(strip.rows, args.axes[1].positions - row),
                col,          min_of(strip.cols, args.axes[2].positions - col)};
            Filter<T> filter;
            filter.taps[0] = args.axes[1].taps;
            filter.taps[1] = args.axes[2].taps;
            fill_offsets(block, &filter);
            block.load(args.x + plane * source, args.mode, data);
            for (int64_t m = 0; m < args.multiplier; ++m) {
              correlate_block(filter, block, data,
                              args.grad_y + (plane * args.multiplier + m) * positions +
                                  row * args.axes[2].positions + col,
                              sums + m * taps);
            }
          }
        }
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                               \
  template bool is_depthwise<T>(const Axis(&)[3], int64_t); \
  template bool is_depthwise(const Convolution<T>&);        \
  template void convolve_depthwise(const Convolution<T>&);  \
  template void depthwise_backward_weight(const DepthwiseWeights<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
