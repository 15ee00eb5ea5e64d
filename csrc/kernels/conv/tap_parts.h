// How the taps of a kernel are cut into filters that Winograd's gradient of the weights computes
// one by one (winograd_gradient.h).
#pragma once

#include "kernels/conv/patch.h"
#include "kernels/conv/winograd_gradient_transform.h"

namespace fastnn::FASTNN_ISA {

// Parts of the taps of one dimension, `taps` each: runs of those that lie a step apart, from
// `first` on and from so many remainders by the step.
struct TapParts {
  int64_t first, step, remainders, runs, taps;

  int64_t count() const { return remainders * runs; }
  int64_t tap(int64_t part, int64_t i) const {
    return first + (part / remainders * taps + i) * step + part % remainders;
  }
  // Tiles of gradients, and products a point and channel over all of them.
  int64_t tiles(int64_t positions) const { return ceil_div(positions, gradient_tile(taps)); }
  int64_t products(int64_t positions) const { return tiles(positions) * gradient_points(taps); }
};

// `most` taps of each remainder in the runs that take the fewest products; of equals the shortest,
// whose tiles are larger.
inline TapParts cut_taps(int64_t first, int64_t step, int64_t remainders, int64_t most) {
  TapParts best{first, step, remainders, most, 1};
  for (int64_t runs = 1; runs < most; ++runs) {
    const TapParts parts{first, step, remainders, runs, ceil_div(most, runs)};
    if (parts.taps <= kMostWinogradTaps &&
        parts.runs * gradient_points(parts.taps) * gradient_tile(best.taps) <=
            best.runs * gradient_points(best.taps) * gradient_tile(parts.taps)) {
      best = parts;
    }
  }
  return best;
}

// All taps of a dimension: in parts alike, the last ones filled up with taps that do not exist, or
// in up to two kinds of parts.
struct KernelCut {
  int kinds;
  TapParts parts[2];
};

inline KernelCut cut_kernel(const Axis& axis, bool alike) {
  const int64_t remainders = min_of(axis.step, axis.taps), most = ceil_div(axis.taps, remainders);
  const int64_t longer = axis.taps - (most - 1) * remainders;  // remainders with `most` taps
  TapParts parts = cut_taps(0, axis.step, remainders, most);
  if (alike) return {1, {parts}};
  if (longer < remainders) {
    return {2,
            {cut_taps(0, axis.step, longer, most),
             cut_taps(longer, axis.step, remainders - longer, most - 1)}};
  }
  const int64_t last = most - (parts.runs - 1) * parts.taps;  // taps of the last run
  if (last == parts.taps) return {1, {parts}};
  --parts.runs;
  return {2, {parts, cut_taps(parts.runs * parts.taps * axis.step, axis.step, remainders, last)}};
}

}  // namespace fastnn::FASTNN_ISA
