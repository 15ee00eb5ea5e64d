#include "kernels/elementwise/activate.h"

#include "kernels/elementwise/activations.h"
#include "kernels/elementwise/map.h"

namespace fastnn::FASTNN_ISA {

template <class T>
ActivationFunction<T> activation_function(ActivationKind kind) {
  switch (kind) {
#define FASTNN_ACTIVATION(_, name, first_parameter, second_parameter, ...) \
  case ActivationKind::name:                                               \
    return [](T* row, int64_t n, const ActivationParameters& parameters) { \
      [[maybe_unused]] const ActivationParameters p = parameters;          \
      map_serial(n, row, __VA_ARGS__, row);                                \
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
