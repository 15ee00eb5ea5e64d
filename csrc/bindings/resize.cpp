#include "ops/resize.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "bindings/common.h"

namespace fastnn {
namespace {

constexpr int64_t kLargestPad = int64_t{1} << 40;

PadMode pad_mode(const Check& check, const std::string& mode) {
  if (mode == "constant") return PadMode::kConstant;
  if (mode == "reflect") return PadMode::kReflect;
  if (mode == "replicate") return PadMode::kReplicate;
  if (mode == "circular") return PadMode::kCircular;
  check.value_error("mode must be 'constant', 'reflect', 'replicate' or 'circular', got '" + mode +
                    "'");
}

// `padding` holds (before, after) of the last axis, then of the one before it, ... Axes that are
// not padded are merged into the first, which is never padded.
struct PadGeometry {
  int rank = 1;
  int64_t in[kMaxPadRank] = {1}, out[kMaxPadRank] = {1}, before[kMaxPadRank] = {0};
  Shape y_shape;

  PadGeometry(const Check& check, const Shape& shape, const Shape& padding, PadMode mode) {
    const size_t padded = padding.size() / 2;
    if (padding.size() % 2 != 0 || padded > shape.size()) {
      check.value_error("pad must hold a pair of ints for at most each of input's " +
                        std::to_string(shape.size()) + " dimensions, got " +
                        std::to_string(padding.size()) + " ints");
    }
    const size_t first = shape.size() - padded;
    if (mode != PadMode::kConstant && (padded < 1 || padded > 3 || first < 1 || first > 2)) {
      check.value_error("pad of " + std::to_string(padding.size()) + " ints needs an input of " +
                        std::to_string(padded + 1) + " or " + std::to_string(padded + 2) +
                        " dimensions and 2, 4 or 6 ints unless mode is 'constant', got shape " +
                        to_string(shape));
    }
    if (padded + 1 > kMaxPadRank) check.value_error("pad must hold at most 62 ints");
    for (size_t i = 0; i < first; ++i) in[0] *= shape[i];
    out[0] = in[0];
    y_shape = shape;
    for (size_t i = first; i < shape.size(); ++i, ++rank) {
      const size_t pair = 2 * (shape.size() - 1 - i);
      in[rank] = shape[i];
      before[rank] = padding[pair];
      out[rank] = y_shape[i] = axis_size(check, shape[i], padding[pair], padding[pair + 1], mode);
    }
  }

  template <class Args>
  void copy_to(Args& args) const {
    args.rank = rank;
    std::copy(in, in + rank, args.in);
    std::copy(out, out + rank, args.out);
    std::copy(before, before + rank, args.before);
  }

 private:
  static int64_t axis_size(const Check& check, int64_t n, int64_t before, int64_t after,
                           PadMode mode) {
    const int64_t least = std::min(before, after), most = std::max(before, after);
    const auto got = [&] {
      return ", got (" + std::to_string(before) + ", " + std::to_string(after) + ")";
    };
    if (least < -kLargestPad || most > kLargestPad) {
      check.value_error("pad must be between -2**40 and 2**40" + got());
    }
    if (mode == PadMode::kReflect && most >= n) {
      check.value_error("pad must be less than the dimension of " + std::to_string(n) +
                        " with mode 'reflect'" + got());
    }
    if (mode == PadMode::kCircular && most > n) {
      check.value_error("pad must be at most the dimension of " + std::to_string(n) +
                        " with mode 'circular'" + got());
    }
    const int64_t size = n + before + after;
    if (size < 0 || (mode != PadMode::kConstant && size < 1)) {
      check.value_error("pad must leave something of the dimension of " + std::to_string(n) +
                        got());
    }
    if (mode != PadMode::kConstant && n < 1) {
      check.value_error("input must not be empty in the padded dimensions with this mode");
    }
    return size;
  }
};

py::object pad_forward(py::handle input, const Shape& padding, const std::string& mode_name,
                       double value, py::handle out) {
  const Check check("pad");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const PadMode mode = pad_mode(check, mode_name);
    const PadGeometry geometry(check, shape_of(x), padding, mode);
    auto y = check.output<T>(geometry.y_shape, out, {input});
    PadForwardArgs<T> args{};
    geometry.copy_to(args);
    args.mode = mode;
    args.value = static_cast<T>(value);
    args.x = x.data();
    args.y = y.mutable_data();
    run(resize_kernels().pad_forward, args);
    return std::move(y);
  });
}

py::object pad_backward(py::handle grad_output, const Shape& input_shape, const Shape& padding,
                        const std::string& mode_name) {
  const Check check("pad");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    const PadMode mode = pad_mode(check, mode_name);
    const PadGeometry geometry(check, input_shape, padding, mode);
    check.shape("grad_output", grad, geometry.y_shape, "the output's shape");
    auto grad_x = check.output<T>(input_shape);
    PadBackwardArgs<T> args{};
    geometry.copy_to(args);
    args.mode = mode;
    args.grad_y = grad.data();
    args.grad_x = grad_x.mutable_data();
    if (geometry.rank == 1) {
      std::copy(grad.data(), grad.data() + grad.size(), grad_x.mutable_data());
    } else {
      run(resize_kernels().pad_backward, args);
    }
    return std::move(grad_x);
  });
}

