// Folds windows of three columns at stride 1 that keep a small plane's size (maximum or sum), in
// registers: a plane is one line of elements, a window's rows are that line at three offsets, and
// its columns are the lanes before and after. Masks hide the ends of rows.
#pragma once

#include "kernels/pool/flat.h"

namespace fastnn::FASTNN_ISA::pool {

inline constexpr int64_t kMaxPlane = 4096;  // elements: masks and divisors stay in L1

// Windows of kRows rows, or of any number of them if kRows is 0.
template <class T, class Op, int kRows>
struct PlaneFold {
  static constexpr int64_t kSize = Vec<T>::kSize;
  Op op;
  int64_t size;  // elements of a plane
  int64_t rows;
  int64_t offsets[kRows > 0 ? kRows : kMaxSlidingRows];

  PlaneFold(const Op& operation, const PoolAxis& height, const PoolAxis& width)
      : op(operation), size(height.in * width.in), rows(height.kernel) {
    for (int64_t r = 0; r < rows; ++r) offsets[r] = (r - height.padding) * width.in;
  }

  // y = finish of every window of the plane x; masks say for each vector and column of the window
  // which lanes see the input.
  template <class Finish>
  FASTNN_INLINE void operator()(const T* x, T* y, const T* limit, const Mask<T>* masks,
                                const Finish& finish) const {
    const Vec<T> neutral(Op::template neutral<T>());
    Vec<T> before = neutral, here = down(x, 0);
    for (int64_t i = 0; i < size; i += kSize, masks += 3) {
      const Vec<T> after = down(x, i + kSize);
      const Vec<T> left = lanes_from<kSize - 1>(before, here), right = lanes_from<1>(here, after);
      const Vec<T> folded =
          op(op(select(masks[0], left, neutral), here), select(masks[2], right, neutral));
      store_first(y + i, finish(folded, i), size - i, limit);
      before = here;
      here = after;
    }
  }

 private:
  // The rows of the windows around elements i, i + 1, ...; neutral past the plane's end.
  FASTNN_INLINE Vec<T> down(const T* x, int64_t i) const {
    const int64_t count = kRows > 0 ? kRows : rows;
    if (i + offsets[0] >= 0 && i + offsets[count - 1] + kSize <= size) {
      Vec<T> folded = op.input(Vec<T>::load(x + i + offsets[0]));
      for (int64_t r = 1; r < count; ++r) {
        folded = op(folded, op.input(Vec<T>::load(x + i + offsets[r])));
      }
      return folded;
    }
    const Vec<T> neutral(Op::template neutral<T>());
    Vec<T> folded = neutral;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = i + offsets[r];
      const Mask<T> inside = first_n_mask<T>(size - at) & ~first_n_mask<T>(-at);
      folded = op(folded, select(inside, op.input(Vec<T>::load(x + at, inside)), neutral));
    }
    return select(first_n_mask<T>(size - i), folded, neutral);
  }
};

inline bool keeps_size(const PoolAxis& axis) {
  return axis.stride == 1 && axis.dilation == 1 && axis.in == axis.out;
}

inline bool fits_plane(const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width) {
  return depth.out == 1 && depth.kernel == 1 && depth.in == 1 && keeps_size(height) &&
         keeps_size(width) && width.kernel == 3 && height.in * width.in <= kMaxPlane;
}

// Where slide_planes reads a plane: in place.
template <class T>
struct InPlace {
  static int64_t elements() { return 0; }
  FASTNN_INLINE const T* operator()(const T* plane, T*) const { return plane; }
};

// y[window] = finish(fold of the window): finish.plane(scratch) gives the function of (folded, i)
// for the outputs from i of a plane; its scratch has finish.plane_elements(outputs) elements.
// source(plane, scratch) gives the plane as it is to be folded, perhaps in source.elements() of
// scratch.
//
// Workspace, shared: three masks for each vector of a plane, and finish's; a thread: source's.
template <class T, class Op, class Finish, class Source = InPlace<T>>
void slide_planes(int64_t planes, const PoolAxis& height, const PoolAxis& width, const T* x, T* y,
                  const Finish& finish, const Op& op, const Source& source = Source()) {
  const int64_t size = height.in * width.in;
  FlatMasks<T> masks(width, width.out, size);
  const int64_t extra = finish.plane_elements(size);
  const int64_t grain = larger(1, kPartWork / (8 * size));
  const int64_t copies = plan_workers(divide_up(planes, grain)) * source.elements();
  Workspace workspace(masks.bytes() +
                      Workspace::padded_bytes(extra * static_cast<int64_t>(sizeof(T))) +
                      Workspace::padded_bytes(copies * static_cast<int64_t>(sizeof(T))));
  masks.prepare(workspace);
  const auto finish_shared = finish.plane(workspace.take<T>(extra));
  T* const scratch = workspace.take<T>(copies);
  const auto fold_all = [&](auto rows) {
    const PlaneFold<T, Op, decltype(rows)::index> shared(op, height, width);
    parallel_for(planes, grain, [&](int64_t begin, int64_t end, int worker) {
      // Copies that no store can alias.
      const auto fold = shared;
      const auto finish_plane = finish_shared;
      T* const copy = scratch + worker * source.elements();
      const T* const limit = y + end * size;
      for (int64_t plane = begin; plane < end; ++plane) {
        fold(source(x + plane * size, copy), y + plane * size, limit, masks.masks, finish_plane);
      }
    });
  };
  if (height.kernel == 3) return fold_all(Chain<3>());
  fold_all(Chain<0>());
}

}  // namespace fastnn::FASTNN_ISA::pool
