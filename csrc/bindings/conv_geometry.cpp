#include "bindings/conv_geometry.h"

#include <atomic>

namespace fastnn {
namespace {

std::atomic<bool> fast{true};

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

std::string repr_of(py::handle object) { return py::str(py::repr(object)); }

[[noreturn]] void wrong_kind(const Check& check, const char* name, int dims, py::handle value) {
  check.type_error(std::string(name) + " must be an int or a tuple of " + std::to_string(dims) +
                   " ints, got " + repr_of(value));
}

// Whether `object` is an integer (not a bool); reads it.
bool read_int(const Check& check, const char* name, py::handle object, int64_t least,
              int64_t* value) {
  if (PyBool_Check(object.ptr()) || !PyIndex_Check(object.ptr())) return false;
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) {
    PyErr_Clear();
    return false;
  }
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || number < least || number > kLargest) {
    check.value_error(std::string(name) + " must be in " + std::to_string(least) + ".." +
                      std::to_string(kLargest) + ", got " + repr_of(object));
  }
  *value = number;
  return true;
}

bool is_sequence(py::handle value) {
  return py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value);
}

struct Padding {
  int64_t before[3] = {0, 0, 0}, after[3] = {0, 0, 0};
  bool same = false;
};

// A number, one a dimension, a (before, after) pair a dimension, 'valid' or 'same'.
Padding read_padding(const Check& check, py::handle value, int dims) {
  Padding padding;
  if (py::isinstance<py::str>(value)) {
    const std::string name = py::str(value);
    padding.same = name == "same";
    if (!padding.same && name != "valid") {
      check.value_error("padding must be 'valid', 'same' or a number, got " + repr_of(value));
    }
    return padding;
  }
  if (is_sequence(value)) {
    const auto items = py::reinterpret_borrow<py::sequence>(value);
    if (items.size() > 0 && is_sequence(py::object(items[0]))) {
      if (items.size() != static_cast<size_t>(dims)) wrong_kind(check, "padding", dims, value);
      for (int i = 0; i < dims; ++i) {
        const py::object item = items[static_cast<size_t>(i)];
        if (!is_sequence(item)) wrong_kind(check, "padding", dims, value);
        const auto pair = py::reinterpret_borrow<py::sequence>(item);
        const int d = 3 - dims + i;
        if (pair.size() != 2 ||
            !read_int(check, "padding", py::object(pair[0]), 0, &padding.before[d]) ||
            !read_int(check, "padding", py::object(pair[1]), 0, &padding.after[d])) {
          check.type_error("padding must have (before, after) pairs of ints, got " +
                           repr_of(value));
        }
      }
      return padding;
    }
  }
  read_spatial(check, "padding", value, dims, 0, 0, padding.before);
  for (int i = 0; i < 3; ++i) padding.after[i] = padding.before[i];
  return padding;
}

void check_mode(const Check& check, PaddingMode mode, int64_t size, int64_t before, int64_t after) {
  const int64_t largest = before > after ? before : after;
  if (mode == PaddingMode::kZeros || largest == 0) return;
  const bool fits = mode == PaddingMode::kReflect    ? largest < size
                    : mode == PaddingMode::kCircular ? largest <= size
                                                     : size > 0;
  if (!fits) {
    check.value_error("padding of " + std::to_string(largest) +
                      " is too large for this padding_mode and an input of size " +
                      std::to_string(size));
  }
}

// What both kinds of convolution need of the two shapes. input_channels_of_weight: the axis of
// weight that must match input's channels (times groups for axis 1).
void check_shapes(const Check& check, const Shape& input, const Shape& weight, int dims) {
  const size_t rank = static_cast<size_t>(dims);
  if (input.size() != rank + 1 && input.size() != rank + 2) {
    check.value_error("input must have " + std::to_string(rank + 2) + " dimensions, or " +
                      std::to_string(rank + 1) + " without a batch, got shape " + to_string(input));
  }
  if (weight.size() != rank + 2) {
    check.value_error("weight must have " + std::to_string(rank + 2) + " dimensions, got shape " +
                      to_string(weight));
  }
  for (const Shape* shape : {&input, &weight}) {
    for (const int64_t size : *shape) {
      if (size > kLargest) {
        check.value_error("sizes must be at most " + std::to_string(kLargest) + ", got shape " +
                          to_string(*shape));
      }
    }
  }
  for (size_t i = 2; i < weight.size(); ++i) {
    if (weight[i] < 1) {
      check.value_error("weight must have a kernel of at least one element, got shape " +
                        to_string(weight));
    }
  }
}

