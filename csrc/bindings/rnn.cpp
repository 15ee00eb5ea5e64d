#include "bindings/common.h"

namespace fastnn {

void init_rnn(py::module_&) {}

}  // namespace fastnn
