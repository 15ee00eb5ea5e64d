// The transposed convolution: x = conv^T(y, w) + bias, the gradient with respect to the input.
//
// Positions of x with the same remainder by the stride (a phase) see the same taps, and are an
// ordinary convolution of y with those: sub-convolutions instead of a scatter.
#include "kernels/conv/convolution.h"
#include "kernels/conv/depthwise_transpose.h"
#include "kernels/conv/joint_phases.h"
#include "kernels/conv/sparse_transpose.h"
#include "kernels/conv/tiling_transpose.h"
#include "kernels/conv/whole_input.h"

namespace fastnn::FASTNN_ISA {
namespace {

// The positions r, r + stride, ... of one dimension of x.
struct PhaseAxis {
  Axis axis;
  int64_t first_tap, tap_period;
};

// Tap t reaches x[i] from y[o] with o * stride = i + padding - t * dilation.
PhaseAxis phase_axis(const ConvGeometry& g, int dim, int64_t r) {
  const int64_t stride = g.stride[dim], dilation = g.dilation[dim];
  const int64_t positions = r < g.input[dim] ? ceil_div(g.input[dim] - r, stride) : 0;
  int64_t first = -1, second = -1, taps = 0;
  for (int64_t t = 0; t < g.kernel[dim]; ++t) {
    if ((r + g.padding[dim] - t * dilation) % stride != 0) continue;
    if (first < 0) {
      first = t;
    } else if (second < 0) {
      second = t;
    }
    ++taps;
  }
  if (taps == 0) return {{g.output[dim], positions, 1, 0, 0, 1}, 0, 1};
  const int64_t period = second < 0 ? 1 : second - first;
  return {{g.output[dim], positions, 1, taps, (r + g.padding[dim] - first * dilation) / stride,
           -(period * dilation / stride)},
          first,
          period};
}

}  // namespace

template <class T>
Convolution<T> phase_convolution(const ConvGeometry& g, const T* w, const int64_t (&r)[3]) {
  const int64_t taps = product(g.kernel);
  const int64_t in_channels = g.in_channels / g.groups, out_channels = g.out_channels / g.groups;
  const int64_t tap_stride[3] = {g.kernel[1] * g.kernel[2], g.kernel[2], 1};
  Convolution<T> conv{};
  conv.batch = g.batch;
  conv.groups = g.groups;
  conv.fast = g.fast;
  conv.in_channels = out_channels;
  conv.out_channels = in_channels;
  conv.mode = PaddingMode::kZeros;
  conv.weights = {w, taps, in_channels * taps, {}, {}, out_channels};
  for (int i = 0; i < 3; ++i) {
    const PhaseAxis phase = phase_axis(g, i, r[i]);
    conv.axes[i] = phase.axis;
    conv.phase.first[i] = r[i];
    conv.phase.step[i] = g.stride[i];
    conv.output[i] = g.input[i];
    conv.weights.data += phase.first_tap * tap_stride[i];
    conv.weights.tap_stride[i] = phase.tap_period * tap_stride[i];
    conv.weights.taps[i] = phase.axis.taps;
    conv.weights.columns *= phase.axis.taps;
  }
  conv.group_weights = out_channels * in_channels * taps;
  return conv;
}

template <class T>
void conv3d_backward_input(const ConvBackwardInputArgs<T>& args) {
  if (covers_input(args.geometry)) return transpose_whole_input(args);
  if (is_depthwise_transpose(args.geometry)) return depthwise_transpose(args);
  if (is_sparse_transpose(args.geometry)) return sparse_transpose(args);
  if (is_tiling_transpose(args.geometry)) return tiling_transpose(args);
  if (is_joint(args.geometry)) return joint_phases(args);
  const T* prepared = args.prepared;
  bool filled = false;
  for_each_phase(args.geometry, args.w,
                 [&](Convolution<T> conv) { filled = filled || conv.weights.columns == 0; });
  bool first = true;
  for_each_phase(args.geometry, args.w, [&](Convolution<T> conv) {
    conv.x = args.y;
    conv.bias = args.bias;
    conv.y = args.x;
    conv.prepared = prepared;
    conv.finish = {args.epilogue, args.x};
    // What no tap reaches is written together with the rest, in whole vectors.
    if (filled && first) fill_output(conv);
    first = false;
    convolve(conv);
    if (prepared != nullptr) prepared += prepared_elements(conv);
  });
}

template Convolution<float> phase_convolution(const ConvGeometry&, const float*,
                                              const int64_t (&)[3]);
template Convolution<double> phase_convolution(const ConvGeometry&, const double*,
                                               const int64_t (&)[3]);
template void conv3d_backward_input(const ConvBackwardInputArgs<float>&);
template void conv3d_backward_input(const ConvBackwardInputArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
