#include "kernels/conv/winograd_multiply.h"

#include "runtime/parallel.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T, int kRows, int kVectors>
void multiply_rows(const WinogradProduct<T>& args, int64_t tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> acc[kRows][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Vec<T>::zero();
  }
  const T* block = args.v + tile * kSize;
  const T* u = args.u;
  for (int64_t left = args.channels; left > 0; left -= kSize, block += args.block_stride) {
    const T* v = block;
    for (int64_t k = left < kSize ? left : kSize; k > 0; --k, ++v, u += kGroup<T>) {
      Vec<T> row[kVectors];
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) row[j] = Vec<T>::load(u + j * kSize);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> factor = Vec<T>::broadcast(v[i * kSize]);
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[i][j] = fma(factor, row[j], acc[i][j]);
      }
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j].store(args.c + (tile + i) * kGroup<T> + j * kSize);
    }
  }
}

// 1 <= rows <= kMost tiles.
template <class T, int kVectors, int kMost>
void multiply_panel(const WinogradProduct<T>& args, int64_t tile, int64_t rows) {
  if (rows == kMost) return multiply_rows<T, kMost, kVectors>(args, tile);
  if constexpr (kMost > 1) multiply_panel<T, kVectors, kMost - 1>(args, tile, rows);
}

}  // namespace

template <class T>
void multiply_winograd(const WinogradProduct<T>& args) {
  const int64_t panels = ceil_div(args.tiles, kTileRows);
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t begin = panel * args.tiles / panels, end = (panel + 1) * args.tiles / panels;
    if (args.filters <= Vec<T>::kSize) {
      multiply_panel<T, 1, kTileRows>(args, begin, end - begin);
    } else {
      multiply_panel<T, kGroupVectors, kTileRows>(args, begin, end - begin);
    }
  }
}

template void multiply_winograd(const WinogradProduct<float>&);

}  // namespace fastnn::FASTNN_ISA
