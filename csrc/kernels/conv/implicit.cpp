#include "kernels/conv/implicit.h"

#include "kernels/conv/gather.h"
#include "kernels/conv/im2col.h"
#include "kernels/conv/implicit_tile.h"
#include "kernels/conv/plane.h"
#include "kernels/conv/strip.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostPositions = 1024;  // of a strip: the results stay in L2

// Whether rows fill their vectors about as well as a line of several, and lie together in y: then
// writing them goes on beside the products instead of after them.
template <class T>
bool writes_in_place(const Convolution<T>& conv, const StripLayout<T>& layout) {
  const int64_t waste = round_up(layout.cols, Vec<T>::kSize) - layout.cols;
  return conv.phase.step[2] == 1 && conv.phase.step[1] == 1 && 16 * waste <= layout.cols;
}

template <class T>
class Implicit {
 public:
  explicit Implicit(const Convolution<T>& conv)
      : conv_(conv),
        layout_(choose_layout(conv, kMostPositions)),
        in_place_(writes_in_place(conv, layout_)),
        taps_(taps_of(conv.axes)),
        panel_(panel_rows(conv.out_channels, conv.weights.columns)),
        c_stride_(round_up(layout_.positions(layout_.rows, layout_.cols),
                           kMaxTileVectors * Vec<T>::kSize)) {}

