#include "kernels/conv/winograd.h"

#include "kernels/conv/gather.h"
#include "kernels/conv/plane.h"
#include "kernels/conv/winograd_transform.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxWinogradWeights = int64_t{40} << 20;  // bytes
constexpr int64_t kBlockTiles = 64;
constexpr int64_t kMostChannels = 1600;  // in and out together, which bounds the workspace
constexpr int64_t kMostSummed = 512;     // in: the rounding error grows with the sum's length
constexpr int64_t kTaps = 9;

// How the tiles are cut: a unit is `width` neighbouring tiles of one row of tiles of one image, a
// block `units` of those.
struct Tiling {
  Axis rows, cols;  // the tiles' patches
  int64_t segments, width, all_units, units;
  int64_t tiles, pitch;  // of a block; pitch is rounded up to whole groups
};

Axis tile_axis(const Axis& axis) {
  const int64_t lowest = min_of(axis.first, axis.first + 2 * axis.tap_step);
  return {axis.source, ceil_div(axis.positions, kTileOut), kTileOut, kTileIn, lowest, 1};
}

template <class T>
Tiling make_tiling(const Convolution<T>& conv) {
  Tiling t{};
  t.rows = tile_axis(conv.axes[1]);
  t.cols = tile_axis(conv.axes[2]);
  t.segments = ceil_div(t.cols.positions, kBlockTiles);
  t.width = ceil_div(t.cols.positions, t.segments);
  t.all_units = conv.batch * t.rows.positions * t.segments;
  t.units = min_of(max_of(1, kBlockTiles / t.width), t.all_units);
  t.tiles = t.units * t.width;
  t.pitch = round_up(t.tiles, kGroup<T>);
  return t;
}

// Interleaves the lanes of a and b: a0 b0 a1 b1 ...
template <class T>
FASTNN_INLINE void interleave(Vec<T> a, Vec<T> b, Vec<T>* low, Vec<T>* high) {
#if defined(FASTNN_ISA_AVX512)
  low->v =
      __builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  high->v = __builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                    15, 31);
#elif defined(FASTNN_ISA_AVX2)
  low->v = __builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11);
  high->v = __builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  low->v = __builtin_shufflevector(a.v, b.v, 0, 4, 1, 5);
  high->v = __builtin_shufflevector(a.v, b.v, 2, 6, 3, 7);
#endif
}

template <class T>
class Winograd {
 public:
  explicit Winograd(const Convolution<T>& conv)
      : conv_(conv),
        tiling_(make_tiling(conv)),
        layout_(tiling_.rows, tiling_.cols, tiling_.width),
        panel_(panel_rows(conv.out_channels)) {
    Convolution<T> ordered = conv;
    filters_ = ascending_taps(&ordered);
  }

