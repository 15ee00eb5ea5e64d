#include "bindings/common.h"

namespace fastnn {

void init_softmax(py::module_&) {}

}  // namespace fastnn
