#include "bindings/fastcall.h"

namespace fastnn {

FastSignature::FastSignature(const char* function, std::initializer_list<FastArgument> arguments)
    : function_(function), documentation_(function), arguments_(arguments) {
  documentation_ += "(";
  for (const FastArgument& argument : arguments) {
    if (!names_.empty()) documentation_ += ", ";
    documentation_ += std::string(argument.name) + ": object";
    if (argument.optional) documentation_ += " = None";
    names_.push_back(PyUnicode_InternFromString(argument.name));
  }
  documentation_ += ") -> object";
}

void FastSignature::refuse(const std::string& message) const {
  throw py::type_error(function_ + "(): " + message);
}

// Keywords are nearly always interned, so that they are the names themselves.
size_t FastSignature::find(PyObject* keyword) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == keyword) return i;
  }
  for (size_t i = 0; i < names_.size(); ++i) {
    if (PyUnicode_Compare(names_[i], keyword) == 0) return i;
  }
  refuse("unexpected keyword argument " + std::string(py::repr(keyword)));
}

void FastSignature::read(PyObject* const* given, Py_ssize_t positional, PyObject* keywords,
                         py::handle* values) const {
  const size_t count = static_cast<size_t>(positional), most = arguments_.size();
  if (count > most) {
    refuse("takes " + std::to_string(most) + " arguments, got " + std::to_string(count));
  }
  for (size_t i = 0; i < most; ++i) values[i] = i < count ? given[i] : nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    py::handle& value = values[find(PyTuple_GET_ITEM(keywords, i))];
    if (value) refuse("got an argument twice");
    value = given[positional + i];
  }
  for (size_t i = count; i < most; ++i) {
    if (values[i]) continue;
    if (!arguments_[i].optional) refuse("missing argument " + std::string(arguments_[i].name));
    values[i] = Py_None;
  }
}

}  // namespace fastnn
