// Average pooling. Sums go down the rows of a window first, then across (slide.h); sums of whole
// planes and of large windows run along the rows (segment.h).
//
// Backward: with stride 1 a sliding sum of grad_y, the same way; otherwise each input row gathers
// grad_y / divisor from the rows of outputs above it (spread.h). Workspace a thread: the rows of
// outputs and of sums for a block of up to 1024 columns, at least 16 KiB, + 1024 columns; shared
// 2 x min(width.out, 27 Ki) elements.
#include "kernels/pool/divisor.h"
#include "kernels/pool/segment.h"
#include "kernels/pool/slide.h"
#include "kernels/pool/spread.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

template <class T>
void avg_pool3d_forward(const AvgPoolForwardArgs<T>& original) {
  AvgPoolForwardArgs<T> args = original;
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  if (covers_all(depth) && covers_all(height) && covers_all(width)) {
    const Divisor<T> divisor(args);
    const Vec<T> count(divisor.rows(0, 0) * divisor.columns(0));
    return fold_planes<T, Add>(args.planes, depth.in * height.in * width.in, args.x, args.y,
                               [=](Vec<T> sum) { return sum / count; });
  }
  if (slides(depth, height, width)) {
    merge_planes(args.planes, args.depth, args.height);
    Divisor<T> divisor(args);
    return slide<T, Add>(args.planes, depth, height, width, args.x, args.y, divisor);
  }
  fold_windows<T, Add>(args.planes, depth, height, width, args.x, args.y, Divisor<T>(args));
}

namespace {

// grad_y / divisor of a slice of outputs, row by row.
template <class T>
struct Shares {
  const Divisor<T>& divisor;
  const T* slice;
  const T* inverses;
  int64_t od;
  Vec<T> scale;  // a window cut off by a border has fewer rows, and its shares are larger
  const T* at = nullptr;

  Shares(const Divisor<T>& d, const T* grad, int64_t column, int64_t slice_of_outputs)
      : divisor(d),
        slice(grad),
        inverses(d.inverses.at(column)),
        od(slice_of_outputs),
        scale(T{1}) {}

  FASTNN_INLINE void row(int64_t oh) {
    at = slice + oh * divisor.width.out;
    if (!divisor.uniform) scale = Vec<T>(divisor.whole_rows / divisor.rows(od, oh));
  }
  FASTNN_INLINE Vec<T> operator()(int64_t j) const {
    return Vec<T>::load(at + j) * (Vec<T>::load(inverses + j) * scale);
  }
  FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
    return Vec<T>::load(at + j, n) * (Vec<T>::load(inverses + j, n) * scale);
  }
};

// Down the rows first, then across, as forward.
template <class T>
void spread_average(const AvgPoolBackwardArgs<T>& args, Divisor<T>& divisor) {
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Spread<T> spread(args.planes, depth, height, width, 2);
  const Blocks& blocks = spread.blocks;
  const bool overlap = spread.slices > 1 || height.kernel > height.stride;
  const int64_t taps = divide_up(width.kernel, width.stride) +
                       divide_up(height.kernel, height.stride) * spread.slices;
  const int64_t grain = larger(1, kPartWork / ((taps + 4) * blocks.rows * blocks.columns));

  const int64_t workers = plan_workers(divide_up(blocks.count, grain));
  const int64_t held = spread.held(), sums_size = overlap ? blocks.rows * spread.pitch : 0;
  const int64_t each = held + sums_size + spread.spare();
  const int64_t shared = divisor.scratch_elements(width.out);
  Workspace workspace(Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))) +
                      Workspace::padded_bytes(shared * static_cast<int64_t>(sizeof(T))));
  divisor.prepare(workspace.take<T>(shared), width.out, 1);
  T* const scratch = workspace.take<T>(workers * each);

  parallel_for(blocks.count, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const shares = scratch + worker * each;
    T* const sums = shares + held;
    T* const spare = sums + sums_size;
    const Blocks::Block last = blocks[end - 1];
    const T* const limit =
        blocks.chunks == 1 ? args.grad_x + blocks.place(last) + last.rows * width.in : nullptr;
    typename Spread<T>::Slices slices;
    for (int64_t i = begin; i < end; ++i) {
      const Blocks::Block b = blocks[i];
      spread.cover(b.slice % depth.in, slices);
      const auto outputs = spread.outputs_of(b);
      for (int64_t s = 0; s < slices.count; ++s) {
        const int64_t od = slices.out[s];
        const T* slice = args.grad_y +
                         (b.slice / depth.in * depth.out + od) * height.out * width.out +
                         outputs.column;
        spread.load_slice(outputs, T{0}, shares + s * spread.slice_rows * spread.pitch,
                          Shares<T>(divisor, slice, outputs.column, od));
      }
      // The row of scratch for an input row: one of the shares, or their sum.
      const auto rows_of = [&](int64_t r) {
        const int64_t phase = r % height.stride, first = r / height.stride;
        const int64_t count = spread.down.begin[phase + 1] - spread.down.begin[phase];
        if (count == 0) return Range{0, 0};
        const int64_t offset = spread.down.offset[spread.down.begin[phase + 1] - 1];
        return Range{(first + offset) * spread.pitch, count};
      };
      if (overlap) {
        for (int64_t r = 0; r < b.rows; ++r) {
          const Range list = rows_of(r);
          for (int64_t j = 0; j < spread.columns; j += Vec<T>::kSize) {
            Vec<T> sum = Vec<T>::zero();
            for (int64_t s = 0; s < slices.count; ++s) {
              const T* at = shares + s * spread.slice_rows * spread.pitch + list.begin + j;
              for (int64_t k = 0; k < list.end; ++k) sum += Vec<T>::load(at + k * spread.pitch);
            }
            sum.store(sums + r * spread.pitch + j);
          }
        }
      }
      T* to = args.grad_x + blocks.place(b);
      for (int64_t r = 0; r < b.rows; ++r, to += width.in) {
        const Range list = rows_of(r);
        const T* from = overlap ? sums + r * spread.pitch : shares + list.begin;
        const bool empty = !overlap && (list.end == 0 || slices.count == 0);
        const auto gather = [&](int64_t phase, int64_t j) FASTNN_INLINE_LAMBDA {
          Vec<T> sum = Vec<T>::zero();
          if (empty) return sum;
          for (int64_t k = spread.across.begin[phase]; k < spread.across.begin[phase + 1]; ++k) {
            sum += Vec<T>::load(from + spread.across.offset[k] + j);
          }
          return sum;
        };
        if (width.stride == 1) {
          spread.template write_row<1>(b.columns, to, limit, spare, gather);
        } else if (width.stride == 2) {
          spread.template write_row<2>(b.columns, to, limit, spare, gather);
        } else {
          spread.template write_row<0>(b.columns, to, limit, spare, gather);
        }
      }
    }
  });
}

