// Sampling at the points of a grid. Each point has at most 4 taps an axis; blocks of points share
// their taps between the channels.
//
// Backward: a part owns all of grad_x of some channels, or the gradients of some points, and adds
// in order, so that nothing is added across threads.
#include <cstddef>

#include "ops/resize.h"
#include "runtime/parallel.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kSampleGrain = int64_t{1} << 14;  // taps a part
constexpr int kMaxTaps = 16;
constexpr int64_t kBlockPoints = 32;

FASTNN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FASTNN_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Where a coordinate lies once it is unnormalised or padded, and its derivative.
template <class T>
struct Position {
  T at, slope;
};

template <class T>
Position<T> reflected(Position<T> p, int64_t size, bool align_corners) {
  const T low = align_corners ? T{0} : T(-0.5);
  const T span = static_cast<T>(align_corners ? size - 1 : size);
  if (span == 0) return {0, 0};
  T from = p.at - low;
  if (from < 0) from = -from, p.slope = -p.slope;
  const T flips = static_cast<T>(__builtin_floor(from / span));
  const T extra = from - flips * span;
  const bool even = flips - 2 * static_cast<T>(__builtin_floor(flips / 2)) == 0;
  return even ? Position<T>{extra + low, p.slope} : Position<T>{span - extra + low, -p.slope};
}

template <class T>
Position<T> clipped(Position<T> p, int64_t size) {
  const T last = static_cast<T>(size - 1);
  if (!(p.at > 0)) return {0, 0};
  return p.at >= last ? Position<T>{last, 0} : p;
}

template <class T>
Position<T> padded(Position<T> p, int64_t size, SamplePadding padding, bool align_corners) {
  if (padding == SamplePadding::kReflection) p = reflected(p, size, align_corners);
  if (padding != SamplePadding::kZeros) p = clipped(p, size);
  // What is far outside, infinite or NaN lies outside, and fits into an integer.
  const T limit = static_cast<T>(int64_t{1} << 31);
  if (p.at > -limit && p.at < limit) return p;
  return {p.at > 0 ? static_cast<T>(size + 100) : T{-100}, 0};
}

// The taps along one axis: indices (-1 outside), weights and their derivatives by the coordinate.
template <class T>
struct AxisTaps {
  int count = 0;
  int64_t index[4];
  T weight[4], slope[4];

  FASTNN_INLINE void add(int64_t i, int64_t size, T w, T s) {
    index[count] = i >= 0 && i < size ? i : -1;
    weight[count] = w;
    slope[count++] = s;
  }

  AxisTaps(T coordinate, int64_t size, SampleMode mode, SamplePadding padding, bool align_corners) {
    const T scale = static_cast<T>(align_corners ? size - 1 : size) / 2;
    const Position<T> raw{
        align_corners ? (coordinate + 1) * scale : (coordinate + 1) * scale - T(0.5), scale};
    if (mode == SampleMode::kCubic) {
      cubic(raw, size, padding, align_corners);
      return;
    }
    const Position<T> p = padded(raw, size, padding, align_corners);
    if (mode == SampleMode::kNearest) {
      add(static_cast<int64_t>(__builtin_rint(p.at)), size, 1, 0);
      return;
    }
    const T floor = static_cast<T>(__builtin_floor(p.at));
    const T second = p.at - floor + unknown(padding == SamplePadding::kZeros ? raw.at : T{0});
    add(static_cast<int64_t>(floor), size, 1 - second, -p.slope);
    add(static_cast<int64_t>(floor) + 1, size, second, p.slope);
  }

  // NaN for a coordinate that is no number, otherwise 0: what its weights become part of.
  static FASTNN_INLINE T unknown(T coordinate) { return coordinate - coordinate; }

