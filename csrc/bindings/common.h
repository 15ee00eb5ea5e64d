// What every binding shares: checking arguments, allocating outputs, releasing the GIL.
//
// A binding function reads: build a Check with the operation's name, check and convert the arrays,
// allocate the output, fill the argument struct, `run` the kernel. Messages have one form:
// `conv2d: weight.shape[1] must be 3 (in_channels / groups), got 4`.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "bindings/output_memory.h"
#include "runtime/dispatch.h"
#include "runtime/parallel.h"

namespace fastnn {

namespace py = pybind11;

using Shape = std::vector<int64_t>;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// An uninitialised array; large ones reuse memory.
template <class T>
Array<T> new_array(const Shape& shape);

std::string to_string(const Shape& shape);  // "(2, 3)"

bool is_float32(const py::array& a);

class Check {
 public:
  explicit Check(const char* operation) : operation_(operation) {}

  [[noreturn]] void type_error(const std::string& message) const;
  [[noreturn]] void value_error(const std::string& message) const;

  // An ndarray of float32 or float64; TypeError for anything else. Any strides.
  py::array array(const char* name, py::handle object) const;
  // `object` as a C-contiguous aligned array of T, copied once if it is laid out otherwise.
  // TypeError when its dtype is not T's ("input is float32: convert with weight.astype(...)").
  template <class T>
  Array<T> contiguous(const char* name, py::handle object) const;
  // `object` as it is laid out, any strides; copied only if misaligned or not on whole elements.
  template <class T>
  py::array_t<T> strided(const char* name, py::handle object) const;
  // Like contiguous for an optional argument: None gives an empty handle (`!a`).
  template <class T>
  Array<T> optional(const char* name, py::handle object) const;
  // int64 indices from any integer array (converted), C-contiguous.
  Array<int64_t> indices(const char* name, py::handle object) const;

  void rank(const char* name, const py::array& a, int64_t expected) const;
  void min_rank(const char* name, const py::array& a, int64_t least) const;
  // a.shape[axis] == expected; `meaning` says where the expectation comes from.
  void dim(const char* name, const py::array& a, int64_t axis, int64_t expected,
           const char* meaning) const;
  void shape(const char* name, const py::array& a, const Shape& expected,
             const char* meaning) const;
  void at_least(const char* name, int64_t value, int64_t least) const;
  // A Python or NumPy number.
  double number(const char* name, py::handle object) const;
  // An axis of an array with `rank` dimensions, counted from the end where negative.
  int64_t axis(const char* name, py::handle object, int64_t rank) const;
  // For inplace=True: `object` must be a writable array, and `out` None.
  void in_place(const char* name, py::handle object, py::handle out) const;
  // The product of the sizes, ValueError where it or its bytes overflow.
  int64_t size(const char* name, const Shape& shape, int64_t item_bytes) const;

  // An array that may be `out`: aligned, C-contiguous and writable, of this shape, sharing no
  // memory with `inputs` (an empty handle is skipped).
  void destination(const py::array& out, const Shape& shape,
                   std::initializer_list<py::handle> inputs) const;
  // A new array, or `out` if it is not None: then it must be a destination of T.
  template <class T>
  Array<T> output(const Shape& shape, py::handle out = py::none(),
                  std::initializer_list<py::handle> inputs = {}) const;

  // Calls f(T{}) with the dtype of `object` (the argument called `name`).
  template <class F>
  auto dispatch(const char* name, py::handle object, const F& f) const {
    const py::array a = array(name, object);
    if (is_float32(a)) return f(float{});
    return f(double{});
  }

 private:
  // array() whose dtype must be T's.
  template <class T>
  py::array typed(const char* name, py::handle object) const;

  const char* operation_;
};

// What a message says that it got: an array's dtype, or the type of anything else.
std::string kind_of(py::handle object);
// Whether an array is aligned and its strides are whole elements.
bool has_whole_strides(const py::array& a);
// Whether `object` is an ndarray of ml_dtypes.bfloat16, which is known by its name.
bool is_bfloat16(py::handle object);

inline int64_t extent(const py::array& a, int64_t axis) {
  return static_cast<int64_t>(a.shape(static_cast<py::ssize_t>(axis)));
}
Shape shape_of(const py::array& a);

// An array seen as (outer, length, inner) around one of its dimensions; 0-d is (1, 1, 1).
struct Split {
  int64_t outer = 1, length = 1, inner = 1;
};
Split split_at(const py::array& a, int64_t axis);

// A new array of one dimension that begins on a cache line, for kernels' packed operands.
template <class T>
Array<T> aligned_array(int64_t elements) {
  constexpr int64_t kLine = 64;
  Array<char> memory(elements * static_cast<int64_t>(sizeof(T)) + kLine);
  char* const start = memory.mutable_data();
  const int64_t skip = kLine - static_cast<int64_t>(reinterpret_cast<uintptr_t>(start) % kLine);
  return Array<T>(std::vector<py::ssize_t>{elements}, reinterpret_cast<T*>(start + skip), memory);
}

// Pointer to read, or null for an absent optional argument.
template <class T>
const T* data_or_null(const Array<T>& a) {
  return a ? a.data() : nullptr;
}

// Runs a kernel of the active table without the GIL.
template <class Kernel, class Args>
void run(const Kernel& kernel, const Args& args) {
  py::gil_scoped_release release;
  const FixedThreads fixed;
  kernel(args);
}

}  // namespace fastnn
