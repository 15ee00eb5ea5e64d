// Whether the calling thread records operations: asked by every call, so it must cost little.
#include "bindings/common.h"

namespace fastnn {
namespace {

thread_local bool recording = true;

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(recording); }

PyObject* set_grad_enabled(PyObject*, PyObject* value) {
  const int wanted = PyObject_IsTrue(value);
  if (wanted < 0) return nullptr;
  const bool previous = recording;
  recording = wanted != 0;
  return PyBool_FromLong(previous);
}

PyMethodDef functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled() -> bool\n\nWhether the current thread records operations."},
    {"set_grad_enabled", set_grad_enabled, METH_O,
     "set_grad_enabled(value: bool) -> bool\n\nReturns what it was."},
    {},
};

}  // namespace

void init_autograd(py::module_& m) {
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace fastnn
