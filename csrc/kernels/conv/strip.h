// Strips of a convolution's output, and how the padded input that one sees lies in memory where the
// patches are read in place (implicit.h, strip_gradient.h).
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kStripInput = int64_t{1}
                                       << 17;  // elements of a strip's input, if it can be
inline constexpr int64_t kMostStrip = int64_t{1} << 19;
inline constexpr int64_t kMostTaps = 4096;

// How one dimension of a block of `count` outputs lies in memory: input elements are sorted by
// their remainder by the step (phases), each with room for `pitch` of them.
struct Phases {
  Phases(const Axis& axis, int64_t count) : axis_(axis) {
    const int64_t reach = (axis.taps - 1) * axis.tap_step;
    lowest = axis.first + min_of(0, reach);
    const int64_t span = (reach < 0 ? -reach : reach) + 1;
    phases = min_of(axis.step, span);
    pitch = count + (span - 1) / axis.step;
  }
  int64_t element(int64_t tap) const {
    return axis_.first + tap * axis_.tap_step - lowest;  // of output 0, from the first element on
  }
  int64_t phase(int64_t tap) const { return element(tap) % axis_.step; }
  int64_t shift(int64_t tap) const { return element(tap) / axis_.step; }

  int64_t lowest, phases, pitch;

 private:
  Axis axis_;
};

// A strip is rows x cols outputs of one position along the depth. Its padded input lies as
// [depth tap][row phase][column phase][row][column], so that the outputs, read as one line with
// width.pitch from a row to the next, lie next to each other for every tap.
template <class T>
struct StripLayout {
  StripLayout(const Convolution<T>& conv, int64_t strip_rows, int64_t strip_cols)
      : rows(strip_rows),
        cols(strip_cols),
        height(conv.axes[1], strip_rows),
        width(conv.axes[2], strip_cols),
        plane(height.phases * width.phases * height.pitch * width.pitch),
        channel(conv.axes[0].taps * plane) {}

  int64_t positions(int64_t used_rows, int64_t used_cols) const {
    return (used_rows - 1) * width.pitch + used_cols;
  }
  // The last tile reads whole vectors.
  int64_t size(int64_t channels) const {
    return channels * channel + kMaxTileVectors * Vec<T>::kSize;
  }

  // Where each tap of output 0 lies.
  void tap_offsets(const Axis (&axes)[3], int64_t* offsets) const {
    int64_t tap = 0;
    for (int64_t d = 0; d < axes[0].taps; ++d) {
      for (int64_t h = 0; h < axes[1].taps; ++h) {
        for (int64_t w = 0; w < axes[2].taps; ++w, ++tap) {
          const int64_t phase = height.phase(h) * width.phases + width.phase(w);
          offsets[tap] =
              d * plane + (phase * height.pitch + height.shift(h)) * width.pitch + width.shift(w);
        }
      }
    }
  }

  int64_t rows, cols;
  Phases height, width;
  int64_t plane, channel;  // elements of an input plane, and of all planes of a channel
};

// The height of strips that costs least: whole vectors of positions to multiply and, at about
// kCopyCost multiply-adds an element, the input to copy.
template <class T>
StripLayout<T> choose_layout(const Convolution<T>& conv, int64_t most_positions) {
  constexpr int64_t kCopyCost = 4;
  const int64_t height = conv.axes[1].positions;
  const int64_t pieces = ceil_div(conv.axes[2].positions, most_positions);
  const int64_t cols = ceil_div(conv.axes[2].positions, pieces);
  int64_t best_rows = 1;
  double best_cost = 0;
  for (int64_t rows = 1; rows <= height; ++rows) {
    const StripLayout<T> layout(conv, rows, cols);
    const int64_t positions = layout.positions(rows, cols), size = layout.size(conv.in_channels);
    if (rows > 1 && (positions > most_positions || size > kStripInput)) break;
    const double strips = static_cast<double>(ceil_div(height, rows));
    const double products = static_cast<double>(round_up(positions, Vec<T>::kSize)) *
                            static_cast<double>(conv.out_channels * conv.weights.columns);
    const double cost = strips * (products + static_cast<double>(kCopyCost * size));
    if (rows == 1 || cost < best_cost) {
      best_rows = rows;
      best_cost = cost;
    }
  }
  return StripLayout<T>(conv, best_rows, cols);
}

}  // namespace fastnn::FASTNN_ISA
