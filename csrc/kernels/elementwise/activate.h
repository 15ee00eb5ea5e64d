// An activation on a row in cache, for kernels that fuse it: chosen once a call, called once a row.
#pragma once

#include <cstdint>

#include "ops/activations.h"

namespace fastnn::FASTNN_ISA {

// row[i] = f(row[i]) for i < n.
template <class T>
using ActivationFunction = void (*)(T* row, int64_t n, const ActivationParameters& p);

// Null for none.
template <class T>
ActivationFunction<T> activation_function(ActivationKind kind);

}  // namespace fastnn::FASTNN_ISA
