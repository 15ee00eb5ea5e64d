#include "kernels/conv/winograd_gradient.h"

#include "kernels/conv/pixel_loader.h"
#include "kernels/conv/tap_parts.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxSums = int64_t{40} << 20;
constexpr int64_t kMaxChunk = int64_t{20} << 20;
constexpr int64_t kChunkTiles = 64;
constexpr int64_t kBlockPanels = 4;  // panels multiplied by what of a point's inputs is in L1

template <class T>
class WinogradGradient {
 public:
  WinogradGradient(const Convolution<T>& conv, const TapParts& height, const TapParts& width,
                   const T* grad_y, T* grad_w)
      : conv_(conv),
        grad_y_(grad_y),
        grad_w_(grad_w),
        height_(height),
        width_(width),
        transforms_(gradient_transforms<T>(height_.taps, width_.taps)),
        channels_(conv.in_channels * conv.axes[0].taps * height_.count() * width_.count()),
        panel_(panel_rows(conv.out_channels)) {
    const int64_t tile_cols = width_.tiles(conv.axes[2].positions);
    segments_ = ceil_div(tile_cols, kChunkTiles);
    unit_tiles_ = ceil_div(tile_cols, segments_);
    all_units_ = conv.batch * conv.axes[0].positions * tile_rows() * segments_;
    chunk_units_ = min_of(kChunkTiles / unit_tiles_, all_units_);
    tiles_ = chunk_units_ * unit_tiles_;
  }

  // In multiply-adds an image, by measurement.
  int64_t cost() const {
    constexpr int64_t kTransformCost = 10, kOutputCost = 4;  // an element and point
    const int64_t filters = conv_.out_channels;
    const int64_t lanes = round_up(channels_, kSize), rows = round_up(filters, kSize);
    const int64_t products = conv_.axes[0].positions * height_.products(conv_.axes[1].positions) *
                             width_.products(conv_.axes[2].positions);
    return products * (filters * lanes + kTransformCost * (rows + lanes)) +
           kOutputCost * points() * filters * lanes;
  }

  bool fits() const {
    const int64_t lanes = round_up(channels_, kSize), rows = round_up(conv_.out_channels, kSize);
    const int64_t chunk = kChunkTiles * points() * (lanes + rows);
    return chunk * static_cast<int64_t>(sizeof(T)) <= kMaxChunk &&
           sums_size() * static_cast<int64_t>(sizeof(T)) <= kMaxSums;
  }

