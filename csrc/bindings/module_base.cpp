// The base class of Module: calling an instance calls its `forward`, or its hooks, which do. In
// Python that alone would take longer than a small product.
#include "bindings/common.h"

namespace fastnn {
namespace {

PyObject* interned(const char* name) { return PyUnicode_InternFromString(name); }

PyObject* call_hooks(PyObject* hooks, PyObject* self, PyObject* args, PyObject* keywords) {
  static PyObject* const name = interned("call");
  PyObject* const named = keywords == nullptr ? PyDict_New() : keywords;
  if (named == nullptr) return nullptr;
  if (named == keywords) Py_INCREF(named);
  PyObject* const result = PyObject_CallMethodObjArgs(hooks, name, self, args, named, nullptr);
  Py_DECREF(named);
  return result;
}

PyObject* call_forward(PyObject* self, PyObject* args, PyObject* keywords) {
  static PyObject* const name = interned("forward");
  if (keywords == nullptr && PyTuple_GET_SIZE(args) == 1) {
    PyObject* const given[] = {self, PyTuple_GET_ITEM(args, 0)};
    return PyObject_VectorcallMethod(name, given, 2, nullptr);
  }
  PyObject* const forward = PyObject_GetAttr(self, name);
  if (forward == nullptr) return nullptr;
  PyObject* const result = PyObject_Call(forward, args, keywords);
  Py_DECREF(forward);
  return result;
}

PyObject* call(PyObject* self, PyObject* args, PyObject* keywords) {
  static PyObject* const name = interned("_hooks");
  PyObject* const hooks = PyObject_GetAttr(self, name);
  if (hooks == nullptr) return nullptr;
  PyObject* const result = hooks == Py_None ? call_forward(self, args, keywords)
                                            : call_hooks(hooks, self, args, keywords);
  Py_DECREF(hooks);
  return result;
}

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Calling it calls its method `forward`.")},
    {Py_tp_call, reinterpret_cast<void*>(&call)},
    {},
};
PyType_Spec spec = {"fastnn._core.ModuleBase", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

}  // namespace

void init_module_base(py::module_& m) {
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set();
  m.add_object("ModuleBase", py::reinterpret_steal<py::object>(type));
}

}  // namespace fastnn
