#include "kernels/conv/winograd.h"

#include "kernels/conv/gather.h"
#include "kernels/conv/winograd_choice.h"
#include "kernels/conv/winograd_multiply.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxWinogradWeights = int64_t{40} << 20;  // bytes
constexpr int64_t kBlockTiles = 64;
constexpr int64_t kLeastWork = 1 << 17;  // multiply-adds that a further thread is woken for

// A unit is `width` neighbouring tiles of one row of tiles of one image, a block `units` of those.
struct Tiling {
  Axis rows, cols;  // the tiles' patches
  int64_t segments, width, all_units, units, tiles;
};

Axis tile_axis(const Axis& axis, const WinogradTile& tile) {
  const int64_t lowest = min_of(axis.first, axis.first + (tile.taps - 1) * axis.tap_step);
  return {
      axis.source, ceil_div(axis.positions, tile.out), tile.out * tile.step, tile.in, lowest, 1};
}

template <class T>
Tiling make_tiling(const Convolution<T>& conv, const WinogradTransforms<T>& transforms) {
  Tiling t{};
  t.rows = tile_axis(conv.axes[1], transforms.height);
  t.cols = tile_axis(conv.axes[2], transforms.width);
  t.segments = ceil_div(t.cols.positions, kBlockTiles);
  t.width = ceil_div(t.cols.positions, t.segments);
  t.all_units = conv.batch * t.rows.positions * t.segments;
  t.units = min_of(max_of(1, kBlockTiles / t.width), t.all_units);
  // A thread that finds no filters of its own takes some of the tiles.
  const int64_t panels = ceil_div(conv.out_channels, kGroup<T>) * conv.groups;
  const int64_t work = t.all_units * t.width * transforms.points() * conv.in_channels *
                       round_up(conv.out_channels, Vec<T>::kSize);
  const int64_t parts = min_of(ceil_div(num_threads(), panels), work / kLeastWork);
  if (parts > 1) t.units = min_of(t.units, ceil_div(t.all_units, parts));
  t.tiles = t.units * t.width;
  return t;
}

template <class T>
class Winograd {
 public:
  Winograd(const Convolution<T>& conv, WinogradScheme scheme)
      : conv_(conv),
        transforms_(winograd_transforms<T>(scheme)),
        height_(transforms_.height),
        width_(transforms_.width),
        tiling_(make_tiling(conv, transforms_)) {}

  // Elements of the transformed weights.
  int64_t weights() const { return conv_.groups * filter_groups() * panel_size(); }

  // Whether the products that are saved outweigh the transforms, by measurement: for each point of
  // a tile, reading a vector of channels takes as long as 11 multiply-adds, writing one of filters
  // as long as 3. The direct sum has positions in its lanes, of which the last may be idle.
  bool pays() const {
    constexpr int64_t kRead = 11, kWrite = 3;
    const int64_t m = conv_.out_channels, k = conv_.in_channels, width = conv_.axes[2].positions;
    const int64_t points = transforms_.points();
    const int64_t direct =
        height_.out * width_.out * transforms_.taps() * round_up(width, kSize) / width;
    return (direct - points) * m * k >=
           points * kSize * (kRead * ceil_div(k, kSize) + kWrite * ceil_div(m, kSize));
  }

