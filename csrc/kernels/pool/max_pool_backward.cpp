// Max pooling's gradient from taps: every output adds its own to the input that its tap names, in
// row-major order of the outputs. A part is a range of input rows of one plane (of slices in 3d);
// outputs whose windows reach over its ends belong to both sides, each of which takes its taps.
//
// One output after the other: at a nanosecond each that is faster than gathering with vectors,
// which visits every tap of every window.
#include "kernels/pool/spread.h"
#include "kernels/pool/tiles.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

namespace {

// Where each tap lies relative to its window's start; kNoTap and the unused ones nowhere.
struct TapPlaces {
  int64_t places[kNoTap + 1];

  TapPlaces(const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width) {
    for (int64_t& place : places) place = INT64_MIN / 2;
    int64_t* place = places;
    for (int64_t kd = 0; kd < depth.kernel; ++kd) {
      for (int64_t kh = 0; kh < height.kernel; ++kh) {
        const int64_t row = kd * depth.dilation * height.in + kh * height.dilation;
        for (int64_t kw = 0; kw < width.kernel; ++kw) {
          *place++ = row * width.in + kw * width.dilation;
        }
      }
    }
  }
};

}  // namespace

template <class T>
void max_pool3d_backward(const MaxPoolBackwardArgs<T>& original) {
  if (original.planes == 0) return;
  MaxPoolBackwardArgs<T> args = original;
  merge_planes(args.planes, args.depth, args.height);
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  // Shorter rows leave most of a vector empty.
  const bool long_rows = width.out > Vec<T>::kSize / 2;
  if (long_rows && tiles_in_pairs(depth, height, width)) return spread_tiles(args);
  const TapPlaces taps(depth, height, width);
  const bool by_slices = depth.in > 1;
  const PoolAxis& axis = by_slices ? depth : height;
  const int64_t inner = (by_slices ? height.in : 1) * width.in, inputs = axis.in * inner;
  const int64_t wanted = larger(1, kPartWork / 4 / inner);
  const int64_t ranges = divide_up(axis.in, wanted), range = divide_up(axis.in, ranges);
  const int64_t grain = larger(1, wanted / range);

  parallel_for(args.planes * ranges, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t plane = part / ranges, first = part % ranges * range;
      const int64_t past = smaller(axis.in, first + range);
      if (first >= past) continue;
      T* const to = args.grad_x + plane * inputs + first * inner;
      const auto size = static_cast<uint64_t>((past - first) * inner);
      __builtin_memset(to, 0, size * sizeof(T));
      const Range outer{covering(axis, first).begin, covering(axis, past - 1).end};
      const Range slices = by_slices ? outer : Range{0, depth.out};
      const Range rows = by_slices ? Range{0, height.out} : outer;
      for (int64_t od = slices.begin; od < slices.end; ++od) {
        for (int64_t oh = rows.begin; oh < rows.end; ++oh) {
          const int64_t d = window_start(depth, od), h = window_start(height, oh);
          int64_t start = (d * height.in + h) * width.in - width.padding - first * inner;
          const int64_t at = ((plane * depth.out + od) * height.out + oh) * width.out;
          const T* grad = args.grad_y + at;
          const uint8_t* tap = args.taps + at;
          for (int64_t ow = 0; ow < width.out; ++ow, start += width.stride) {
            const int64_t place = start + taps.places[tap[ow]];
            if (static_cast<uint64_t>(place) < size) to[place] += grad[ow];
          }
        }
      }
    }
  });
}

template void max_pool3d_backward(const MaxPoolBackwardArgs<float>&);
template void max_pool3d_backward(const MaxPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
