// Epilogues: what is done to a finished tile of C while it is in L1.
#pragma once

#include "kernels/elementwise/activate.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// c = f(c, row, vector of column indices' start, lanes) over a tile.
template <class T, class F>
FASTNN_INLINE void map_tile(T* tile, int64_t stride, int64_t rows, int64_t cols, const F& f) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t j = 0; j < cols; j += kSize) {
    const int64_t lanes = cols - j < kSize ? cols - j : kSize;
    for (int64_t i = 0; i < rows; ++i) {
      T* c = tile + i * stride + j;
      f(Vec<T>::load(c, lanes), i, j, lanes).store(c, lanes);
    }
  }
}

// Adds bias[col] to every row; null adds nothing.
template <class T>
struct ColumnBias {
  const T* bias;
  void operator()(T* tile, int64_t stride, int64_t, int64_t col, int64_t rows, int64_t cols) const {
    if (bias == nullptr) return;
    map_tile(tile, stride, rows, cols, [this, col](Vec<T> c, int64_t, int64_t j, int64_t lanes) {
      return c + Vec<T>::load(bias + col + j, lanes);
    });
  }
};

// c = activation(scale c + bias + residual), where the residual is laid out as C is, or null.
template <class T, class Bias>
struct OutputEpilogue {
  Bias bias;
  T scale;
  const T* residual;
  int64_t residual_stride;
  FusedActivation activation;
  ActivationFunction<T> activate = activation_function<T>(activation.kind);

  // One copy for all loops that call it: what it does takes longer than the call.
  __attribute__((noinline)) void operator()(T* tile, int64_t stride, int64_t row, int64_t col,
                                            int64_t rows, int64_t cols) const {
    if (scale != T(1)) {
      map_tile(tile, stride, rows, cols,
               [this](Vec<T> c, int64_t, int64_t, int64_t) { return c * scale; });
    }
    bias(tile, stride, row, col, rows, cols);
    if (residual != nullptr) {
      const T* const first = residual + row * residual_stride + col;
      map_tile(tile, stride, rows, cols, [=](Vec<T> c, int64_t i, int64_t j, int64_t lanes) {
        return c + Vec<T>::load(first + i * residual_stride + j, lanes);
      });
    }
    if (activate != nullptr) activate(tile, stride, rows, cols, activation.p);
  }
};

}  // namespace fastnn::FASTNN_ISA
