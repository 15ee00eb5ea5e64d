// Fractional max pooling (Graham 2014): windows of one size whose starts are spread unevenly over
// the plane, as a random number for each plane and axis says. Windows are searched one by one.
#include "kernels/pool/window.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

namespace {

// Where the windows of an axis start: window o < out - 1 at floor((o + sample) * step) -
// floor(sample * step), the last one so that it reaches the end.
void window_starts(const FractionalSize& size, double sample, int64_t* starts) {
  const int64_t last = size.in - size.kernel;
  const double step =
      size.out > 1 ? static_cast<double>(last) / static_cast<double>(size.out - 1) : 0;
  const auto before = static_cast<int64_t>(sample * step);
  for (int64_t o = 0; o + 1 < size.out; ++o) {
    const auto start = static_cast<int64_t>((static_cast<double>(o) + sample) * step) - before;
    starts[o] = smaller(start, last);
  }
  if (size.out > 0) starts[size.out - 1] = last;
}

// The largest element of a window from `start` and where it is: the first of equals, the last of
// NaNs.
template <class T>
FASTNN_INLINE T largest(const FractionalMaxPoolForwardArgs<T>& args, const T* plane, int64_t start,
                        int64_t& place) {
  int64_t index = start;
  T best = plane[start];
  for (int64_t kd = 0; kd < args.depth.kernel; ++kd) {
    for (int64_t kh = 0; kh < args.height.kernel; ++kh) {
      const int64_t row = start + (kd * args.height.in + kh) * args.width.in;
      for (int64_t at = row; at < row + args.width.kernel; ++at) {
        const T v = plane[at];
        if (v != v) {
          best = v, index = at;
          continue;
        }
        // Without a branch, which random numbers would mislead.
        index ^= (index ^ at) & -static_cast<int64_t>(v > best);
        best = v > best ? v : best;
      }
    }
  }
  place = index;
  return best;
}

}  // namespace

// Workspace a thread: the starts of a plane's windows, 8 bytes for each of an axis.
template <class T>
void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<T>& args) {
  const FractionalSize &depth = args.depth, &height = args.height, &width = args.width;
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t outputs = depth.out * height.out * width.out;
  const int64_t work = outputs * (4 + depth.kernel * height.kernel * width.kernel);
  const int64_t grain = larger(1, kPartWork / 8 / larger(1, work));
  const int64_t starts = depth.out + height.out + width.out;
  const int64_t workers = plan_workers(divide_up(args.planes, grain));
  Workspace workspace(workers * starts * static_cast<int64_t>(sizeof(int64_t)));
  int64_t* const scratch = workspace.take<int64_t>(workers * starts);

  parallel_for(args.planes, grain, [&](int64_t begin, int64_t end, int worker) {
    int64_t* const d = scratch + worker * starts;
    int64_t *const h = d + depth.out, *const w = h + height.out;
    for (int64_t plane = begin; plane < end; ++plane) {
      const T* samples = args.samples + 3 * plane;
      window_starts(depth, static_cast<double>(samples[0]), d);
      window_starts(height, static_cast<double>(samples[1]), h);
      window_starts(width, static_cast<double>(samples[2]), w);
      const T* x = args.x + plane * inputs;
      int64_t i = plane * outputs;
      for (int64_t od = 0; od < depth.out; ++od) {
        for (int64_t oh = 0; oh < height.out; ++oh) {
          const int64_t row = (d[od] * height.in + h[oh]) * width.in;
          for (int64_t ow = 0; ow < width.out; ++ow, ++i) {
            args.y[i] = largest(args, x, row + w[ow], args.indices[i]);
          }
        }
      }
    }
  });
}

template void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<float>&);
template void fractional_max_pool3d_forward(const FractionalMaxPoolForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