  // Keys' kernel with a = -3/4; each tap is padded by itself.
  void cubic(Position<T> raw, int64_t size, SamplePadding padding, bool align_corners) {
    const Position<T> p = padded(raw, size, SamplePadding::kZeros, align_corners);
    const T floor = static_cast<T>(__builtin_floor(p.at)), a = T(-0.75);
    const T second = p.at - floor + unknown(raw.at);
    for (int k = -1; k <= 2; ++k) {
      const T along = second - static_cast<T>(k), d = along < 0 ? -along : along;
      const T sign = along < 0 ? -1 : 1;
      const bool near = d <= 1;
      const T weight =
          near ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
      const T slope = near ? (3 * (a + 2) * d - 2 * (a + 3)) * d : (3 * a * d - 10 * a) * d + 8 * a;
      const Position<T> tap =
          padded(Position<T>{floor + static_cast<T>(k), 1}, size, padding, align_corners);
      add(static_cast<int64_t>(__builtin_floor(tap.at)), size, weight, sign * slope * p.slope);
    }
  }
};

// The taps of a block of points of one image, as indices in its planes, -1 where there is nothing.
template <class T>
struct BlockTaps {
  int taps = 0;
  int64_t index[kMaxTaps][kBlockPoints];
  T weight[kMaxTaps][kBlockPoints];
  T slope[3][kMaxTaps][kBlockPoints];  // by x, y, z; with kSlopes

  template <bool kSlopes>
  void prepare(const GridSampleShape& s, const T* grid, int64_t points) {
    for (int64_t p = 0; p < points; ++p) {
      const T* at = grid + p * s.dims;
      const AxisTaps<T> x(at[0], s.width, s.mode, s.padding, s.align_corners);
      const AxisTaps<T> y(at[1], s.height, s.mode, s.padding, s.align_corners);
      if (s.dims == 2) {
        combine<kSlopes>(s, p, x, y, nullptr);
      } else {
        const AxisTaps<T> z(at[2], s.depth, s.mode, s.padding, s.align_corners);
        combine<kSlopes>(s, p, x, y, &z);
      }
    }
  }

 private:
  template <bool kSlopes>
  FASTNN_INLINE void combine(const GridSampleShape& s, int64_t p, const AxisTaps<T>& x,
                             const AxisTaps<T>& y, const AxisTaps<T>* z) {
    int tap = 0;
    for (int k = 0; k < (z == nullptr ? 1 : z->count); ++k) {
      const int64_t d = z == nullptr ? 0 : z->index[k];
      const T wz = z == nullptr ? T{1} : z->weight[k];
      for (int j = 0; j < y.count; ++j) {
        for (int i = 0; i < x.count; ++i, ++tap) {
          const bool inside = d >= 0 && y.index[j] >= 0 && x.index[i] >= 0;
          index[tap][p] = inside ? (d * s.height + y.index[j]) * s.width + x.index[i] : -1;
          weight[tap][p] = wz * y.weight[j] * x.weight[i];
          if (!kSlopes) continue;
          slope[0][tap][p] = wz * y.weight[j] * x.slope[i];
          slope[1][tap][p] = wz * y.slope[j] * x.weight[i];
          slope[2][tap][p] = z == nullptr ? T{0} : z->slope[k] * y.weight[j] * x.weight[i];
        }
      }
    }
    taps = tap;
  }
};

int64_t taps_of(const GridSampleShape& s) {
  if (s.mode == SampleMode::kNearest) return 1;
  return s.mode == SampleMode::kCubic ? 16 : s.dims == 2 ? 4 : 8;
}

// Calls f(image, first point, points) for the blocks of points of all images.
template <class F>
void for_each_block(const GridSampleShape& s, const F& f) {
  const int64_t blocks = (s.points + kBlockPoints - 1) / kBlockPoints;
  const int64_t work = kBlockPoints * taps_of(s) * (s.channels + 8);
  parallel_for(s.batch * blocks, most(1, kSampleGrain / work),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t first = i % blocks * kBlockPoints;
                   f(i / blocks, first, least(kBlockPoints, s.points - first));
                 }
               });
}

}  // namespace

