// The backward pass: runs the nodes behind a tensor, each before those that its inputs came from,
// and adds up the gradients on the way. Leaves get theirs at the end, when nothing can fail.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "bindings/autograd.h"
#include "bindings/fastcall.h"

namespace fastnn {
namespace {

std::string text(py::handle object) { return py::str(object); }

// What is wrong with `value` as an array of this shape and dtype: a TypeError's words, or a
// ValueError's, or nothing.
struct Mismatch {
  std::string type, value;
};

Mismatch mismatch(py::handle value, const Shape& shape, py::handle dtype) {
  if (!py::isinstance<py::array>(value)) return {"must be an ndarray, got " + kind_of(value), ""};
  const auto a = py::reinterpret_borrow<py::array>(value);
  const py::dtype actual = a.dtype();
  if (!actual.is(dtype) && !actual.equal(dtype)) {
    const std::string wanted = text(dtype);
    return {"must be " + wanted + ", got " + text(actual) + "; convert it with .astype(np." +
                wanted + ")",
            ""};
  }
  if (static_cast<size_t>(a.ndim()) == shape.size() &&
      std::equal(shape.begin(), shape.end(), a.shape())) {
    return {};
  }
  return {"", "must have shape " + to_string(shape) + ", got " + to_string(shape_of(a))};
}

bool is_numpy_scalar(py::handle object) {
  static PyObject* const generic = from_numpy("generic");
  return py::isinstance(object, generic);
}

NodeObject* node_of(py::handle object) { return reinterpret_cast<NodeObject*>(object.ptr()); }

py::object numpy_add() {
  static PyObject* const add = from_numpy("add");
  return py::reinterpret_borrow<py::object>(add);
}

// The sum of the gradients that reached one place, in the order they came.
class Sum {
 public:
  py::object value() const { return value_ ? value_ : py::object(py::none()); }

  void add(py::object gradient) {
    if (!value_) {
      value_ = std::move(gradient);
    } else if (owned_) {
      numpy_add()(value_, gradient, value_);
    } else {
      value_ = as_array(value_ + gradient);
      owned_ = true;
    }
  }

  // The sum, C-contiguous and in memory that nobody else holds, copied if need be.
  py::array take() {
    const auto a = py::array(std::move(value_));
    constexpr int kUsable = py::array::c_style | py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    if ((a.flags() & kUsable) == kUsable && a.ref_count() == 1 && (a.owndata() || is_reshaped(a))) {
      return a;
    }
    return py::array(a.attr("copy")("C"));
  }

 private:
  // Whether the array is a view of another one's whole memory, and its only one.
  static bool is_reshaped(const py::array& a) {
    const py::object base = a.base();
    if (!base || !py::isinstance<py::array>(base)) return false;
    const auto whole = py::reinterpret_borrow<py::array>(base);
    constexpr int kReferences = 3;  // of the view, `base` and `whole`
    return whole.owndata() && whole.nbytes() == a.nbytes() && whole.ref_count() == kReferences;
  }

  py::object value_;
  bool owned_ = false;  // in memory that the sum made
};

void check_replaced(const py::array& data, const py::array& gradient) {
  if (data.dtype().equal(gradient.dtype()) && shape_of(data) == shape_of(gradient)) return;
  throw std::runtime_error(
      "backward: data of a leaf was replaced by another shape or dtype after it was used: " +
      text(gradient.dtype()) + " " + to_string(shape_of(gradient)) + ", now " + text(data.dtype()) +
      " " + to_string(shape_of(data)));
}

// Adds to a leaf's gradient, which never shares memory with anything else.
void accumulate(TensorObject* leaf, Sum sum) {
  check_replaced(as_array(or_none(leaf->data)), sum.value());
  py::object grad = py::reinterpret_borrow<py::object>(or_none(leaf->grad));
  if (grad.is_none()) {
    grad = sum.take();
  } else if (py::array(grad).writeable()) {
    numpy_add()(grad, sum.value(), grad);
    return;
  } else {
    grad = as_array(grad + sum.value());
  }
  Py_XSETREF(leaf->grad, grad.release().ptr());
}

class BackwardPass {
 public:
  explicit BackwardPass(bool retain_graph) : retain_graph_(retain_graph) {}

  void run(NodeObject* root, Py_ssize_t index, py::object gradient) {
    find_nodes(root);
    sums_.resize(nodes_.size());
    sums_[0].resize(static_cast<size_t>(root->outputs));
    sums_[0][static_cast<size_t>(index)].add(std::move(gradient));
    for (size_t i = 0; i < nodes_.size(); ++i) {
      NodeObject* const node = at(i);
      const std::vector<Sum> sums = std::move(sums_[i]);
      if (!sums.empty()) differentiate(node, sums);
      if (!retain_graph_) release(node);
    }
    for (auto& [leaf, sum] : leaves_) {
      accumulate(reinterpret_cast<TensorObject*>(leaf.ptr()), std::move(sum));
    }
  }

 private:
  NodeObject* at(size_t i) const { return reinterpret_cast<NodeObject*>(nodes_[i].ptr()); }

