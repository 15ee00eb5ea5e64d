#include "bindings/common.h"

namespace fastnn {

void init_attention(py::module_&) {}

}  // namespace fastnn