// Where the outputs of one axis come from, and the memory behind it.
template <class T>
struct AxisTable {
  std::vector<int64_t> first, second;
  std::vector<T> weight;
  int64_t in, out;

  ResizeAxis<T> axis() const {
    const bool nearest = second.empty();
    return {in, out, first.data(), nearest ? nullptr : second.data(),
            nearest ? nullptr : weight.data()};
  }

  // `scale` is input elements an output element. In float for every T, as in PyTorch: where the
  // product lies near a whole number its rounding decides.
  static AxisTable nearest(int64_t in, int64_t out, double scale, bool exact) {
    AxisTable table;
    table.in = in;
    table.out = out;
    table.first.resize(static_cast<size_t>(out));
    const auto step = static_cast<float>(scale);
    for (int64_t o = 0; o < out; ++o) {
      const float position = exact ? static_cast<float>((static_cast<double>(o) + 0.5) * step)
                                   : static_cast<float>(o) * step;
      table.first[static_cast<size_t>(o)] =
          std::min(static_cast<int64_t>(std::floor(position)), in - 1);
    }
    return table;
  }

  static AxisTable linear(int64_t in, int64_t out, double scale, bool align_corners) {
    AxisTable table = nearest(in, out, 0, false);
    table.second = table.first;
    table.weight.resize(static_cast<size_t>(out));
    for (int64_t o = 0; o < out; ++o) {
      const T step = static_cast<T>(scale);
      const T position =
          align_corners ? step * static_cast<T>(o) : step * (static_cast<T>(o) + T(0.5)) - T(0.5);
      const T inside = std::max(position, T{0});
      const int64_t first = std::min(static_cast<int64_t>(inside), in - 1);
      const auto at = static_cast<size_t>(o);
      table.first[at] = first;
      table.weight[at] = first + 1 < in ? std::min(inside - static_cast<T>(first), T{1}) : T{0};
      table.second[at] = table.weight[at] > 0 ? first + 1 : first;
    }
    return table;
  }
};

// The tables of the last `scales.size()` axes; the axes in front of them have one element.
template <class T>
struct ResizeTables {
  std::array<AxisTable<T>, 3> axes;

  ResizeTables(const std::array<int64_t, 3>& in, const std::array<int64_t, 3>& out,
               const std::array<double, 3>& scales, const std::string& mode, bool align_corners) {
    for (size_t i = 0; i < 3; ++i) {
      axes[i] = mode == "linear"
                    ? AxisTable<T>::linear(in[i], out[i], scales[i], align_corners)
                    : AxisTable<T>::nearest(in[i], out[i], scales[i], mode == "nearest-exact");
    }
  }
};

// (N, C, spatial...): planes, and the spatial sizes behind leading ones.
struct ResizeShape {
  int64_t planes = 1;
  std::array<int64_t, 3> in{1, 1, 1}, out{1, 1, 1};
  Shape y_shape;

  ResizeShape(const Check& check, const char* name, const Shape& shape, const Shape& size) {
    if (size.empty() || size.size() > 3 || shape.size() != size.size() + 2) {
      check.value_error(std::string(name) + " must have 3, 4 or 5 dimensions, got shape " +
                        to_string(shape));
    }
    planes = shape[0] * shape[1];
    y_shape = {shape[0], shape[1]};
    for (size_t i = 0; i < size.size(); ++i) {
      const size_t axis = 3 - size.size() + i;
      in[axis] = shape[i + 2];
      out[axis] = size[i];
      if (in[axis] < 1) {
        check.value_error(std::string(name) + " must not be empty in its spatial dimensions, " +
                          "got shape " + to_string(shape));
      }
      check.at_least("size", size[i], 1);
      y_shape.push_back(size[i]);
    }
    check.size("output", Shape(out.begin(), out.end()), 8);
  }
};