  void run() const {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    const bool one_chunk = chunk_units_ == all_units_;
    const int64_t pixels = round_up(max_of(pixel_buffer(), kMostParts * kGroup<T>), 16);
    const int64_t blocks = ceil_div(panels(), block_panels());
    const int workers = plan_workers(max_of(column_groups() * blocks, transform_parts()));
    const int64_t sums = one_chunk ? workers * block_panels() * panel_size() : sums_size();
    const int64_t inputs = column_groups() * points() * input_stride();
    const int64_t gradients = panels() * points() * gradient_stride();
    Workspace workspace((sums + inputs + gradients + workers * pixels) * kBytes +
                        4 * Workspace::kAlignment);
    T* const sum = workspace.take<T>(sums);
    T* const v = workspace.take<T>(inputs);
    T* const u = workspace.take<T>(gradients);
    T* const scratch = workspace.take<T>(workers * pixels);
    for (int64_t group = 0; group < conv_.groups; ++group) {
      for (int64_t unit = 0; unit < all_units_; unit += chunk_units_) {
        const int64_t units = min_of(chunk_units_, all_units_ - unit);
        const bool first = unit == 0, last = unit + units == all_units_;
        parallel_for(transform_parts(), 1, [&](int64_t begin, int64_t, int worker) {
          transform(group, unit, units, begin, u, v, scratch + worker * pixels);
        });
        parallel_for(column_groups() * blocks, 1, [&](int64_t item, int64_t, int worker) {
          const int64_t g = item / blocks, panel = item % blocks * block_panels();
          const int64_t count = min_of(block_panels(), panels() - panel);
          T* const block = one_chunk ? sum + worker * block_panels() * panel_size()
                                     : sum + (g * panels() + panel) * panel_size();
          multiply(units * unit_tiles_, g, panel, count, u, v, first, block);
          if (!last) return;
          for (int64_t i = 0; i < count; ++i) {
            finish(group, g, (panel + i) * panel_, block + i * panel_size(),
                   scratch + worker * pixels);
          }
        });
      }
    }
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;
  static constexpr int64_t kMostParts = kMostWinogradTaps * kMostWinogradTaps;

  int64_t tile_rows() const { return height_.tiles(conv_.axes[1].positions); }
  int64_t points() const { return gradient_points(height_.taps) * gradient_points(width_.taps); }
  int64_t column_groups() const { return ceil_div(channels_, kGroup<T>); }
  int64_t panels() const { return ceil_div(conv_.out_channels, panel_); }
  int64_t block_panels() const { return ceil_div(panels(), ceil_div(panels(), kBlockPanels)); }
  // From a point to the next: a line more than the tiles, since at a power of two all points would
  // meet in the same sets of the cache.
  int64_t input_stride() const { return tiles_ * kGroup<T> + 16; }
  int64_t gradient_stride() const { return round_up(tiles_ * panel_, 16) + 16; }
  int64_t panel_size() const { return points() * panel_ * kGroup<T>; }
  int64_t sums_size() const { return column_groups() * panels() * panel_size(); }
  int64_t input_pixels() const {
    return (unit_tiles_ - 1) * gradient_tile(width_.taps) + gradient_points(width_.taps);
  }
  // Rows of inputs, which are more than those of gradients.
  int64_t pixel_buffer() const {
    return gradient_points(height_.taps) * (input_pixels() + kSize) * kSize;
  }

  struct Unit {  // neighbouring tiles of one row of tiles
    int64_t image, depth, row, col;
  };
  Unit unit_at(int64_t unit) const {
    const int64_t line = unit / segments_, plane = line / tile_rows();
    return {plane / conv_.axes[0].positions, plane % conv_.axes[0].positions, line % tile_rows(),
            unit % segments_ * unit_tiles_};
  }

  struct Part {  // of the kernel, by dimension
    int64_t depth, height, width;
  };
  Part part_at(int64_t part) const {
    const int64_t line = part / width_.count();
    return {line / height_.count(), line % height_.count(), part % width_.count()};
  }

  // What is transformed at a time: kSize channels of the inputs, or a panel of the gradients.
  int64_t input_vectors() const { return ceil_div(channels_, kSize); }
  int64_t transform_parts() const { return input_vectors() + panels(); }

  void transform(int64_t group, int64_t unit, int64_t units, int64_t part, T* u, T* v,
                 T* pixels) const {
    const int64_t panel = part - input_vectors();
    for (int64_t i = 0; i < units; ++i) {
      if (panel < 0) {
        T* const target = v + part * kSize / kGroup<T> * points() * input_stride() +
                          part * kSize % kGroup<T> + i * unit_tiles_ * kGroup<T>;
        transform_inputs(group, unit_at(unit + i), part * kSize, target, pixels);
      } else {
        const int64_t rows = min_of(panel_, conv_.out_channels - panel * panel_);
        T* const target = u + panel * points() * gradient_stride() + i * unit_tiles_ * rows;
        transform_gradients(group, unit_at(unit + i), panel * panel_, rows, target, pixels);
      }
    }
  }

  // Channels channel .. channel + kSize-1 of a unit's inputs.
  void transform_inputs(int64_t group, const Unit& unit, int64_t channel, T* target,
                        T* pixels) const {
    const Axis& width = conv_.axes[2];
    const int64_t tile = gradient_tile(width_.taps), k = conv_.in_channels;
    const int64_t plane = conv_.axes[0].source * conv_.axes[1].source * width.source;
    const int64_t pitch = (input_pixels() + kSize) * kSize;
    const T* const x = conv_.x + (unit.image * conv_.groups + group) * k * plane;
    const PixelLoader<T> loader(width.source, width.step, conv_.mode);
    for (int64_t i = 0; i < gradient_points(height_.taps); ++i) {
      PixelRow<T> lanes[kSize], part_row{};
      int64_t next = 0;  // the first lane of the next part
      for (int64_t c = 0; c < kSize; ++c) {
        const int64_t lane = min_of(channel + c, channels_ - 1);  // past the last: not used
        if (c == 0 || lane == next) {
          part_row = input_row(x, unit, part_at(lane / k), i);
          next = (lane / k + 1) * k;
        }
        const T* const row = part_row.row;
        lanes[c] = {row == nullptr ? row : row + (lane - next + k) * plane, part_row.first};
      }
      loader.load(lanes, input_pixels(), pixels + i * pitch);
    }
    for (int64_t t = 0; t < unit_tiles_; ++t) {
      transforms_.input(pixels + t * tile * kSize, pitch, target + t * kGroup<T>, input_stride());
    }
  }

  // Row i of what a part of the kernel sees of the first channel x.
  PixelRow<T> input_row(const T* x, const Unit& unit, const Part& part, int64_t i) const {
    const Axis &depth = conv_.axes[0], &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t d = padded_index(
        conv_.mode, unit.depth * depth.step + depth.first + part.depth * depth.tap_step,
        depth.source);
    const int64_t top = (unit.row * gradient_tile(height_.taps) + i) * height.step + height.first;
    const int64_t row = padded_index(conv_.mode, top + height_.tap(part.height, 0), height.source);
    const int64_t left = unit.col * gradient_tile(width_.taps) * width.step + width.first;
    return {d < 0 || row < 0 ? nullptr : x + (d * height.source + row) * width.source,
            left + width_.tap(part.width, 0)};
  }

  // Filters row .. row + rows-1 of a unit's gradients.
  void transform_gradients(int64_t group, const Unit& unit, int64_t row, int64_t rows, T* target,
                           T* pixels) const {
    const Axis &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t tile = gradient_tile(width_.taps), tile_height = gradient_tile(height_.taps);
    const int64_t count = unit_tiles_ * tile, pitch = (count + kSize) * kSize;
    const int64_t plane = height.positions * width.positions;
    const int64_t filter = (unit.image * conv_.groups + group) * conv_.out_channels + row;
    const T* const grad = grad_y_ + (filter * conv_.axes[0].positions + unit.depth) * plane;
    const PixelLoader<T> loader(width.positions, 1, PaddingMode::kZeros);
    for (int64_t first = 0; first < rows; first += kSize) {
      for (int64_t i = 0; i < tile_height; ++i) {
        const int64_t line = unit.row * tile_height + i;
        PixelRow<T> lanes[kSize];
        for (int64_t c = 0; c < kSize; ++c) {
          const int64_t lane = min_of(first + c, rows - 1);
          lanes[c] = {line < height.positions
                          ? grad + lane * conv_.axes[0].positions * plane + line * width.positions
                          : nullptr,
                      unit.col * tile};
        }
        loader.load(lanes, count, pixels + i * pitch);
      }
      const Mask<T> mask = first_n_mask<T>(rows - first);
      for (int64_t t = 0; t < unit_tiles_; ++t) {
        transforms_.gradient(pixels + t * tile * kSize, pitch, target + t * rows + first,
                             gradient_stride(), mask);
      }
    }
  }

  // Adds the products of `count` panels with group g to sums[panel][point][row][kGroup].
  void multiply(int64_t tiles, int64_t g, int64_t panel, int64_t count, const T* u, const T* v,
                bool first, T* sums) const {
    const int64_t cols = round_up(min_of(kGroup<T>, channels_ - g * kGroup<T>), kSize);
    T products[kTileRows * kGroup<T>];
    for (int64_t point = 0; point < points(); ++point) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t rows = min_of(panel_, conv_.out_channels - (panel + i) * panel_);
        T* const target = sums + i * panel_size() + point * panel_ * kGroup<T>;
        Tile<T> tile{};
        tile.depth = tiles;
        tile.a = {u + ((panel + i) * points() + point) * gradient_stride(), 1, rows};
        tile.b = v + (g * points() + point) * input_stride();
        tile.b_stride = kGroup<T>;
        tile.c = first ? target : products;
        tile.c_stride = kGroup<T>;
        tile.cols = cols;
        run_tile<T>(static_cast<int>(rows), tile);
        if (first) continue;
        for (int64_t j = 0; j < rows * kGroup<T>; j += kSize) {
          (Vec<T>::load(target + j) + Vec<T>::load(products + j)).store(target + j);
        }
      }
    }
  }

  // The taps of the filters from `row` on and group g's channels.
  void finish(int64_t group, int64_t g, int64_t row, const T* sums, T* taps) const {
    const int64_t taps_a_part = height_.taps * width_.taps, all = taps_of(conv_.axes);
    const int64_t k = conv_.in_channels, first = g * kGroup<T>;
    const int64_t lanes = min_of(kGroup<T>, channels_ - first);
    for (int64_t i = 0; i < min_of(panel_, conv_.out_channels - row); ++i) {
      for (int64_t j = 0; j < lanes; j += kSize) {
        transforms_.output(sums + i * kGroup<T> + j, panel_ * kGroup<T>, taps + j, kGroup<T>);
      }
      T* const w = grad_w_ + (group * conv_.out_channels + row + i) * k * all;
      if (taps_a_part == all) {
        pack_panel<T, false>(w + first * all, all, taps, all, kGroup<T>, lanes, 1);
        continue;
      }
      for (int64_t j = 0; j < lanes;) {
        const int64_t part = (first + j) / k, channel = (first + j) % k;
        const int64_t channels = min_of(lanes - j, k - channel);
        store_part(part_at(part), taps + j, channels, w + channel * all);
        j += channels;
      }
    }
  }

  // Those of one part and some channels; taps past the kernel are left out.
  void store_part(const Part& part, const T* taps, int64_t channels, T* target) const {
    const Axis &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t all = taps_of(conv_.axes);
    for (int64_t h = 0; h < height_.taps; ++h) {
      const int64_t row = height_.tap(part.height, h);
      for (int64_t w = 0; w < width_.taps && row < height.taps; ++w) {
        const int64_t col = width_.tap(part.width, w);
        if (col >= width.taps) break;
        const T* const source = taps + (h * width_.taps + w) * kGroup<T>;
        T* const tap = target + (part.depth * height.taps + row) * width.taps + col;
        for (int64_t c = 0; c < channels; ++c) tap[c * all] = source[c];
      }
    }
  }

  const Convolution<T>& conv_;
  const T* grad_y_;
  T* grad_w_;
  TapParts height_, width_;  // depth has no transform: its taps are parts of one tap each
  GradientTransforms<T> transforms_;
  int64_t channels_;  // of the parts together
  int64_t panel_;
  int64_t segments_, unit_tiles_, all_units_, chunk_units_, tiles_;
};

