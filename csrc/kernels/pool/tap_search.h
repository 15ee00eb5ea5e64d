// Max pooling that remembers which tap won, kSize neighbouring windows at a time. Taps are counted
// in T, exact up to the 2^15 elements that a sliding window may have.
//
// The input rows of a block of outputs go to scratch with -inf around them, so that a tap is a
// constant offset. Where all elements are finite the search needs one comparison a tap.
//
// Workspace a thread: max(16 KiB, the input rows of one row of up to 1024 outputs) + the outputs of
// a block; shared min(width.out, 27 Ki) + 2 x window elements.
#pragma once

#include "kernels/pool/column_table.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA::pool {

template <class T>
constexpr T kNoneWon = 1 << 20;  // beyond every tap

// What every part reads: for each output column the first tap inside the input (kNoneWon where
// there is none), and where each tap lies, relative to the window's start, in its plane and in a
// block of scratch.
template <class T>
struct TapTables {
  ColumnTable<T> first_columns;
  int64_t *places, *offsets;
  int64_t volume;

  static int64_t bytes(const MaxPoolForwardArgs<T>& args) {
    return Workspace::padded_bytes(ColumnTable<T>::elements(args.width.out) *
                                   static_cast<int64_t>(sizeof(T))) +
           2 * Workspace::padded_bytes(window_volume(args) * 8);
  }
  static int64_t window_volume(const MaxPoolForwardArgs<T>& args) {
    return args.depth.kernel * args.height.kernel * args.width.kernel;
  }

  // Rows of scratch are layout.pitch apart, slices `slice_rows` rows.
  TapTables(const MaxPoolForwardArgs<T>& args, const RowLayout<T>& layout, int64_t slice_rows,
            Workspace& workspace)
      : places(workspace.take<int64_t>(window_volume(args))),
        offsets(workspace.take<int64_t>(window_volume(args))),
        volume(window_volume(args)) {
    first_columns.prepare(workspace.take<T>(ColumnTable<T>::elements(args.width.out)),
                          args.width.out, T{0}, [&](int64_t o) {
                            const Range inside = taps_inside(args.width, o);
                            return inside.begin < inside.end ? static_cast<T>(inside.begin)
                                                             : kNoneWon<T>;
                          });
    int64_t tap = 0;
    for (int64_t kd = 0; kd < args.depth.kernel; ++kd) {
      for (int64_t kh = 0; kh < args.height.kernel; ++kh) {
        for (int64_t kw = 0; kw < args.width.kernel; ++kw, ++tap) {
          const int64_t d = kd * args.depth.dilation, h = kh * args.height.dilation;
          const int64_t w = kw * args.width.dilation;
          places[tap] = (d * args.height.in + h) * args.width.in + w;
          offsets[tap] = (kd * slice_rows + h) * layout.pitch + layout.offset(w);
        }
      }
    }
  }
};

// Copies the input of a block of outputs to scratch; whether all of it is finite.
template <class T>
bool load_input_block(const MaxPoolForwardArgs<T>& args, const RowLayout<T>& layout,
                      const Blocks::Block& b, int64_t slice_rows, T* scratch) {
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const T outside = negative_infinity<T>();
  const int64_t start = window_start(width, b.w);
  const int64_t columns = (b.columns - 1) * width.stride + window_extent(width);
  const int64_t left = smaller(start < 0 ? -start : 0, columns);
  const int64_t valid = larger(0, smaller(width.in - start - left, columns - left));
  const int64_t top = window_start(height, b.h);
  const int64_t rows = (b.rows - 1) * height.stride + window_extent(height);
  Vec<T> products = Vec<T>::zero();  // with 0: NaN once an element is infinite or NaN
  struct Source {
    const T* x;
    Vec<T>& products;
    FASTNN_INLINE Vec<T> operator()(int64_t j) const { return seen(Vec<T>::load(x + j)); }
    FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
      const Vec<T> v = seen(Vec<T>::load(x + j, n));
      return select(first_n_mask<T>(n), v, Vec<T>(negative_infinity<T>()));
    }
    FASTNN_INLINE Vec<T> seen(Vec<T> v) const {
      products = fma(v, Vec<T>::zero(), products);
      return v;
    }
  };
  const Range in_depth = taps_inside(depth, b.d);
  for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
    const int64_t d = window_start(depth, b.d) + kd * depth.dilation;
    const T* slice = args.x + (b.plane * depth.in + d) * height.in * width.in + start + left;
    T* to = scratch + kd * slice_rows * layout.pitch;
    for (int64_t h = top; h < top + rows; ++h, to += layout.pitch) {
      if (h >= 0 && h < height.in) {
        write_row(layout, left, valid, columns, outside, to,
                  Source{slice + h * width.in, products});
      } else {
        for (int64_t j = 0; j < layout.pitch; j += Vec<T>::kSize) Vec<T>(outside).store(to + j);
      }
    }
  }
  return !any(is_nan(products));
}

// The windows of a block of outputs: values to y, taps to `taps` (in T), row after row.
template <class T>
struct BlockSearch {
  const MaxPoolForwardArgs<T>& args;
  const RowLayout<T>& layout;
  const TapTables<T>& tables;
  const Blocks::Block& block;
  const T* input;  // where the first window starts in scratch
  bool finite;     // all of the input

  template <int kTaps>
  void run(T* y, const T* limit, T* taps) const {
    if (!finite) {
      return layout.stride <= 2 ? search<0, false, true>(y, limit, taps)
                                : search<0, false, false>(y, limit, taps);
    }
    if (layout.stride > 2) return search<0, true, false>(y, limit, taps);
    const Range in_depth = taps_inside(args.depth, block.d);
    const bool whole = in_depth.end - in_depth.begin == args.depth.kernel;
    whole ? search<kTaps, true, true>(y, limit, taps) : search<0, true, true>(y, limit, taps);
  }

