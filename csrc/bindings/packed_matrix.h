// Weights that a layer keeps packed for one instruction set.
#pragma once

#include "bindings/common.h"

namespace fastnn {

struct GemmKernels;
struct RnnKernels;

// A str that is kept, with its hash: layers look their packed weights up by it at every call.
py::object active_isa_name();

// ValueError where the argument called `name` was packed by another table than the active one.
inline void require_active(const Check& check, const char* name, const void* table,
                           const void* active) {
  if (table != active) {
    check.value_error(std::string(name) + " was packed for another FASTNN_ISA");
  }
}

// The weight of a linear layer, from pack_linear.
struct PackedMatrix {
  py::object data;  // one-dimensional array of the weight's dtype, or of words of bfloat16 pairs
  int64_t out_features, in_features;
  const GemmKernels* table;
  bool is_bfloat16;
};

// The Pack, a class of these bindings, that an object is, or null; without pybind11's search.
template <class Pack>
const Pack* as_pack(py::handle object) {
  static PyObject* const type = py::type::of<Pack>().release().ptr();
  if (reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) != type) return nullptr;
  auto* const instance = reinterpret_cast<py::detail::instance*>(object.ptr());
  return instance->get_value_and_holder().template value_ptr<Pack>();
}

// int8 weights, from pack_quantized_linear; the scales of its rows lie apart.
struct PackedInt8Matrix {
  Array<int32_t> data;
  int64_t out_features, in_features;
  const GemmKernels* table;
};

// The recurrent weights of a layer, from pack_recurrent.
struct PackedRecurrent {
  py::object data;
  int64_t gates, hidden_size, depth;
  const RnnKernels* table;
};

}  // namespace fastnn
