#include "bindings/common.h"

namespace fastnn {

void init_conv(py::module_&) {}

}  // namespace fastnn