  void transform_weights(T* target) const {
    Convolution<T> ordered = conv_;
    const Weights<T> filters = ascending_taps(&ordered);
    const int64_t items = filter_groups() * conv_.groups;
    const int64_t grain = max_of(1, (int64_t{1} << 15) / panel_size());
    const int workers = plan_workers(ceil_div(items, grain));
    Workspace workspace(workers * packing() * static_cast<int64_t>(sizeof(T)) +
                        Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * packing());
    parallel_for(items, grain, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        transform_panel(filters, i, memory + worker * packing(), target + i * panel_size());
      }
    });
  }

  // Whether every panel of weights is used once: then it is transformed just before.
  bool is_one_block() const { return tiling_.all_units <= tiling_.units; }

  // With null for weights where is_one_block.
  void run(const T* weights) const {
    Convolution<T> ordered = conv_;
    const Weights<T> filters = ascending_taps(&ordered);
    const int64_t panels = filter_groups();
    const int64_t blocks = ceil_div(tiling_.all_units, tiling_.units) * conv_.groups;
    // Few blocks are shared by several threads, each with some of the filters.
    const int64_t shares = min_of(panels, ceil_div(plan_workers(num_threads()), blocks));
    const int64_t share = ceil_div(panels, shares);
    const int64_t points = transforms_.points();
    const int64_t inputs = points * point_stride(), products = points * product_stride();
    const int64_t pixels =
        max_of(height_.in * (row_pixels() + kSize), (height_.out + 1) * output_pixels()) * kSize;
    const int64_t transformed = weights == nullptr ? panel_size() + packing() : 0;
    const int64_t part = round_up(inputs + products + pixels + transformed, 16);
    const int workers = plan_workers(blocks * shares);
    Workspace workspace(workers * part * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    parallel_for(blocks * shares, 1, [&](int64_t begin, int64_t end, int worker) {
      T* const v = memory + worker * part;
      T* const own = v + inputs + products + pixels;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t block = i / shares, first = i % shares * share;
        const int64_t group = block % conv_.groups;
        const int64_t unit = block / conv_.groups * tiling_.units;
        const int64_t units = min_of(tiling_.units, tiling_.all_units - unit);
        for (int64_t u = 0; u < units; ++u) {
          transform_unit(group, unit_at(unit + u), v + u * tiling_.width * kSize,
                         v + inputs + products);
        }
        for (int64_t panel = first; panel < min_of(first + share, panels); ++panel) {
          const int64_t index = group * panels + panel;
          if (weights == nullptr) transform_panel(filters, index, own + panel_size(), own);
          multiply(units * tiling_.width, v,
                   weights == nullptr ? own : weights + index * panel_size(),
                   conv_.out_channels - panel * kGroup<T>, v + inputs);
          for (int64_t u = 0; u < units; ++u) {
            store_unit(group, panel * kGroup<T>, unit_at(unit + u),
                       v + inputs + u * tiling_.width * kGroup<T>, v + inputs + products);
          }
        }
      }
    });
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;
  static constexpr int64_t kChunk = 32;  // channels of weights packed at a time

  int64_t filter_groups() const { return ceil_div(conv_.out_channels, kGroup<T>); }
  // Elements of the transformed weights of kGroup filters, and of what packs their taps.
  int64_t panel_size() const { return transforms_.points() * conv_.in_channels * kGroup<T>; }
  int64_t packing() const { return round_up(kGroup<T> * kChunk * transforms_.taps() + kSize, 16); }
  int64_t tile_step() const { return width_.out * width_.step; }  // pixels from a tile to the next
  int64_t row_pixels() const { return (tiling_.width - 1) * tile_step() + width_.in; }
  int64_t output_pixels() const { return round_up(tiling_.width * width_.out, kSize); }
  // From a point's transformed inputs, or products, to the next: a line more than they are, since
  // at a power of two all points would meet in the same sets of the cache.
  int64_t point_stride() const {
    return (ceil_div(conv_.in_channels, kSize) * tiling_.tiles + 1) * kSize;
  }
  int64_t product_stride() const { return tiling_.tiles * kGroup<T> + kSize; }

  struct Unit {
    int64_t image, row, col, tiles;
  };
  Unit unit_at(int64_t unit) const {
    const int64_t line = unit / tiling_.segments;
    const int64_t col = unit % tiling_.segments * tiling_.width;
    return {line / tiling_.rows.positions, line % tiling_.rows.positions, col,
            min_of(tiling_.width, tiling_.cols.positions - col)};
  }

  // Panel `index` of all groups' filters: [point][channel][kGroup], zero past the last filter.
  void transform_panel(Weights<T> w, int64_t index, T* packed, T* target) const {
    w.data += index / filter_groups() * conv_.group_weights;
    const int64_t row = index % filter_groups() * kGroup<T>, taps = transforms_.taps();
    const int64_t rows = min_of(kGroup<T>, conv_.out_channels - row), k = conv_.in_channels;
    for (int64_t first = 0; first < k; first += kChunk) {
      const int64_t channels = min_of(kChunk, k - first);
      w.pack(packed, row, rows, rows, first * taps, channels * taps);
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t i = 0; i < kGroup<T>; i += kSize) {
          transforms_.weights(packed + c * taps * rows + i, rows,
                              target + (first + c) * kGroup<T> + i, k * kGroup<T>,
                              max_of(0, min_of(kSize, rows - i)));
        }
      }
    }
  }

  // The transformed inputs of a unit's tiles: v[point][block of channels][tile][kSize].
  void transform_unit(int64_t group, const Unit& unit, T* v, T* pixels) const {
    const int64_t k = conv_.in_channels, plane = conv_.axes[1].source * conv_.axes[2].source;
    const T* const x = conv_.x + (unit.image * conv_.groups + group) * k * plane;
    const int64_t pitch = (row_pixels() + kSize) * kSize;
    for (int64_t c = 0; c < k; c += kSize, v += tiling_.tiles * kSize) {
      for (int64_t i = 0; i < height_.in; ++i) {
        load_row(x + c * plane, min_of(kSize, k - c), unit, i, pixels + i * pitch);
      }
      transforms_.input(pixels, pitch, v, point_stride(), unit.tiles);
    }
  }

  // target[pixel][channel]: row i of the patches of a unit, channels in the lanes.
  void load_row(const T* x, int64_t channels, const Unit& unit, int64_t i, T* target) const {
    const int64_t size = tiling_.cols.source, plane = conv_.axes[1].source * size;
    const int64_t row = padded_index(
        conv_.mode, unit.row * tiling_.rows.step + tiling_.rows.first + i, tiling_.rows.source);
    const int64_t left = unit.col * tile_step() + tiling_.cols.first, count = row_pixels();
    if (row < 0) return fill_zero(target, 0, count);
    const T* const source = x + row * size;
    const int64_t begin = min_of(count, max_of(0, -left));
    const int64_t end = max_of(begin, min_of(count, size - left));
    fill_zero(target, 0, begin);
    for (int64_t p = begin; p < end; p += kSize) {
      const T* const first = source + left + p;
      const int64_t lanes = min_of(kSize, end - p);
      Vec<T> rows[kSize];
      FASTNN_UNROLL
      for (int64_t c = 0; c < kSize; ++c) {
        rows[c] = c < channels ? Vec<T>::load(first + c * plane, lanes) : Vec<T>::zero();
      }
      transpose(rows);
      FASTNN_UNROLL
      for (int64_t j = 0; j < kSize; ++j) rows[j].store(target + (p + j) * kSize);
    }
    fill_zero(target, end, count);
    if (conv_.mode == PaddingMode::kZeros) return;
    for (int64_t p = 0; p < count; ++p) {
      if (p == begin) p = end;
      const int64_t index = p < count ? padded_index(conv_.mode, left + p, size) : -1;
      if (index < 0) continue;
      for (int64_t c = 0; c < channels; ++c) target[p * kSize + c] = source[c * plane + index];
    }
  }

  static void fill_zero(T* target, int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) Vec<T>::zero().store(target + p * kSize);
  }

  void multiply(int64_t tiles, const T* v, const T* u, int64_t filters, T* products) const {
    for (int64_t point = 0; point < transforms_.points(); ++point) {
      multiply_winograd<T>({tiles, conv_.in_channels, v + point * point_stride(),
                            tiling_.tiles * kSize, u + point * conv_.in_channels * kGroup<T>,
                            products + point * product_stride(), filters});
    }
  }

  // products[point][tile][kGroup] of the filters from `row` on to their place in y.
  void store_unit(int64_t group, int64_t row, const Unit& unit, const T* products,
                  T* pixels) const {
    const int64_t rows = min_of(kGroup<T>, conv_.out_channels - row);
    const int64_t pitch = output_pixels() * kSize, plane = product(conv_.output);
    const int64_t top = unit.row * height_.out, left = unit.col * width_.out;
    const int64_t height = min_of(height_.out, conv_.axes[1].positions - top);
    const int64_t width = min_of(unit.tiles * width_.out, conv_.axes[2].positions - left);
    const Phase& phase = conv_.phase;
    for (int64_t first = 0; first < rows; first += kSize) {
      const int64_t filter = group * conv_.out_channels + row + first;
      const int64_t lanes = min_of(kSize, rows - first);
      const Vec<T> bias =
          conv_.bias == nullptr ? Vec<T>::zero() : Vec<T>::load(conv_.bias + filter, lanes);
      transforms_.output(products + first, product_stride(), kGroup<T>, bias, pixels, pitch,
                         unit.tiles);
      T* const y = conv_.y + (unit.image * conv_.groups * conv_.out_channels + filter) * plane +
                   phase.first[2] + left * phase.step[2];
      for (int64_t i = 0; i < height; ++i) {
        T* const target = y + (phase.first[1] + (top + i) * phase.step[1]) * conv_.output[2];
        if (phase.step[2] == 1) {
          store_row(pixels + i * pitch, lanes, width, target, plane);
        } else {
          T* const values = pixels + height_.out * pitch;
          store_row(pixels + i * pitch, lanes, width, values, output_pixels());
          scatter_row(values, lanes, width, target);
        }
      }
      if (phase.step[2] != 1 || !conv_.finish.is_needed()) continue;
      for (int64_t c = 0; c < lanes; ++c) {
        for (int64_t i = 0; i < height; ++i) {
          conv_.finish(
              y + c * plane + (phase.first[1] + (top + i) * phase.step[1]) * conv_.output[2],
              width);
        }
      }
    }
  }

  // Finishes one row of `channels` channels and spreads it over its phase of y.
  void scatter_row(T* values, int64_t channels, int64_t width, T* target) const {
    const int64_t step = conv_.phase.step[2];
    for (int64_t c = 0; c < channels; ++c) {
      conv_.finish(values, width, target, step);
      spread(values, width, target, step);
      values += output_pixels();
      target += product(conv_.output);
    }
  }

  // pixels[pixel][channel] to rows of `width` pixels in `channels` planes.
  static void store_row(const T* pixels, int64_t channels, int64_t width, T* y, int64_t plane) {
    for (int64_t p = 0; p < width; p += kSize) {
      Vec<T> rows[kSize];
      FASTNN_UNROLL
      for (int64_t j = 0; j < kSize; ++j) rows[j] = Vec<T>::load(pixels + (p + j) * kSize);
      transpose(rows);
      const Mask<T> mask = first_n_mask<T>(min_of(kSize, width - p));
      FASTNN_UNROLL
      for (int64_t c = 0; c < kSize; ++c) {
        if (c < channels) rows[c].store(y + c * plane + p, mask);
      }
    }
  }

  const Convolution<T>& conv_;
  const WinogradTransforms<T>& transforms_;
  const WinogradTile &height_, &width_;
  Tiling tiling_;
};

