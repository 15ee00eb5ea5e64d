// Convolution as a matrix product: y (channels, positions) = weights (channels, taps) * patches
// (taps, positions) for every image and group, with the patches packed straight into the panels of
// the GEMM engine.
//
// The weights are packed once and shared by all images, unless one cell needs them or they pass
// kMaxPackedWeights. Images of few positions share a product, so that its columns fill whole tiles.
// Such a product, and one that is a phase of a larger output, is scattered from a block in cache.
// Workspace: packed weights (at most kMaxPackedWeights) and, a thread, gemm_scratch plus, where it
// is scattered, kBlockElements: under 32 MiB + 10 MiB a thread.
#pragma once

#include "kernels/conv/convolution.h"
#include "simd/half.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kMaxPackedWeights = int64_t{32} << 20;  // bytes
inline constexpr int64_t kBlockElements = int64_t{1} << 19;

// 1x1 with step 1: the patch matrix is x itself.
template <class T>
bool is_pointwise(const Convolution<T>& conv) {
  bool result = true;
  for (const Axis& axis : conv.axes) {
    result = result && axis.taps == 1 && axis.step == 1 && axis.first == 0 &&
             axis.positions == axis.source;
  }
  return result;
}

// Whether so many columns leave little of the register tiles empty, of which the last may be half a
// vector.
template <class T>
bool fills_tiles(int64_t columns) {
  return 24 * columns >= 23 * round_up(columns, kHasHalf ? Vec<T>::kSize / 2 : Vec<T>::kSize);
}

// The weights as panels of the GEMM engine, each of panel_rows(out_channels, columns) rows and all
// columns.
template <class T>
void pack_panels(const Convolution<T>& conv, T* target);

template <class T>
void convolve_im2col(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
