// Sampling at the points of a grid. Each point has at most 4 taps an axis; blocks of points share
// their taps between the channels.
//
// Backward: a part owns all of grad_x of some channels, or the gradients of some points, and adds
// in order, so that nothing is added across threads.
#include <cstddef>

#include "kernels/rows.h"
#include "ops/resize.h"
#include "runtime/parallel.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kSampleGrain = int64_t{1} << 14;  // taps a part
constexpr int kMaxTaps = 16;
constexpr int64_t kBlockPoints = 32;

FASTNN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FASTNN_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Where the points of a block lie along one axis, and the derivatives by their coordinates. A short
// block repeats its last point, so that loops have one length.
template <class T>
struct Positions {
  T at[kBlockPoints], slope[kBlockPoints];

  // Counted in elements from the first one's centre.
  FASTNN_INLINE void read(const T* grid, int64_t stride, int64_t points, int64_t size,
                          bool align_corners) {
    const T scale = static_cast<T>(align_corners ? size - 1 : size) / 2;
    const T shift = align_corners ? T{0} : T(0.5);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      at[p] = (grid[least(p, points - 1) * stride] + 1) * scale - shift;
      slope[p] = scale;
    }
  }

  FASTNN_INLINE void reflect(int64_t size, bool align_corners) {
    const T low = align_corners ? T{0} : T(-0.5);
    const T span = static_cast<T>(align_corners ? size - 1 : size);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      const T offset = at[p] - low, from = offset < 0 ? -offset : offset;
      const T flips = floor_of(from / span), extra = from - flips * span;
      const bool even = flips - 2 * floor_of(flips / 2) == 0, back = even != (offset >= 0);
      at[p] = (even ? extra : span - extra) + low;
      slope[p] = back ? -slope[p] : slope[p];
      if (span == 0) at[p] = slope[p] = 0;
    }
  }

  FASTNN_INLINE void clip(int64_t size) {
    const T last = static_cast<T>(size - 1);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      slope[p] = at[p] > 0 && at[p] < last ? slope[p] : T{0};
      at[p] = !(at[p] > 0) ? T{0} : at[p] >= last ? last : at[p];
    }
  }

  // What is far outside, infinite or NaN lies outside, and fits into an integer.
  FASTNN_INLINE void limit(int64_t size) {
    const T most = static_cast<T>(int64_t{1} << 31), above = static_cast<T>(size + 100);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      const bool near = at[p] > -most && at[p] < most;
      slope[p] = near ? slope[p] : T{0};
      at[p] = near ? at[p] : at[p] > 0 ? above : T{-100};
    }
  }

  // Inline: GCC 12 at -Os otherwise forgets that it writes.
  FASTNN_INLINE void pad(const GridSampleShape& s, int64_t size) {
    if (s.padding == SamplePadding::kReflection) reflect(size, s.align_corners);
    if (s.padding != SamplePadding::kZeros) clip(size);
    limit(size);
  }

  static FASTNN_INLINE float nearest_to(float x) { return __builtin_rintf(x); }
  static FASTNN_INLINE double nearest_to(double x) { return __builtin_rint(x); }
  static FASTNN_INLINE float floor_of(float x) { return __builtin_floorf(x); }
  static FASTNN_INLINE double floor_of(double x) { return __builtin_floor(x); }
};

// The taps of a block of points along one axis: indices (-1 outside), weights and their
// derivatives by the coordinate.
template <class T>
struct AxisTaps {
  int count = 0;
  int64_t index[4][kBlockPoints];
  T weight[4][kBlockPoints], slope[4][kBlockPoints];

  __attribute__((noinline)) void prepare(const GridSampleShape& s, const T* grid, int64_t points,
                                         int64_t size) {
    Positions<T> p;
    p.read(grid, s.dims, points, size, s.align_corners);
    if (s.mode == SampleMode::kNearest) return nearest(s, p, size);
    if (s.mode == SampleMode::kLinear) return linear(s, p, size);
    cubic(s, p, size);
  }

 private:
  // NaN for a coordinate that is no number, otherwise 0: what its weights become part of.
  static FASTNN_INLINE T unknown(T coordinate) { return coordinate - coordinate; }

