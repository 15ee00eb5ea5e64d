#include "kernels/conv/strip_gradient.h"

#include "kernels/conv/im2col.h"
#include "kernels/conv/strip.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostPositions = 192;  // of a strip: a panel and a tile's columns stay in L1

template <class T>
class StripGradient {
 public:
  StripGradient(const Convolution<T>& conv, const T* grad_y, int64_t parts)
      : conv_(conv),
        grad_y_(grad_y),
        parts_(parts),
        images_(ceil_div(conv.batch, parts)),
        layout_(choose_layout(conv, kMostPositions)),
        taps_(taps_of(conv.axes)),
        panel_(panel_rows(conv.out_channels)) {}

  void run(T* grad_w) {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    const int64_t panels = ceil_div(conv_.out_channels, panel_);
    const int64_t items = parts_ * conv_.groups;
    // Few items are shared by several threads, each with some of the filters.
    const int64_t shares = min_of(panels, ceil_div(plan_workers(num_threads()), items));
    const int64_t share = ceil_div(panels, shares);
    const int64_t part = round_up(input_size() + panel_ * positions(), Workspace::kAlignment);
    const int workers = plan_workers(items * shares);
    Workspace workspace((workers * part + items * group_weights()) * kBytes +
                        taps_ * int64_t{sizeof(int64_t)} + 3 * Workspace::kAlignment);
    T* const memory = workspace.take<T>(workers * part);
    T* const sums = workspace.take<T>(items * group_weights());
    int64_t* const offsets = workspace.take<int64_t>(taps_);
    layout_.tap_offsets(conv_.axes, offsets);
    tap_offsets_ = offsets;
    parallel_for(items * shares, 1, [&](int64_t begin, int64_t end, int worker) {
      T* const input = memory + worker * part;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t item = i / shares, first = i % shares * share * panel_;
        const int64_t rows = min_of(share * panel_, conv_.out_channels - first);
        if (rows > 0) run_item(item, first, rows, input, sums + item * group_weights());
      }
    });
    add(sums, grad_w);
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;

  int64_t group_weights() const { return taps_ * conv_.out_channels * conv_.in_channels; }
  int64_t input_size() const { return layout_.channel * round_up(conv_.in_channels, kGroup<T>); }
  int64_t positions() const { return layout_.positions(layout_.rows, layout_.cols); }

  // Filters row .. row + rows-1 of a part's gradient of one group.
  void run_item(int64_t item, int64_t row, int64_t rows, T* input, T* sums) const {
    const int64_t group = item % conv_.groups, first = item / conv_.groups * images_;
    T* const gradients = input + input_size();
    bool accumulate = false;
    for (int64_t n = first; n < min_of(first + images_, conv_.batch); ++n) {
      const int64_t index = n * conv_.groups + group;
      for (int64_t d = 0; d < conv_.axes[0].positions; ++d) {
        for (int64_t h = 0; h < conv_.axes[1].positions; h += layout_.rows) {
          for (int64_t w = 0; w < conv_.axes[2].positions; w += layout_.cols) {
            const Strip strip{index,
                              d,
                              h,
                              w,
                              min_of(layout_.rows, conv_.axes[1].positions - h),
                              min_of(layout_.cols, conv_.axes[2].positions - w)};
            load(strip, input);
            for (int64_t i = row; i < row + rows; i += panel_) {
              const int64_t height = min_of(panel_, row + rows - i);
              pack_gradients(strip, i, height, gradients);
              multiply(strip, i, height, gradients, input, accumulate, sums);
            }
            accumulate = true;
          }
        }
      }
    }
    if (accumulate) return;
    for (int64_t tap = 0; tap < taps_; ++tap) {  // a part without images
      T* const first_sum = sums + (tap * conv_.out_channels + row) * conv_.in_channels;
      for (int64_t i = 0; i < rows * conv_.in_channels; ++i) first_sum[i] = T(0);
    }
  }

