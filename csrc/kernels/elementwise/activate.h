// An activation on a tile in cache, for kernels that fuse it: chosen once a call, called once a
// tile.
#pragma once

#include <cstdint>

#include "ops/activations.h"

namespace fastnn::FASTNN_ISA {

// tile[i * stride + j] = f(tile[i * stride + j]) for i < rows, j < cols.
template <class T>
using ActivationFunction = void (*)(T* tile, int64_t stride, int64_t rows, int64_t cols,
                                    const ActivationParameters& p);

// Null for none.
template <class T>
ActivationFunction<T> activation_function(ActivationKind kind);

}  // namespace fastnn::FASTNN_ISA
