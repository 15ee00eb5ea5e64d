#include "kernels/elementwise/activate.h"

#include "kernels/elementwise/activations.h"
#include "kernels/elementwise/map.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Wide rows are mapped kMapVectors vectors at a time, from where memory is aligned on: a store
// across two cache lines costs two. What is left of them, and narrow tiles, goes down the columns.
template <class T, class F>
FASTNN_INLINE void map_tile(T* tile, int64_t stride, int64_t rows, int64_t cols, const F& f) {
  constexpr int64_t kSize = Vec<T>::kSize, kStep = kMapVectors * kSize;
  constexpr uintptr_t kBytes = kSize * sizeof(T);
  const uintptr_t misaligned = reinterpret_cast<uintptr_t>(tile) % kBytes;
  const auto head = static_cast<int64_t>((kBytes - misaligned) % kBytes / sizeof(T));
  const bool along = cols > kSize && (rows == 1 || cols >= kStep);
  const int64_t begin = along ? head : 0, end = begin + (cols - begin) / kStep * kStep;
  for (int64_t i = 0; i < rows; ++i) {
    T* const row = tile + i * stride;
    const auto store = [](T* target, Vec<T> v) FASTNN_INLINE_LAMBDA { v.store(target); };
    for (int64_t j = begin; j < end; j += kStep) map_vectors(row + j, f, store, row + j);
  }
  const int64_t edges[2][2] = {{0, begin}, {end, cols}};
  for (const auto& [first, last] : edges) {
    for (int64_t j = first; j < last; j += kSize) {
      const int64_t lanes = last - j < kSize ? last - j : kSize;
      for (int64_t i = 0; i < rows; ++i) {
        T* const p = tile + i * stride + j;
        f(Vec<T>::load(p, lanes)).store(p, lanes);
      }
    }
  }
}

}  // namespace

template <class T>
ActivationFunction<T> activation_function(ActivationKind kind) {
  switch (kind) {
#define FASTNN_ACTIVATION(_, name, first_parameter, second_parameter, ...) \
  case ActivationKind::name:                                               \
    return [](T* tile, int64_t stride, int64_t rows, int64_t cols,         \
              const ActivationParameters& parameters) {                    \
      [[maybe_unused]] const ActivationParameters p = parameters;          \
      map_tile(tile, stride, rows, cols, __VA_ARGS__);                     \
    };
    FASTNN_ACTIVATIONS(FASTNN_ACTIVATION, )
#undef FASTNN_ACTIVATION
    case ActivationKind::none:
      break;
  }
  return nullptr;
}

template ActivationFunction<float> activation_function(ActivationKind);
template ActivationFunction<double> activation_function(ActivationKind);

}  // namespace fastnn::FASTNN_ISA
