#include "bindings/common.h"

namespace fastnn {

void init_optim(py::module_&) {}

}  // namespace fastnn
