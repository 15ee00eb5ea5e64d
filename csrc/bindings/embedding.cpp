#include "bindings/common.h"

namespace fastnn {

void init_embedding(py::module_&) {}

}  // namespace fastnn