template <class T>
bool fits(WinogradScheme scheme, const Convolution<T>& conv) {
  return scheme != WinogradScheme::kNone && conv.in_channels <= most_channels(scheme) &&
         Winograd<T>(conv, scheme).weights() * static_cast<int64_t>(sizeof(T)) <=
             kMaxWinogradWeights;
}

}  // namespace

// Large tiles leave too much of a small map empty. With few channels only the schemes for square
// taps compete with a direct sum.
template <class T>
WinogradScheme winograd_scheme(const Convolution<T>& conv) {
  constexpr int64_t kFewChannels = 16;
  WinogradScheme scheme = scheme_for(conv);
  const bool large = scheme == WinogradScheme::k3x3 || scheme == WinogradScheme::kMedium3x3;
  if (large && !fits(scheme, conv)) scheme = WinogradScheme::kSmall3x3;
  if (scheme == WinogradScheme::k2x2 && !fits(scheme, conv)) scheme = WinogradScheme::kSmall2x2;
  if (!fits(scheme, conv)) return WinogradScheme::kNone;
  if (min_of(conv.out_channels, conv.in_channels) >= kFewChannels) return scheme;
  const bool square = scheme == WinogradScheme::k3x3 || scheme == WinogradScheme::kMedium3x3 ||
                      scheme == WinogradScheme::kSmall3x3 || scheme == WinogradScheme::k5x5;
  return square && Winograd<T>(conv, scheme).pays() ? scheme : WinogradScheme::kNone;
}

template <class T>
int64_t winograd_weights(const Convolution<T>& conv) {
  return Winograd<T>(conv, winograd_scheme(conv)).weights();
}

template <class T>
void transform_winograd_weights(const Convolution<T>& conv, T* target) {
  Winograd<T>(conv, winograd_scheme(conv)).transform_weights(target);
}

template <class T>
void convolve_winograd(const Convolution<T>& conv) {
  const Winograd<T> winograd(conv, winograd_scheme(conv));
  if (conv.prepared != nullptr || winograd.is_one_block()) return winograd.run(conv.prepared);
  Workspace workspace(winograd.weights() * static_cast<int64_t>(sizeof(T)));
  T* const weights = workspace.take<T>(winograd.weights());
  winograd.transform_weights(weights);
  winograd.run(weights);
}

template WinogradScheme winograd_scheme(const Convolution<float>&);
template int64_t winograd_weights(const Convolution<float>&);
template void transform_winograd_weights(const Convolution<float>&, float*);
template void convolve_winograd(const Convolution<float>&);

}  // namespace fastnn::FASTNN_ISA
