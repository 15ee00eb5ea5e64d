// y = conv(x, w) + bias.
#include "kernels/conv/convolution.h"
#include "kernels/conv/whole_input.h"

namespace fastnn::FASTNN_ISA {

template <class T>
Convolution<T> forward_convolution(const ConvGeometry& g, const T* w) {
  const int64_t taps = product(g.kernel);
  const int64_t in_channels = g.in_channels / g.groups, out_channels = g.out_channels / g.groups;
  Convolution<T> conv{};
  conv.batch = g.batch;
  conv.groups = g.groups;
  conv.fast = g.fast;
  conv.in_channels = in_channels;
  conv.out_channels = out_channels;
  for (int i = 0; i < 3; ++i) {
    conv.axes[i] = {g.input[i],  g.output[i],   g.stride[i],
                    g.kernel[i], -g.padding[i], g.dilation[i]};
    conv.phase.step[i] = 1;
    conv.output[i] = g.output[i];
  }
  conv.mode = g.mode;
  conv.weights = {w,
                  in_channels * taps,
                  taps,
                  {g.kernel[1] * g.kernel[2], g.kernel[2], 1},
                  {g.kernel[0], g.kernel[1], g.kernel[2]},
                  in_channels * taps};
  conv.group_weights = out_channels * in_channels * taps;
  return conv;
}

template <class T>
void conv3d_forward(const ConvForwardArgs<T>& args) {
  if (covers_input(args.geometry)) return convolve_whole_input(args);
  Convolution<T> conv = forward_convolution(args.geometry, args.w);
  conv.x = args.x;
  conv.bias = args.bias;
  conv.y = args.y;
  conv.prepared = args.prepared;
  conv.finish = {args.epilogue, args.y};
  if (conv.weights.columns == 0) return fill_output(conv);
  convolve(conv);
}

template Convolution<float> forward_convolution(const ConvGeometry&, const float*);
template Convolution<double> forward_convolution(const ConvGeometry&, const double*);
template void conv3d_forward(const ConvForwardArgs<float>&);
template void conv3d_forward(const ConvForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
