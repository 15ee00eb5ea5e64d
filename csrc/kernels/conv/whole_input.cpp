#include "kernels/conv/whole_input.h"

#include "kernels/gemm/multiply.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostInputs = int64_t{1} << 21;  // of an image: bounds the workspace

// What an image and its output have of one group: weights of a filter, and filters.
struct GroupSizes {
  explicit GroupSizes(const ConvGeometry& g)
      : inputs(g.in_channels / g.groups * g.kernel[0] * g.kernel[1] * g.kernel[2]),
        filters(g.out_channels / g.groups) {}
  int64_t inputs, filters;
};

// Each group's product: `product` describes the first, in C rows lie c_stride apart.
template <class T>
void multiply_groups(int64_t groups, const MatmulForwardArgs<T>& product, int64_t a_step,
                     int64_t b_step, int64_t c_step, int64_t c_stride) {
  gemm_grid<T>(groups, {product.m, product.n, product.k},
               [&](int64_t group, const Cell& cell, T* scratch) {
                 MatmulForwardArgs<T> mine = product;
                 if (product.bias != nullptr) mine.bias = product.bias + group * product.n;
                 const T* const residual =
                     product.residual == nullptr ? nullptr : product.residual + group * c_step;
                 multiply_cell(mine, product.a + group * a_step, product.b + group * b_step,
                               residual, product.c + group * c_step, c_stride, cell, scratch);
               });
}

}  // namespace

bool covers_input(const ConvGeometry& g) {
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2];
  bool result = g.mode == PaddingMode::kZeros && g.in_channels <= kMostInputs / taps;
  for (int i = 0; i < 3; ++i) {
    result = result && g.output[i] == 1 && g.padding[i] == 0 && g.input[i] == g.kernel[i] &&
             (g.dilation[i] == 1 || g.kernel[i] == 1);
  }
  return result;
}

template <class T>
void convolve_whole_input(const ConvForwardArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  const GroupSizes sizes(g);
  MatmulForwardArgs<T> product{};
  product.m = g.batch;
  product.n = sizes.filters;
  product.k = sizes.inputs;
  product.a = args.x;
  product.a_row_stride = g.groups * sizes.inputs;
  product.a_col_stride = 1;
  product.b = args.w;
  product.b_row_stride = 1;
  product.b_col_stride = sizes.inputs;
  product.bias = args.bias;
  product.c = args.y;
  product.residual = args.epilogue.residual;
  product.activation = args.epilogue.activation;
  multiply_groups(g.groups, product, sizes.inputs, sizes.filters * sizes.inputs, sizes.filters,
                  g.out_channels);
}

template <class T>
void transpose_whole_input(const ConvBackwardInputArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  const GroupSizes sizes(g);
  const int64_t image = g.groups * sizes.inputs;
  Workspace workspace(args.bias == nullptr ? 0 : image * static_cast<int64_t>(sizeof(T)));
  T* const bias = args.bias == nullptr ? nullptr : workspace.take<T>(image);
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2];
  for (int64_t i = 0; bias != nullptr && i < image; ++i) bias[i] = args.bias[i / taps];
  MatmulForwardArgs<T> product{};
  product.m = g.batch;
  product.n = sizes.inputs;
  product.k = sizes.filters;
  product.a = args.y;
  product.a_row_stride = g.out_channels;
  product.a_col_stride = 1;
  product.b = args.w;
  product.b_row_stride = sizes.inputs;
  product.b_col_stride = 1;
  product.bias = bias;
  product.c = args.x;
  product.residual = args.epilogue.residual;
  product.activation = args.epilogue.activation;
  multiply_groups(g.groups, product, sizes.filters, sizes.filters * sizes.inputs, sizes.inputs,
                  image);
}

template <class T>
void whole_input_gradient(const ConvBackwardWeightArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  const GroupSizes sizes(g);
  MatmulForwardArgs<T> product{};
  product.m = sizes.filters;
  product.n = sizes.inputs;
  product.k = g.batch;
  product.a = args.grad_y;
  product.a_row_stride = 1;
  product.a_col_stride = g.out_channels;
  product.b = args.x;
  product.b_row_stride = g.groups * sizes.inputs;
  product.b_col_stride = 1;
  product.c = args.grad_w;
  multiply_groups(g.groups, product, sizes.filters, sizes.inputs, sizes.filters * sizes.inputs,
                  sizes.inputs);
}

#define FASTNN_INSTANTIATE(T)                                           \
  template void convolve_whole_input(const ConvForwardArgs<T>&);        \
  template void transpose_whole_input(const ConvBackwardInputArgs<T>&); \
  template void whole_input_gradient(const ConvBackwardWeightArgs<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
