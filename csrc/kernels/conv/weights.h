// The weights of a convolution as an A-operand: one row an output channel, columns in the order of
// the patches' rows (patch.h), channel by channel and tap by tap.
#pragma once

#include "kernels/conv/patch.h"

namespace fastnn::FASTNN_ISA {

template <class T>
struct Weights {
  const T* data;
  int64_t row_stride, channel_stride;
  int64_t tap_stride[3], taps[3];
  int64_t columns;            // channels * taps
  const T* packed = nullptr;  // all panels from pack(), of all columns

  RowPanels<T> a_block(T* scratch, int64_t row, int64_t rows, int64_t panel, int64_t p,
                       int64_t depth) const {
    if (packed != nullptr) return {packed + row * columns, columns, p};
    pack(scratch, row, rows, panel, p, depth);
    return {scratch, depth};
  }
  Fetch<T> source(int64_t row, int64_t p) const {
    if (packed != nullptr) return Fetch<T>::contiguous(packed + row * columns + p * kTileRows);
    return {data + row * row_stride, row_stride};
  }

  // Panels of `panel` rows, each laid out [depth][panel].
  void pack(T* target, int64_t row, int64_t rows, int64_t panel, int64_t p, int64_t depth) const;

 private:
  void pack_channels(T* target, int64_t row, int64_t rows, int64_t panel, int64_t p,
                     int64_t depth) const;
};

}  // namespace fastnn::FASTNN_ISA
