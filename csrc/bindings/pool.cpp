#include "bindings/common.h"

namespace fastnn {

void init_pool(py::module_&) {}

}  // namespace fastnn
