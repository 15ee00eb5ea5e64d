// The activation that a binding fuses into its operation.
#pragma once

#include "bindings/common.h"
#include "ops/activations.h"

namespace fastnn {

// From None or a tuple (name, parameter...): ("relu",), ("leaky_relu", 0.01), ("hardtanh", -1, 1).
FusedActivation read_activation(const Check& check, py::handle object);

}  // namespace fastnn
