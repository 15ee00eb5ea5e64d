#include "kernels/conv/convolution.h"

#include "kernels/conv/depthwise.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/im2col.h"
#include "kernels/conv/winograd.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void convolve(const Convolution<T>& conv) {
  if (conv.batch <= 0 || conv.out_channels <= 0 || positions_of(conv.axes) <= 0) return;
  const bool planar = conv.output[0] == 1;
  if (planar && is_depthwise<T>(conv.axes, conv.in_channels, conv.out_channels)) {
    return convolve_depthwise(conv);
  }
  if (planar && is_direct(conv)) return convolve_direct(conv);
  // float64 is asked for to be exact: it stays with the direct sum.
  if constexpr (sizeof(T) == sizeof(float)) {
    if (conv.fast && winograd_tile(conv) != 0) return convolve_winograd(conv);
  }
  convolve_im2col(conv);
}

template void convolve(const Convolution<float>&);
template void convolve(const Convolution<double>&);

}  // namespace fastnn::FASTNN_ISA
