// Fractional max pooling (Graham 2014): windows of one size whose starts are spread unevenly over
// the plane, as a random number for each plane and axis says. Windows are searched one by one.
#include "kernels/pool/search.h"

namespace fastnn::FASTNN_ISA {

namespace pool {
namespace {

// Window o < out - 1 starts at floor((o + sample) * step) - floor(sample * step), the last one so
// that it reaches the end.
struct FractionalAxis {
  int64_t in, out, kernel;
  double sample, step;

  FractionalAxis(const FractionalSize& size, double random)
      : in(size.in),
        out(size.out),
        kernel(size.kernel),
        sample(random),
        step(out > 1 ? static_cast<double>(in - kernel) / static_cast<double>(out - 1) : 0) {}
};

FASTNN_INLINE int64_t window_start(const FractionalAxis& axis, int64_t o) {
  if (o == axis.out - 1) return axis.in - axis.kernel;
  const auto start = static_cast<int64_t>((static_cast<double>(o) + axis.sample) * axis.step) -
                     static_cast<int64_t>(axis.sample * axis.step);
  return smaller(start, axis.in - axis.kernel);
}
FASTNN_INLINE Range taps_inside(const FractionalAxis& axis, int64_t) { return {0, axis.kernel}; }
FASTNN_INLINE int64_t dilation_of(const FractionalAxis&) { return 1; }

}  // namespace
}  // namespace pool

using namespace pool;

template <class T>
void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<T>& args) {
  const FractionalSize &depth = args.depth, &height = args.height, &width = args.width;
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t outputs = depth.out * height.out * width.out;
  const int64_t work = outputs * (4 + depth.kernel * height.kernel * width.kernel);
  parallel_for(args.planes, larger(1, kPartWork / 8 / larger(1, work)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t plane = begin; plane < end; ++plane) {
                   const T* samples = args.samples + 3 * plane;
                   const FractionalAxis d(depth, static_cast<double>(samples[0]));
                   const FractionalAxis h(height, static_cast<double>(samples[1]));
                   const FractionalAxis w(width, static_cast<double>(samples[2]));
                   for (int64_t i = 0; i < outputs; ++i) {
                     const Place o(i, d, h, w);
                     int64_t& index = args.indices[plane * outputs + i];
                     args.y[plane * outputs + i] =
                         search_window(d, h, w, args.x + plane * inputs, o, index);
                   }
                 }
               });
}

template void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<float>&);
template void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
