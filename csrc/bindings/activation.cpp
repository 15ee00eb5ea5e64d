#include "bindings/activation.h"

#include <string>

namespace fastnn {
namespace {

struct Named {
  const char* name;
  ActivationKind kind;
  const char* parameters[2];
};

#define FASTNN_NAMED(_, name, first_parameter, second_parameter, ...) \
  {#name, ActivationKind::name, {first_parameter, second_parameter}},
constexpr Named kActivations[] = {FASTNN_ACTIVATIONS(FASTNN_NAMED, )};
#undef FASTNN_NAMED

}  // namespace

FusedActivation read_activation(const Check& check, py::handle object) {
  FusedActivation result{ActivationKind::none, {0, 0}};
  if (object.is_none()) return result;
  if (!py::isinstance<py::tuple>(object) || py::len(object) == 0) {
    check.type_error("activation must be None or a tuple of a name and its parameters, got " +
                     std::string(py::str(py::repr(object))));
  }
  const auto items = py::reinterpret_borrow<py::tuple>(object);
  const std::string name = py::str(items[0]);
  for (const Named& known : kActivations) {
    if (name != known.name) continue;
    const size_t wanted = *known.parameters[0] == '\0' ? 0 : *known.parameters[1] == '\0' ? 1 : 2;
    if (items.size() != wanted + 1) {
      check.value_error("activation " + name + " must have " + std::to_string(wanted) +
                        " parameters, got " + std::to_string(items.size() - 1));
    }
    if (wanted > 0) result.p.first = check.number(known.parameters[0], items[1]);
    if (wanted > 1) result.p.second = check.number(known.parameters[1], items[2]);
    result.kind = known.kind;
    return result;
  }
  check.value_error("activation must be one of those that fastnn.functional has, got " + name);
}

}  // namespace fastnn