  // Every node behind `root`, in the order of the pass.
  void find_nodes(NodeObject* root) {
    add_node(root);
    for (size_t visited = 0; visited < nodes_.size(); ++visited) {
      const NodeObject* const node = at(visited);
      check_unused(node);
      for (const Edge& edge : *node->edges) {
        if (edge.target && is_node(edge.target)) add_node(node_of(edge.target));
      }
    }
    std::sort(nodes_.begin(), nodes_.end(), [](const py::object& a, const py::object& b) {
      return node_of(a)->order > node_of(b)->order;
    });
    for (size_t i = 0; i < nodes_.size(); ++i) positions_[at(i)] = i;
  }

  static void check_unused(const NodeObject* node) {
    if (node->backward != nullptr) return;
    throw std::runtime_error("backward: the graph (at " + text(node->name) +
                             ") was already used and freed by an earlier backward; pass "
                             "retain_graph=True to that one");
  }

  void add_node(NodeObject* node) {
    if (!positions_.emplace(node, 0).second) return;
    nodes_.push_back(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(node)));
  }

  // Runs one node's backward and hands its gradients on.
  void differentiate(NodeObject* node, const std::vector<Sum>& sums) {
    check_unused(node);
    const auto edges = node->edges;
    const auto backward = py::reinterpret_borrow<py::object>(node->backward);
    py::tuple grads(sums.size()), needs(edges->size());
    for (size_t i = 0; i < sums.size(); ++i) grads[i] = sums[i].value();
    for (size_t i = 0; i < edges->size(); ++i) {
      needs[i] = py::bool_(static_cast<bool>((*edges)[i].target));
    }
    const py::object results =
        backward(node->is_tuple ? py::object(grads) : py::object(grads[0]), needs);
    if (!(PyTuple_Check(results.ptr()) || PyList_Check(results.ptr())) ||
        py::len(results) != edges->size()) {
      internal_error(node, "backward must return " + std::to_string(edges->size()) +
                               " gradients, one for each input");
    }
    for (size_t i = 0; i < edges->size(); ++i) {
      const Edge& edge = (*edges)[i];
      py::object gradient = py::reinterpret_borrow<py::sequence>(results)[i];
      if (!edge.target || gradient.is_none()) continue;
      if (is_numpy_scalar(gradient)) gradient = as_array(gradient);
      const Mismatch wrong = mismatch(gradient, edge.shape, edge.dtype);
      if (!wrong.type.empty() || !wrong.value.empty()) {
        internal_error(node,
                       "gradient of input " + std::to_string(i) + " " + wrong.type + wrong.value);
      }
      hand_on(edge, std::move(gradient));
    }
  }

  [[noreturn]] static void internal_error(const NodeObject* node, const std::string& message) {
    throw std::runtime_error(text(node->name) + ": internal error: " + message);
  }

  void hand_on(const Edge& edge, py::object gradient) {
    if (is_node(edge.target)) {
      NodeObject* const target = node_of(edge.target);
      std::vector<Sum>& sums = sums_[positions_.at(target)];
      sums.resize(static_cast<size_t>(target->outputs));
      sums[static_cast<size_t>(edge.output)].add(std::move(gradient));
    } else {
      const auto [known, is_new] = leaf_positions_.emplace(edge.target.ptr(), leaves_.size());
      if (is_new) leaves_.emplace_back(edge.target, Sum());
      leaves_[known->second].second.add(std::move(gradient));
    }
  }

  bool retain_graph_;
  std::vector<py::object> nodes_;
  std::unordered_map<NodeObject*, size_t> positions_;  // in nodes_
  std::vector<std::vector<Sum>> sums_;                 // of each node's outputs, where one is there
  std::vector<std::pair<py::object, Sum>> leaves_;
  std::unordered_map<PyObject*, size_t> leaf_positions_;
};

// backward_pass(tensor, gradient, retain_graph): `gradient` is like the tensor's array.
py::object backward_pass(py::handle tensor, py::handle gradient, py::handle retain_graph) {
  TensorObject* const start = as_tensor(tensor);
  if (start == nullptr)
    throw py::type_error("backward: a Tensor is needed, got " + kind_of(tensor));
  auto given = py::object(as_array(gradient));
  const auto root = py::reinterpret_borrow<py::object>(or_none(start->node));
  if (root.is_none()) {
    Sum sum;
    sum.add(std::move(given));
    accumulate(start, std::move(sum));
  } else {
    const bool retain = PyObject_IsTrue(retain_graph.ptr()) == 1;
    BackwardPass(retain).run(node_of(root), start->index, std::move(given));
  }
  return py::none();
}

// check_like(value, like, what): raises unless `value` is an ndarray of the shape and dtype of
// `like`.
py::object check_like(py::handle value, py::handle like, py::handle what) {
  const auto wanted = py::reinterpret_borrow<py::array>(like);
  const Mismatch wrong = mismatch(value, shape_of(wanted), wanted.dtype());
  if (!wrong.type.empty()) throw py::type_error(text(what) + " " + wrong.type);
  if (!wrong.value.empty()) throw py::value_error(text(what) + " " + wrong.value);
  return py::none();
}

}  // namespace

void init_backward_pass(py::module_& m) {
  define<&backward_pass>(m, "backward_pass", {{"tensor"}, {"gradient"}, {"retain_graph"}});
  define<&check_like>(m, "check_like", {{"value"}, {"like"}, {"what"}});
}

}  // namespace fastnn