// scales: input elements an output element, (depth, height, width). mode: nearest, nearest-exact or
// linear.
py::object interpolate_forward(py::handle input, const Shape& size,
                               const std::array<double, 3>& scales, const std::string& mode,
                               bool align_corners, py::handle out) {
  const Check check("interpolate");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    const ResizeShape shape(check, "input", shape_of(x), size);
    auto y = check.output<T>(shape.y_shape, out, {input});
    const ResizeTables<T> tables(shape.in, shape.out, scales, mode, align_corners);
    run(resize_kernels().interpolate_forward,
        InterpolateForwardArgs<T>{shape.planes, tables.axes[0].axis(), tables.axes[1].axis(),
                                  tables.axes[2].axis(), x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object interpolate_backward(py::handle grad_output, const Shape& input_shape,
                                const std::array<double, 3>& scales, const std::string& mode,
                                bool align_corners) {
  const Check check("interpolate");
  return check.dispatch("grad_output", grad_output, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto grad = check.contiguous<T>("grad_output", grad_output);
    check.rank("grad_output", grad, static_cast<int64_t>(input_shape.size()));
    check.min_rank("grad_output", grad, 3);
    const ResizeShape shape(check, "input", input_shape,
                            Shape(grad.shape() + 2, grad.shape() + grad.ndim()));
    check.shape("grad_output", grad, shape.y_shape, "input's batch and channels");
    auto grad_x = check.output<T>(input_shape);
    const ResizeTables<T> tables(shape.in, shape.out, scales, mode, align_corners);
    run(resize_kernels().interpolate_backward,
        InterpolateBackwardArgs<T>{shape.planes, tables.axes[0].axis(), tables.axes[1].axis(),
                                   tables.axes[2].axis(), grad.data(), grad_x.mutable_data()});
    return std::move(grad_x);
  });
}

// The last three sizes of a shape as (channels, height, width).
template <class Kernel>
py::object shuffle(const char* name, Kernel ResizeKernels::*kernel, py::handle input,
                   int64_t factor, bool enlarge, py::handle out) {
  const Check check(name);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 3);
    const char* argument = enlarge ? "upscale_factor" : "downscale_factor";
    check.at_least(argument, factor, 1);
    if (factor > (1 << 20)) check.value_error(std::string(argument) + " must be at most 2**20");
    Shape shape = shape_of(x);
    int64_t& width = shape[shape.size() - 1];
    int64_t& height = shape[shape.size() - 2];
    int64_t& channels = shape[shape.size() - 3];
    const auto divide = [&](int64_t& n, int64_t divisor, const char* meaning) {
      if (n % divisor != 0) {
        check.value_error(std::string("input's ") + meaning + " must be a multiple of " +
                          std::to_string(divisor) + ", got " + std::to_string(n));
      }
      n /= divisor;
    };
    if (enlarge) divide(channels, factor * factor, "channels");
    if (!enlarge) divide(height, factor, "height");
    if (!enlarge) divide(width, factor, "width");
    int64_t planes = 1;
    for (size_t i = 0; i + 2 < shape.size(); ++i) planes *= shape[i];
    const int64_t small_height = height, small_width = width;
    if (enlarge && (__builtin_mul_overflow(height, factor, &height) ||
                    __builtin_mul_overflow(width, factor, &width))) {
      check.value_error("upscale_factor is too large for the input");
    }
    if (!enlarge && __builtin_mul_overflow(channels, factor * factor, &channels)) {
      check.value_error("downscale_factor is too large for the input");
    }
    auto y = check.output<T>(shape, out, {input});
    if (x.size() == 0) return std::move(y);  // perhaps of 2^40 planes
    run(resize_kernels().*kernel,
        PixelShuffleArgs<T>{planes, factor, small_height, small_width, x.data(), y.mutable_data()});
    return std::move(y);
  });
}

py::object channel_shuffle(py::handle input, int64_t groups, py::handle out) {
  const Check check("channel_shuffle");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 3);
    check.at_least("groups", groups, 1);
    const Split split = split_at(x, 1);
    if (split.length % groups != 0) {
      check.value_error("input's channels must be a multiple of groups (" + std::to_string(groups) +
                        "), got " + std::to_string(split.length));
    }
    auto y = check.output<T>(shape_of(x), out, {input});
    if (x.size() == 0) return std::move(y);  // perhaps of 2^40 rows
    run(resize_kernels().channel_shuffle_forward,
        ChannelShuffleArgs<T>{split.outer, groups, split.length / groups, split.inner, x.data(),
                              y.mutable_data()});
    return std::move(y);
  });
}

}  // namespace

void init_grid_sample(py::module_&);
void init_resample(py::module_&);

void init_resize(py::module_& m) {
  init_grid_sample(m);
  init_resample(m);
  m.def("channel_shuffle_forward", &channel_shuffle, py::arg("input"), py::arg("groups"),
        py::arg("out") = py::none());
  m.def("pad_forward", &pad_forward, py::arg("input"), py::arg("pad"), py::arg("mode"),
        py::arg("value"), py::arg("out") = py::none());
  m.def("pad_backward", &pad_backward, py::arg("grad_output"), py::arg("input_shape"),
        py::arg("pad"), py::arg("mode"));
  m.def("interpolate_forward", &interpolate_forward, py::arg("input"), py::arg("size"),
        py::arg("scales"), py::arg("mode"), py::arg("align_corners"), py::arg("out") = py::none());
  m.def("interpolate_backward", &interpolate_backward, py::arg("grad_output"),
        py::arg("input_shape"), py::arg("scales"), py::arg("mode"), py::arg("align_corners"));
  m.def(
      "pixel_shuffle_forward",
      [](py::handle input, int64_t factor, py::handle out) {
        return shuffle("pixel_shuffle", &ResizeKernels::pixel_shuffle_forward, input, factor, true,
                       out);
      },
      py::arg("input"), py::arg("upscale_factor"), py::arg("out") = py::none());
  m.def(
      "pixel_unshuffle_forward",
      [](py::handle input, int64_t factor, py::handle out) {
        return shuffle("pixel_unshuffle", &ResizeKernels::pixel_unshuffle_forward, input, factor,
                       false, out);
      },
      py::arg("input"), py::arg("downscale_factor"), py::arg("out") = py::none());
}

}  // namespace fastnn
