// Max pooling that remembers which tap won, kSize neighbouring windows at a time. Taps are counted
// in T, exact up to the 2^15 elements that a sliding window may have.
//
// Workspace a thread: max(16 KiB, the input rows of one row of up to 1024 outputs) + 1024
// elements; shared min(width.out, 27 Ki) + window elements.
#pragma once

#include "kernels/pool/column_table.h"
#include "kernels/pool/slide.h"

namespace fastnn::FASTNN_ISA::pool {

// What every part reads: for each output column the first tap inside the input (beyond every tap
// where there is none), and where each tap lies, relative to the window's start, in its plane.
template <class T>
struct TapTables {
  ColumnTable<T> first_columns;
  int64_t* places;
  int64_t volume, row_pitch;

  static int64_t bytes(const MaxPoolForwardArgs<T>& args) {
    return Workspace::padded_bytes(ColumnTable<T>::elements(args.width.out) *
                                   static_cast<int64_t>(sizeof(T))) +
           Workspace::padded_bytes(window_volume(args) * 8);
  }
  static int64_t window_volume(const MaxPoolForwardArgs<T>& args) {
    return args.depth.kernel * args.height.kernel * args.width.kernel;
  }

  TapTables(const MaxPoolForwardArgs<T>& args, Workspace& workspace)
      : places(workspace.take<int64_t>(window_volume(args))),
        volume(window_volume(args)),
        row_pitch(args.width.in) {
    first_columns.prepare(
        workspace.take<T>(ColumnTable<T>::elements(args.width.out)), args.width.out, T{0},
        [&](int64_t o) {
          const Range inside = taps_inside(args.width, o);
          return static_cast<T>(inside.begin < inside.end ? inside.begin : volume);
        });
    int64_t tap = 0;
    for (int64_t kd = 0; kd < args.depth.kernel; ++kd) {
      for (int64_t kh = 0; kh < args.height.kernel; ++kh) {
        for (int64_t kw = 0; kw < args.width.kernel; ++kw) {
          places[tap++] =
              (kd * args.depth.dilation * args.height.in + kh * args.height.dilation) * row_pitch +
              kw * args.width.dilation;
        }
      }
    }
  }
};

// One input row after another, as they are, for a block of output rows.
template <class T>
struct InputRows {
  const T* scratch;
  int64_t pitch, first, per_slice;  // row h of slice kd is number kd * per_slice + h - first

  FASTNN_INLINE const T* row(int64_t kd, int64_t h) const {
    return scratch + (kd * per_slice + h - first) * pitch;
  }
};

template <class T>
InputRows<T> load_rows(const MaxPoolForwardArgs<T>& args, const RowLayout<T>& layout,
                       const Tiles::Block& b, int64_t per_slice, T* scratch) {
  const int64_t first = larger(0, window_start(args.height, b.h));
  const int64_t end = smaller(
      args.height.in, window_start(args.height, b.h + b.rows - 1) + window_extent(args.height));
  const Range in_depth = taps_inside(args.depth, b.d);
  for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
    const int64_t d = window_start(args.depth, b.d) + kd * args.depth.dilation;
    for (int64_t h = first; h < end; ++h) {
      RowList<T> list;
      list.rows[0] = args.x + ((b.plane * args.depth.in + d) * args.height.in + h) * args.width.in;
      list.count = 1;
      fold_rows<T, Max>(Max(), layout, list, args.width, b.column, b.columns,
                        scratch + (kd * per_slice + h - first) * layout.pitch);
    }
  }
  return {scratch, layout.pitch, first, per_slice};
}