  // The next tap is element `at`, a whole number, of each point.
  FASTNN_INLINE void add(const T* at, int64_t size) {
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      const auto i = static_cast<int64_t>(at[p]);
      index[count][p] = i >= 0 && i < size ? i : -1;
    }
    ++count;
  }

  void nearest(const GridSampleShape& s, Positions<T>& position, int64_t size) {
    position.pad(s, size);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      position.at[p] = Positions<T>::nearest_to(position.at[p]);
      weight[0][p] = 1;
      slope[0][p] = 0;
    }
    add(position.at, size);
  }

  void linear(const GridSampleShape& s, Positions<T>& position, int64_t size) {
    T lost[kBlockPoints];
    const bool zeros = s.padding == SamplePadding::kZeros;
    for (int64_t p = 0; p < kBlockPoints; ++p) lost[p] = zeros ? unknown(position.at[p]) : T{0};
    position.pad(s, size);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      const T floor = Positions<T>::floor_of(position.at[p]);
      const T second = position.at[p] - floor + lost[p];
      weight[0][p] = 1 - second, weight[1][p] = second;
      slope[0][p] = -position.slope[p], slope[1][p] = position.slope[p];
      position.at[p] = floor;
    }
    add(position.at, size);
    for (int64_t p = 0; p < kBlockPoints; ++p) position.at[p] += 1;
    add(position.at, size);
  }

  // Keys' kernel with a = -3/4; each tap is padded by itself.
  void cubic(const GridSampleShape& s, Positions<T>& position, int64_t size) {
    T floor[kBlockPoints], second[kBlockPoints];
    for (int64_t p = 0; p < kBlockPoints; ++p) second[p] = unknown(position.at[p]);
    position.limit(size);
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      floor[p] = Positions<T>::floor_of(position.at[p]);
      second[p] += position.at[p] - floor[p];
    }
    const T a = T(-0.75);
    for (int k = 0; k < 4; ++k) {
      Positions<T> tap;
      for (int64_t p = 0; p < kBlockPoints; ++p) {
        const T along = second[p] - static_cast<T>(k - 1), d = along < 0 ? -along : along;
        const T by_point = along < 0 ? -position.slope[p] : position.slope[p];
        const bool near = d <= 1;
        weight[k][p] =
            near ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
        slope[k][p] = by_point * (near ? (3 * (a + 2) * d - 2 * (a + 3)) * d
                                       : (3 * a * d - 10 * a) * d + 8 * a);
        tap.at[p] = floor[p] + static_cast<T>(k - 1);
        tap.slope[p] = 0;
      }
      tap.pad(s, size);
      for (int64_t p = 0; p < kBlockPoints; ++p) tap.at[p] = Positions<T>::floor_of(tap.at[p]);
      add(tap.at, size);
    }
  }
};

// The taps of a block of points of one image, as indices in its planes, -1 where there is nothing.
template <class T>
struct BlockTaps {
  int64_t index[kMaxTaps][kBlockPoints];
  T weight[kMaxTaps][kBlockPoints];
  T slope[3][kMaxTaps][kBlockPoints];  // by x, y, z; with kSlopes

  template <bool kSlopes>
  __attribute__((noinline)) void prepare(const GridSampleShape& s, const T* grid, int64_t points) {
    AxisTaps<T> x, y, z;
    x.prepare(s, grid, points, s.width);
    y.prepare(s, grid + 1, points, s.height);
    if (s.dims == 3) {
      z.prepare(s, grid + 2, points, s.depth);
    } else {
      z.count = 1;
      for (int64_t p = 0; p < kBlockPoints; ++p) {
        z.index[0][p] = 0, z.weight[0][p] = 1, z.slope[0][p] = 0;
      }
    }
    int tap = 0;
    for (int k = 0; k < z.count; ++k) {
      for (int j = 0; j < y.count; ++j) {
        for (int i = 0; i < x.count; ++i, ++tap) combine<kSlopes>(s, tap, x, i, y, j, z, k);
      }
    }
  }

 private:
  template <bool kSlopes>
  FASTNN_INLINE void combine(const GridSampleShape& s, int tap, const AxisTaps<T>& x, int i,
                             const AxisTaps<T>& y, int j, const AxisTaps<T>& z, int k) {
    for (int64_t p = 0; p < kBlockPoints; ++p) {
      const int64_t at = (z.index[k][p] * s.height + y.index[j][p]) * s.width + x.index[i][p];
      index[tap][p] = (z.index[k][p] | y.index[j][p] | x.index[i][p]) < 0 ? -1 : at;
      const T zy = z.weight[k][p] * y.weight[j][p];
      weight[tap][p] = zy * x.weight[i][p];
      if constexpr (kSlopes) {
        slope[0][tap][p] = zy * x.slope[i][p];
        slope[1][tap][p] = z.weight[k][p] * y.slope[j][p] * x.weight[i][p];
        slope[2][tap][p] = z.slope[k][p] * y.weight[j][p] * x.weight[i][p];
      }
    }
  }
};

