// Arguments of pooling from Python, checked and turned into axes.
#pragma once

#include <array>
#include <utility>

#include "bindings/common.h"
#include "ops/pool.h"

namespace fastnn {

using Spatial = std::array<int64_t, 3>;  // depth, height, width; the leading ones 1 in 2d and 1d

// `dims` ints from one int or a tuple of them (a tuple of one repeats), at the end of a Spatial
// whose other elements are `lead`.
Spatial spatial_argument(const Check& check, const char* name, py::handle value, int dims,
                         int64_t lead);

// True, False, or an int in their place.
bool boolean_argument(const Check& check, const char* name, py::handle value);

// An input of pooling: (N, C, ...) or (C, ...) with `dims` spatial dimensions.
struct PoolShape {
  Shape leading;  // (N, C) or (C,)
  int64_t planes;
  Spatial size;

  PoolShape(const Check& check, const char* name, const Shape& shape, int dims);
  Shape with(const Spatial& spatial, int dims) const;  // leading + the last dims of spatial
};

struct PoolAxes {
  PoolAxis depth, height, width;

  Spatial out() const { return {depth.out, height.out, width.out}; }
  // Whether the backward pass of max pooling needs no more than a byte an output.
  bool compact() const;
};

// The windows' arguments as the user gave them.
struct PoolWindow {
  py::handle kernel_size, stride, padding, dilation, ceil_mode;

  // Checks them against an input and computes the sizes of the output.
  PoolAxes axes(const Check& check, const Spatial& in, int dims) const;
};

// Names as the user knows them: the functions for 1, 2 and 3 spatial dimensions share a kernel.
inline const char* named(const char* const (&names)[3], int dims) { return names[dims - 1]; }

inline void check_dims(int dims) {
  if (dims < 1 || dims > 3) throw py::value_error("dims must be 1, 2 or 3");
}

// What a forward pass returns beside its maxima.
enum class Keep : int { kNothing, kIndices, kForBackward };

// Max pooling's backward pass from taps; they are trusted to be contiguous, as they were made.
template <class T>
py::object gather_from_taps(const Check& check, const Array<T>& grad, const PoolShape& shape,
                            py::handle saved, const PoolAxes& axes, int dims) {
  const auto taps = py::reinterpret_borrow<Array<uint8_t>>(saved);
  check.shape("saved", taps, shape_of(grad), "grad_output.shape");
  auto grad_x = check.output<T>(shape.with(shape.size, dims));
  run(pool_kernels().max_pool3d_backward,
      MaxPoolBackwardArgs<T>{shape.planes, axes.depth, axes.height, axes.width, grad.data(),
                             taps.data(), grad_x.mutable_data()});
  return std::move(grad_x);
}

// The scatter of a plane's gradients to the indices that its maxima came from.
template <class T>
py::object scatter_to_indices(const Check& check, const Array<T>& grad, const PoolShape& shape,
                              py::handle saved, int dims) {
  const auto indices = check.indices("saved", saved);
  check.shape("saved", indices, shape_of(grad), "grad_output.shape");
  auto grad_x = check.output<T>(shape.with(shape.size, dims));
  const int64_t inputs = shape.size[0] * shape.size[1] * shape.size[2];
  const int64_t outputs = shape.planes > 0 ? grad.size() / shape.planes : 0;
  run(pool_kernels().adaptive_max_pool3d_backward,
      AdaptiveMaxPoolBackwardArgs<T>{shape.planes, inputs, outputs, grad.data(), indices.data(),
                                     grad_x.mutable_data()});
  return std::move(grad_x);
}

}  // namespace fastnn
