#include "bindings/common.h"

namespace fastnn {

void init_loss(py::module_&) {}

}  // namespace fastnn