  void run() {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    const int64_t packed =
        conv_.prepared != nullptr ? 0 : conv_.groups * conv_.out_channels * conv_.weights.columns;
    Workspace weights(packed * kBytes);
    packed_ = conv_.prepared;
    if (packed > 0) {
      T* const panels = weights.take<T>(packed);
      pack_panels(conv_, panels);
      packed_ = panels;
    }
    const int64_t down = ceil_div(conv_.axes[1].positions, layout_.rows);
    const int64_t across = ceil_div(conv_.axes[2].positions, layout_.cols);
    const int64_t strips = conv_.batch * conv_.groups * conv_.axes[0].positions * down * across;
    const int64_t panels = ceil_div(conv_.out_channels, panel_);
    // Few strips are shared by several threads, each with some of the filters.
    const int64_t shares = min_of(panels, ceil_div(plan_workers(num_threads()), strips));
    const int64_t share = ceil_div(panels, shares);
    const int64_t part =
        round_up(layout_.size(conv_.in_channels) + panel_ * c_stride_, Workspace::kAlignment);
    const int64_t work =
        layout_.rows * layout_.cols * share * panel_ * max_of(1, conv_.weights.columns);
    const int64_t grain = max_of(1, min_of(kMinCellWork / work, strips * shares));
    const int workers = plan_workers(ceil_div(strips * shares, grain));
    Workspace workspace(workers * part * kBytes + taps_ * int64_t{sizeof(int64_t)} +
                        2 * Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    int64_t* const offsets = workspace.take<int64_t>(taps_);
    layout_.tap_offsets(conv_.axes, offsets);
    tap_offsets_ = offsets;
    parallel_for(strips * shares, grain, [&](int64_t begin, int64_t end, int worker) {
      T* const input = memory + worker * part;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t strip = i / shares, first = i % shares * share;
        const int64_t line = strip / across, plane = line / down;
        Strip place{};
        place.index = plane / conv_.axes[0].positions;
        place.depth = plane % conv_.axes[0].positions;
        place.row = line % down * layout_.rows;
        place.col = strip % across * layout_.cols;
        place.rows = min_of(layout_.rows, conv_.axes[1].positions - place.row);
        place.cols = min_of(layout_.cols, conv_.axes[2].positions - place.col);
        load(place, input);
        for (int64_t panel = first; panel < min_of(first + share, panels); ++panel) {
          run_panel(place, panel * panel_, input, input + layout_.size(conv_.in_channels));
        }
      }
    });
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;

  struct Strip {
    int64_t index;  // image * groups + group
    int64_t depth, row, col, rows, cols;
  };

  // The padded input of a strip: [channel][depth tap][row phase][column phase][row][column].
  void load(const Strip& strip, T* input) const {
    const Axis &depth = conv_.axes[0], &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t source_plane = height.source * width.source;
    const T* const x = conv_.x + strip.index * conv_.in_channels * depth.source * source_plane;
    for (int64_t c = 0; c < conv_.in_channels; ++c) {
      for (int64_t t = 0; t < depth.taps; ++t, input += layout_.plane) {
        const int64_t d = padded_index(
            conv_.mode, strip.depth * depth.step + depth.first + t * depth.tap_step, depth.source);
        if (d < 0) {
          fill_zero(input, layout_.plane);
        } else {
          load_plane(strip, x + (c * depth.source + d) * source_plane, input);
        }
      }
    }
  }

  void load_plane(const Strip& strip, const T* x, T* target) const {
    const Axis &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t top = strip.row * height.step + layout_.height.lowest;
    const int64_t left = strip.col * width.step + layout_.width.lowest;
    const int64_t pitch = layout_.width.pitch, phase = layout_.height.pitch * pitch;
    const bool pairs =
        width.step == 2 && layout_.width.phases == 2 && conv_.mode == PaddingMode::kZeros;
    for (int64_t h = 0; h < layout_.height.phases; ++h, target += layout_.width.phases * phase) {
      for (int64_t i = 0; i < layout_.height.pitch; ++i) {
        const int64_t row = padded_index(conv_.mode, top + h + i * height.step, height.source);
        const T* const source = x + row * width.source;
        T* const line = target + i * pitch;
        if (row >= 0 && pairs) {
          load_column_pairs(source, width.source, left, pitch, line, line + phase);
          continue;
        }
        for (int64_t w = 0; w < layout_.width.phases; ++w) {
          if (row < 0) {
            fill_zero(line + w * phase, pitch);
          } else {
            load_columns(source, width.source, conv_.mode, left + w, width.step, pitch,
                         line + w * phase);
          }
        }
      }
    }
  }

  static void fill_zero(T* target, int64_t count) {
    for (int64_t i = 0; i < count; i += kSize) {
      Vec<T>::zero().store(target + i, min_of(kSize, count - i));
    }
  }

  // Filters row .. of a strip: each of its rows into y, or all as one line into `results` first.
  void run_panel(const Strip& strip, int64_t row, const T* input, T* results) const {
    const int64_t group = strip.index % conv_.groups, k = conv_.weights.columns;
    const int64_t filter = group * conv_.out_channels + row, pitch = layout_.width.pitch;
    const int rows = static_cast<int>(min_of(panel_, conv_.out_channels - row));
    T* const y = place(strip, row);
    const int64_t lines = in_place_ ? strip.rows : 1;
    const int64_t cols = in_place_ ? strip.cols : layout_.positions(strip.rows, strip.cols);
    const int64_t vectors = ceil_div(cols, kSize), tiles = ceil_div(vectors, tile_vectors(rows));
    ImplicitTile<T> tile{};
    tile.channels = conv_.in_channels;
    tile.taps = taps_;
    tile.a = packed_ + filter * k;
    tile.channel_stride = layout_.channel;
    tile.tap_offsets = tap_offsets_;
    tile.bias = conv_.bias == nullptr ? nullptr : conv_.bias + filter;
    tile.c_stride = in_place_ ? product(conv_.output) : c_stride_;
    for (int64_t line = 0; line < lines; ++line) {
      T* const target = in_place_ ? y + line * conv_.output[2] : results;
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t begin = i * vectors / tiles, end = (i + 1) * vectors / tiles;
        tile.b = input + line * pitch + begin * kSize;
        tile.c = target + begin * kSize;
        tile.cols = in_place_ ? min_of(cols, end * kSize) - begin * kSize : (end - begin) * kSize;
        run_implicit_tile(rows, static_cast<int>(end - begin), tile);
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      T* const plane = y + i * product(conv_.output);
      if (!in_place_) {
        store(strip, results + i * c_stride_, plane);
      } else if (conv_.finish.is_needed()) {
        for (int64_t line = 0; line < strip.rows; ++line) {
          conv_.finish(plane + line * conv_.output[2], strip.cols);
        }
      }
    }
  }

  // Where a filter's first result of a strip lies in y.
  T* place(const Strip& strip, int64_t filter) const {
    const Phase& phase = conv_.phase;
    const int64_t position[3] = {strip.depth, strip.row, strip.col};
    int64_t offset = strip.index * conv_.out_channels + filter;
    for (int i = 0; i < 3; ++i) {
      offset = offset * conv_.output[i] + phase.first[i] + position[i] * phase.step[i];
    }
    return conv_.y + offset;
  }

  // Finishes one filter's results and copies them to their place.
  void store(const Strip& strip, T* results, T* y) const {
    const int64_t step = conv_.phase.step[2], pitch = conv_.phase.step[1] * conv_.output[2];
    for (int64_t i = 0; i < strip.rows; ++i, results += layout_.width.pitch, y += pitch) {
      conv_.finish(results, strip.cols, y, step);
      spread(results, strip.cols, y, step);
    }
  }

  const Convolution<T>& conv_;
  StripLayout<T> layout_;
  bool in_place_;  // whether results go from registers into y
  int64_t taps_, panel_, c_stride_;
  const T* packed_ = nullptr;
  const int64_t* tap_offsets_ = nullptr;
};

}  // namespace

// Worth it where what is thrown away costs less than packing the patches.
template <class T>
bool is_implicit(const Convolution<T>& conv) {
  constexpr int64_t kPackingRows = 32;  // filters that packing an element costs the time of
  if (conv.weights.columns < 1 || taps_of(conv.axes) > kMostTaps) return false;
  const int64_t bytes =
      conv.groups * conv.out_channels * conv.weights.columns * static_cast<int64_t>(sizeof(T));
  const StripLayout<T> layout = choose_layout(conv, kMostPositions);
  if (bytes > kMaxPackedWeights || layout.size(conv.in_channels) > kMostStrip) return false;
  const int64_t waste = layout.width.pitch - layout.cols;
  return waste * conv.out_channels <= kPackingRows * layout.cols;
}

template <class T>
void convolve_implicit(const Convolution<T>& conv) {
  Implicit<T>(conv).run();
}

#define FASTNN_INSTANTIATE(T)                       \
  template bool is_implicit(const Convolution<T>&); \
  template void convolve_implicit(const Convolution<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
