#include "kernels/conv/winograd.h"

#include "kernels/conv/gather.h"
#include "kernels/conv/winograd_multiply.h"
#include "kernels/conv/winograd_transform.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxWinogradWeights = int64_t{40} << 20;  // bytes
constexpr int64_t kBlockTiles = 64;
constexpr int64_t kMostChannels = 1600;  // in: bounds the workspace

// A unit is `width` neighbouring tiles of one row of tiles of one image, a block `units` of those.
struct Tiling {
  Axis rows, cols;  // the tiles' patches
  int64_t segments, width, all_units, units, tiles;
};

template <class F>
Axis tile_axis(const Axis& axis) {
  const int64_t lowest = min_of(axis.first, axis.first + (F::kTaps - 1) * axis.tap_step);
  return {axis.source, ceil_div(axis.positions, F::kOut), F::kOut * F::kStep, F::kIn, lowest, 1};
}

template <class Height, class Width, class T>
Tiling make_tiling(const Convolution<T>& conv) {
  Tiling t{};
  t.rows = tile_axis<Height>(conv.axes[1]);
  t.cols = tile_axis<Width>(conv.axes[2]);
  t.segments = ceil_div(t.cols.positions, kBlockTiles);
  t.width = ceil_div(t.cols.positions, t.segments);
  t.all_units = conv.batch * t.rows.positions * t.segments;
  t.units = min_of(max_of(1, kBlockTiles / t.width), t.all_units);
  t.tiles = t.units * t.width;
  return t;
}

// With the one-dimensional transforms of the two dimensions.
template <class T, class Height, class Width>
class Winograd {
 public:
  explicit Winograd(const Convolution<T>& conv)
      : conv_(conv), tiling_(make_tiling<Height, Width>(conv)) {}

  // Elements of the transformed weights.
  int64_t weights() const {
    return conv_.groups * kPoints * conv_.in_channels * round_up(conv_.out_channels, kGroup<T>);
  }

  // Whether the products that are saved outweigh the transforms, by measurement: for each point of
  // a tile, reading a vector of channels takes as long as 11 multiply-adds, writing one of filters
  // as long as 3. The direct sum has positions in its lanes, of which the last may be idle.
  bool pays() const {
    constexpr int64_t kRead = 11, kWrite = 3;
    const int64_t m = conv_.out_channels, k = conv_.in_channels, width = conv_.axes[2].positions;
    const int64_t direct = Height::kOut * Width::kOut * kTaps * round_up(width, kSize) / width;
    return (direct - kPoints) * m * k >=
           kPoints * kSize * (kRead * ceil_div(k, kSize) + kWrite * ceil_div(m, kSize));
  }

