// The way back of sliding windows: each block of input rows gathers from the rows of outputs that
// cover it, so that every element of grad_x is written once and no zeros have to be laid out
// before.
//
// Input i of an axis belongs to tap k of output (i + padding - k * dilation) / stride where that is
// whole. For the inputs of one phase (i mod stride) the taps are the same, and neighbours of a
// phase meet neighbouring outputs: constant offsets and contiguous loads.
#pragma once

#include "kernels/pool/window.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA::pool {

// The outputs whose window may reach input i.
FASTNN_INLINE Range covering(const PoolAxis& axis, int64_t i) {
  const int64_t last = i + axis.padding, first = last - (axis.kernel - 1) * axis.dilation;
  const int64_t begin = first <= 0 ? 0 : divide_up(first, axis.stride);
  return {begin, larger(begin, smaller(axis.out, last / axis.stride + 1))};
}

// For each phase of an axis the taps and their outputs, counted from output `base` for input 0.
struct Phases {
  int64_t base, begin[kMaxSlidingStride + 1];
  int64_t tap[kMaxSlidingColumns], offset[kMaxSlidingColumns];

  explicit Phases(const PoolAxis& axis)
      : base(divide_down(axis.padding - (axis.kernel - 1) * axis.dilation, axis.stride)) {
    int64_t count = 0;
    for (int64_t phase = 0; phase < axis.stride; ++phase) {
      begin[phase] = count;
      for (int64_t k = 0; k < axis.kernel; ++k) {
        const int64_t position = phase + axis.padding - k * axis.dilation;
        const int64_t o = divide_down(position, axis.stride);
        if (o * axis.stride != position) continue;
        tap[count] = k;
        offset[count++] = o - base;
      }
    }
    begin[axis.stride] = count;
  }

  // The outputs from `base` on that inputs [0, inputs) may belong to.
  int64_t outputs(const PoolAxis& axis, int64_t inputs) const {
    return (inputs - 1 + axis.padding) / axis.stride - base + 1;
  }
};

// Blocks of input rows and the rows of outputs that they need, in scratch: `slice_rows` for each of
// up to `slices` slices, `columns` of each and a vector's rest, `pitch` apart.
template <class T>
struct Spread {
  static constexpr int64_t kSize = Vec<T>::kSize;
  const PoolAxis &depth, &height, &width;
  const Phases across, down;
  int64_t columns, slices, slice_rows, pitch, spare_pitch;
  Blocks blocks;

  // `arrays` of them share kBlockBytes.
  Spread(int64_t planes, const PoolAxis& d, const PoolAxis& h, const PoolAxis& w, int64_t arrays)
      : depth(d),
        height(h),
        width(w),
        across(w),
        down(h),
        slices(smaller(d.out, (window_extent(d) - 1) / d.stride + 1)),
        blocks(planes, d.in, h.in, w.in, block_rows(arrays), block_columns(), 1) {}

  int64_t held() const { return slices * slice_rows * pitch; }
  int64_t spare() const { return width.stride > 2 ? width.stride * spare_pitch : 0; }

  // The slices of outputs that cover slice d of the input, and each one's depth tap; those with a
  // dilation between are left out.
  struct Slices {
    int64_t count = 0, out[kMaxSlidingRows], tap[kMaxSlidingRows];
  };
  void cover(int64_t d, Slices& list) const {
    list.count = 0;
    const Range range = covering(depth, d);
    for (int64_t od = range.begin; od < range.end; ++od) {
      const int64_t from = d - window_start(depth, od);
      if (from % depth.dilation != 0) continue;
      list.out[list.count] = od;
      list.tap[list.count++] = from / depth.dilation;
    }
  }