int taps_of(const GridSampleShape& s) {
  if (s.mode == SampleMode::kNearest) return 1;
  return s.mode == SampleMode::kCubic ? 16 : s.dims == 2 ? 4 : 8;
}

// f(the number of taps as a constant).
template <class F>
FASTNN_INLINE void with_taps(const GridSampleShape& s, const F& f) {
  const int taps = taps_of(s);
  if (taps == 1) return f(Chain<1>());
  if (taps == 4) return f(Chain<4>());
  if (taps == 8) return f(Chain<8>());
  f(Chain<16>());
}

// Calls f(block, image, first point, points) for the blocks of points of all images.
template <class T, class F>
void for_each_block(const GridSampleShape& s, const F& f) {
  const int64_t blocks = (s.points + kBlockPoints - 1) / kBlockPoints;
  const int64_t work = kBlockPoints * taps_of(s) * (s.channels + 8);
  parallel_for(s.batch * blocks, most(1, kSampleGrain / work),
               [&](int64_t begin, int64_t end, int) {
                 BlockTaps<T> block{};
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t first = i % blocks * kBlockPoints;
                   f(block, i / blocks, first, least(kBlockPoints, s.points - first));
                 }
               });
}

}  // namespace

template <class T>
void grid_sample_forward(const GridSampleForwardArgs<T>& args) {
  const GridSampleShape& s = args.shape;
  const int64_t plane = s.depth * s.height * s.width;
  with_taps(s, [&](auto taps) {
    for_each_block<T>(s, [&](BlockTaps<T>& block, int64_t image, int64_t first, int64_t points) {
      block.template prepare<false>(s, args.grid + (image * s.points + first) * s.dims, points);
      for (int64_t c = image * s.channels; c < (image + 1) * s.channels; ++c) {
        const T* const x = args.x + c * plane;
        T* const y = args.y + c * s.points + first;
        for (int64_t p = 0; p < points; ++p) {
          T sum = 0;
          FASTNN_UNROLL
          for (int tap = 0; tap < taps.index; ++tap) {
            const int64_t at = block.index[tap][p];
            sum += (at >= 0 ? x[at] : T{0}) * block.weight[tap][p];
          }
          y[p] = sum;
        }
      }
    });
  });
}

// Tap by tap: neighbouring points add to the same element by different taps, and an addition would
// wait for the one before.
template <class T>
void grid_sample_backward_input(const GridSampleBackwardInputArgs<T>& args) {
  const GridSampleShape& s = args.shape;
  const int64_t plane = s.depth * s.height * s.width;
  const int taps = taps_of(s);
  // Channels that share the taps of a point; the cut depends on the shape alone.
  const int64_t group = least(most(1, s.channels), 16);
  const int64_t groups = (s.channels + group - 1) / group;
  parallel_for(s.batch * groups, 1, [&](int64_t begin, int64_t end, int) {
    BlockTaps<T> block{};
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
          T* const to = args.grad_x + c * plane;
          const T* const grad = args.grad_y + c * s.points + first;
          for (int tap = 0; tap < taps; ++tap) {
            for (int64_t p = 0; p < points; ++p) {
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
  const int taps = taps_of(s);
  for_each_block<T>(s, [&](BlockTaps<T>& block, int64_t image, int64_t first, int64_t points) {
    T along[kMaxTaps][kBlockPoints] = {};  // the gradient by each tap's weight
    const int64_t start = (image * s.points + first) * s.dims;
    block.template prepare<true>(s, args.grid + start, points);
    for (int64_t c = image * s.channels; c < (image + 1) * s.channels; ++c) {
      const T* const x = args.x + c * plane;
      const T* const grad = args.grad_y + c * s.points + first;
      for (int tap = 0; tap < taps; ++tap) {
        for (int64_t p = 0; p < points; ++p) {
          const int64_t at = block.index[tap][p];
          along[tap][p] += (at >= 0 ? x[at] : T{0}) * grad[p];
        }
      }
    }
    for (int64_t p = 0; p < points; ++p) {
      for (int64_t axis = 0; axis < s.dims; ++axis) {
        T sum = 0;
        for (int tap = 0; tap < taps; ++tap) {
          if (block.index[tap][p] >= 0) sum += along[tap][p] * block.slope[axis][tap][p];
        }
        args.grad_grid[start + p * s.dims + axis] = sum;
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
