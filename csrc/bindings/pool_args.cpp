#include "bindings/pool_args.h"

#include <algorithm>
#include <string>

namespace fastnn {
namespace {

constexpr int64_t kLargest = int64_t{1} << 40;

std::string quoted(py::handle value) { return py::str(py::repr(value)); }

bool is_integer(py::handle value) {
  return PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr()) &&
         !py::isinstance<py::array>(value);
}

int64_t integer(const Check& check, const std::string& name, py::handle value) {
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const long long result = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0 || result > kLargest || result < -kLargest) {
    check.value_error(name + " must be between -2**40 and 2**40, got " + quoted(value));
  }
  return result;
}

std::string label(const char* name, int dims, int axis) {
  return dims == 1 ? name : std::string(name) + "[" + std::to_string(axis - 3 + dims) + "]";
}

PoolAxis make_axis(const Check& check, const PoolAxis& given, bool ceil_mode, int dims, int axis) {
  PoolAxis a = given;
  const auto at_least = [&](const char* name, int64_t value, int64_t least) {
    if (value < least) check.at_least(label(name, dims, axis).c_str(), value, least);
  };
  at_least("kernel_size", a.kernel, 1);
  at_least("stride", a.stride, 1);
  at_least("padding", a.padding, 0);
  at_least("dilation", a.dilation, 1);
  int64_t extent;
  if (__builtin_mul_overflow(a.kernel - 1, a.dilation, &extent) || extent >= kLargest) {
    check.value_error("the window (kernel_size " + std::to_string(a.kernel) + ", dilation " +
                      std::to_string(a.dilation) + ") must span at most 2**40 elements");
  }
  extent += 1;
  if (a.padding > extent / 2) {
    check.value_error(label("padding", dims, axis) + " must be at most half of the window (" +
                      std::to_string(extent / 2) + "), got " + std::to_string(a.padding));
  }
  const int64_t room = a.in + 2 * a.padding - extent;
  const int64_t steps = room + (ceil_mode ? a.stride - 1 : 0);
  a.out = steps < 0 ? 0 : steps / a.stride + 1;
  // A window must start inside the input or the padding in front of it.
  if (ceil_mode && a.out > 0 && (a.out - 1) * a.stride >= a.in + a.padding) --a.out;
  if (a.out < 1) {
    check.value_error(label("kernel_size", dims, axis) + " must fit into the padded input (" +
                      std::to_string(a.in + 2 * a.padding) + "), got a window of " +
                      std::to_string(extent));
  }
  return a;
}

}  // namespace

Spatial spatial_argument(const Check& check, const char* name, py::handle value, int dims,
                         int64_t lead) {
  Spatial result{lead, lead, lead};
  if (is_integer(value)) {
    const int64_t n = integer(check, name, value);
    for (int axis = 3 - dims; axis < 3; ++axis) result[static_cast<size_t>(axis)] = n;
    return result;
  }
  const auto expected = [&] {
    return std::string(name) + " must be an int" +
           (dims == 1 ? "" : " or a tuple of " + std::to_string(dims) + " ints") + ", got " +
           quoted(value);
  };
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr())) check.type_error(expected());
  const auto values = py::reinterpret_borrow<py::sequence>(value);
  const size_t count = values.size();
  if (count != 1 && count != static_cast<size_t>(dims)) check.value_error(expected());
  for (size_t i = 0; i < static_cast<size_t>(dims); ++i) {
    const py::object item = values[count == 1 ? 0 : i];
    if (!is_integer(item)) check.type_error(expected());
    result[3 - static_cast<size_t>(dims) + i] = integer(check, name, item);
  }
  return result;
}

bool boolean_argument(const Check& check, const char* name, py::handle value) {
  if (!PyBool_Check(value.ptr()) && !is_integer(value)) {
    check.type_error(std::string(name) + " must be a bool, got " + quoted(value));
  }
  return PyObject_IsTrue(value.ptr()) == 1;
}

PoolShape::PoolShape(const Check& check, const char* name, const Shape& shape, int dims)
    : planes(1), size{1, 1, 1} {
  const auto spatial = static_cast<size_t>(dims);
  if (shape.size() != spatial + 1 && shape.size() != spatial + 2) {
    check.value_error(std::string(name) + " must have " + std::to_string(dims + 2) +
                      " dimensions, or " + std::to_string(dims + 1) +
                      " without a batch, got shape " + to_string(shape));
  }
  const size_t lead = shape.size() - spatial;
  leading.assign(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(lead));
  for (const int64_t n : leading) planes *= n;
  for (size_t i = 0; i < spatial; ++i) {
    size[3 - spatial + i] = shape[lead + i];
    if (shape[lead + i] < 1) {
      check.value_error(std::string(name) + " must not be empty in its last " +
                        std::to_string(dims) + " dimensions, got shape " + to_string(shape));
    }
  }
}

Shape PoolShape::with(const Spatial& spatial, int dims) const {
  Shape shape = leading;
  for (int axis = 3 - dims; axis < 3; ++axis) {
    shape.push_back(spatial[static_cast<size_t>(axis)]);
  }
  return shape;
}

bool PoolAxes::compact() const {
  const auto extent = [](const PoolAxis& a) { return (a.kernel - 1) * a.dilation + 1; };
  return width.kernel <= kMaxSlidingColumns && extent(width) <= kMaxSlidingExtent &&
         std::max({depth.stride, height.stride, width.stride}) <= kMaxSlidingStride &&
         depth.kernel <= kMaxSlidingRows && extent(height) <= kMaxSlidingRows &&
         depth.kernel * extent(height) <= kMaxSlidingRows &&
         depth.kernel * height.kernel * width.kernel <= kNoTap;
}

PoolAxes PoolWindow::axes(const Check& check, const Spatial& in, int dims) const {
  const auto argument = [&](const char* name, py::handle value, int64_t lead) {
    return spatial_argument(check, name, value, dims, lead);
  };
  const Spatial kernel = argument("kernel_size", kernel_size, 1);
  const bool touching =
      stride.is_none() || (PyList_Check(stride.ptr()) && PyList_Size(stride.ptr()) == 0);
  const Spatial step = touching ? kernel : argument("stride", stride, 1);
  const Spatial pad = argument("padding", padding, 0);
  const Spatial spread = argument("dilation", dilation, 1);
  const bool ceil = boolean_argument(check, "ceil_mode", ceil_mode);
  std::array<PoolAxis, 3> axis{};
  int64_t volume = 1;
  for (size_t i = 0; i < 3; ++i) {
    axis[i] = make_axis(check, {in[i], 0, kernel[i], step[i], pad[i], spread[i]}, ceil, dims,
                        static_cast<int>(i));
    if (__builtin_mul_overflow(volume, kernel[i], &volume)) {
      check.value_error("kernel_size has too many elements, got " + quoted(kernel_size));
    }
  }
  return {axis[0], axis[1], axis[2]};
}

}  // namespace fastnn