  // The rows of outputs of one slice, from scratch row `row` on, as source(oh, to) has them; the
  // others are `fill`. source gives the `valid` outputs from column `column` on.
  struct Outputs {
    int64_t first_row, first_column;  // of scratch; may lie outside
    int64_t row, rows;                // those inside
    int64_t column, left, valid;
  };
  Outputs outputs_of(const Blocks::Block& b) const {
    Outputs o;
    o.first_row = down.base + b.h / height.stride;
    o.row = larger(0, o.first_row);
    o.rows = larger(0, smaller(height.out, o.first_row + slice_rows) - o.row);
    o.first_column = across.base + b.w / width.stride;
    o.column = larger(0, o.first_column);
    o.left = smaller(o.column - o.first_column, columns);
    o.valid = larger(0, smaller(width.out - o.column, columns - o.left));
    return o;
  }

  // One slice of scratch: source.row(oh) and then source(j), source(j, n) give the outputs.
  template <class Source>
  FASTNN_INLINE void load_slice(const Outputs& o, T fill, T* to, Source source) const {
    const auto fill_rows = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * pitch; i < end * pitch; i += kSize) Vec<T>(fill).store(to + i);
    };
    const int64_t before = smaller(o.row - o.first_row, slice_rows);
    fill_rows(0, before);
    const int64_t whole = o.valid / kSize * kSize, rest = columns - o.left;
    for (int64_t r = 0; r < o.rows; ++r) {
      T* row = to + (before + r) * pitch;
      source.row(o.row + r);
      for (int64_t j = 0; j < o.left; ++j) row[j] = fill;
      row += o.left;
      int64_t j = 0;
      for (; j < whole; j += kSize) source(j).store(row + j);
      for (; j < rest; j += kSize) source(j, larger(0, o.valid - j)).store(row + j);
    }
    fill_rows(before + o.rows, slice_rows);
  }

  // Writes a row of a block: gather(phase, j) gives the inputs phase + stride * (j, j + 1, ...).
  // kStride: the stride if it is 1 or 2, or 0.
  template <int kStride, class Gather>
  FASTNN_INLINE void write_row(int64_t inputs, T* to, const T* limit, T* spare_rows,
                               const Gather& gather) const {
    if constexpr (kStride == 1) {
      for (int64_t j = 0; j < inputs; j += kSize) {
        store_first(to + j, gather(0, j), inputs - j, limit);
      }
    } else if constexpr (kStride == 2) {
      for (int64_t j = 0; 2 * j < inputs; j += kSize) {
        Vec<T> even = gather(0, j), odd = gather(1, j);
        interleave(even, odd);
        store_first(to + 2 * j, even, inputs - 2 * j, limit);
        if (inputs > 2 * j + kSize) {
          store_first(to + 2 * j + kSize, odd, inputs - 2 * j - kSize, limit);
        }
      }
    } else {
      for (int64_t phase = 0; phase < smaller(width.stride, inputs); ++phase) {
        T* line = spare_rows + phase * spare_pitch;
        const int64_t count = divide_up(inputs - phase, width.stride);
        for (int64_t j = 0; j < count; j += kSize) gather(phase, j).store(line + j);
        for (int64_t j = 0; j < count; ++j) to[phase + j * width.stride] = line[j];
      }
    }
  }

 private:
  int64_t block_columns() {
    const int64_t inputs = smaller(width.in, kTileColumns / width.stride * width.stride);
    columns = across.outputs(width, inputs);
    pitch = divide_up(columns + kSize, kSize) * kSize;
    spare_pitch = divide_up(divide_up(inputs, width.stride), kSize) * kSize;
    return inputs;
  }
  int64_t block_rows(int64_t arrays) {
    block_columns();
    const int64_t row_bytes = arrays * slices * pitch * static_cast<int64_t>(sizeof(T));
    const int64_t more = larger(0, kBlockBytes / row_bytes - down.outputs(height, 1));
    const int64_t rows = smaller(height.in, (1 + more) * height.stride);
    slice_rows = down.outputs(height, rows);
    return rows;
  }
};

}  // namespace fastnn::FASTNN_ISA::pool
