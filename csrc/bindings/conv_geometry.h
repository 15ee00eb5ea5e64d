// Reads and checks the arguments that all convolutions share.
#pragma once

#include "bindings/common.h"
#include "ops/conv.h"

namespace fastnn {

// stride, padding, ... as the user gave them, for `dims` spatial dimensions.
struct ConvSettings {
  int dims;
  py::handle stride, padding, dilation;
  int64_t groups;
  PaddingMode mode = PaddingMode::kZeros;
};

// Whether algorithms with larger rounding errors (Winograd) are allowed, in the whole process.
bool fast_convolution();
void set_conv_precision(py::handle precision);

PaddingMode padding_mode(const Check& check, py::handle value);

// The last `dims` of three dimensions; those before are of size 1.
Shape spatial_shape(const int64_t (&sizes)[3], int dims);

// An int, or a sequence of one or `dims` ints, each in least .. 2^31 - 1; `fill` for the dimensions
// before the last `dims`.
void read_spatial(const Check& check, const char* name, py::handle value, int dims, int64_t least,
                  int64_t fill, int64_t (&target)[3]);

// The geometry of a convolution of an array of shape `input` with one of shape `weight`.
// input is (batch, channels, sizes...) or (channels, sizes...).
ConvGeometry conv_geometry(const Check& check, const Shape& input, const Shape& weight,
                           const ConvSettings& settings);

// The geometry of the convolution whose transpose maps `input` to the output. In it, `input` is
// the convolution's output.
ConvGeometry transposed_geometry(const Check& check, const Shape& input, const Shape& weight,
                                 const ConvSettings& settings, py::handle output_padding);

// The shape of one side, with the batch dimension only if `batched`.
Shape conv_shape(bool batched, int64_t batch, int64_t channels, const int64_t (&sizes)[3],
                 int dims);

}  // namespace fastnn
