#include "bindings/common.h"

namespace fastnn {

void init_dropout(py::module_&) {}

}  // namespace fastnn
