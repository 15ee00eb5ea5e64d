// The tape of reverse-mode differentiation: what a tensor and a recorded operation hold.
//
// Ownership goes one way only: a computed tensor holds its node, a node holds the nodes (or leaves)
// that its inputs came from. Dropping the last output frees the whole graph at once.
#pragma once

#include <memory>
#include <vector>

#include "bindings/common.h"

namespace fastnn {

// fastnn.autograd.TensorBase derives from its type.
struct TensorObject {
  PyObject_HEAD PyObject* data;  // an ndarray
  PyObject* grad;                // None, or an ndarray like `data`
  PyObject* node;                // None for a leaf
  PyObject* weak_references;
  Py_ssize_t index;  // among the node's outputs
  bool requires_grad;
};

// Where the gradient of one input goes, and what it must look like.
struct Edge {
  py::object target;  // a node or a leaf; null where no gradient is needed
  Py_ssize_t output;  // of that node
  Shape shape;
  py::object dtype;
};

// One recorded operation. `order` grows from operation to operation, so that a node's inputs have
// smaller ones: descending `order` is a topological order.
struct NodeObject {
  PyObject_HEAD PyObject* weak_references;
  PyObject* name;
  PyObject* backward;                              // null once the graph was used
  std::shared_ptr<const std::vector<Edge>> edges;  // a pass on another thread may still hold them
  Py_ssize_t outputs;
  bool is_tuple;
  uint64_t order;
};

// An object's field; Python code may have deleted it.
inline PyObject* or_none(PyObject* field) { return field == nullptr ? Py_None : field; }

// Null where `object` is none.
TensorObject* as_tensor(py::handle object);

bool is_node(py::handle object);

// Forgets what the operation saved and where its inputs came from.
void release(NodeObject* node);

// What `numpy` has by this name, kept for good.
PyObject* from_numpy(const char* name);

// `value` as an ndarray.
py::array as_array(py::handle value);

void init_backward_pass(py::module_& m);

}  // namespace fastnn