// With stride 1 the gradient is a sliding sum itself, of grad_y / divisor.
template <class T>
struct Scale : SameEverywhere {
  T factor;
  FASTNN_INLINE Scale row(int64_t, int64_t, int64_t) const { return *this; }
  Scale plane(T*) const { return *this; }
  FASTNN_INLINE Vec<T> operator()(Vec<T> folded, int64_t) const { return folded * Vec<T>(factor); }
};

PoolAxis transposed(const PoolAxis& axis) {
  return {axis.out, axis.in, axis.kernel, 1, axis.kernel - 1 - axis.padding, 1};
}

// grad_y / divisor of a plane, in scratch.
template <class T>
struct SharesOfPlane {
  typename Divisor<T>::Plane divide;
  int64_t size;

  int64_t elements() const { return divide_up(size, Vec<T>::kSize) * Vec<T>::kSize; }
  FASTNN_INLINE const T* operator()(const T* plane, T* shares) const {
    for (int64_t i = 0; i < size; i += Vec<T>::kSize) {
      divide(Vec<T>::load(plane + i, size - i), i).store(shares + i);
    }
    return shares;
  }
};

// Whether it could be done.
template <class T>
bool slide_back(const AvgPoolBackwardArgs<T>& args, const Divisor<T>& divisor) {
  if (args.depth.stride != 1 || args.height.stride != 1 || args.width.stride != 1) return false;
  const PoolAxis depth = transposed(args.depth), height = transposed(args.height);
  const PoolAxis width = transposed(args.width);
  Scale<T> scale{{}, T{1}};
  if (divisor.same_everywhere()) {
    scale.factor = 1 / (divisor.whole_rows * divisor.columns(0));
    slide<T, Add>(args.planes, depth, height, width, args.grad_y, args.grad_x, scale);
    return true;
  }
  if (!fits_plane(depth, height, width)) return false;
  const int64_t size = height.in * width.in;
  Workspace workspace(Divisor<T>::plane_elements(size) * static_cast<int64_t>(sizeof(T)));
  const SharesOfPlane<T> shares{divisor.plane(workspace.take<T>(Divisor<T>::plane_elements(size))),
                                size};
  slide_planes<T, Add>(args.planes, height, width, args.grad_y, args.grad_x, scale, Add(), shares);
  return true;
}

template <class T>
void fill_planes(const AvgPoolBackwardArgs<T>& args, T count) {
  const int64_t size = args.depth.in * args.height.in * args.width.in;
  parallel_for(
      args.planes, larger(1, kPartWork / larger(size, 1)), [&](int64_t begin, int64_t end, int) {
        for (int64_t plane = begin; plane < end; ++plane) {
          const T share = args.grad_y[plane] / count;
          T* grad_x = args.grad_x + plane * size;
          for_vectors<T>(size,
                         [&](int64_t i, auto lanes) { lanes.store(Vec<T>(share), grad_x + i); });
        }
      });
}

}  // namespace

template <class T>
void avg_pool3d_backward(const AvgPoolBackwardArgs<T>& original) {
  if (original.planes == 0) return;
  AvgPoolBackwardArgs<T> args = original;
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  if (covers_all(depth) && covers_all(height) && covers_all(width)) {
    const Divisor<T> divisor(args);
    return fill_planes(args, divisor.rows(0, 0) * divisor.columns(0));
  }
  if (slides(depth, height, width)) {
    merge_planes(args.planes, args.depth, args.height);
    Divisor<T> divisor(args);
    if (slide_back(args, divisor)) return;
    return spread_average(args, divisor);
  }
  add_windows(args.planes, depth, height, width, args.grad_y, args.grad_x, Divisor<T>(args));
}

template void avg_pool3d_forward(const AvgPoolForwardArgs<float>&);
template void avg_pool3d_forward(const AvgPoolForwardArgs<double>&);
template void avg_pool3d_backward(const AvgPoolBackwardArgs<float>&);
template void avg_pool3d_backward(const AvgPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
