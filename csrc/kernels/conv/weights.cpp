#include "kernels/conv/weights.h"

namespace fastnn::FASTNN_ISA {

// The taps of a channel are contiguous, in ascending or in descending order.
template <class T>
void Weights<T>::pack_channels(T* target, int64_t row, int64_t rows, int64_t panel, int64_t p,
                               int64_t depth) const {
  const int64_t all = taps[0] * taps[1] * taps[2];
  for (int64_t i = 0; i < rows; i += panel) {
    const int64_t width = min_of(panel, rows - i);
    const T* const source = data + (row + i) * row_stride;
    for (int64_t q = 0; q < depth;) {
      const int64_t channel = (p + q) / all, tap = (p + q) % all;
      const int64_t count = min_of(all - tap, depth - q);
      T* const panel = target + i * depth + q * width;
      const T* const taps_of_channel = source + channel * channel_stride;
      if (tap_stride[2] > 0) {
        pack_panel<T, false>(panel, width, taps_of_channel + tap, width, row_stride, count, 1);
      } else {
        pack_panel<T, false>(panel + (count - 1) * width, -width,
                             taps_of_channel - (tap + count - 1), width, row_stride, count, 1);
      }
      q += count;
    }
  }
}

template <class T>
void Weights<T>::pack(T* target, int64_t row, int64_t rows, int64_t panel, int64_t p,
                      int64_t depth) const {
  const T* const first_row = data + row * row_stride;
  const bool contiguous = tap_stride[2] == 1 && tap_stride[1] == taps[2] &&
                          tap_stride[0] == taps[1] * taps[2] &&
                          channel_stride == taps[0] * tap_stride[0];
  if (contiguous) {
    DenseOperand<T>{first_row, row_stride, 1}.a_panels(target, 0, rows, panel, p, depth);
    return;
  }
  if (taps[0] * taps[1] * taps[2] == 1) {
    DenseOperand<T>{first_row, row_stride, channel_stride}.a_panels(target, 0, rows, panel, p,
                                                                    depth);
    return;
  }
  const int64_t sign = tap_stride[2] < 0 ? -1 : 1;
  if (tap_stride[2] == sign && tap_stride[1] == sign * taps[2] &&
      tap_stride[0] == sign * taps[1] * taps[2]) {
    pack_channels(target, row, rows, panel, p, depth);
    return;
  }
  const int64_t plane = taps[1] * taps[2], all = taps[0] * plane;
  for (int64_t i = 0; i < rows; i += panel) {
    const int64_t width = min_of(panel, rows - i);
    T* out = target + i * depth;
    for (int64_t q = p; q < p + depth; ++q, out += width) {
      const int64_t tap = q % all;
      const T* source = first_row + i * row_stride + q / all * channel_stride +
                        tap / plane * tap_stride[0] + tap % plane / taps[2] * tap_stride[1] +
                        tap % taps[2] * tap_stride[2];
      for (int64_t r = 0; r < width; ++r) out[r] = source[r * row_stride];
    }
  }
}

template struct Weights<float>;
template struct Weights<double>;

}  // namespace fastnn::FASTNN_ISA