bool is_dense(const Axis& axis) { return axis.taps == 1 || axis.tap_step == 1; }

// Calls f with the gradient of every kind of part.
template <class T, class F>
void for_each_kind(const Convolution<T>& conv, bool alike, const T* grad_y, T* grad_w, const F& f) {
  const KernelCut heights = cut_kernel(conv.axes[1], alike);
  const KernelCut widths = cut_kernel(conv.axes[2], alike);
  for (int h = 0; h < heights.kinds; ++h) {
    for (int w = 0; w < widths.kinds; ++w) {
      f(WinogradGradient<T>(conv, heights.parts[h], widths.parts[w], grad_y, grad_w));
    }
  }
}

struct Cost {
  bool alike, fits;
  int64_t multiply_adds;
};

// Parts alike share the transformed gradients, parts of two kinds take fewer products: of which
// a sixteenth is lost again in more transforms than are counted.
template <class T>
Cost cheapest_cut(const Convolution<T>& conv) {
  Cost costs[2] = {{false, true, 0}, {true, true, 0}};
  for (Cost& cost : costs) {
    for_each_kind<T>(conv, cost.alike, nullptr, nullptr, [&](const WinogradGradient<T>& gradient) {
      cost.multiply_adds += gradient.cost();
      cost.fits = cost.fits && gradient.fits();
    });
  }
  const bool fewer = costs[0].multiply_adds * 17 < costs[1].multiply_adds * 16;
  const bool alike = !costs[0].fits || (costs[1].fits && !fewer);
  return costs[alike ? 1 : 0];
}

}  // namespace

template <class T>
bool is_winograd_gradient(const Convolution<T>& forward) {
  if (!forward.fast || !is_dense(forward.axes[1]) || !is_dense(forward.axes[2])) return false;
  const int64_t direct = positions_of(forward.axes) * forward.out_channels * forward.in_channels *
                         taps_of(forward.axes);
  const Cost cost = cheapest_cut(forward);
  return cost.fits && direct * 5 > cost.multiply_adds * 6;
}

template <class T>
void winograd_gradient(const Convolution<T>& forward, const T* grad_y, T* grad_w) {
  for_each_kind<T>(forward, cheapest_cut(forward).alike, grad_y, grad_w,
                   [](const WinogradGradient<T>& gradient) { gradient.run(); });
}

template bool is_winograd_gradient(const Convolution<float>&);
template void winograd_gradient(const Convolution<float>&, const float*, float*);

}  // namespace fastnn::FASTNN_ISA
