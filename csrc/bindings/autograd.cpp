// Recording: the switch that every call asks, the types on the tape, and `record`.
#include "bindings/autograd.h"

#include <structmember.h>

#include <atomic>
#include <cstddef>
#include <new>
#include <string>
#include <utility>

#include "bindings/fastcall.h"

namespace fastnn {
namespace {

thread_local bool recording = true;
std::atomic<uint64_t> recorded_operations{0};
PyTypeObject* tensor_type;  // of the extension
PyTypeObject* node_type;
PyTypeObject* result_type;  // what `record` returns: fastnn.Tensor

PyObject* owned(PyObject* object) {
  Py_INCREF(object);
  return object;
}

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(recording); }

PyObject* set_grad_enabled(PyObject*, PyObject* value) {
  const int wanted = PyObject_IsTrue(value);
  if (wanted < 0) return nullptr;
  const bool previous = recording;
  recording = wanted != 0;
  return PyBool_FromLong(previous);
}

PyObject* set_result_type(PyObject*, PyObject* type) {
  result_type = reinterpret_cast<PyTypeObject*>(owned(type));
  Py_RETURN_NONE;
}

// Tensors

PyObject* new_tensor(PyTypeObject* type, PyObject* data, PyObject* node) {
  auto* const self = reinterpret_cast<TensorObject*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->data = owned(data);
  self->grad = owned(Py_None);
  self->node = owned(node);
  return reinterpret_cast<PyObject*>(self);
}

PyObject* tensor_new(PyTypeObject* type, PyObject*, PyObject*) {
  return new_tensor(type, Py_None, Py_None);
}

// Nothing clears a tensor: a cycle goes through a node, too.
int tensor_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* const self = reinterpret_cast<TensorObject*>(object);
  Py_VISIT(self->data);
  Py_VISIT(self->grad);
  Py_VISIT(self->node);
  Py_VISIT(Py_TYPE(object));
  return 0;
}

void tensor_dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (reinterpret_cast<TensorObject*>(object)->weak_references != nullptr) {
    PyObject_ClearWeakRefs(object);
  }
  auto* const self = reinterpret_cast<TensorObject*>(object);
  Py_CLEAR(self->data);
  Py_CLEAR(self->grad);
  Py_CLEAR(self->node);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMemberDef tensor_members[] = {
    {"_data", T_OBJECT_EX, offsetof(TensorObject, data), 0, nullptr},
    {"_grad", T_OBJECT_EX, offsetof(TensorObject, grad), 0, nullptr},
    {"_node", T_OBJECT_EX, offsetof(TensorObject, node), READONLY, nullptr},
    {"_index", T_PYSSIZET, offsetof(TensorObject, index), READONLY, nullptr},
    {"_requires_grad", T_BOOL, offsetof(TensorObject, requires_grad), 0, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak_references), READONLY, nullptr},
    {},
};
PyType_Slot tensor_slots[] = {
    {Py_tp_doc, const_cast<char*>("An array on the tape.")},
    {Py_tp_new, reinterpret_cast<void*>(&tensor_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&tensor_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&tensor_traverse)},
    {Py_tp_members, tensor_members},
    {},
};
PyType_Spec tensor_spec = {"fastnn._core.TapeTensor", sizeof(TensorObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                           tensor_slots};

// Nodes

int node_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* const self = reinterpret_cast<NodeObject*>(object);
  Py_VISIT(self->name);
  Py_VISIT(self->backward);
  for (const Edge& edge : *self->edges) Py_VISIT(edge.target.ptr());
  Py_VISIT(Py_TYPE(object));
  return 0;
}

int node_clear(PyObject* object) {
  release(reinterpret_cast<NodeObject*>(object));
  return 0;
}

