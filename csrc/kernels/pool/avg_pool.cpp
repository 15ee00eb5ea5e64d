// Average pooling. Sums go down the rows of a window first, then across (slide.h); sums of whole
// planes and of large windows run along the rows (segment.h).
//
// Backward: each input row gathers grad_y / divisor from the rows of outputs above it (spread.h).
// Workspace a thread: max(16 KiB, one row of outputs for 1024 columns) + 1024 columns; shared
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

// The rows of outputs that cover one row of inputs. A window cut off by a border has fewer rows,
// and its shares are larger by `scales`.
template <class T>
struct ScaledRows {
  const T* rows[kMaxSlidingRows];
  T scales[kMaxSlidingRows];
  int64_t count = 0;

  FASTNN_INLINE ScaledRows(const Divisor<T>& divisor, const T* plane, int64_t d, int64_t h) {
    const Range in_depth = covering(divisor.depth, d), in_height = covering(divisor.height, h);
    for (int64_t od = in_depth.begin; od < in_depth.end; ++od) {
      for (int64_t oh = in_height.begin; oh < in_height.end; ++oh) {
        rows[count] = plane + (od * divisor.height.out + oh) * divisor.width.out;
        scales[count++] = divisor.whole_rows / divisor.rows(od, oh);
      }
    }
  }
};

// A row of scratch: for the outputs from `first` on, the sum of grad_y / divisor down the rows.
template <class T>
void sum_rows(const OutputRows<T>& outputs, const Divisor<T>& divisor, const ScaledRows<T>& list,
              int64_t first, T* scratch) {
  struct Source {
    const ScaledRows<T>& list;
    const T* inverses;
    int64_t column;
    FASTNN_INLINE Vec<T> operator()(int64_t j) const {
      Vec<T> sum = Vec<T>::zero();
      for (int64_t r = 0; r < list.count; ++r) {
        sum = fma(Vec<T>::load(list.rows[r] + column + j), Vec<T>(list.scales[r]), sum);
      }
      return sum * Vec<T>::load(inverses + j);
    }
    FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
      Vec<T> sum = Vec<T>::zero();
      for (int64_t r = 0; r < list.count; ++r) {
        sum = fma(Vec<T>::load(list.rows[r] + column + j, n), Vec<T>(list.scales[r]), sum);
      }
      return sum * Vec<T>::load(inverses + j, n);
    }
  };
  const int64_t column = larger(first, 0);
  outputs.write(first, divisor.width.out, T{0}, scratch,
                Source{list, divisor.inverses.at(column), column});
}

template <class T>
void spread_average(const AvgPoolBackwardArgs<T>& args, Divisor<T>& divisor) {
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Tiles tiles(args.planes, depth.in, height.in, width.in, input_tile_columns(width));
  if (tiles.count == 0) return;
  const Phases phases(width);
  const OutputRows<T> outputs(width, phases, tiles.columns);
  const int64_t pitch = outputs.layout.pitch, spare = spare_pitch<T>(width, tiles.columns);
  const int64_t row_bytes = pitch * static_cast<int64_t>(sizeof(T));
  const int64_t block_rows = larger(1, smaller(kBlockBytes / row_bytes, height.in));
  const int64_t taps = divide_up(width.kernel, width.stride) + 1;
  const int64_t grain = larger(1, kPartWork / (taps * tiles.columns + 2 * pitch));

  const int64_t workers = plan_workers(divide_up(tiles.count, grain));
  const int64_t each = block_rows * pitch + width.stride * spare;
  const int64_t shared = divisor.scratch_elements(width.out);
  Workspace workspace(Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))) +
                      Workspace::padded_bytes(shared * static_cast<int64_t>(sizeof(T))));
  divisor.prepare(workspace.take<T>(shared), width.out, 1);
  T* const scratch = workspace.take<T>(workers * each);

  parallel_for(tiles.count, grain, [&](int64_t unit, int64_t end, int worker) {
    T* const rows = scratch + worker * each;
    const T* const limit = tiles.chunks == 1 ? args.grad_x + end * width.in : nullptr;
    while (unit < end) {
      const Tiles::Block b = tiles.block(unit, smaller(block_rows, end - unit));
      const T* plane = args.grad_y + b.plane * depth.out * height.out * width.out;
      const int64_t first = phases.base + b.column / width.stride;
      for (int64_t r = 0; r < b.rows; ++r) {
        const ScaledRows<T> list(divisor, plane, b.d, b.h + r);
        sum_rows(outputs, divisor, list, first, rows + r * pitch);
      }
      T* to = args.grad_x + tiles.row(b) * width.in + b.column;
      for (int64_t r = 0; r < b.rows; ++r, to += width.in) {
        const T* row = rows + r * pitch;
        merge_phases<T>(width.stride, b.columns, to, limit, rows + block_rows * pitch, spare,
                        [&](int64_t phase, int64_t j) {
                          Vec<T> sum = Vec<T>::zero();
                          for (int64_t i = phases.begin[phase]; i < phases.begin[phase + 1]; ++i) {
                            sum += Vec<T>::load(row + phases.offset[i] + j);
                          }
                          return sum;
                        });
      }
      unit += b.rows;
    }
  });
}

template <class T>
void fill_planes(const AvgPoolBackwardArgs<T>& args, T count) {
  const int64_t size = args.depth.in * args.height.in * args.width.in;
  parallel_for(args.planes, larger(1, kPartWork / larger(size, 1)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t plane = begin; plane < end; ++plane) {
                   const T share = args.grad_y[plane] / count;
                   T* grad_x = args.grad_x + plane * size;
                   for (int64_t i = 0; i < size; ++i) grad_x[i] = share;
                 }
               });
}

}  // namespace

template <class T>
void avg_pool3d_backward(const AvgPoolBackwardArgs<T>& original) {
  AvgPoolBackwardArgs<T> args = original;
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  if (covers_all(depth) && covers_all(height) && covers_all(width)) {
    const Divisor<T> divisor(args);
    return fill_planes(args, divisor.rows(0, 0) * divisor.columns(0));
  }
  if (slides(depth, height, width)) {
    merge_planes(args.planes, args.depth, args.height);
    Divisor<T> divisor(args);
    return spread_average(args, divisor);
  }
  add_windows(args.planes, depth, height, width, args.grad_y, args.grad_x, Divisor<T>(args));
}

template void avg_pool3d_forward(const AvgPoolForwardArgs<float>&);
template void avg_pool3d_forward(const AvgPoolForwardArgs<double>&);
template void avg_pool3d_backward(const AvgPoolBackwardArgs<float>&);
template void avg_pool3d_backward(const AvgPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
