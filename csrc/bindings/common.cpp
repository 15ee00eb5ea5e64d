#include "bindings/common.h"

#include <algorithm>
#include <cstdint>

namespace fastnn {
namespace {

std::string dtype_name(const py::array& a) { return py::str(py::object(a.dtype())); }

template <class T>
const char* name_of();
template <>
const char* name_of<float>() {
  return "float32";
}
template <>
const char* name_of<double>() {
  return "float64";
}

// The descriptor of T's arrays, nearly all of which have this very one.
template <class T>
PyObject* descriptor_of() {
  static PyObject* const descriptor = py::dtype::of<T>().release().ptr();
  return descriptor;
}

template <class T>
bool is_array_of(py::handle object) {
  if (!py::isinstance<py::array>(object)) return false;
  return py::detail::array_proxy(object.ptr())->descr == descriptor_of<T>() ||
         py::isinstance<py::array_t<T>>(object);
}

bool is_aligned(const py::array& a) {
  return (a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

bool is_contiguous(const py::array& a) { return (a.flags() & py::array::c_style) != 0; }

// The bytes between an array's first and last element.
struct Bytes {
  uintptr_t begin, end;

  explicit Bytes(const py::array& a) : begin(reinterpret_cast<uintptr_t>(a.data())), end(begin) {
    for (py::ssize_t axis = 0; axis < a.ndim(); ++axis) {
      if (a.shape(axis) == 0) return;
    }
    end += static_cast<uintptr_t>(a.itemsize());
    for (py::ssize_t axis = 0; axis < a.ndim(); ++axis) {
      const auto reach = static_cast<intptr_t>((a.shape(axis) - 1) * a.strides(axis));
      (reach < 0 ? begin : end) += static_cast<uintptr_t>(reach);
    }
  }
};

// By their bounds alone, as numpy.may_share_memory: interleaved arrays count as sharing.
bool may_share_memory(const py::array& a, py::handle b) {
  if (!py::isinstance<py::array>(b)) return false;
  const Bytes x(a), y(py::reinterpret_borrow<py::array>(b));
  return std::max(x.begin, y.begin) < std::min(x.end, y.end);
}

py::object contiguous_copy(const py::array& a) {
  return py::reinterpret_steal<py::object>(py::detail::npy_api::get().PyArray_FromAny_(
      a.ptr(), nullptr, 0, 0,
      py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
          py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_,
      nullptr));
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string kind_of(py::handle object) {
  if (py::isinstance<py::array>(object)) {
    return dtype_name(py::reinterpret_borrow<py::array>(object));
  }
  return py::str(py::type::handle_of(object).attr("__name__"));
}

bool has_whole_strides(const py::array& a) {
  bool whole = is_aligned(a);
  for (py::ssize_t axis = 0; axis < a.ndim(); ++axis) whole &= a.strides(axis) % a.itemsize() == 0;
  return whole;
}

bool is_bfloat16(py::handle object) {
  if (!py::isinstance<py::array>(object)) return false;
  constexpr int kFirstUserDtype = 256;
  static std::atomic<int> known{-1};  // the number that NumPy gave it
  const py::dtype dtype = py::reinterpret_borrow<py::array>(object).dtype();
  const int number = dtype.num();
  if (number < kFirstUserDtype) return false;
  if (number == known.load(std::memory_order_relaxed)) return true;
  if (std::string(py::str(dtype.attr("name"))) != "bfloat16") return false;
  known.store(number);
  return true;
}

bool is_float32(const py::array& a) { return is_array_of<float>(a); }

Shape shape_of(const py::array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

Split split_at(const py::array& a, int64_t axis) {
  Split s;
  for (int64_t i = 0; i < static_cast<int64_t>(a.ndim()); ++i) {
    (i < axis ? s.outer : i == axis ? s.length : s.inner) *= extent(a, i);
  }
  return s;
}

void Check::type_error(const std::string& message) const {
  throw py::type_error(std::string(operation_) + ": " + message);
}

void Check::value_error(const std::string& message) const {
  throw py::value_error(std::string(operation_) + ": " + message);
}

py::array Check::array(const char* name, py::handle object) const {
  if (!py::isinstance<py::array>(object)) {
    type_error(std::string(name) + " must be a numpy.ndarray or fastnn.Tensor, got " +
               kind_of(object));
  }
  auto a = py::reinterpret_borrow<py::array>(object);
  if (!is_array_of<float>(a) && !is_array_of<double>(a)) {
    type_error(std::string(name) + ".dtype must be float32 or float64, got " + dtype_name(a) +
               " (convert with " + name + ".astype(numpy.float32))");
  }
  return a;
}

template <class T>
py::array Check::typed(const char* name, py::handle object) const {
  py::array a = array(name, object);
  if (!is_array_of<T>(a)) {
    const std::string got = dtype_name(a);
    type_error(std::string(name) + ".dtype must be " + name_of<T>() +
               " like the other arrays, got " + got + " (convert with " + name + ".astype(numpy." +
               name_of<T>() + "), or the others with .astype(numpy." + got + "))");
  }
  return a;
}

template <>
py::array Check::typed<int8_t>(const char* name, py::handle object) const {
  if (!py::isinstance<py::array_t<int8_t>>(object)) {
    type_error(std::string(name) + " must be a numpy.ndarray of int8, got " + kind_of(object));
  }
  return py::reinterpret_borrow<py::array>(object);
}

template <class T>
Array<T> Check::contiguous(const char* name, py::handle object) const {
  const py::array a = typed<T>(name, object);
  if (is_contiguous(a) && is_aligned(a)) return py::reinterpret_borrow<Array<T>>(a);
  auto copy = contiguous_copy(a);
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<Array<T>>(copy.release());
}

template <class T>
py::array_t<T> Check::strided(const char* name, py::handle object) const {
  const py::array a = typed<T>(name, object);
  if (has_whole_strides(a)) return py::reinterpret_borrow<py::array_t<T>>(a);
  return contiguous<T>(name, a);
}

template <class T>
Array<T> Check::optional(const char* name, py::handle object) const {
  if (object.is_none()) return py::reinterpret_steal<Array<T>>(py::handle());
  return contiguous<T>(name, object);
}

Array<int64_t> Check::indices(const char* name, py::handle object) const {
  if (!py::isinstance<py::array>(object)) {
    type_error(std::string(name) + " must be a numpy.ndarray of integers, got " + kind_of(object));
  }
  auto a = py::reinterpret_borrow<py::array>(object);
  const char kind = a.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    type_error(std::string(name) + ".dtype must be an integer type, got " + dtype_name(a) +
               " (convert with " + name + ".astype(numpy.int64))");
  }
  // Not array_t::ensure, which swallows the MemoryError of a copy that is too large.
  auto& api = py::detail::npy_api::get();
  PyObject* converted = api.PyArray_FromAny_(
      a.ptr(), py::dtype::of<int64_t>().release().ptr(), 0, 0,
      py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
          py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_,
      nullptr);
  if (converted == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<Array<int64_t>>(converted);
}

void Check::rank(const char* name, const py::array& a, int64_t expected) const {
  if (a.ndim() != expected) {
    value_error(std::string(name) + " must have " + std::to_string(expected) +
                " dimensions, got shape " + to_string(shape_of(a)));
  }
}

void Check::min_rank(const char* name, const py::array& a, int64_t least) const {
  if (a.ndim() < least) {
    value_error(std::string(name) + " must have at least " + std::to_string(least) +
                " dimensions, got shape " + to_string(shape_of(a)));
  }
}

void Check::dim(const char* name, const py::array& a, int64_t axis, int64_t expected,
                const char* meaning) const {
  if (extent(a, axis) != expected) {
    value_error(std::string(name) + ".shape[" + std::to_string(axis) + "] must be " +
                std::to_string(expected) + " (" + meaning + "), got " +
                std::to_string(extent(a, axis)));
  }
}

void Check::shape(const char* name, const py::array& a, const Shape& expected,
                  const char* meaning) const {
  if (!std::equal(a.shape(), a.shape() + a.ndim(), expected.begin(), expected.end())) {
    value_error(std::string(name) + ".shape must be " + to_string(expected) + " (" + meaning +
                "), got " + to_string(shape_of(a)));
  }
}

void Check::at_least(const char* name, int64_t value, int64_t least) const {
  if (value < least) {
    value_error(std::string(name) + " must be >= " + std::to_string(least) + ", got " +
                std::to_string(value));
  }
}

double Check::number(const char* name, py::handle object) const {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    type_error(std::string(name) + " must be a number, got " + std::string(py::repr(object)));
  }
  return value;
}

int64_t Check::axis(const char* name, py::handle object, int64_t rank) const {
  const Py_ssize_t value = PyNumber_AsSsize_t(object.ptr(), nullptr);  // clips large numbers
  if ((value == -1 && PyErr_Occurred() != nullptr) || PyBool_Check(object.ptr())) {
    PyErr_Clear();
    type_error(std::string(name) + " must be an int, got " + std::string(py::repr(object)));
  }
  if (value < -rank || value >= rank) {
    value_error(std::string(name) + " must be in " + std::to_string(-rank) + ".." +
                std::to_string(rank - 1) + ", got " + std::string(py::repr(object)));
  }
  return value < 0 ? value + rank : value;
}

void Check::in_place(const char* name, py::handle object, py::handle out) const {
  if (!out.is_none()) value_error("out and inplace=True cannot both be given");
  if (!py::reinterpret_borrow<py::array>(object).writeable()) {
    value_error(std::string(name) + " must be writable for inplace=True, got a read-only array");
  }
}

int64_t Check::size(const char* name, const Shape& shape, int64_t item_bytes) const {
  int64_t bytes = item_bytes;
  bool zero = false, overflow = false;
  for (const int64_t n : shape) {
    zero |= n == 0;
    overflow |= n < 0 || (n > 0 && __builtin_mul_overflow(bytes, n, &bytes));
  }
  if (overflow && !zero) {
    value_error(std::string(name) + " of shape " + to_string(shape) + " has too many elements");
  }
  return zero ? 0 : bytes / item_bytes;
}

template <class T>
Array<T> new_array(const Shape& shape) {
  int64_t bytes = sizeof(T);
  for (const int64_t n : shape) bytes *= n;
  const LargeOutput memory(bytes);
  static_assert(sizeof(Shape::value_type) == sizeof(Py_intptr_t));
  auto& api = py::detail::npy_api::get();
  PyObject* const descriptor = descriptor_of<T>();
  Py_INCREF(descriptor);  // which the new array takes
  PyObject* const array = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descriptor, static_cast<int>(shape.size()),
      reinterpret_cast<const Py_intptr_t*>(shape.data()), nullptr, nullptr, 0, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<Array<T>>(array);
}

template <class T>
Array<T> Check::output(const Shape& shape, py::handle out,
                       std::initializer_list<py::handle> inputs) const {
  size("output", shape, sizeof(T));
  if (out.is_none()) {
    return new_array<T>(shape);
  }
  if (!is_array_of<T>(out)) {
    type_error(std::string("out must be a numpy.ndarray of ") + name_of<T>() + ", got " +
               kind_of(out));
  }
  auto a = py::reinterpret_borrow<Array<T>>(out);
  destination(a, shape, inputs);
  return a;
}

void Check::destination(const py::array& a, const Shape& shape,
                        std::initializer_list<py::handle> inputs) const {
  if (shape_of(a) != shape) {
    value_error("out.shape must be " + to_string(shape) + ", got " + to_string(shape_of(a)));
  }
  if (!a.writeable()) value_error("out must be writable, got a read-only array");
  if (!is_contiguous(a) || !is_aligned(a)) {
    value_error("out must be C-contiguous and aligned, got another layout");
  }
  for (const py::handle input : inputs) {
    if (input && !input.is_none() && may_share_memory(a, input)) {
      value_error("out must not share memory with an input");
    }
  }
}

template Array<float> new_array(const Shape&);
template Array<double> new_array(const Shape&);
template Array<int64_t> new_array(const Shape&);
template Array<uint8_t> new_array(const Shape&);

#define FASTNN_INSTANTIATE(T)                                                                     \
  template Array<T> Check::contiguous<T>(const char*, py::handle) const;                          \
  template py::array_t<T> Check::strided<T>(const char*, py::handle) const;                       \
  template Array<T> Check::optional<T>(const char*, py::handle) const;                            \
  template Array<T> Check::output<T>(const Shape&, py::handle, std::initializer_list<py::handle>) \
      const;
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE
template Array<int8_t> Check::contiguous<int8_t>(const char*, py::handle) const;

}  // namespace fastnn
