// Adaptive pooling: where the sizes divide, pooling with kernel = stride = in / out; otherwise
// windows that differ (adaptive_windows.h).
#include "kernels/pool/adaptive_windows.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

template <class T>
void avg_pool3d_forward(const AvgPoolForwardArgs<T>&);
template <class T>
void avg_pool3d_backward(const AvgPoolBackwardArgs<T>&);
template <class T>
void max_pool3d_forward(const MaxPoolForwardArgs<T>&);

namespace {

template <class Args>
bool divides(const Args& args) {
  const auto whole = [](const AdaptiveAxis& axis) {
    return axis.out > 0 && axis.in % axis.out == 0;
  };
  return whole(args.depth) && whole(args.height) && whole(args.width);
}

// Elements of a window whose size divides.
template <class Args>
int64_t taps(const Args& args) {
  return (args.depth.in / args.depth.out) * (args.height.in / args.height.out) *
         (args.width.in / args.width.out);
}

PoolAxis even_axis(const AdaptiveAxis& axis) {
  const int64_t kernel = axis.in / axis.out;
  return {axis.in, axis.out, kernel, kernel, 0, 1};
}

}  // namespace

template <class T>
void adaptive_avg_pool3d_forward(const AdaptiveAvgPoolForwardArgs<T>& args) {
  if (divides(args)) {
    return avg_pool3d_forward(AvgPoolForwardArgs<T>{
        args.planes, even_axis(args.depth), even_axis(args.height), even_axis(args.width),
        /*count_padding=*/false, /*divisor_override=*/0, args.x, args.y});
  }
  fold_adaptive(args.planes, AdaptiveWindows(args.depth, args.height, args.width), args.x, args.y,
                Mean());
}

template <class T>
void adaptive_avg_pool3d_backward(const AdaptiveAvgPoolBackwardArgs<T>& args) {
  // Large windows are quicker row by row.
  if (divides(args) && (taps(args) <= 4 || args.width.out == 1)) {
    return avg_pool3d_backward(AvgPoolBackwardArgs<T>{
        args.planes, even_axis(args.depth), even_axis(args.height), even_axis(args.width),
        /*count_padding=*/false, /*divisor_override=*/0, args.grad_y, args.grad_x});
  }
  spread_adaptive(args.planes, AdaptiveWindows(args.depth, args.height, args.width), args.grad_y,
                  args.grad_x);
}

template <class T>
void adaptive_max_pool3d_forward(const AdaptiveMaxPoolForwardArgs<T>& args) {
  if (divides(args) && (args.indices == nullptr || taps(args) <= kMaxAdaptiveTaps)) {
    return max_pool3d_forward(MaxPoolForwardArgs<T>{
        args.planes, even_axis(args.depth), even_axis(args.height), even_axis(args.width), args.x,
        args.y, args.indices, /*taps=*/nullptr});
  }
  const AdaptiveWindows windows(args.depth, args.height, args.width);
  if (args.indices != nullptr) {
    return search_adaptive(args.planes, windows, args.x, args.y, args.indices);
  }
  fold_adaptive(args.planes, windows, args.x, args.y, Largest());
}

// One thread a plane, outputs in order. Indices outside the plane are passed over.
template <class T>
void adaptive_max_pool3d_backward(const AdaptiveMaxPoolBackwardArgs<T>& args) {
  const int64_t grain = larger(1, kPartWork / 4 / larger(1, args.inputs + args.outputs));
  parallel_for(args.planes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* to = args.grad_x + plane * args.inputs;
      __builtin_memset(to, 0, static_cast<size_t>(args.inputs) * sizeof(T));
      for (int64_t i = plane * args.outputs; i < (plane + 1) * args.outputs; ++i) {
        const int64_t at = args.indices[i];
        if (at >= 0 && at < args.inputs) to[at] += args.grad_y[i];
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                                                        \
  template void adaptive_avg_pool3d_forward(const AdaptiveAvgPoolForwardArgs<T>&);   \
  template void adaptive_avg_pool3d_backward(const AdaptiveAvgPoolBackwardArgs<T>&); \
  template void adaptive_max_pool3d_forward(const AdaptiveMaxPoolForwardArgs<T>&);   \
  template void adaptive_max_pool3d_backward(const AdaptiveMaxPoolBackwardArgs<T>&)
FASTNN_INSTANTIATE(float);
FASTNN_INSTANTIATE(double);
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
