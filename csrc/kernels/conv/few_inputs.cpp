#include "kernels/conv/few_inputs.h"

#include "kernels/gemm/tile.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Vectors of positions side by side: with the inputs of both, a sum each and a weight they fill
// the registers.
constexpr int kSideBySide = kAccumulators >= 24 ? 2 : 1;

template <class T, int kVectors>
void filter_vectors(const FewInputs<T>& row, int64_t col, int64_t lanes) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> x[kFewInputs][kVectors];
  FASTNN_UNROLL
  for (int i = 0; i < kFewInputs; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      x[i][j] = Vec<T>::load(row.x + row.offsets[i] + col + j * kSize);
    }
  }
  const Mask<T> last = first_n_mask<T>(lanes - (kVectors - 1) * kSize);
  const T* weights = row.weights;
  T* y = row.y + col;
  for (int64_t k = 0; k < row.filters; ++k, weights += kFewInputs, y += row.filter_stride) {
    Vec<T> acc[kVectors];
    FASTNN_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[j] = Vec<T>::zero();
    FASTNN_UNROLL
    for (int i = 0; i < kFewInputs; ++i) {
      const Vec<T> factor = Vec<T>::broadcast(weights[i]);
      FASTNN_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[j] = fma(factor, x[i][j], acc[j]);
    }
    const Vec<T> bias = Vec<T>::broadcast(row.bias == nullptr ? T(0) : row.bias[k]);
    FASTNN_UNROLL
    for (int j = 0; j < kVectors - 1; ++j) (acc[j] + bias).store(y + j * kSize);
    (acc[kVectors - 1] + bias).store(y + (kVectors - 1) * kSize, last);
  }
}

}  // namespace

template <class T>
void filter_few_inputs(const FewInputs<T>& row, int64_t cols) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t col = 0; col < cols;) {
    const int64_t left = cols - col;
    if (kSideBySide == 2 && left > kSize) {
      filter_vectors<T, kSideBySide>(row, col, left);
      col += 2 * kSize;
    } else {
      filter_vectors<T, 1>(row, col, left);
      col += kSize;
    }
  }
}

template void filter_few_inputs(const FewInputs<float>&, int64_t);
template void filter_few_inputs(const FewInputs<double>&, int64_t);

}  // namespace fastnn::FASTNN_ISA