  void transform_weights(T* target) const {
    constexpr int64_t kPacking = kGroup<T> * kChunk * kTaps + kSize;
    Convolution<T> ordered = conv_;
    const Weights<T> filters = ascending_taps(&ordered);
    const int64_t panels = filter_groups(), items = panels * conv_.groups;
    const int64_t panel_size = kPoints * conv_.in_channels * kGroup<T>;
    const int64_t grain = max_of(1, (int64_t{1} << 15) / panel_size);
    const int64_t part = round_up(kPacking, 16);
    const int workers = plan_workers(ceil_div(items, grain));
    Workspace workspace(workers * part * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    parallel_for(items, grain, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        Weights<T> w = filters;
        w.data += i / panels * conv_.group_weights;
        transform_panel(w, i % panels * kGroup<T>, memory + worker * part, target + i * panel_size);
      }
    });
  }

  void run(const T* weights) const {
    const int64_t panels = filter_groups();
    const int64_t blocks = ceil_div(tiling_.all_units, tiling_.units) * conv_.groups;
    // Few blocks are shared by several threads, each with some of the filters.
    const int64_t shares = min_of(panels, ceil_div(plan_workers(num_threads()), blocks));
    const int64_t share = ceil_div(panels, shares);
    const int64_t inputs = kPoints * point_stride(), products = kPoints * product_stride();
    const int64_t pixels =
        max_of(Height::kIn * (row_pixels() + kSize), (Height::kOut + 1) * output_pixels()) * kSize;
    const int64_t part = round_up(inputs + products + pixels, 16);
    const int workers = plan_workers(blocks * shares);
    Workspace workspace(workers * part * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    parallel_for(blocks * shares, 1, [&](int64_t begin, int64_t end, int worker) {
      T* const v = memory + worker * part;
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
          multiply(units * tiling_.width, v,
                   weights + (group * panels + panel) * kPoints * conv_.in_channels * kGroup<T>,
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
  static constexpr int64_t kPoints = Height::kPoints * Width::kPoints;
  static constexpr int64_t kTaps = Height::kTaps * Width::kTaps;
  static constexpr int64_t kTileStep =
      Width::kOut * Width::kStep;        // pixels from a tile to the next
  static constexpr int64_t kChunk = 32;  // channels of weights packed at a time

  int64_t filter_groups() const { return ceil_div(conv_.out_channels, kGroup<T>); }
  int64_t row_pixels() const { return (tiling_.width - 1) * kTileStep + Width::kIn; }
  int64_t output_pixels() const { return round_up(tiling_.width * Width::kOut, kSize); }
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

  // Filters row .. row + kGroup-1: [point][channel][kGroup], zero past the last filter.
  void transform_panel(const Weights<T>& w, int64_t row, T* packed, T* target) const {
    const int64_t rows = min_of(kGroup<T>, conv_.out_channels - row), k = conv_.in_channels;
    for (int64_t first = 0; first < k; first += kChunk) {
      const int64_t channels = min_of(kChunk, k - first);
      w.pack(packed, row, rows, rows, first * kTaps, channels * kTaps);
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t i = 0; i < kGroup<T>; i += kSize) {
          transform_filter(packed + c * kTaps * rows + i, rows,
                           target + (first + c) * kGroup<T> + i, k * kGroup<T>,
                           max_of(0, min_of(kSize, rows - i)));
        }
      }
    }
  }

  // The taps of `lanes` filters, `stride` apart.
  static void transform_filter(const T* taps, int64_t stride, T* target, int64_t point_stride,
                               int64_t lanes) {
    Vec<T> half[Height::kPoints][Width::kTaps];
    FASTNN_UNROLL
    for (int s = 0; s < Width::kTaps; ++s) {
      Vec<T> column[Height::kTaps], t[Height::kPoints];
      FASTNN_UNROLL
      for (int r = 0; r < Height::kTaps; ++r) {
        column[r] = Vec<T>::load(taps + (r * Width::kTaps + s) * stride, lanes);
      }
      Height::weights(column, t);
      FASTNN_UNROLL
      for (int i = 0; i < Height::kPoints; ++i) half[i][s] = t[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < Height::kPoints; ++i) {
      Vec<T> t[Width::kPoints];
      Width::weights(half[i], t);
      FASTNN_UNROLL
      for (int j = 0; j < Width::kPoints; ++j) {
        t[j].store(target + (i * Width::kPoints + j) * point_stride);
      }
    }
  }

  // The transformed inputs of a unit's tiles: v[point][block of channels][tile][kSize].
  void transform_unit(int64_t group, const Unit& unit, T* v, T* pixels) const {
    const int64_t k = conv_.in_channels, plane = conv_.axes[1].source * conv_.axes[2].source;
    const T* const x = conv_.x + (unit.image * conv_.groups + group) * k * plane;
    const int64_t pitch = (row_pixels() + kSize) * kSize;
    for (int64_t c = 0; c < k; c += kSize, v += tiling_.tiles * kSize) {
      for (int64_t i = 0; i < Height::kIn; ++i) {
        load_row(x + c * plane, min_of(kSize, k - c), unit, i, pixels + i * pitch);
      }
      for (int64_t t = 0; t < unit.tiles; ++t) {
        transform_tile(pixels + t * kTileStep * kSize, pitch, v + t * kSize);
      }
    }
  }

  // target[pixel][channel]: row i of the patches of a unit, channels in the lanes.
  void load_row(const T* x, int64_t channels, const Unit& unit, int64_t i, T* target) const {
    const int64_t size = tiling_.cols.source, plane = conv_.axes[1].source * size;
    const int64_t row = padded_index(
        conv_.mode, unit.row * tiling_.rows.step + tiling_.rows.first + i, tiling_.rows.source);
    const int64_t left = unit.col * kTileStep + tiling_.cols.first, count = row_pixels();
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

  void transform_tile(const T* pixels, int64_t pitch, T* target) const {
    const int64_t point_stride = this->point_stride();
    Vec<T> half[Height::kPoints][Width::kIn];
    FASTNN_UNROLL
    for (int j = 0; j < Width::kIn; ++j) {
      Vec<T> column[Height::kIn], t[Height::kPoints];
      FASTNN_UNROLL
      for (int i = 0; i < Height::kIn; ++i) {
        column[i] = Vec<T>::load(pixels + i * pitch + j * kSize);
      }
      Height::input(column, t);
      FASTNN_UNROLL
      for (int i = 0; i < Height::kPoints; ++i) half[i][j] = t[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < Height::kPoints; ++i) {
      Vec<T> t[Width::kPoints];
      Width::input(half[i], t);
      FASTNN_UNROLL
      for (int j = 0; j < Width::kPoints; ++j) {
        t[j].store(target + (i * Width::kPoints + j) * point_stride);
      }
    }
  }

  void multiply(int64_t tiles, const T* v, const T* u, int64_t filters, T* products) const {
    for (int64_t point = 0; point < kPoints; ++point) {
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
    const int64_t top = unit.row * Height::kOut, left = unit.col * Width::kOut;
    const int64_t height = min_of(Height::kOut, conv_.axes[1].positions - top);
    const int64_t width = min_of(unit.tiles * Width::kOut, conv_.axes[2].positions - left);
    const Phase& phase = conv_.phase;
    for (int64_t first = 0; first < rows; first += kSize) {
      const int64_t filter = group * conv_.out_channels + row + first;
      const int64_t lanes = min_of(kSize, rows - first);
      const Vec<T> bias =
          conv_.bias == nullptr ? Vec<T>::zero() : Vec<T>::load(conv_.bias + filter, lanes);
      for (int64_t t = 0; t < unit.tiles; ++t) {
        transform_products(products + t * kGroup<T> + first, bias, pixels + t * Width::kOut * kSize,
                           pitch);
      }
      T* const y = conv_.y + (unit.image * conv_.groups * conv_.out_channels + filter) * plane +
                   phase.first[2] + left * phase.step[2];
      for (int64_t i = 0; i < height; ++i) {
        T* const target = y + (phase.first[1] + (top + i) * phase.step[1]) * conv_.output[2];
        if (phase.step[2] == 1) {
          store_row(pixels + i * pitch, lanes, width, target, plane);
        } else {
          T* const values = pixels + Height::kOut * pitch;
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

  void transform_products(const T* products, Vec<T> bias, T* target, int64_t pitch) const {
    const int64_t product_stride = this->product_stride();
    Vec<T> half[Height::kOut][Width::kPoints];
    FASTNN_UNROLL
    for (int j = 0; j < Width::kPoints; ++j) {
      Vec<T> column[Height::kPoints], y[Height::kOut];
      FASTNN_UNROLL
      for (int i = 0; i < Height::kPoints; ++i) {
        column[i] = Vec<T>::load(products + (i * Width::kPoints + j) * product_stride);
      }
      Height::output(column, y);
      FASTNN_UNROLL
      for (int i = 0; i < Height::kOut; ++i) half[i][j] = y[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < Height::kOut; ++i) {
      Vec<T> y[Width::kOut];
      Width::output(half[i], y);
      FASTNN_UNROLL
      for (int j = 0; j < Width::kOut; ++j) (y[j] + bias).store(target + i * pitch + j * kSize);
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
  Tiling tiling_;
};

// Calls f with the algorithm of the scheme.
template <class T, class F>
auto with_scheme(WinogradScheme scheme, const Convolution<T>& conv, const F& f) {
  using One = WinogradOneTap<1>;
  using Two = WinogradSixPoints<2>;
  using OneStep2 = WinogradOneTap<1, 2>;
  using Three = WinogradSixPoints<3>;
  using Five = WinogradSixPoints<5>;
  using Seven = WinogradSum<1, WinogradSixPoints<4>, WinogradFivePoints>;
  using ThreeStep2 = WinogradSum<2, WinogradThreePoints, WinogradOneTap<2>>;
  using FourStep2 = WinogradSum<2, WinogradFourPoints<2>, WinogradFourPoints<2>>;
  using WideThreeStep2 = WinogradSum<2, Two, WinogradOneTap<5>>;
  switch (scheme) {
    case WinogradScheme::k1x1:
      if (conv.axes[2].step == 2) return f(Winograd<T, OneStep2, OneStep2>(conv));
      return f(Winograd<T, One, One>(conv));
    case WinogradScheme::kMedium3x3:
      return f(Winograd<T, Three, WinogradFourPoints<3>>(conv));
    case WinogradScheme::kSmall3x3:
      return f(Winograd<T, WinogradFourPoints<3>, WinogradFourPoints<3>>(conv));
    case WinogradScheme::k5x5:
      return f(Winograd<T, Five, Five>(conv));
    case WinogradScheme::k2x2:
      return f(Winograd<T, Two, Two>(conv));
    case WinogradScheme::kSmall2x2:
      return f(Winograd<T, WinogradFourPoints<2>, WinogradFourPoints<2>>(conv));
    case WinogradScheme::k2x1:
      return f(Winograd<T, Two, One>(conv));
    case WinogradScheme::k1x2:
      return f(Winograd<T, One, Two>(conv));
    case WinogradScheme::k3x2:
      return f(Winograd<T, Three, Two>(conv));
    case WinogradScheme::k2x3:
      return f(Winograd<T, Two, Three>(conv));
    case WinogradScheme::k5x2:
      return f(Winograd<T, Five, Two>(conv));
    case WinogradScheme::k5x3:
      return f(Winograd<T, Five, Three>(conv));
    case WinogradScheme::k1x3:
      return f(Winograd<T, One, Three>(conv));
    case WinogradScheme::k3x1:
      return f(Winograd<T, Three, One>(conv));
    case WinogradScheme::k1x5:
      return f(Winograd<T, One, Five>(conv));
    case WinogradScheme::k1x7:
      return f(Winograd<T, One, Seven>(conv));
    case WinogradScheme::k7x1:
      return f(Winograd<T, Seven, One>(conv));
    case WinogradScheme::k3x3Step2:
      return f(Winograd<T, ThreeStep2, ThreeStep2>(conv));
    case WinogradScheme::k4x4Step2:
      return f(Winograd<T, FourStep2, FourStep2>(conv));
    case WinogradScheme::k1x3Step2:
      return f(Winograd<T, One, WideThreeStep2>(conv));
    case WinogradScheme::k3x3:
    case WinogradScheme::kNone:
      break;
  }
  return f(Winograd<T, Three, Three>(conv));
}

bool is_dense(const Axis& axis) {
  return axis.step == 1 && (axis.taps == 1 || axis.tap_step == 1 || axis.tap_step == -1);
}

// A single row of taps along one axis: that axis, and the schemes for it.
WinogradScheme row_scheme(const Axis& axis, bool across) {
  if (axis.step == 2 && axis.tap_step == 1) {
    const bool wide = across && axis.taps == 3 && axis.positions > 9;
    return wide ? WinogradScheme::k1x3Step2 : WinogradScheme::kNone;
  }
  if (!is_dense(axis) || axis.positions <= 8) return WinogradScheme::kNone;
  if (axis.taps == 2) return across ? WinogradScheme::k1x2 : WinogradScheme::k2x1;
  if (axis.taps == 3) return across ? WinogradScheme::k1x3 : WinogradScheme::k3x1;
  if (axis.taps == 5 && across) return WinogradScheme::k1x5;
  if (axis.taps == 7) return across ? WinogradScheme::k1x7 : WinogradScheme::k7x1;
  return WinogradScheme::kNone;
}

// As many taps in height and width as the phases of a transposed convolution have.
WinogradScheme mixed_scheme(const Axis& height, const Axis& width) {
  if (!is_dense(height) || !is_dense(width) || min_of(height.positions, width.positions) <= 8) {
    return WinogradScheme::kNone;
  }
  if (height.taps == 3 && width.taps == 2) return WinogradScheme::k3x2;
  if (height.taps == 2 && width.taps == 3) return WinogradScheme::k2x3;
  if (height.taps == 5 && width.taps == 2) return WinogradScheme::k5x2;
  if (height.taps == 5 && width.taps == 3) return WinogradScheme::k5x3;
  return WinogradScheme::kNone;
}

// 1x1: no product is saved, but neither are lanes lost as in a matrix product with positions
// across, whose last vector is partial, and a step of 2 costs no more.
template <class T>
WinogradScheme pointwise_scheme(const Convolution<T>& conv) {
  constexpr int64_t kLeastChannels = 64, kLeastProduct = 8192;
  const Axis &height = conv.axes[1], &width = conv.axes[2];
  const int64_t positions = height.positions * width.positions;
  const bool wasteful = 24 * positions < 23 * round_up(positions, Vec<T>::kSize);
  const bool suits = (width.step == 2 || wasteful) && height.step == width.step && width.step <= 2;
  const bool large = min_of(conv.in_channels, conv.out_channels) >= kLeastChannels &&
                     conv.in_channels * conv.out_channels >= kLeastProduct;
  return suits && large ? WinogradScheme::k1x1 : WinogradScheme::kNone;
}

// The scheme for the taps and the size of the map.
template <class T>
WinogradScheme scheme_for(const Convolution<T>& conv) {
  const Axis &depth = conv.axes[0], &height = conv.axes[1], &width = conv.axes[2];
  const bool planar = depth.taps == 1 && depth.positions == 1 && depth.source == 1 &&
                      depth.first == 0 && conv.output[0] == 1;
  if (!planar) return WinogradScheme::kNone;
  if (height.taps == 1 && width.taps == 1) return pointwise_scheme(conv);
  if (height.taps == 1 && height.step == 1) return row_scheme(width, true);
  if (width.taps == 1 && width.step == 1) return row_scheme(height, false);
  if (height.taps != width.taps) return mixed_scheme(height, width);
  const int64_t taps = width.taps, least = min_of(height.positions, width.positions);
  if (height.step == 2 && width.step == 2) {
    if (height.tap_step != 1 || width.tap_step != 1 || least <= 3) return WinogradScheme::kNone;
    return taps == 3   ? WinogradScheme::k3x3Step2
           : taps == 4 ? WinogradScheme::k4x4Step2
                       : WinogradScheme::kNone;
  }
  if (!is_dense(height) || !is_dense(width)) return WinogradScheme::kNone;
  if (taps == 3 && least > 2) {
    return least > 8   ? WinogradScheme::k3x3
           : least > 6 ? WinogradScheme::kMedium3x3
                       : WinogradScheme::kSmall3x3;
  }
  if (taps == 5 && least > 2) return WinogradScheme::k5x5;
  if (taps == 2 && least > 3) {
    return least > 9 ? WinogradScheme::k2x2 : WinogradScheme::kSmall2x2;
  }
  return WinogradScheme::kNone;
}

// Channels that may be summed: the rounding error grows with them and, with six points, with the
// size of the tiles. Large transforms also take memory.
int64_t most_channels(WinogradScheme scheme) {
  switch (scheme) {
    case WinogradScheme::k1x1:
      return kMostChannels * 16;  // one point instead of 16 or more
    case WinogradScheme::kSmall3x3:
    case WinogradScheme::kSmall2x2:
    case WinogradScheme::k3x3Step2:
      return kMostChannels;
    case WinogradScheme::k2x2:
      return 256;
    case WinogradScheme::k3x2:
    case WinogradScheme::k2x3:
      return 384;
    default:
      return 512;
  }
}

template <class T>
bool fits(WinogradScheme scheme, const Convolution<T>& conv) {
  const int64_t elements =
      with_scheme(scheme, conv, [](const auto& winograd) { return winograd.weights(); });
  return scheme != WinogradScheme::kNone && conv.in_channels <= most_channels(scheme) &&
         elements * static_cast<int64_t>(sizeof(T)) <= kMaxWinogradWeights;
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
  const bool pays =
      square && with_scheme(scheme, conv, [](const auto& winograd) { return winograd.pays(); });
  return pays ? scheme : WinogradScheme::kNone;
}

template <class T>
int64_t winograd_weights(const Convolution<T>& conv) {
  return with_scheme(winograd_scheme(conv), conv, [](const auto& w) { return w.weights(); });
}

template <class T>
void transform_winograd_weights(const Convolution<T>& conv, T* target) {
  with_scheme(winograd_scheme(conv), conv, [=](const auto& w) { w.transform_weights(target); });
}

template <class T>
void convolve_winograd(const Convolution<T>& conv) {
  with_scheme(winograd_scheme(conv), conv, [&](const auto& winograd) {
    if (conv.prepared != nullptr) return winograd.run(conv.prepared);
    Workspace workspace(winograd.weights() * static_cast<int64_t>(sizeof(T)));
    T* const weights = workspace.template take<T>(winograd.weights());
    winograd.transform_weights(weights);
    winograd.run(weights);
  });
}

template WinogradScheme winograd_scheme(const Convolution<float>&);
template int64_t winograd_weights(const Convolution<float>&);
template void transform_winograd_weights(const Convolution<float>&, float*);
template void convolve_winograd(const Convolution<float>&);

}  // namespace fastnn::FASTNN_ISA
