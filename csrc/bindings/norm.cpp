#include "bindings/common.h"

namespace fastnn {

void init_norm(py::module_&) {}

}  // namespace fastnn
