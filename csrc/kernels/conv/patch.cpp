#include "kernels/conv/patch.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {

int64_t padded_index(PaddingMode mode, int64_t index, int64_t size) {
  if (index >= 0 && index < size) return index;
  int64_t inside = -1;
  switch (mode) {
    case PaddingMode::kReflect:
      inside = index < 0 ? -index : 2 * (size - 1) - index;
      break;
    case PaddingMode::kReplicate:
      inside = index < 0 ? 0 : size - 1;
      break;
    case PaddingMode::kCircular:
      inside = index < 0 ? index + size : index - size;
      break;
    case PaddingMode::kZeros:
      break;
  }
  return inside < size ? inside : -1;
}

namespace {

// Stores a gather of `channels` channels, one row of the panel every row_stride elements.
template <class T>
void pack_channels(const Gather<T>& gather, const T* x, int64_t channel_stride, int64_t channels,
                   T* panel, int64_t row_stride) {
  if (gather.kind == Gather<T>::kWhole) {
    const T* source = x + gather.pieces[0].offset;
    for (int64_t c = 0; c < channels; ++c) {
      Vec<T>::load(source + c * channel_stride).store(panel + c * row_stride);
    }
  } else if (gather.kind == Gather<T>::kRuns && gather.count == 1) {
    const Mask<T> mask = lanes_mask<T>(gather.pieces[0].begin, gather.pieces[0].end);
    const T* source = x + gather.pieces[0].offset;
    for (int64_t c = 0; c < channels; ++c) {
      Vec<T>::load(source + c * channel_stride, mask).store(panel + c * row_stride);
    }
  } else if (gather.kind == Gather<T>::kRuns && gather.count == 2) {
    const Mask<T> first = lanes_mask<T>(gather.pieces[0].begin, gather.pieces[0].end);
    const Mask<T> second = lanes_mask<T>(gather.pieces[1].begin, gather.pieces[1].end);
    const T* source = x + gather.pieces[0].offset;
    const int64_t apart = gather.pieces[1].offset - gather.pieces[0].offset;
    for (int64_t c = 0; c < channels; ++c) {
      const T* p = source + c * channel_stride;
      bit_or(Vec<T>::load(p, first), Vec<T>::load(p + apart, second)).store(panel + c * row_stride);
    }
  } else {
    for (int64_t c = 0; c < channels; ++c) {
      gather.load(x + c * channel_stride).store(panel + c * row_stride);
    }
  }
}

}  // namespace

template <class T>
Panels<T> Patches<T>::b_block(T* scratch, int64_t col, int64_t cols, int64_t p,
                              int64_t depth) const {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t taps = taps_of(axes);
  const int64_t channel_stride = axes[0].source * axes[1].source * axes[2].source;
  for (int64_t j = 0; j < cols; j += kSize) {
    T* const panel = scratch + j / kGroup<T> * kGroup<T> * depth + j % kGroup<T>;
    Segment segments[kSize];
    const int count = cut_segments(axes, image_stride, col + j, min_of(kSize, cols - j), segments);
    Gather<T> gather;
    int64_t tap = 0;
    for (int64_t d = 0; d < axes[0].taps; ++d) {
      for (int64_t h = 0; h < axes[1].taps; ++h) {
        for (int64_t w = 0; w < axes[2].taps; ++w, ++tap) {
          const int64_t first = p > tap ? ceil_div(p - tap, taps) : 0;
          const int64_t row = first * taps + tap - p;
          if (row >= depth) continue;
          make_gather(axes, mode, segments, count, d * axes[0].tap_step, h * axes[1].tap_step,
                      w * axes[2].tap_step, &gather);
          pack_channels(gather, x + first * channel_stride, channel_stride,
                        ceil_div(depth - row, taps), panel + row * kGroup<T>, taps * kGroup<T>);
        }
      }
    }
  }
  return {scratch, kGroup<T>, depth * kGroup<T>};
}

namespace {

// The gathers of one vector of positions: of every tap once if there are few, else one at a time.
template <class T>
class TapGathers {
 public:
  TapGathers(const Patches<T>& patches, int64_t col, int64_t lanes)
      : patches_(patches), taps_(taps_of(patches.axes)) {
    count_ = cut_segments(patches.axes, patches.image_stride, col, lanes, segments_);
    for (int64_t tap = 0; tap < taps_ && taps_ <= kKept; ++tap) make(tap, &gathers_[tap]);
  }

  const Gather<T>& of(int64_t tap) {
    if (taps_ <= kKept) return gathers_[tap];
    make(tap, gathers_);
    return gathers_[0];
  }

 private:
  static constexpr int64_t kKept = 27;

  void make(int64_t tap, Gather<T>* gather) const {
    const Axis(&axes)[3] = patches_.axes;
    const int64_t plane = axes[1].taps * axes[2].taps;
    make_gather(axes, patches_.mode, segments_, count_, tap / plane * axes[0].tap_step,
                tap % plane / axes[2].taps * axes[1].tap_step,
                tap % axes[2].taps * axes[2].tap_step, gather);
  }

  const Patches<T>& patches_;
  int64_t taps_;
  int count_;
  Segment segments_[Vec<T>::kSize];
  Gather<T> gathers_[kKept];
};

}  // namespace

template <class T>
Panels<T> TransposedPatches<T>::b_block(T* scratch, int64_t col, int64_t cols, int64_t p,
                                        int64_t depth) const {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Axis(&axes)[3] = patches.axes;
  const int64_t taps = taps_of(axes);
  const int64_t channel_stride = axes[0].source * axes[1].source * axes[2].source;
  for (int64_t i = 0; i < depth; i += kSize) {
    const int64_t steps = min_of(kSize, depth - i);
    TapGathers<T> gathers(patches, p + i, steps);
    int64_t tap = col % taps;
    const T* channel = patches.x + col / taps * channel_stride;
    for (int64_t j = 0; j < cols; j += kSize) {
      const int64_t lanes = min_of(kSize, cols - j);
      Vec<T> rows[kSize];
      T* const square = scratch + j / kGroup<T> * kGroup<T> * depth + i * kGroup<T> + j % kGroup<T>;
      for (int64_t r = 0; r < lanes; ++r) {
        rows[r] = gathers.of(tap).load(channel);
        if (++tap == taps) {
          tap = 0;
          channel += channel_stride;
        }
      }
      for (int64_t r = lanes; r < kSize; ++r) rows[r] = Vec<T>::zero();
      transpose(rows);
      for (int64_t r = 0; r < steps; ++r) rows[r].store(square + r * kGroup<T>);
    }
  }
  return {scratch, kGroup<T>, depth * kGroup<T>};
}

template struct Patches<float>;
template struct Patches<double>;
template struct TransposedPatches<float>;
template struct TransposedPatches<double>;

}  // namespace fastnn::FASTNN_ISA
