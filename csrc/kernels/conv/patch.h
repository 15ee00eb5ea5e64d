// The patches that a convolution multiplies its weights with, as operands of the GEMM engine:
// nothing of the patch matrix exists outside the panels that are being multiplied.
//
// Row p = channel * taps + tap of the matrix belongs to one tap of one channel, column j to one
// output position. An element is the input at position * step + first + tap * tap_step in each
// dimension; outside the input it is zero or what the padding mode maps it to.
#pragma once

#include "kernels/gemm/engine.h"
#include "ops/conv.h"

namespace fastnn::FASTNN_ISA {

inline int64_t product(const int64_t (&sizes)[3]) { return sizes[0] * sizes[1] * sizes[2]; }

// One spatial dimension.
struct Axis {
  int64_t source;                 // size of the input
  int64_t positions, step;        // outputs, and the input elements from one to the next
  int64_t taps, first, tap_step;  // where tap t of output 0 lies: first + t * tap_step
};

inline int64_t positions_of(const Axis (&axes)[3]) {
  return axes[0].positions * axes[1].positions * axes[2].positions;
}
inline int64_t taps_of(const Axis (&axes)[3]) { return axes[0].taps * axes[1].taps * axes[2].taps; }

// The index inside 0 .. size-1 that `index` stands for, or -1 for a zero.
int64_t padded_index(PaddingMode mode, int64_t index, int64_t size);

template <class T>
struct Patches {
  Axis axes[3];
  PaddingMode mode;
  const T* x;                // (channels, depth, height, width)
  int64_t image_stride = 0;  // positions past the last one are those of the next image

  // As a B-operand: taps of channels by positions.
  Panels<T> b_block(T* scratch, int64_t col, int64_t cols, int64_t p, int64_t depth) const;
};

// The transposed matrix as a B-operand: positions by taps of channels.
template <class T>
struct TransposedPatches {
  Patches<T> patches;

  Panels<T> b_block(T* scratch, int64_t col, int64_t cols, int64_t p, int64_t depth) const;
};

}  // namespace fastnn::FASTNN_ISA
