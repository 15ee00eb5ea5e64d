#include "kernels/conv/patch.h"

#include "kernels/conv/gather.h"
#include "kernels/conv/plane.h"

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
  } else if (gather.kind == Gather<T>::kPairs && gather.count == 1) {
    const Pairs<T> pairs(gather.pieces[0]);
    for (int64_t c = 0; c < channels; ++c) {
      pairs.load(x + c * channel_stride).store(panel + c * row_stride);
    }
  } else if (gather.kind == Gather<T>::kPairs && gather.count == 2) {
    const Pairs<T> first(gather.pieces[0]), second(gather.pieces[1]);
    for (int64_t c = 0; c < channels; ++c) {
      const T* const p = x + c * channel_stride;
      bit_or(first.load(p), second.load(p)).store(panel + c * row_stride);
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

// target[i] = row `tap` of a channel's patches at position p + i, for i < count.
template <class T>
void load_patch_row(const Patches<T>& patches, const T* channel, int64_t tap, int64_t p,
                    int64_t count, T* target) {
  const Axis &depth = patches.axes[0], &height = patches.axes[1], &width = patches.axes[2];
  const int64_t plane_taps = height.taps * width.taps;
  const int64_t tap_d = tap / plane_taps, tap_h = tap % plane_taps / width.taps;
  const int64_t tap_w = tap % width.taps;
  while (count > 0) {
    const int64_t line = p / width.positions, w = p % width.positions;
    const int64_t run = min_of(width.positions - w, count);
    const int64_t d = padded_index(
        patches.mode, line / height.positions * depth.step + depth.first + tap_d * depth.tap_step,
        depth.source);
    const int64_t h =
        padded_index(patches.mode,
                     line % height.positions * height.step + height.first + tap_h * height.tap_step,
                     height.source);
    if (d < 0 || h < 0) {
      for (int64_t i = 0; i < run; ++i) target[i] = T(0);
    } else {
      load_columns(channel + (d * height.source + h) * width.source, width.source, patches.mode,
                   w * width.step + width.first + tap_w * width.tap_step, width.step, run, target);
    }
    p += run;
    target += run;
    count -= run;
  }
}

}  // namespace

// Runs of kSize rows of the matrix, which are rows of the input, go through a buffer.
template <class T>
Panels<T> TransposedPatches<T>::b_block(T* scratch, int64_t col, int64_t cols, int64_t p,
                                        int64_t depth) const {
  constexpr int64_t kSize = Vec<T>::kSize, kRun = 128, kPitch = kRun + kSize;
  const Axis(&axes)[3] = patches.axes;
  const int64_t taps = taps_of(axes);
  const int64_t channel_stride = axes[0].source * axes[1].source * axes[2].source;
  T rows[kSize * kPitch];
  for (int64_t j = 0; j < cols; j += kSize) {
    const int64_t lanes = min_of(kSize, cols - j);
    T* const panel = scratch + j / kGroup<T> * kGroup<T> * depth + j % kGroup<T>;
    for (int64_t i = 0; i < depth; i += kRun) {
      const int64_t run = min_of(kRun, depth - i);
      for (int64_t r = 0; r < lanes; ++r) {
        const int64_t row = col + j + r;
        load_patch_row(patches, patches.x + row / taps * channel_stride, row % taps, p + i, run,
                       rows + r * kPitch);
      }
      pack_panel<T, false>(panel + i * kGroup<T>, kGroup<T>, rows, lanes, kPitch, run, 1);
    }
  }
  return {scratch, kGroup<T>, depth * kGroup<T>};
}

template struct Patches<float>;
template struct Patches<double>;
template struct TransposedPatches<float>;
template struct TransposedPatches<double>;

}  // namespace fastnn::FASTNN_ISA
