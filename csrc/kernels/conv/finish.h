// What is done to finished values while they are in cache: the residual is added, then the
// activation applied. The bias belongs to the algorithms.
#pragma once

#include "kernels/elementwise/activate.h"
#include "ops/conv.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

template <class T>
class Finish {
 public:
  Finish() = default;
  Finish(const ConvEpilogue<T>& epilogue, const T* y)
      : y_(y),
        residual_(epilogue.residual),
        activation_(activation_function<T>(epilogue.activation.kind)),
        parameters_(epilogue.activation.p) {}

  // values[i], i < n, whose place in y is target[i * step].
  void operator()(T* values, int64_t n, const T* target, int64_t step) const {
    if (residual_ != nullptr) add(values, n, residual_ + (target - y_), step);
    if (activation_ != nullptr) activation_(values, n, 1, n, parameters_);
  }
  // A row of y itself.
  void operator()(T* row, int64_t n) const { (*this)(row, n, row, 1); }
  // Rows of y, `stride` apart.
  void operator()(T* tile, int64_t stride, int64_t rows, int64_t cols) const {
    for (int64_t i = 0; residual_ != nullptr && i < rows; ++i) {
      add(tile + i * stride, cols, residual_ + (tile + i * stride - y_), 1);
    }
    if (activation_ != nullptr) activation_(tile, stride, rows, cols, parameters_);
  }

  bool is_needed() const { return residual_ != nullptr || activation_ != nullptr; }
  const T* residual() const { return residual_; }
  void activate(T* values, int64_t n) const {
    if (activation_ != nullptr) activation_(values, n, 1, n, parameters_);
  }

 private:
  static void add(T* values, int64_t n, const T* residual, int64_t step) {
    constexpr int64_t kSize = Vec<T>::kSize;
    if (step != 1) {
      for (int64_t i = 0; i < n; ++i) values[i] += residual[i * step];
      return;
    }
    for (int64_t i = 0; i < n; i += kSize) {
      const int64_t lanes = n - i < kSize ? n - i : kSize;
      (Vec<T>::load(values + i, lanes) + Vec<T>::load(residual + i, lanes))
          .store(values + i, lanes);
    }
  }

  const T* y_ = nullptr;
  const T* residual_ = nullptr;
  ActivationFunction<T> activation_ = nullptr;
  ActivationParameters parameters_{};
};

}  // namespace fastnn::FASTNN_ISA
