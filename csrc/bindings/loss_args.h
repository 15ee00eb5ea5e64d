// What the bindings of the losses share.
#pragma once

#include <string>

#include "bindings/common.h"
#include "ops/loss.h"

namespace fastnn {

enum class Reduction { kNone, kMean, kSum };

inline Reduction parse_reduction(const Check& check, py::handle reduction) {
  if (py::isinstance<py::str>(reduction)) {
    const auto name = reduction.cast<std::string>();
    if (name == "none") return Reduction::kNone;
    if (name == "mean") return Reduction::kMean;
    if (name == "sum") return Reduction::kSum;
  }
  check.value_error("reduction must be 'none', 'mean' or 'sum', got " +
                    std::string(py::repr(reduction)));
}

// "target[2, 5]" for a position of an array of this shape.
inline std::string element_name(const std::string& name, const Shape& shape, int64_t position) {
  std::string indices;
  for (size_t axis = shape.size(); axis-- > 0;) {
    indices = std::to_string(position % shape[axis]) + (indices.empty() ? "" : ", ") + indices;
    position /= shape[axis];
  }
  return name + (shape.empty() ? "" : "[" + indices + "]");
}

}  // namespace fastnn
