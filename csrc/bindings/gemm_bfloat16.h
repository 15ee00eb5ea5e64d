// Products of bfloat16 arrays, or of one and a float32 array: what gemm.cpp's functions do for
// them.
#pragma once

#include "bindings/packed_matrix.h"

namespace fastnn {

py::object matmul_bfloat16(py::handle input, py::handle other, py::handle bias, py::handle out);
py::object linear_bfloat16(py::handle input, py::handle weight, py::handle bias, py::handle out,
                           py::handle scale, py::handle residual, py::handle activation);
PackedMatrix pack_bfloat16(py::handle weight);

}  // namespace fastnn