  void run() {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    const int64_t m = conv_.out_channels, k = conv_.in_channels, pitch = tiling_.pitch;
    const int64_t blocks = ceil_div(tiling_.all_units, tiling_.units) * conv_.groups;
    const int64_t panels = ceil_div(m, panel_);
    // Few blocks are shared by several threads, each with some of the filters.
    const int64_t shares = min_of(panels, ceil_div(plan_workers(num_threads()), blocks));
    const int64_t share_rows = ceil_div(panels, shares) * panel_;
    const int64_t inputs = kProducts * k * pitch, outputs = kProducts * share_rows * pitch;
    const int64_t patches = kProducts * (pitch + Vec<T>::kSize);
    const int64_t scratch = round_up(
        inputs + outputs + max_of(patches, kTileOut * kTileOut * pitch) + layout_.size(1), 16);
    const int64_t weights = conv_.groups * kProducts * m * k;
    const int workers = plan_workers(max_of(blocks * shares, panels * conv_.groups));
    const int64_t packing = panel_ * kChunk * kTaps + Vec<T>::kSize;
    const int64_t part = round_up(max_of(scratch, packing), 16);
    Workspace workspace((workers * part + weights) * kBytes + 2 * Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    weights_ = workspace.take<T>(weights);
    parallel_for(panels * conv_.groups, 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        prepare_weights(i / panels, i % panels * panel_, memory + worker * part);
      }
    });
    parallel_for(blocks * shares, 1, [&](int64_t begin, int64_t end, int worker) {
      T* const v = memory + worker * part;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t block = i / shares, row = i % shares * share_rows;
        if (row >= m) continue;
        run_block(block % conv_.groups, block / conv_.groups * tiling_.units, row,
                  min_of(share_rows, m - row), v, v + inputs, v + inputs + outputs);
      }
    });
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;
  static constexpr int64_t kChunk = 32;  // channels of weights packed at a time

  // Where a unit lies.
  struct Unit {
    int64_t image, row, col, tiles;
  };
  Unit unit_at(int64_t unit) const {
    const int64_t line = unit / tiling_.segments;
    const int64_t col = unit % tiling_.segments * tiling_.width;
    return {line / tiling_.rows.positions, line % tiling_.rows.positions, col,
            min_of(tiling_.width, tiling_.cols.positions - col)};
  }

  // Panel `row` of the transformed weights: [point][channel][rows of the panel], behind those of
  // the panels before it.
  T* panel_weights(int64_t group, int64_t row) const {
    return weights_ + kProducts * (group * conv_.out_channels + row) * conv_.in_channels;
  }

  void prepare_weights(int64_t group, int64_t row, T* packed) const {
    const int64_t rows = min_of(panel_, conv_.out_channels - row), k = conv_.in_channels;
    Weights<T> w = filters_;
    w.data += group * conv_.group_weights;
    T* const target = panel_weights(group, row);
    for (int64_t first = 0; first < k; first += kChunk) {
      const int64_t channels = min_of(kChunk, k - first);
      w.pack(packed, row, rows, rows, first * kTaps, channels * kTaps);
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t i = 0; i < rows; i += kSize) {
          transform_filter(packed + c * kTaps * rows + i, rows, target + (first + c) * rows + i,
                           k * rows, min_of(kSize, rows - i));
        }
      }
    }
  }

  // 9 taps of `lanes` filters, `stride` apart, to the 36 points.
  static void transform_filter(const T* taps, int64_t stride, T* target, int64_t point_stride,
                               int64_t lanes) {
    Vec<T> half[kTileIn][3];
    FASTNN_UNROLL
    for (int s = 0; s < 3; ++s) {
      Vec<T> column[3], t[kTileIn];
      FASTNN_UNROLL
      for (int r = 0; r < 3; ++r) column[r] = Vec<T>::load(taps + (r * 3 + s) * stride, lanes);
      transform_weights(column, t);
      FASTNN_UNROLL
      for (int i = 0; i < kTileIn; ++i) half[i][s] = t[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < kTileIn; ++i) {
      Vec<T> t[kTileIn];
      transform_weights(half[i], t);
      FASTNN_UNROLL
      for (int j = 0; j < kTileIn; ++j) {
        t[j].store(target + (i * kTileIn + j) * point_stride, lanes);
      }
    }
  }

  // v: transformed inputs [point][group of tiles][channel][kGroup]; products: [point][row][pitch].
  void run_block(int64_t group, int64_t first_unit, int64_t row, int64_t rows, T* v, T* products,
                 T* scratch) const {
    const int64_t units = min_of(tiling_.units, tiling_.all_units - first_unit);
    const int64_t tiles = units * tiling_.width, k = conv_.in_channels, pitch = tiling_.pitch;
    for (int64_t c = 0; c < k; ++c) {
      load_patches(group * k + c, first_unit, units, scratch);
      for (int64_t t = 0; t < tiles; t += kSize) {
        transform_patch(scratch + t, v + (t / kGroup<T> * k + c) * kGroup<T> + t % kGroup<T>);
      }
    }
    for (int64_t point = 0; point < kProducts; ++point) {
      multiply(point, group, row, rows, tiles, v + point * k * pitch,
               products + point * rows * pitch);
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t t = 0; t < tiles; t += kSize) {
        transform_products(products + i * pitch + t, rows * pitch, scratch + kTileOut * t);
      }
      store_outputs(group * conv_.out_channels + row + i, first_unit, units, scratch);
    }
  }

  // patches[i * 6 + j][tile]: element (i, j) of every tile's patch of one channel.
  void load_patches(int64_t channel, int64_t first_unit, int64_t units, T* patches) const {
    const int64_t row_pitch = tiling_.pitch + kSize;
    T* const plane = patches + max_of(kProducts * row_pitch, kTileOut * kTileOut * tiling_.pitch);
    const int64_t source = conv_.axes[1].source * conv_.axes[2].source;
    const int64_t channels = conv_.groups * conv_.in_channels;
    for (int64_t u = 0; u < units; ++u) {
      const Unit unit = unit_at(first_unit + u);
      layout_.load(conv_.x + (unit.image * channels + channel) * source, conv_.mode, unit.row, 1,
                   unit.col, plane);
      for (int64_t j = 0; j < kTileIn; ++j) {
        const T* const column = plane + layout_.tap_col(j);
        T* const target = patches + j * row_pitch + u * tiling_.width;
        for (int64_t i = 0; i < kTileIn; ++i) {
          // Whole vectors: what is written past the unit is overwritten by the next one.
          for (int64_t t = 0; t < unit.tiles; t += kSize) {
            Vec<T>::load(column + i * layout_.row_pitch + t)
                .store(target + i * kTileIn * row_pitch + t);
          }
        }
      }
    }
  }

  void transform_patch(const T* patch, T* target) const {
    const int64_t row_pitch = tiling_.pitch + kSize;
    const int64_t point_stride = conv_.in_channels * tiling_.pitch;
    Vec<T> half[kTileIn][kTileIn];
    FASTNN_UNROLL
    for (int j = 0; j < kTileIn; ++j) {
      Vec<T> column[kTileIn], t[kTileIn];
      FASTNN_UNROLL
      for (int i = 0; i < kTileIn; ++i) {
        column[i] = Vec<T>::load(patch + (i * kTileIn + j) * row_pitch);
      }
      transform_input(column, t);
      FASTNN_UNROLL
      for (int i = 0; i < kTileIn; ++i) half[i][j] = t[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < kTileIn; ++i) {
      Vec<T> t[kTileIn];
      transform_input(half[i], t);
      FASTNN_UNROLL
      for (int j = 0; j < kTileIn; ++j) t[j].store(target + (i * kTileIn + j) * point_stride);
    }
  }

  void multiply(int64_t point, int64_t group, int64_t row, int64_t rows, int64_t tiles, const T* v,
                T* products) const {
    const int64_t k = conv_.in_channels, pitch = tiling_.pitch;
    for (int64_t i = 0; i < rows; i += panel_) {
      const int64_t height = min_of(panel_, rows - i);
      const T* const a = panel_weights(group, row + i) + point * k * height;
      const int64_t width = tile_vectors(static_cast<int>(height)) * kSize;
      for (int64_t t = 0; t < tiles; t += width) {
        run_tile<T>(static_cast<int>(height),
                    {k, a, v + t * k, kGroup<T>, k * kGroup<T>, products + i * pitch + t, pitch,
                     min_of(width, tiles - t), false});
      }
    }
  }

  // outputs[i][4 * tile + j]: row i of the tiles, one tile's four outputs after another's.
  void transform_products(const T* products, int64_t point_stride, T* outputs) const {
    Vec<T> half[kTileOut][kTileIn];
    FASTNN_UNROLL
    for (int j = 0; j < kTileIn; ++j) {
      Vec<T> column[kTileIn], y[kTileOut];
      FASTNN_UNROLL
      for (int i = 0; i < kTileIn; ++i) {
        column[i] = Vec<T>::load(products + (i * kTileIn + j) * point_stride);
      }
      transform_output(column, y);
      FASTNN_UNROLL
      for (int i = 0; i < kTileOut; ++i) half[i][j] = y[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < kTileOut; ++i) {
      Vec<T> y[kTileOut], even[2], odd[2], all[4];
      transform_output(half[i], y);
      interleave(y[0], y[2], &even[0], &even[1]);
      interleave(y[1], y[3], &odd[0], &odd[1]);
      interleave(even[0], odd[0], &all[0], &all[1]);
      interleave(even[1], odd[1], &all[2], &all[3]);
      T* const target = outputs + i * kTileOut * tiling_.pitch;
      FASTNN_UNROLL
      for (int j = 0; j < 4; ++j) all[j].store(target + j * kSize);
    }
  }

  void store_outputs(int64_t channel, int64_t first_unit, int64_t units, const T* outputs) const {
    const Vec<T> bias(conv_.bias == nullptr ? T(0) : conv_.bias[channel]);
    const int64_t channels = conv_.groups * conv_.out_channels;
    const int64_t height = conv_.output[1], width = conv_.output[2];
    for (int64_t u = 0; u < units; ++u) {
      const Unit unit = unit_at(first_unit + u);
      const int64_t row = unit.row * kTileOut, col = unit.col * kTileOut;
      const int64_t count = min_of(unit.tiles * kTileOut, width - col);
      for (int64_t i = 0; i < min_of(kTileOut, height - row); ++i) {
        const T* const source =
            outputs + i * kTileOut * tiling_.pitch + u * tiling_.width * kTileOut;
        T* const y = conv_.y + ((unit.image * channels + channel) * height + row + i) * width + col;
        for (int64_t j = 0; j < count; j += kSize) {
          const Vec<T> sum = Vec<T>::load(source + j, min_of(kSize, count - j)) + bias;
          sum.store(y + j, min_of(kSize, count - j));
        }
      }
    }
  }

  const Convolution<T>& conv_;
  Tiling tiling_;
  PlaneLayout<T> layout_;
  int64_t panel_;
  Weights<T> filters_;
  T* weights_ = nullptr;
};

bool is_three_taps(const Axis& axis, int64_t output) {
  return axis.taps == 3 && axis.step == 1 && (axis.tap_step == 1 || axis.tap_step == -1) &&
         axis.positions == output;
}

}  // namespace

// Worth it where the products that are saved, 6.75 an output, outweigh the transforms: by
// measurement, from 16 channels and some hundred outputs on.
template <class T>
bool is_winograd(const Convolution<T>& conv) {
  const Axis& depth = conv.axes[0];
  const bool planar = depth.taps == 1 && depth.positions == 1 && depth.source == 1 &&
                      depth.first == 0 && conv.output[0] == 1;
  const int64_t m = conv.out_channels, k = conv.in_channels;
  const int64_t bytes = conv.groups * kProducts * m * k * static_cast<int64_t>(sizeof(T));
  return planar && is_three_taps(conv.axes[1], conv.output[1]) &&
         is_three_taps(conv.axes[2], conv.output[2]) && m >= 16 && k >= 16 &&
         m + k <= kMostChannels && k <= kMostSummed && conv.axes[1].positions >= 8 &&
         conv.axes[2].positions >= 8 && positions_of(conv.axes) >= 100 &&
         bytes <= kMaxWinogradWeights;
}

template <class T>
void convolve_winograd(const Convolution<T>& conv) {
  Winograd<T>(conv).run();
}

template bool is_winograd(const Convolution<float>&);
template void convolve_winograd(const Convolution<float>&);

}  // namespace fastnn::FASTNN_ISA
