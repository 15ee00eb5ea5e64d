// The register tile of implicit.h: C (filters, positions) = weights * shifted views of planes.
#pragma once

#include "kernels/gemm/tile.h"

namespace fastnn::FASTNN_ISA {

// Tap t of channel c at position j is at b[c * channel_stride + tap_offsets[t] + j]; whole vectors
// are read. a: [channel][tap][rows].
template <class T>
struct ImplicitTile {
  int64_t channels, taps;
  const T* a;
  const T* b;
  int64_t channel_stride;
  const int64_t* tap_offsets;
  const T* bias;  // of every row, or null
  T* c;
  int64_t c_stride;
  int64_t cols;  // that are stored, of which the last vector may have fewer
};

// Computes 1 <= rows <= kTileRows filters at `vectors` <= tile_vectors(rows) vectors of positions.
template <class T>
void run_implicit_tile(int rows, int vectors, const ImplicitTile<T>& tile);

}  // namespace fastnn::FASTNN_ISA