// One row of outputs: values to y, taps to `taps` (in T).
template <class T, int kColumns>
FASTNN_INLINE void search_row(const MaxPoolForwardArgs<T>& args, const RowLayout<T>& layout,
                              const InputRows<T>& input, int64_t od, int64_t oh, int64_t columns,
                              const T* first_columns, T* y, const T* limit, T* taps) {
  const int64_t kernel = kColumns > 0 ? kColumns : args.width.kernel;
  const Range in_depth = taps_inside(args.depth, od), in_height = taps_inside(args.height, oh);
  const bool empty = in_depth.begin == in_depth.end || in_height.begin == in_height.end;
  const int64_t before =
      empty ? 1 << 20 : (in_depth.begin * args.height.kernel + in_height.begin) * kernel;
  for (int64_t j = 0; j < columns; j += Vec<T>::kSize) {
    Vec<T> best(negative_infinity<T>());
    Vec<T> best_tap = Vec<T>::load(first_columns + j) + Vec<T>(static_cast<T>(before));
    for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
      for (int64_t kh = in_height.begin; kh < in_height.end; ++kh) {
        const T* row = input.row(kd, window_start(args.height, oh) + kh * args.height.dilation);
        Vec<T> tap(static_cast<T>((kd * args.height.kernel + kh) * kernel));
        FASTNN_UNROLL
        for (int64_t kw = 0; kw < kernel; ++kw) {
          const Vec<T> x = layout.load(row, layout.offset(kw * args.width.dilation), j);
          const auto better = (x > best) | is_nan(x);
          best = select(better, x, best);
          best_tap = select(better, tap, best_tap);
          tap += Vec<T>(T{1});
        }
      }
    }
    store_first(y + j, best, columns - j, limit);
    best_tap.store(taps + j);
  }
}

// A window without an element gets the place nearest to its start.
template <class T>
void write_indices(const MaxPoolForwardArgs<T>& args, const TapTables<T>& tables, int64_t od,
                   int64_t oh, int64_t ow, int64_t columns, const T* taps, int64_t* indices) {
  const int64_t d = window_start(args.depth, od), h = window_start(args.height, oh);
  const int64_t start = (d * args.height.in + h) * args.width.in;
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t w = window_start(args.width, ow + j);
    const auto tap = static_cast<int64_t>(taps[j]);
    if (tap < tables.volume) {
      indices[j] = start + w + tables.places[tap];
    } else {
      const auto inside = [](int64_t i, int64_t n) { return larger(0, smaller(i, n - 1)); };
      indices[j] =
          (inside(d, args.depth.in) * args.height.in + inside(h, args.height.in)) * args.width.in +
          inside(w, args.width.in);
    }
  }
}

template <class T>
void search_taps(const MaxPoolForwardArgs<T>& args) {
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Tiles tiles(args.planes, depth.out, height.out, width.out, kTileColumns);
  if (tiles.count == 0) return;
  const RowLayout<T> layout(width, tiles.columns);
  const int64_t extent = window_extent(height);
  const int64_t held_rows = larger(
      depth.kernel * extent,
      smaller(kMaxSlidingRows, kBlockBytes / (layout.pitch * static_cast<int64_t>(sizeof(T)))));
  const int64_t per_slice = held_rows / depth.kernel;
  const int64_t block_rows = (per_slice - extent) / height.stride + 1;
  const int64_t volume = TapTables<T>::window_volume(args);
  const int64_t grain = larger(1, kPartWork / ((2 * volume + 2) * tiles.columns));

  const int64_t workers = plan_workers(divide_up(tiles.count, grain));
  const int64_t taps_pitch = divide_up(tiles.columns, Vec<T>::kSize) * Vec<T>::kSize;
  const int64_t each = held_rows * layout.pitch + taps_pitch;
  Workspace workspace(TapTables<T>::bytes(args) +
                      Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))));
  const TapTables<T> tables(args, workspace);
  T* const scratch = workspace.take<T>(workers * each);
  const auto search = width.kernel == 2   ? &search_row<T, 2>
                      : width.kernel == 3 ? &search_row<T, 3>
                                          : &search_row<T, 0>;

  parallel_for(tiles.count, grain, [&](int64_t unit, int64_t end, int worker) {
    T* const rows = scratch + worker * each;
    T* const taps = rows + held_rows * layout.pitch;
    const T* const limit = tiles.chunks == 1 ? args.y + end * width.out : nullptr;
    while (unit < end) {
      const Tiles::Block b = tiles.block(unit, smaller(block_rows, end - unit));
      const InputRows<T> input = load_rows(args, layout, b, per_slice, rows);
      int64_t place = tiles.row(b) * width.out + b.column;
      for (int64_t r = 0; r < b.rows; ++r, place += width.out) {
        search(args, layout, input, b.d, b.h + r, b.columns, tables.first_columns.at(b.column),
               args.y + place, limit, taps);
        if (args.taps != nullptr) {
          for (int64_t j = 0; j < b.columns; ++j) {
            args.taps[place + j] = static_cast<uint8_t>(taps[j] < kNoTap ? taps[j] : kNoTap);
          }
        }
        if (args.indices != nullptr) {
          write_indices(args, tables, b.d, b.h + r, b.column, b.columns, taps,
                        args.indices + place);
        }
      }
      unit += b.rows;
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
