// interpolate: nearest or linear along each of three axes, from tables of indices and weights.
// Linear goes down first: the two to four rows above an output row are mixed in vectors, then each
// output takes its two columns.
//
// Backward: one thread a plane adds rows of grad_y in order, across first, then down.
// Workspace a thread: one row of inputs (linear).
#include <cstddef>

#include "ops/resize.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kResizeGrain = int64_t{1} << 15;  // elements a part

FASTNN_INLINE int64_t at_least_one(int64_t n) { return n > 1 ? n : 1; }

// The input rows of one output row and their weights.
template <class T>
struct MixedRows {
  int64_t rows[4];
  T weights[4];
  int count = 0;

  FASTNN_INLINE MixedRows(const ResizeAxis<T>& depth, const ResizeAxis<T>& height, int64_t od,
                          int64_t oh) {
    for (int64_t slice = 0; slice < 2; ++slice) {
      const T slice_weight = slice == 0 ? 1 - depth.weight[od] : depth.weight[od];
      if (slice == 1 && depth.second[od] == depth.first[od]) break;
      const int64_t d = slice == 0 ? depth.first[od] : depth.second[od];
      for (int64_t row = 0; row < 2; ++row) {
        if (row == 1 && height.second[oh] == height.first[oh]) break;
        const int64_t h = row == 0 ? height.first[oh] : height.second[oh];
        weights[count] = slice_weight * (row == 0 ? 1 - height.weight[oh] : height.weight[oh]);
        rows[count++] = d * height.in + h;
      }
    }
  }
};

template <class T>
FASTNN_INLINE void mix_rows(const MixedRows<T>& mixed, const T* plane, int64_t n, T* to) {
  const auto mix = [&](auto load) {
    Vec<T> sum = load(plane + mixed.rows[0] * n) * Vec<T>(mixed.weights[0]);
    for (int r = 1; r < mixed.count; ++r) {
      sum = fma(load(plane + mixed.rows[r] * n), Vec<T>(mixed.weights[r]), sum);
    }
    return sum;
  };
  int64_t i = 0;
  for (; i + Vec<T>::kSize <= n; i += Vec<T>::kSize) {
    mix([=](const T* row) { return Vec<T>::load(row + i); }).store(to + i);
  }
  if (i < n) mix([=](const T* row) { return Vec<T>::load(row + i, n - i); }).store(to + i, n - i);
}

template <class T>
FASTNN_INLINE void add_rows(const MixedRows<T>& mixed, const T* from, int64_t n, T* plane) {
  for (int r = 0; r < mixed.count; ++r) {
    T* row = plane + mixed.rows[r] * n;
    const Vec<T> weight(mixed.weights[r]);
    int64_t i = 0;
    for (; i + Vec<T>::kSize <= n; i += Vec<T>::kSize) {
      fma(Vec<T>::load(from + i), weight, Vec<T>::load(row + i)).store(row + i);
    }
    if (i < n) {
      fma(Vec<T>::load(from + i, n - i), weight, Vec<T>::load(row + i, n - i))
          .store(row + i, n - i);
    }
  }
}

template <class T>
FASTNN_INLINE void nearest_row(const ResizeAxis<T>& width, const T* x, T* y) {
  int64_t o = 0;
  if (width.out == 2 * width.in && width.first[1] == 0) {
    for (; o + 2 * Vec<T>::kSize <= width.out; o += 2 * Vec<T>::kSize) {
      Vec<T> even = Vec<T>::load(x + o / 2), odd = even;
      interleave(even, odd);
      even.store(y + o);
      odd.store(y + o + Vec<T>::kSize);
    }
  }
  for (; o < width.out; ++o) y[o] = x[width.first[o]];
}

template <class Args>
int64_t scratch_row(const Args& args) {
  return (args.width.in + 15) / 16 * 16;
}

}  // namespace

template <class T>
void interpolate_forward(const InterpolateForwardArgs<T>& args) {
  const ResizeAxis<T>&depth = args.depth, &height = args.height, &width = args.width;
  const int64_t rows = args.planes * depth.out * height.out;
  const int64_t inputs = depth.in * height.in * width.in;
  const int64_t grain = at_least_one(kResizeGrain / (width.in + width.out));
  const bool nearest = width.second == nullptr;
  const int64_t pitch = nearest ? 0 : scratch_row(args);
  const int64_t workers = plan_workers((rows + grain - 1) / grain);
  Workspace workspace(workers * pitch * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(workers * pitch);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const mixed = scratch + worker * pitch;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t oh = row % height.out, slice = row / height.out;
      const int64_t od = slice % depth.out, plane = slice / depth.out;
      const T* x = args.x + plane * inputs;
      T* y = args.y + row * width.out;
      if (nearest) {
        nearest_row(width, x + (depth.first[od] * height.in + height.first[oh]) * width.in, y);
        continue;
      }
      mix_rows(MixedRows<T>(depth, height, od, oh), x, width.in, mixed);
      for (int64_t o = 0; o < width.out; ++o) {
        // Not first + weight * (second - first): that would meet infinities that cancel.
        const T first = mixed[width.first[o]], second = mixed[width.second[o]];
        y[o] = width.second[o] == width.first[o]
                   ? first
                   : first * (1 - width.weight[o]) + second * width.weight[o];
      }
    }
  });
}

template <class T>
void interpolate_backward(const InterpolateBackwardArgs<T>& args) {
  const ResizeAxis<T>&depth = args.depth, &height = args.height, &width = args.width;
  const int64_t inputs = depth.in * height.in * width.in, rows = depth.out * height.out;
  const int64_t grain = at_least_one(kResizeGrain / at_least_one(inputs + rows * width.out));
  const bool nearest = width.second == nullptr;
  const int64_t pitch = nearest ? 0 : scratch_row(args);
  const int64_t workers = plan_workers((args.planes + grain - 1) / grain);
  Workspace workspace(workers * pitch * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(workers * pitch);
  parallel_for(args.planes, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const across = scratch + worker * pitch;
    __builtin_memset(args.grad_x + begin * inputs, 0,
                     static_cast<size_t>((end - begin) * inputs) * sizeof(T));
    for (int64_t row = begin * rows; row < end * rows; ++row) {
      const int64_t oh = row % height.out, slice = row / height.out;
      const int64_t od = slice % depth.out;
      T* plane = args.grad_x + slice / depth.out * inputs;
      const T* grad = args.grad_y + row * width.out;
      if (nearest) {
        T* to = plane + (depth.first[od] * height.in + height.first[oh]) * width.in;
        for (int64_t o = 0; o < width.out; ++o) to[width.first[o]] += grad[o];
        continue;
      }
      __builtin_memset(across, 0, static_cast<size_t>(width.in) * sizeof(T));
      for (int64_t o = 0; o < width.out; ++o) {
        across[width.first[o]] += grad[o] * (1 - width.weight[o]);
        if (width.second[o] == width.first[o]) continue;
        across[width.second[o]] += grad[o] * width.weight[o];
      }
      add_rows(MixedRows<T>(depth, height, od, oh), across, width.in, plane);
    }
  });
}

template void interpolate_forward(const InterpolateForwardArgs<float>&);
template void interpolate_forward(const InterpolateForwardArgs<double>&);
template void interpolate_backward(const InterpolateBackwardArgs<float>&);
template void interpolate_backward(const InterpolateBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