// groups, stride, dilation, kernel and the sizes of `near`, the side that `input` is.
ConvGeometry common_geometry(const Check& check, const Shape& input, const Shape& weight,
                             const ConvSettings& settings) {
  check_shapes(check, input, weight, settings.dims);
  check.at_least("groups", settings.groups, 1);
  ConvGeometry g{};
  g.batch = input.size() == weight.size() ? input[0] : 1;
  g.groups = settings.groups;
  g.mode = settings.mode;
  g.fast = fast_convolution();
  read_spatial(check, "stride", settings.stride, settings.dims, 1, 1, g.stride);
  read_spatial(check, "dilation", settings.dilation, settings.dims, 1, 1, g.dilation);
  for (int i = 0; i < 3; ++i) {
    const int from_end = 3 - i;
    const bool present = from_end <= settings.dims;
    g.kernel[i] = present ? weight[weight.size() - static_cast<size_t>(from_end)] : 1;
    g.input[i] = present ? input[input.size() - static_cast<size_t>(from_end)] : 1;
  }
  return g;
}

void check_groups(const Check& check, const char* name, int64_t axis, int64_t channels,
                  int64_t groups) {
  if (channels % groups != 0) {
    check.value_error(std::string(name) + ".shape[" + std::to_string(axis) +
                      "] must be divisible by groups = " + std::to_string(groups) + ", got " +
                      std::to_string(channels));
  }
}

}  // namespace

bool fast_convolution() { return fast; }

void set_conv_precision(py::handle precision) {
  const Check check("set_conv_precision");
  if (!PyUnicode_Check(precision.ptr())) {
    check.type_error("precision must be a str, got " + repr_of(precision));
  }
  const auto name = precision.cast<std::string>();
  if (name != "default" && name != "highest") {
    check.value_error("precision must be 'default' or 'highest', got " + repr_of(precision));
  }
  fast = name == "default";
}

PaddingMode padding_mode(const Check& check, py::handle value) {
  if (!PyUnicode_Check(value.ptr())) {
    check.type_error("padding_mode must be a str, got " + std::string(py::repr(value)));
  }
  const auto name = value.cast<std::string>();
  if (name == "zeros") return PaddingMode::kZeros;
  if (name == "reflect") return PaddingMode::kReflect;
  if (name == "replicate") return PaddingMode::kReplicate;
  if (name == "circular") return PaddingMode::kCircular;
  check.value_error("padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', got '" +
                    name + "'");
}

Shape spatial_shape(const int64_t (&sizes)[3], int dims) {
  return Shape(sizes + 3 - dims, sizes + 3);
}

void read_spatial(const Check& check, const char* name, py::handle value, int dims, int64_t least,
                  int64_t fill, int64_t (&target)[3]) {
  for (int64_t& t : target) t = fill;
  int64_t number = 0;
  if (read_int(check, name, value, least, &number)) {
    for (int i = 3 - dims; i < 3; ++i) target[i] = number;
    return;
  }
  if (!is_sequence(value)) wrong_kind(check, name, dims, value);
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  if (items.size() != 1 && items.size() != static_cast<size_t>(dims)) {
    check.value_error(std::string(name) + " must be an int or a tuple of " + std::to_string(dims) +
                      " ints, got " + repr_of(value));
  }
  for (int i = 0; i < dims; ++i) {
    const py::object item = items[items.size() == 1 ? 0 : static_cast<size_t>(i)];
    if (!read_int(check, name, item, least, &target[3 - dims + i])) {
      wrong_kind(check, name, dims, value);
    }
  }
}

