// The way back of sliding windows: each input row gathers from the rows of outputs that cover it,
// so that every element of grad_x is written once and no zeros have to be laid out before.
//
// Input column w belongs to tap k of output (w + padding - k * dilation) / stride where that is
// whole. For the columns of one phase (w mod stride) the taps are the same, and neighbours of a
// phase meet neighbouring outputs: contiguous loads.
#pragma once

#include "kernels/pool/window.h"

namespace fastnn::FASTNN_ISA::pool {

// The outputs whose window may reach input i.
FASTNN_INLINE Range covering(const PoolAxis& axis, int64_t i) {
  const int64_t last = i + axis.padding, first = last - (axis.kernel - 1) * axis.dilation;
  const int64_t begin = first <= 0 ? 0 : divide_up(first, axis.stride);
  return {begin, larger(begin, smaller(axis.out, last / axis.stride + 1))};
}

// For each phase the taps and where their outputs lie in a row of scratch, which begins with
// output `base` for the tile at column 0.
struct Phases {
  int64_t base, begin[kMaxSlidingStride + 1];
  int64_t tap[kMaxSlidingColumns], offset[kMaxSlidingColumns];

  explicit Phases(const PoolAxis& width)
      : base(divide_down(width.padding - (width.kernel - 1) * width.dilation, width.stride)) {
    int64_t count = 0;
    for (int64_t phase = 0; phase < width.stride; ++phase) {
      begin[phase] = count;
      for (int64_t k = 0; k < width.kernel; ++k) {
        const int64_t position = phase + width.padding - k * width.dilation;
        const int64_t o = divide_down(position, width.stride);
        if (o * width.stride != position) continue;
        tap[count] = k;
        offset[count++] = o - base;
      }
    }
    begin[width.stride] = count;
  }
};

// Rows of scratch that hold, for tiles of `columns` input columns, all outputs they belong to.
template <class T>
struct OutputRows {
  RowLayout<T> layout;
  int64_t outputs;

  OutputRows(const PoolAxis& width, const Phases& phases, int64_t columns)
      : OutputRows((columns - 1 + width.padding) / width.stride - phases.base + 1) {}

  template <class Source>
  FASTNN_INLINE void write(int64_t first, int64_t out, T fill, T* scratch,
                           const Source& source) const {
    const int64_t left = smaller(first < 0 ? -first : 0, outputs);
    const int64_t valid = larger(0, smaller(out - first - left, outputs - left));
    write_row(layout, left, valid, outputs, fill, scratch, source);
  }

 private:
  explicit OutputRows(int64_t count) : layout(PoolAxis{0, 0, count, 1, 0, 1}, 1), outputs(count) {}
};

FASTNN_INLINE int64_t input_tile_columns(const PoolAxis& width) {
  return kTileColumns / width.stride * width.stride;
}

// Writes `columns` inputs from gather(phase, j), the inputs phase + stride * (j, j + 1, ...).
// `spare` holds stride rows of `spare_pitch` elements if stride > 2.
template <class T, class Gather>
FASTNN_INLINE void merge_phases(int64_t stride, int64_t columns, T* to, const T* limit, T* spare,
                                int64_t spare_pitch, const Gather& gather) {
  constexpr int64_t kSize = Vec<T>::kSize;
  if (stride == 1) {
    for (int64_t j = 0; j < columns; j += kSize) {
      store_first(to + j, gather(0, j), columns - j, limit);
    }
  } else if (stride == 2) {
    for (int64_t j = 0; 2 * j < columns; j += kSize) {
      Vec<T> even = gather(0, j), odd = gather(1, j);
      interleave(even, odd);
      store_first(to + 2 * j, even, columns - 2 * j, limit);
      if (columns > 2 * j + kSize) {
        store_first(to + 2 * j + kSize, odd, columns - 2 * j - kSize, limit);
      }
    }
  } else {
    for (int64_t phase = 0; phase < smaller(stride, columns); ++phase) {
      T* row = spare + phase * spare_pitch;
      const int64_t count = divide_up(columns - phase, stride);
      for (int64_t j = 0; j < count; j += kSize) gather(phase, j).store(row + j);
      for (int64_t j = 0; j < count; ++j) to[phase + j * stride] = row[j];
    }
  }
}

template <class T>
FASTNN_INLINE int64_t spare_pitch(const PoolAxis& width, int64_t columns) {
  constexpr int64_t kSize = Vec<T>::kSize;
  return divide_up(divide_up(columns, width.stride), kSize) * kSize;
}

}  // namespace fastnn::FASTNN_ISA::pool
