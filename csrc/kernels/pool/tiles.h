// Max pooling with taps where windows tile the input in pairs of columns (2/2, also in 3d): every
// element belongs to one window at most, so that nothing is copied and no gradient is added up.
#pragma once

#include "kernels/pool/tap_bytes.h"

namespace fastnn::FASTNN_ISA::pool {

FASTNN_INLINE bool tiles(const PoolAxis& axis) {
  return axis.kernel == axis.stride && axis.padding == 0 &&
         (axis.dilation == 1 || axis.kernel == 1) && axis.out * axis.kernel <= axis.in;
}

FASTNN_INLINE bool tiles_in_pairs(const PoolAxis& depth, const PoolAxis& height,
                                  const PoolAxis& width) {
  return width.kernel == 2 && tiles(width) && tiles(height) && tiles(depth);
}

// The rows of a part, counted over all planes, and where the inputs end that belong to them.
struct TileRows {
  int64_t end, end_of_inputs;
};

// Calls f(row of outputs, where its windows begin, the part's rows) for all rows of outputs.
template <class Args, class F>
FASTNN_INLINE void for_tile_rows(const Args& args, const F& f) {
  const PoolAxis depth = args.depth, height = args.height, width = args.width;
  const auto start = [=](int64_t row) {
    const int64_t slice = row / height.out, plane = slice / depth.out;
    const int64_t d = plane * depth.in + slice % depth.out * depth.kernel;
    return (d * height.in + row % height.out * height.kernel) * width.in;
  };
  const int64_t rows = args.planes * depth.out * height.out;
  const int64_t work = depth.kernel * height.kernel * (width.in + 32);
  parallel_for(rows, larger(1, kPartWork / 4 / work), [&](int64_t begin, int64_t end, int) {
    const int64_t inputs = args.planes * depth.in * height.in * width.in;
    const TileRows part{end, end < rows ? start(end) : inputs};
    for (int64_t row = begin; row < end; ++row) f(row, start(row), part);
  });
}

// y and taps; the first of equals wins, the last of NaNs.
template <class T>
void search_tiles(const MaxPoolForwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize, kAhead = 4096 / static_cast<int64_t>(sizeof(T));
  const PoolAxis depth = args.depth, height = args.height;
  const int64_t in = args.width.in, out = args.width.out;
  const T* const end_of_x = args.x + args.planes * depth.in * height.in * in;
  for_tile_rows(args, [=](int64_t row, int64_t place, TileRows part) {
    const T* const x = args.x + place;
    T* const y = args.y + row * out;
    uint8_t* const taps = args.taps + row * out;
    for (int64_t j = 0; j < out; j += kSize) {
      const int64_t n = smaller(kSize, out - j);
      Vec<T> largest(negative_infinity<T>()), won = Vec<T>::zero(), number = Vec<T>::zero();
      const auto consider = [&](Vec<T> value) FASTNN_INLINE_LAMBDA {
        const Mask<T> better = (value > largest) | is_nan(value);
        largest = select(better, value, largest);
        won = select(better, number, won);
        number += Vec<T>(T{1});
      };
      for (int64_t kd = 0; kd < depth.kernel; ++kd) {
        for (int64_t kh = 0; kh < height.kernel; ++kh) {
          const T* const at = x + (kd * height.in + kh) * in + 2 * j;
          const bool whole = at + 2 * kSize <= end_of_x;
          __builtin_prefetch(at + kAhead, 0, 2);
          __builtin_prefetch(at + kAhead + kSize, 0, 2);
          Vec<T> even = whole ? Vec<T>::load(at) : Vec<T>::load(at, 2 * n);
          Vec<T> odd = whole ? Vec<T>::load(at + kSize) : Vec<T>::load(at + kSize, 2 * n - kSize);
          deinterleave(even, odd);
          consider(even);
          consider(odd);
        }
      }
      store_first(y + j, largest, n, args.y + part.end * out);
      TapBytes<T>::store(won, taps + j, n, args.taps + part.end * out);
    }
  });
}

// A row of inputs: the gradients where the tap is `tap` or the next one, zero elsewhere. Memory up
// to `limit` may be written; the row ends there or is followed by rows yet to be written.
template <class T>
FASTNN_INLINE void spread_row(const T* grad_y, const uint8_t* taps, const uint8_t* end_of_taps,
                              int64_t tap, int64_t out, int64_t in, T* grad_x, const T* limit) {
  constexpr int64_t kSize = Vec<T>::kSize;
  using Number = typename IntVec<T>::Lane;
  const IntVec<T> first(static_cast<Number>(tap)), second(static_cast<Number>(tap + 1));
  for (int64_t j = 0; j < out; j += kSize) {
    const int64_t n = smaller(kSize, out - j);
    const Vec<T> grad = Vec<T>::load(grad_y + j, n), zero = Vec<T>::zero();
    const IntVec<T> won = TapBytes<T>::load(taps + j, n, end_of_taps);
    Vec<T> low = select(won == first, grad, zero), high = select(won == second, grad, zero);
    interleave(low, high);
    store_first(grad_x + 2 * j, low, 2 * n, limit);
    if (2 * n > kSize) store_first(grad_x + 2 * j + kSize, high, 2 * n - kSize, limit);
  }
  for (int64_t w = 2 * out; w < in; ++w) grad_x[w] = 0;
}

template <class T>
void spread_tiles(const MaxPoolBackwardArgs<T>& args) {
  const PoolAxis depth = args.depth, height = args.height;
  const int64_t in = args.width.in, out = args.width.out, slice = height.in * in;
  const int64_t rows_below = height.in - height.out * height.kernel;
  const int64_t slices_behind = depth.in - depth.out * depth.kernel;
  const auto clear = [](T* to, int64_t n) {
    __builtin_memset(to, 0, static_cast<size_t>(n) * sizeof(T));
  };
  const uint8_t* const end_of_taps = args.taps + args.planes * depth.out * height.out * out;
  for_tile_rows(args, [=](int64_t row, int64_t place, TileRows part) {
    const bool last = row % height.out == height.out - 1;
    for (int64_t kd = 0; kd < depth.kernel; ++kd) {
      T* to = args.grad_x + place + kd * slice;
      for (int64_t kh = 0; kh < height.kernel; ++kh, to += in) {
        // In 3d what follows a slice has been written already.
        const T* const limit = depth.kernel == 1 ? args.grad_x + part.end_of_inputs : to;
        spread_row(args.grad_y + row * out, args.taps + row * out, end_of_taps,
                   (kd * height.kernel + kh) * 2, out, in, to, limit);
      }
      if (last) clear(to, rows_below * in);
    }
    if (last && row / height.out % depth.out == depth.out - 1) {
      T* const behind = args.grad_x + place + height.kernel * in + rows_below * in;
      clear(behind + (depth.kernel - 1) * slice, slices_behind * slice);
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
