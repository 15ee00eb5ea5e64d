#include "kernels/conv/patch.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {

int64_t padded_index(PaddingMode mode, int64_t index, int64_t size) {
  if (index >= 0 && index < size) return index;
  switch (mode) {
    case PaddingMode::kReflect: {
      const int64_t mirrored = index < 0 ? -index : 2 * (size - 1) - index;
      return mirrored >= 0 && mirrored < size ? mirrored : -1;
    }
    case PaddingMode::kReplicate:
      return index < 0 ? 0 : size - 1;
    case PaddingMode::kCircular:
      return index < 0 ? index + size : index - size;
    default:
      return -1;
  }
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
    const int count = cut_segments(axes, col + j, min_of(kSize, cols - j), segments);
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

template <class T>
Panels<T> TransposedPatches<T>::b_block(T* scratch, int64_t col, int64_t cols, int64_t p,
                                        int64_t depth) const {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Axis(&axes)[3] = patches.axes;
  const int64_t taps = taps_of(axes);
  const int64_t channel_stride = axes[0].source * axes[1].source * axes[2].source;
  const int64_t plane_taps = axes[1].taps * axes[2].taps;
  for (int64_t i = 0; i < depth; i += kSize) {
    const int64_t steps = min_of(kSize, depth - i);
    Segment segments[kSize];
    const int count = cut_segments(axes, p + i, steps, segments);
    Gather<T> gather;
    int64_t tap = col % taps;
    const T* channel = patches.x + col / taps * channel_stride;
    for (int64_t j = 0; j < cols; j += kSize) {
      const int64_t lanes = min_of(kSize, cols - j);
      Vec<T> rows[kSize];
      T* const square = scratch + j / kGroup<T> * kGroup<T> * depth + i * kGroup<T> + j % kGroup<T>;
      for (int64_t r = 0; r < lanes; ++r) {
        make_gather(axes, patches.mode, segments, count, tap / plane_taps * axes[0].tap_step,
                    tap % plane_taps / axes[2].taps * axes[1].tap_step,
                    tap % axes[2].taps * axes[2].tap_step, &gather);
        rows[r] = gather.load(channel);
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
