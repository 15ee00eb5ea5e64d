// The product of one point of Winograd's transform: C (tiles, kGroup filters) = V (tiles,
// channels) U (channels, kGroup filters).
#pragma once

#include "kernels/gemm/tile.h"

namespace fastnn::FASTNN_ISA {

// v: [block of kSize channels][tile][kSize]; u: [channel][kGroup]; c: [tile][kGroup].
template <class T>
struct WinogradProduct {
  int64_t tiles, channels;
  const T* v;
  int64_t block_stride;  // from a block of channels to the next
  const T* u;
  T* c;
  int64_t filters;  // those that count: only vectors with some of them are computed
};

// Each element is one chain of fma in the order of the channels.
template <class T>
void multiply_winograd(const WinogradProduct<T>& args);

}  // namespace fastnn::FASTNN_ISA