void node_dealloc(PyObject* object) {
  auto* const self = reinterpret_cast<NodeObject*>(object);
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  Py_TRASHCAN_BEGIN(object, node_dealloc)  // a chain of nodes may be longer than the stack is deep
      if (self->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  release(self);
  self->edges.~shared_ptr();
  Py_CLEAR(self->name);
  type->tp_free(object);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyMemberDef node_members[] = {
    {"name", T_OBJECT_EX, offsetof(NodeObject, name), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(NodeObject, weak_references), READONLY, nullptr},
    {},
};
PyType_Slot node_slots[] = {
    {Py_tp_doc, const_cast<char*>("One recorded operation.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(&node_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&node_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&node_clear)},
    {Py_tp_members, node_members},
    {},
};
PyType_Spec node_spec = {"fastnn._core.Node", sizeof(NodeObject), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, node_slots};

PyTypeObject* add_type(py::module_& m, PyType_Spec* spec, const char* name) {
  PyObject* const type = PyType_FromSpec(spec);
  if (type == nullptr) throw py::error_already_set();
  m.add_object(name, py::reinterpret_borrow<py::object>(type));  // never freed
  return reinterpret_cast<PyTypeObject*>(type);
}

// Recording

// Lets `tensor` come from the operation that `source` came from.
void follow(py::handle tensor, py::handle source) {
  TensorObject* const self = as_tensor(tensor);
  const TensorObject* const other = as_tensor(source);
  if (self == nullptr || other == nullptr || !is_node(other->node)) {
    throw py::type_error("follow: needs a tensor, and one that was computed");
  }
  Py_INCREF(other->node);
  Py_SETREF(self->node, other->node);
  self->index = other->index;
}

bool any_requires_grad(py::handle inputs) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs.ptr()); ++i) {
    const TensorObject* const tensor = as_tensor(PyTuple_GET_ITEM(inputs.ptr(), i));
    if (tensor != nullptr && tensor->requires_grad) return true;
  }
  return false;
}

bool is_floating(const py::array& a) { return a.dtype().kind() == 'f' || is_bfloat16(a); }

Edge edge_to(PyObject* input) {
  static PyObject* const drop_packs = PyUnicode_InternFromString("drop_packs");
  TensorObject* const tensor = as_tensor(input);
  if (tensor == nullptr || !tensor->requires_grad) return {};
  if (Py_TYPE(input) != result_type) {  // a parameter keeps what was derived from its array
    PyObject* const none = PyObject_CallMethodNoArgs(input, drop_packs);
    if (none == nullptr) throw py::error_already_set();
    Py_DECREF(none);
  }
  const py::array data = as_array(or_none(tensor->data));
  PyObject* const target = tensor->node == Py_None ? input : tensor->node;
  return {py::reinterpret_borrow<py::object>(target), tensor->index, shape_of(data), data.dtype()};
}

py::object new_node(py::handle name, py::handle backward, py::handle inputs, Py_ssize_t outputs,
                    bool is_tuple) {
  const auto edges = std::make_shared<std::vector<Edge>>();
  const Py_ssize_t count = PyTuple_GET_SIZE(inputs.ptr());
  edges->reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    edges->push_back(edge_to(PyTuple_GET_ITEM(inputs.ptr(), i)));
  }
  auto* const node = PyObject_GC_New(NodeObject, node_type);
  if (node == nullptr) throw py::error_already_set();
  node->weak_references = nullptr;
  node->name = name.is_none() ? PyUnicode_InternFromString("operation") : owned(name.ptr());
  node->backward = owned(backward.ptr());
  new (&node->edges) std::shared_ptr<const std::vector<Edge>>(edges);
  node->outputs = outputs;
  node->is_tuple = is_tuple;
  node->order = recorded_operations.fetch_add(1, std::memory_order_relaxed);
  PyObject_GC_Track(node);
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(node));
}

py::object computed(const py::array& data, const py::object& node, Py_ssize_t index) {
  PyObject* const result = new_tensor(result_type, data.ptr(), node.ptr());
  if (result == nullptr) throw py::error_already_set();
  auto* const tensor = reinterpret_cast<TensorObject*>(result);
  tensor->index = index;
  tensor->requires_grad = true;
  return py::reinterpret_steal<py::object>(result);
}