 private:
  template <int kTaps, bool kFinite, bool kDense>
  FASTNN_INLINE void search(T* y, const T* limit, T* taps) const {
    const PoolAxis &height = args.height, &width = args.width;
    const Range in_depth = taps_inside(args.depth, block.d);
    const int64_t slice_taps = height.kernel * width.kernel;
    const Range searched{in_depth.begin * slice_taps, in_depth.end * slice_taps};
    const T* window = input;
    const int64_t step = height.stride * layout.pitch, columns = block.columns;
    const T* const first_columns = tables.first_columns.at(block.w);
    int64_t fixed[kTaps > 0 ? kTaps : 1];  // a copy that no store can alias
    for (int k = 0; k < kTaps; ++k) fixed[k] = tables.offsets[k];
    for (int64_t r = 0; r < block.rows; ++r, window += step, y += width.out, taps += columns) {
      Vec<T> before(kNoneWon<T>);  // taps in front of the first row inside the input
      if constexpr (!kFinite) {
        const Range in_height = taps_inside(height, block.h + r);
        if (in_depth.begin < in_depth.end && in_height.begin < in_height.end) {
          before = Vec<T>(
              static_cast<T>((in_depth.begin * height.kernel + in_height.begin) * width.kernel));
        }
      }
      for (int64_t j = 0; j < columns; j += Vec<T>::kSize) {
        Vec<T> best(negative_infinity<T>()), best_tap(kNoneWon<T>);
        if constexpr (!kFinite) best_tap = Vec<T>::load(first_columns + j) + before;
        const auto visit = [&](const T* from, T tap) FASTNN_INLINE_LAMBDA {
          const Vec<T> x = kDense ? Vec<T>::load(from + j) : layout.load(from, 0, j);
          const Mask<T> better = kFinite ? x > best : (x > best) | is_nan(x);
          best = kFinite ? max(best, x) : select(better, x, best);
          best_tap = select(better, Vec<T>(tap), best_tap);
        };
        if constexpr (kTaps > 0) {
          FASTNN_UNROLL
          for (int k = 0; k < kTaps; ++k) visit(window + fixed[k], static_cast<T>(k));
        } else {
          for (int64_t k = searched.begin; k < searched.end; ++k) {
            visit(window + tables.offsets[k], static_cast<T>(k));
          }
        }
        store_first(y + j, best, columns - j, limit);
        best_tap.store(taps + j);
      }
    }
  }
};

template <class T>
void to_bytes(const T* __restrict taps, int64_t n, uint8_t* __restrict bytes) {
  for (int64_t i = 0; i < n; ++i) {
    const auto tap = static_cast<int32_t>(taps[i]);
    bytes[i] = static_cast<uint8_t>(tap < kNoTap ? tap : kNoTap);
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
  if (args.planes * args.height.out == 0) return;
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const int64_t columns = smaller(width.out, kTileColumns);
  const RowLayout<T> layout(width, columns);
  const int64_t extent = window_extent(height);
  const int64_t room =
      kBlockBytes / (depth.kernel * layout.pitch * static_cast<int64_t>(sizeof(T)));
  const int64_t rows = smaller(height.out, 1 + larger(0, room - extent) / height.stride);
  const int64_t slice_rows = (rows - 1) * height.stride + extent;
  const Blocks blocks(args.planes, depth.out, height.out, width.out, rows, columns);
  const int64_t volume = TapTables<T>::window_volume(args);
  const int64_t grain = larger(1, kPartWork / ((volume + 4) * rows * columns));

  const int64_t workers = plan_workers(divide_up(blocks.count, grain));
  const int64_t input_size = depth.kernel * slice_rows * layout.pitch;
  const int64_t each =
      input_size + divide_up(rows * columns, Vec<T>::kSize) * Vec<T>::kSize + Vec<T>::kSize;
  Workspace workspace(TapTables<T>::bytes(args) +
                      Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))));
  const TapTables<T> tables(args, layout, slice_rows, workspace);
  T* const scratch = workspace.take<T>(workers * each);
  const auto search = volume == 4   ? &BlockSearch<T>::template run<4>
                      : volume == 8 ? &BlockSearch<T>::template run<8>
                      : volume == 9 ? &BlockSearch<T>::template run<9>
                                    : &BlockSearch<T>::template run<0>;

  parallel_for(blocks.count, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const input = scratch + worker * each;
    T* const taps = input + input_size;
    const Blocks::Block last = blocks[end - 1];
    const T* const limit =
        blocks.chunks == 1 ? args.y + blocks.place(last) + last.rows * width.out : nullptr;
    for (int64_t i = begin; i < end; ++i) {
      const Blocks::Block b = blocks[i];
      const bool finite = load_input_block(args, layout, b, slice_rows, input);
      const int64_t place = blocks.place(b);
      const BlockSearch<T> block{args, layout, tables, b, input, finite};
      (block.*search)(args.y + place, limit, taps);
      if (args.taps != nullptr) {
        if (blocks.chunks == 1) {  // its rows follow each other
          to_bytes(taps, b.rows * b.columns, args.taps + place);
        } else {
          for (int64_t r = 0; r < b.rows; ++r) {
            to_bytes(taps + r * b.columns, b.columns, args.taps + place + r * width.out);
          }
        }
      }
      for (int64_t r = 0; args.indices != nullptr && r < b.rows; ++r) {
        write_indices(args, tables, b.d, b.h + r, b.w, b.columns, taps + r * b.columns,
                      args.indices + place + r * width.out);
      }
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
