// Arguments of pooling from Python, checked and turned into axes.
#pragma once

#include <array>

#include "bindings/common.h"
#include "ops/pool.h"

namespace fastnn {

using Spatial = std::array<int64_t, 3>;  // depth, height, width; the leading ones 1 in 2d and 1d

// `dims` ints from one int or a tuple of them (a tuple of one repeats), at the end of a Spatial
// whose other elements are `lead`.
Spatial spatial_argument(const Check& check, const char* name, py::handle value, int dims,
                         int64_t lead);

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
  py::handle kernel_size, stride, padding, dilation;
  bool ceil_mode;

  // Checks them against an input and computes the sizes of the output.
  PoolAxes axes(const Check& check, const Spatial& in, int dims) const;
};

}  // namespace fastnn
