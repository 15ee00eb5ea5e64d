// Functions whose kernel may take less time than pybind11's general call (some 100 ns): the
// arguments are handed over as the interpreter passes them, unconverted.
#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace fastnn {

namespace py = pybind11;

// A function's argument: one with `optional` is None where it is left out.
struct FastArgument {
  const char* name;
  bool optional = false;
};

class FastSignature {
 public:
  FastSignature() = default;
  FastSignature(const char* function, std::initializer_list<FastArgument> arguments);

  // Puts a call's arguments in order; TypeError where they do not fit.
  void read(PyObject* const* given, Py_ssize_t positional, PyObject* keywords,
            py::handle* values) const;
  const char* documentation() const { return documentation_.c_str(); }

 private:
  [[noreturn]] void refuse(const std::string& message) const;
  size_t find(PyObject* keyword) const;

  std::string function_, documentation_;
  std::vector<FastArgument> arguments_;
  std::vector<PyObject*> names_;  // interned
};

namespace detail {

template <auto kFunction, size_t... kIndices>
PyObject* call_function(const py::handle* values, std::index_sequence<kIndices...>) {
  return py::object(kFunction(values[kIndices]...)).release().ptr();
}

template <auto kFunction, class... Handles>
void define(py::module_& m, const char* name, std::initializer_list<FastArgument> arguments,
            py::object (*)(Handles...)) {
  static FastSignature signature;
  signature = FastSignature(name, arguments);
  const auto call = [](PyObject*, PyObject* const* given, Py_ssize_t positional,
                       PyObject* keywords) -> PyObject* {
    try {
      py::handle values[sizeof...(Handles) + 1];  // an array is never empty
      signature.read(given, positional, keywords, values);
      return call_function<kFunction>(values, std::index_sequence_for<Handles...>());
    } catch (...) {
      py::detail::try_translate_exceptions();
      return nullptr;
    }
  };
  static PyMethodDef definition;
  definition = {name,
                reinterpret_cast<PyCFunction>(
                    reinterpret_cast<void (*)()>(static_cast<_PyCFunctionFastWithKeywords>(call))),
                METH_FASTCALL | METH_KEYWORDS, signature.documentation()};
  m.add_object(name, py::reinterpret_steal<py::object>(
                         PyCFunction_NewEx(&definition, nullptr, m.attr("__name__").ptr())));
}

}  // namespace detail

// m.def for a function of handles that returns an object.
template <auto kFunction>
void define(py::module_& m, const char* name, std::initializer_list<FastArgument> arguments) {
  detail::define<kFunction>(m, name, arguments, kFunction);
}

}  // namespace fastnn
