#include "kernels/conv/implicit_tile.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T, int kRows, int kVectors>
void compute(const ImplicitTile<T>& tile) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> acc[kRows][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Vec<T>::zero();
  }
  const T* a = tile.a;
  const T* channel = tile.b;
  for (int64_t c = tile.channels; c > 0; --c, channel += tile.channel_stride) {
    for (int64_t t = 0; t < tile.taps; ++t, a += kRows) {
      const T* const b = channel + tile.tap_offsets[t];
      Vec<T> row[kVectors];
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) row[j] = Vec<T>::load(b + j * kSize);
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> factor = Vec<T>::broadcast(a[i]);
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[i][j] = fma(factor, row[j], acc[i][j]);
      }
    }
  }
  if (tile.bias != nullptr) {
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> bias = Vec<T>::broadcast(tile.bias[i]);
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[i][j] += bias;
    }
  }
  const int64_t last = tile.cols - (kVectors - 1) * kSize;
  FASTNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    T* const c = tile.c + i * tile.c_stride;
    FASTNN_UNROLL
    for (int j = 0; j + 1 < kVectors; ++j) acc[i][j].store(c + j * kSize);
    acc[i][kVectors - 1].store(c + (kVectors - 1) * kSize, last);
  }
}

template <class T, int kRows, int kVectors>
void choose_vectors(int vectors, const ImplicitTile<T>& tile) {
  if (vectors == kVectors) return compute<T, kRows, kVectors>(tile);
  if constexpr (kVectors > 1) choose_vectors<T, kRows, kVectors - 1>(vectors, tile);
}

template <class T, int kRows>
void choose_rows(int rows, int vectors, const ImplicitTile<T>& tile) {
  if (rows == kRows) return choose_vectors<T, kRows, tile_vectors(kRows)>(vectors, tile);
  if constexpr (kRows > 1) choose_rows<T, kRows - 1>(rows, vectors, tile);
}

}  // namespace

template <class T>
void run_implicit_tile(int rows, int vectors, const ImplicitTile<T>& tile) {
  choose_rows<T, kTileRows>(rows, vectors, tile);
}

template void run_implicit_tile(int, int, const ImplicitTile<float>&);
template void run_implicit_tile(int, int, const ImplicitTile<double>&);

}  // namespace fastnn::FASTNN_ISA