// record(out, inputs, backward, name="operation", bfloat16=False): see fastnn/autograd.py.
py::object record(py::handle out, py::handle inputs, py::handle backward, py::handle name,
                  py::handle bfloat16) {
  if (!PyTuple_Check(inputs.ptr())) throw py::type_error("record: inputs must be a tuple");
  const auto unchanged = py::reinterpret_borrow<py::object>(out);
  if (!recording || !any_requires_grad(inputs)) return unchanged;

  const bool bfloat16_too = !bfloat16.is_none() && bfloat16.cast<bool>();
  const bool is_tuple = PyTuple_Check(out.ptr());
  const Py_ssize_t outputs = is_tuple ? PyTuple_GET_SIZE(out.ptr()) : 1;
  const auto output = [&](Py_ssize_t i) {
    return is_tuple ? PyTuple_GET_ITEM(out.ptr(), i) : out.ptr();
  };
  py::object node;  // made for the first result that can have a gradient
  py::tuple results(outputs);
  for (Py_ssize_t i = 0; i < outputs; ++i) {
    if (output(i) == Py_None) {
      results[i] = py::none();
      continue;
    }
    const py::array data = as_array(output(i));
    if (!is_floating(data)) {
      results[i] = data;
      continue;
    }
    if (!bfloat16_too && is_bfloat16(data)) {
      throw py::type_error(std::string(py::str(name)) +
                           ": a bfloat16 result has no gradient; use float32 or no_grad()");
    }
    if (!node) node = new_node(name, backward, inputs, outputs, is_tuple);
    py::object result = computed(data, node, i);
    if (!is_tuple) return result;
    results[i] = std::move(result);
  }
  return node ? py::object(std::move(results)) : unchanged;
}

PyObject* array(PyObject*, PyObject* value) {
  if (const TensorObject* const tensor = as_tensor(value)) return owned(or_none(tensor->data));
  if (value == Py_None) Py_RETURN_NONE;
  try {
    return as_array(value).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  }
}

PyMethodDef functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled() -> bool\n\nWhether the current thread records operations."},
    {"set_grad_enabled", set_grad_enabled, METH_O,
     "set_grad_enabled(value: bool) -> bool\n\nReturns what it was."},
    {"set_result_type", set_result_type, METH_O,
     "set_result_type(cls: type) -> None\n\nThe class that `record` returns."},
    {"array", array, METH_O,
     "array(value: typing.Any) -> typing.Any\n\nThe ndarray behind `value`; None stays None."},
    {},
};

}  // namespace

TensorObject* as_tensor(py::handle object) {
  return PyObject_TypeCheck(object.ptr(), tensor_type)
             ? reinterpret_cast<TensorObject*>(object.ptr())
             : nullptr;
}

bool is_node(py::handle object) { return Py_TYPE(object.ptr()) == node_type; }

void release(NodeObject* node) {
  static const auto none = std::make_shared<const std::vector<Edge>>();
  const auto edges = std::exchange(node->edges, none);  // freed when the node is whole again
  Py_CLEAR(node->backward);
}

PyObject* from_numpy(const char* name) {
  return py::object(py::module_::import("numpy").attr(name)).release().ptr();
}

py::array as_array(py::handle value) {
  static PyObject* const asarray = from_numpy("asarray");
  const auto& numpy = py::detail::npy_api::get();
  if (reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())) ==
      reinterpret_cast<PyObject*>(numpy.PyArray_Type_)) {
    return py::reinterpret_borrow<py::array>(value);
  }
  return py::handle(asarray)(value);
}

void init_autograd(py::module_& m) {
  tensor_type = add_type(m, &tensor_spec, "TapeTensor");
  node_type = add_type(m, &node_spec, "Node");
  result_type = tensor_type;
  m.def("follow", &follow, py::arg("tensor"), py::arg("source"),
        "Let `tensor` come from the operation that `source` came from.");
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  define<&record>(m, "record",
                  {{"out"}, {"inputs"}, {"backward"}, {"name", true}, {"bfloat16", true}});
  init_backward_pass(m);
}

}  // namespace fastnn