  struct Strip {
    int64_t index;  // image * groups + group
    int64_t depth, row, col, rows, cols;
  };

  // The padded input of a strip (strip.h): [group of channels][position][kGroup].
  void load(const Strip& strip, T* input) const {
    const Axis &depth = conv_.axes[0], &height = conv_.axes[1], &width = conv_.axes[2];
    const int64_t k = conv_.in_channels, pitch = layout_.width.pitch;
    const int64_t plane = height.source * width.source;
    const T* const x = conv_.x + strip.index * k * depth.source * plane;
    const int64_t top = strip.row * height.step + layout_.height.lowest;
    for (int64_t t = 0; t < depth.taps; ++t) {
      const int64_t d = padded_index(
          conv_.mode, strip.depth * depth.step + depth.first + t * depth.tap_step, depth.source);
      for (int64_t h = 0; h < layout_.height.phases; ++h) {
        for (int64_t i = 0; i < layout_.height.pitch; ++i) {
          const int64_t row = padded_index(conv_.mode, top + h + i * height.step, height.source);
          const int64_t line =
              t * layout_.plane + (h * layout_.width.phases * layout_.height.pitch + i) * pitch;
          load_row(strip, d < 0 || row < 0 ? nullptr : x + d * plane + row * width.source,
                   input + line * kGroup<T>);
        }
      }
    }
  }

  // Where channel c of position 0 lies.
  int64_t lane(int64_t c) const {
    return c / kGroup<T> * layout_.channel * kGroup<T> + c % kGroup<T>;
  }

  // One row of all channels, depth.source * plane elements apart; zeros if x is null.
  void load_row(const Strip& strip, const T* x, T* line) const {
    const Axis& width = conv_.axes[2];
    const int64_t k = conv_.in_channels,
                  channel = conv_.axes[0].source * conv_.axes[1].source * width.source;
    const int64_t left = strip.col * width.step + layout_.width.lowest;
    const int64_t count = layout_.width.pitch * width.step;
    const auto target = [&](int64_t element) -> T* {
      const int64_t phase = element % width.step;
      if (phase >= layout_.width.phases) return nullptr;  // no tap sees it
      return line + (phase * layout_.height.pitch * layout_.width.pitch + element / width.step) *
                        kGroup<T>;
    };
    const int64_t begin = x == nullptr ? count : min_of(count, max_of(0, -left));
    const int64_t end = max_of(begin, min_of(count, width.source - left));
    for (int64_t e = 0; e < count; ++e) {
      if (e == begin) e = end;
      T* const position = e < count ? target(e) : nullptr;
      if (position == nullptr) continue;
      const int64_t index = x == nullptr ? -1 : padded_index(conv_.mode, left + e, width.source);
      for (int64_t c = 0; c < k; ++c) {
        position[lane(c)] = index < 0 ? T(0) : x[c * channel + index];
      }
    }
    for (int64_t e = begin; e < end; e += kSize) {
      const int64_t elements = min_of(kSize, end - e);
      for (int64_t c = 0; c < k; c += kSize) {
        const int64_t channels = min_of(kSize, k - c);
        Vec<T> rows[kSize];
        FASTNN_UNROLL
        for (int64_t r = 0; r < kSize; ++r) {
          rows[r] = r < channels ? Vec<T>::load(x + (c + r) * channel + left + e, elements)
                                 : Vec<T>::zero();
        }
        transpose(rows);
        FASTNN_UNROLL
        for (int64_t r = 0; r < kSize; ++r) {
          T* const position = r < elements ? target(e + r) : nullptr;
          if (position != nullptr) rows[r].store(position + lane(c), channels);
        }
      }
    }
  }