ConvGeometry conv_geometry(const Check& check, const Shape& input, const Shape& weight,
                           const ConvSettings& settings) {
  ConvGeometry g = common_geometry(check, input, weight, settings);
  const size_t channel_axis = input.size() - static_cast<size_t>(settings.dims) - 1;
  g.in_channels = input[channel_axis];
  g.out_channels = weight[0];
  check_groups(check, "input", static_cast<int64_t>(channel_axis), g.in_channels, g.groups);
  check_groups(check, "weight", 0, g.out_channels, g.groups);
  if (weight[1] != g.in_channels / g.groups) {
    check.value_error("weight.shape[1] must be " + std::to_string(g.in_channels / g.groups) +
                      " (in_channels / groups), got " + std::to_string(weight[1]));
  }
  const Padding padding = read_padding(check, settings.padding, settings.dims);
  for (int i = 0; i < 3; ++i) {
    const int64_t span = g.dilation[i] * (g.kernel[i] - 1) + 1;
    int64_t before = padding.before[i], after = padding.after[i];
    if (padding.same) {
      const int64_t outputs = (g.input[i] + g.stride[i] - 1) / g.stride[i];
      const int64_t total = outputs > 0 ? (outputs - 1) * g.stride[i] + span - g.input[i] : 0;
      before = total > 0 ? total / 2 : 0;
      after = total > 0 ? total - before : 0;
    }
    const int64_t padded = g.input[i] + before + after;
    if (padded < span && !(padding.same && g.input[i] == 0)) {
      check.value_error("the kernel spans " + std::to_string(span) +
                        " elements with its dilation, more than the padded input of " +
                        std::to_string(padded));
    }
    check_mode(check, g.mode, g.input[i], before, after);
    g.padding[i] = before;
    g.output[i] = padded < span ? 0 : (padded - span) / g.stride[i] + 1;
  }
  return g;
}

ConvGeometry transposed_geometry(const Check& check, const Shape& input, const Shape& weight,
                                 const ConvSettings& settings, py::handle output_padding) {
  ConvGeometry g = common_geometry(check, input, weight, settings);
  const size_t channel_axis = input.size() - static_cast<size_t>(settings.dims) - 1;
  g.out_channels = input[channel_axis];
  check_groups(check, "input", static_cast<int64_t>(channel_axis), g.out_channels, g.groups);
  if (weight[0] != g.out_channels) {
    check.value_error("weight.shape[0] must be " + std::to_string(g.out_channels) +
                      " (in_channels), got " + std::to_string(weight[0]));
  }
  g.in_channels = check.size("output", {weight[1], g.groups}, 1);
  if (py::isinstance<py::str>(settings.padding)) {
    check.type_error("padding must be a number or numbers, got " + repr_of(settings.padding));
  }
  const Padding padding = read_padding(check, settings.padding, settings.dims);
  int64_t extra[3];
  read_spatial(check, "output_padding", output_padding, settings.dims, 0, 0, extra);
  for (int i = 0; i < 3; ++i) {
    if (extra[i] > 0 && extra[i] >= g.stride[i] && extra[i] >= g.dilation[i]) {
      check.value_error("output_padding must be smaller than stride or dilation, got " +
                        std::to_string(extra[i]));
    }
    g.output[i] = g.input[i];
    g.padding[i] = padding.before[i];
    const int64_t span = g.dilation[i] * (g.kernel[i] - 1) + 1;
    g.input[i] = g.output[i] == 0 ? 0
                                  : (g.output[i] - 1) * g.stride[i] + span + extra[i] -
                                        padding.before[i] - padding.after[i];
    if (g.input[i] < 0 || (g.input[i] == 0 && g.output[i] > 0)) {
      check.value_error("padding leaves no output: its size would be " +
                        std::to_string(g.input[i]));
    }
  }
  return g;
}

Shape conv_shape(bool batched, int64_t batch, int64_t channels, const int64_t (&sizes)[3],
                 int dims) {
  Shape shape = spatial_shape(sizes, dims);
  shape.insert(shape.begin(), channels);
  if (batched) shape.insert(shape.begin(), batch);
  return shape;
}

}  // namespace fastnn