template <class T>
void grid_sample_forward(const GridSampleForwardArgs<T>& args) {
  const GridSampleShape& s = args.shape;
  const int64_t plane = s.depth * s.height * s.width;
  for_each_block(s, [&](int64_t image, int64_t first, int64_t points) {
    BlockTaps<T> block;
    block.template prepare<false>(s, args.grid + (image * s.points + first) * s.dims, points);
    for (int64_t c = image * s.channels; c < (image + 1) * s.channels; ++c) {
      const T* x = args.x + c * plane;
      T* y = args.y + c * s.points + first;
      for (int64_t p = 0; p < points; ++p) {
        T sum = 0;
        for (int tap = 0; tap < block.taps; ++tap) {
          const int64_t at = block.index[tap][p];
          sum += (at >= 0 ? x[at] : T{0}) * block.weight[tap][p];
        }
        y[p] = sum;
      }
    }
  });
}

template <class T>
void grid_sample_backward_input(const GridSampleBackwardInputArgs<T>& args) {
  const GridSampleShape& s = args.shape;
  const int64_t plane = s.depth * s.height * s.width;
  // Channels that share the taps of a point; the cut depends on the shape alone.
  const int64_t group = least(most(1, s.channels), 8);
  const int64_t groups = (s.channels + group - 1) / group;
  parallel_for(s.batch * groups, 1, [&](int64_t begin, int64_t end, int) {
    BlockTaps<T> block;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / groups, from = i % groups * group;
      const int64_t c_begin = image * s.channels + from;
      const int64_t c_end = c_begin + least(group, s.channels - from);
      __builtin_memset(args.grad_x + c_begin * plane, 0,
                       static_cast<size_t>((c_end - c_begin) * plane) * sizeof(T));
      for (int64_t first = 0; first < s.points; first += kBlockPoints) {
        const int64_t points = least(kBlockPoints, s.points - first);
        block.template prepare<false>(s, args.grid + (image * s.points + first) * s.dims, points);
        for (int64_t c = c_begin; c < c_end; ++c) {
          T* to = args.grad_x + c * plane;
          const T* grad = args.grad_y + c * s.points + first;
          for (int64_t p = 0; p < points; ++p) {
            for (int tap = 0; tap < block.taps; ++tap) {
              const int64_t at = block.index[tap][p];
              if (at >= 0) to[at] += grad[p] * block.weight[tap][p];
            }
          }
        }
      }
    }
  });
}

template <class T>
void grid_sample_backward_grid(const GridSampleBackwardGridArgs<T>& args) {
  const GridSampleShape& s = args.shape;
  const int64_t plane = s.depth * s.height * s.width;
  for_each_block(s, [&](int64_t image, int64_t first, int64_t points) {
    BlockTaps<T> block;
    const int64_t start = (image * s.points + first) * s.dims;
    block.template prepare<true>(s, args.grid + start, points);
    for (int64_t p = 0; p < points; ++p) {
      T sums[3] = {0, 0, 0};
      for (int tap = 0; tap < block.taps; ++tap) {
        const int64_t at = block.index[tap][p];
        if (at < 0) continue;
        T along = 0;
        for (int64_t c = image * s.channels; c < (image + 1) * s.channels; ++c) {
          along += args.x[c * plane + at] * args.grad_y[c * s.points + first + p];
        }
        for (int axis = 0; axis < 3; ++axis) sums[axis] += along * block.slope[axis][tap][p];
      }
      for (int64_t axis = 0; axis < s.dims; ++axis) {
        args.grad_grid[start + p * s.dims + axis] = sums[axis];
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                                                      \
  template void grid_sample_forward(const GridSampleForwardArgs<T>&);              \
  template void grid_sample_backward_input(const GridSampleBackwardInputArgs<T>&); \
  template void grid_sample_backward_grid(const GridSampleBackwardGridArgs<T>&)
FASTNN_INSTANTIATE(float);
FASTNN_INSTANTIATE(double);
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