  // panel[position][filter], zero between the rows.
  void pack_gradients(const Strip& strip, int64_t row, int64_t rows, T* panel) const {
    const int64_t all = positions_of(conv_.axes), width = conv_.axes[2].positions;
    const T* const grad = grad_y_ + (strip.index * conv_.out_channels + row) * all +
                          (strip.depth * conv_.axes[1].positions + strip.row) * width + strip.col;
    for (int64_t i = 0; i < strip.rows; ++i, panel += layout_.width.pitch * rows) {
      pack_panel<T, false>(panel, rows, grad + i * width, rows, all, strip.cols, 1);
      const int64_t junk = i + 1 < strip.rows ? layout_.width.pitch - strip.cols : 0;
      for (int64_t j = 0; j < junk * rows; ++j) panel[strip.cols * rows + j] = T(0);
    }
  }

  void multiply(const Strip& strip, int64_t row, int64_t rows, const T* gradients, const T* input,
                bool accumulate, T* sums) const {
    const int64_t k = conv_.in_channels;
    const int64_t cols = tile_vectors(static_cast<int>(rows)) * kSize;
    Tile<T> tile{};
    tile.depth = layout_.positions(strip.rows, strip.cols);
    tile.a = {gradients, 1, rows};
    tile.b_stride = kGroup<T>;
    tile.b_group_stride = layout_.channel * kGroup<T>;
    tile.c_stride = k;
    tile.accumulate = accumulate;
    for (int64_t tap = 0; tap < taps_; ++tap) {
      for (int64_t c = 0; c < k; c += cols) {
        tile.b = input + lane(c) + tap_offsets_[tap] * kGroup<T>;
        tile.c = sums + (tap * conv_.out_channels + row) * k + c;
        tile.cols = min_of(cols, k - c);
        run_tile<T>(static_cast<int>(rows), tile);
      }
    }
  }

  // grad_w[filter][channel][tap] = the sum over the parts of sums[tap][filter][channel].
  void add(T* sums, T* grad_w) const {
    const int64_t m = conv_.out_channels, k = conv_.in_channels;
    parallel_for(conv_.groups * m, max_of(1, (int64_t{1} << 14) / max_of(1, k * taps_)),
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t i = begin; i < end; ++i) {
                     T* const first = sums + i / m * group_weights() + i % m * k;
                     for (int64_t part = 1; part < parts_; ++part) {
                       for (int64_t tap = 0; tap < taps_; ++tap) {
                         T* const total = first + tap * m * k;
                         const T* const term = total + part * conv_.groups * group_weights();
                         for (int64_t c = 0; c < k; ++c) total[c] += term[c];
                       }
                     }
                     pack_panel<T, false>(grad_w + i * k * taps_, taps_, first, taps_, m * k, k, 1);
                   }
                 });
  }

  const Convolution<T>& conv_;
  const T* grad_y_;
  int64_t parts_, images_;
  StripLayout<T> layout_;
  int64_t taps_, panel_;
  const int64_t* tap_offsets_ = nullptr;
};

}  // namespace

// Worth it where the channels fill vectors and few positions lie between the rows.
template <class T>
bool is_strip_gradient(const Convolution<T>& conv) {
  const int64_t k = conv.in_channels, taps = taps_of(conv.axes);
  if (k < Vec<T>::kSize || taps < 2 || taps > kMostTaps || conv.out_channels < 2) return false;
  const int64_t bytes =
      conv.groups * conv.out_channels * conv.weights.columns * static_cast<int64_t>(sizeof(T));
  if (bytes > kMaxPackedWeights) return false;
  const StripLayout<T> layout = choose_layout(conv, kMostPositions);
  return layout.channel * round_up(k, kGroup<T>) <= kMostStrip &&
         (layout.width.pitch - layout.cols) * 8 <= layout.cols;
}

template <class T>
void strip_gradient(const Convolution<T>& conv, const T* grad_y, int64_t parts, T* grad_w) {
  StripGradient<T>(conv, grad_y, parts).run(grad_w);
}

#define FASTNN_INSTANTIATE(T)                             \
  template bool is_strip_gradient(const Convolution<T>&); \
  template void strip_gradient(const Convolution<T>&, const T*, int64_t, T*);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
