// Max pooling's gradient from taps: an input adds grad_y of those outputs above it whose tap it is
// (spread.h). Outputs are visited in row-major order.
//
// Workspace a thread: twice the rows of outputs that one row of up to 1024 input columns needs, at
// least 16 KiB, + 1024 columns.
#include "kernels/pool/spread.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

namespace {

// A block of rows of inputs and the rows of outputs that it needs, as gradients and taps in T.
template <class T>
struct OutputBlock {
  Range slices, rows;  // od and oh
  T *gradients, *taps;
  int64_t pitch;

  FASTNN_INLINE int64_t place(int64_t od, int64_t oh) const {
    return ((od - slices.begin) * (rows.end - rows.begin) + oh - rows.begin) * pitch;
  }
};

template <class T>
void load_block(const MaxPoolBackwardArgs<T>& args, const OutputRows<T>& outputs, int64_t plane,
                int64_t first, const OutputBlock<T>& block) {
  const int64_t column = larger(first, 0), out = args.width.out;
  for (int64_t od = block.slices.begin; od < block.slices.end; ++od) {
    for (int64_t oh = block.rows.begin; oh < block.rows.end; ++oh) {
      const int64_t row = ((plane * args.depth.out + od) * args.height.out + oh) * out + column;
      const T* grad = args.grad_y + row;
      struct Source {
        const T* grad;
        FASTNN_INLINE Vec<T> operator()(int64_t j) const { return Vec<T>::load(grad + j); }
        FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
          return Vec<T>::load(grad + j, n);
        }
      };
      outputs.write(first, out, T{0}, block.gradients + block.place(od, oh), Source{grad});
      const uint8_t* from = args.taps + row;
      T* taps = block.taps + block.place(od, oh);
      const int64_t left = column - first;
      const int64_t valid = larger(0, smaller(out - column, outputs.outputs - left));
      for (int64_t j = 0; j < left; ++j) taps[j] = kNoTap;
      taps += left;
      for (int64_t j = 0; j < valid; ++j) taps[j] = static_cast<T>(from[j]);
      for (int64_t j = valid; j < outputs.outputs - left; ++j) taps[j] = kNoTap;
    }
  }
}

// The rows of a block that cover one row of inputs, and the first tap in each.
struct CoveringRows {
  int64_t places[kMaxSlidingRows], first_taps[kMaxSlidingRows];
  int64_t count = 0;

  template <class T>
  CoveringRows(const MaxPoolBackwardArgs<T>& args, const OutputBlock<T>& block, int64_t d,
               int64_t h) {
    const PoolAxis &depth = args.depth, &height = args.height;
    const Range in_height = covering(height, h);
    for (int64_t od = block.slices.begin; od < block.slices.end; ++od) {
      const int64_t from_d = d - window_start(depth, od);
      if (from_d % depth.dilation != 0) continue;
      for (int64_t oh = in_height.begin; oh < in_height.end; ++oh) {
        const int64_t from_h = h - window_start(height, oh);
        if (from_h % height.dilation != 0) continue;
        const int64_t kd = from_d / depth.dilation, kh = from_h / height.dilation;
        places[count] = block.place(od, oh);
        first_taps[count++] = (kd * height.kernel + kh) * args.width.kernel;
      }
    }
  }
};

FASTNN_INLINE int64_t most_covering(const PoolAxis& axis, int64_t inputs) {
  return smaller(axis.out, (inputs - 1 + window_extent(axis) - 1) / axis.stride + 1);
}

}  // namespace

template <class T>
void max_pool3d_backward(const MaxPoolBackwardArgs<T>& original) {
  MaxPoolBackwardArgs<T> args = original;
  merge_planes(args.planes, args.depth, args.height);
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Tiles tiles(args.planes, depth.in, height.in, width.in, input_tile_columns(width));
  if (tiles.count == 0) return;
  const Phases phases(width);
  const OutputRows<T> outputs(width, phases, tiles.columns);
  const int64_t pitch = outputs.layout.pitch, spare = spare_pitch<T>(width, tiles.columns);
  const int64_t slices = most_covering(depth, 1);
  int64_t block_rows = height.in;
  while (block_rows > 1 &&
         slices * most_covering(height, block_rows) * pitch * static_cast<int64_t>(2 * sizeof(T)) >
             kBlockBytes) {
    block_rows = block_rows > 64 ? 64 : block_rows / 2;
  }
  const int64_t held = slices * most_covering(height, block_rows) * pitch;
  const int64_t covering_taps = divide_up(depth.kernel, depth.stride) *
                                divide_up(height.kernel, height.stride) *
                                divide_up(width.kernel, width.stride);
  const int64_t grain = larger(1, kPartWork / ((3 * covering_taps + 2) * tiles.columns));

  const int64_t workers = plan_workers(divide_up(tiles.count, grain));
  const int64_t each = 2 * held + width.stride * spare;
  Workspace workspace(workers * each * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(workers * each);

  parallel_for(tiles.count, grain, [&](int64_t unit, int64_t end, int worker) {
    T* const gradients = scratch + worker * each;
    T* const taps = gradients + held;
    const T* const limit = tiles.chunks == 1 ? args.grad_x + end * width.in : nullptr;
    while (unit < end) {
      const Tiles::Block b = tiles.block(unit, smaller(block_rows, end - unit));
      const OutputBlock<T> block{
          covering(depth, b.d),
          {covering(height, b.h).begin, covering(height, b.h + b.rows - 1).end},
          gradients,
          taps,
          pitch};
      load_block(args, outputs, b.plane, phases.base + b.column / width.stride, block);
      T* to = args.grad_x + tiles.row(b) * width.in + b.column;
      for (int64_t r = 0; r < b.rows; ++r, to += width.in) {
        const CoveringRows rows(args, block, b.d, b.h + r);
        const auto gather = [&](int64_t phase, int64_t j) {
          Vec<T> sum = Vec<T>::zero();
          for (int64_t row = 0; row < rows.count; ++row) {
            const int64_t place = rows.places[row] + j;
            for (int64_t i = phases.begin[phase]; i < phases.begin[phase + 1]; ++i) {
              const Vec<T> tap(static_cast<T>(rows.first_taps[row] + phases.tap[i]));
              const auto won = Vec<T>::load(taps + place + phases.offset[i]) == tap;
              const Vec<T> grad = Vec<T>::load(gradients + place + phases.offset[i]);
              sum = select(won, sum + grad, sum);
            }
          }
          return sum;
        };
        merge_phases<T>(width.stride, b.columns, to, limit, taps + held, spare, gather);
      }
      unit += b.rows;
    }
  });
}

template void max_pool3d_backward(const MaxPoolBackwardArgs<float>&);
template void max_pool3d_backward(const MaxPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
