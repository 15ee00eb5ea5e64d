// Folds the overlapping windows of short rows (maximum or sum) separably, many rows at once. Down:
// the rows of a block of outputs, of any planes, are folded into lines of scratch that lie end to
// end. Across: neighbouring windows of all lines are one run of lanes; masks hide what a window
// would see of the line before or after its own.
#pragma once

#include "kernels/pool/window.h"
#include "kernels/rows.h"
#include "runtime/cache.h"

namespace fastnn::FASTNN_ISA::pool {

// Lines of scratch have `pitch` input columns and `out_pitch` outputs; those past the `columns`
// that some window covers and past width.out are gaps. For stride 2 the even and the odd columns
// lie apart, so that neighbouring windows read neighbouring elements; pairs of columns that are
// windows of their own stay together, which halves the stores of short lines.
template <class T>
struct FlatLayout {
  static constexpr int64_t kSize = Vec<T>::kSize;
  int64_t stride, columns, out_pitch, pitch, rows, block, front, half, size;
  bool masked, pairs, split;

  // `total` rows of outputs; `rows` of them, or `block` outputs with the gaps, at a time.
  FlatLayout(const PoolAxis& width, int64_t total) : stride(width.stride) {
    const int64_t end = (width.out - 1) * stride + window_extent(width) - width.padding;
    columns = larger(0, smaller(width.in, end));
    out_pitch = larger(width.out, divide_up(columns, stride));
    pitch = out_pitch * stride;
    rows = larger(1, smaller(total, kTileColumns / out_pitch));
    block = rows * out_pitch;
    masked = width.padding > 0 || end > width.in;
    pairs = stride == 2 && width.kernel == 2 && width.dilation == 1 && !masked;
    split = stride == 2 && !pairs;
    const auto whole = [](int64_t n) { return divide_up(n, kSize) * kSize; };
    front = whole(width.padding);
    // Past the end: the last window, and the rest of a vector (with gaps for load_strided).
    const int64_t behind = window_extent(width) + kSize * (stride + 2);
    half = whole(front + rows * pitch / 2 + behind);
    size = split ? 2 * half : whole(front + rows * pitch + behind);
  }

  // Lines of several rows in a block; longer ones have no use of it.
  bool fits() const { return pitch <= 2 * kTileColumns; }

  // Where column `column` (from -padding on) of the first line is.
  FASTNN_INLINE int64_t offset(int64_t column) const {
    return front + (split ? (column & 1) * half + (column >> 1) : column);
  }
  FASTNN_INLINE int64_t line(int64_t row) const { return row * (split ? out_pitch : pitch); }
  FASTNN_INLINE Vec<T> load(const T* tap, int64_t j) const {
    return stride <= 2 ? Vec<T>::load(tap + j) : Vec<T>::load_strided(tap + j * stride, stride);
  }
};

// For each vector of `outputs` outputs, in rows `out_pitch` apart, and each column of the window:
// which lanes see the input.
template <class T>
struct FlatMasks {
  const PoolAxis& width;
  int64_t out_pitch, vectors;
  Mask<T>* masks = nullptr;

  FlatMasks(const PoolAxis& axis, int64_t pitch, int64_t outputs)
      : width(axis), out_pitch(pitch), vectors(divide_up(outputs, Vec<T>::kSize)) {}

  int64_t bytes() const {
    return Workspace::padded_bytes(vectors * width.kernel * static_cast<int64_t>(sizeof(Mask<T>)));
  }

  void prepare(Workspace& workspace) {
    if (vectors == 0) return;
    constexpr int64_t kSize = Vec<T>::kSize;
    masks = reinterpret_cast<Mask<T>*>(workspace.take<char>(bytes()));
    alignas(64) T first[kSize];
    for (int64_t i = 0; i < kSize; ++i) first[i] = static_cast<T>(i % out_pitch);
    Vec<T> outputs = Vec<T>::load(first);  // exact: far below 2^24
    const Vec<T> pitch(static_cast<T>(out_pitch)), step(static_cast<T>(kSize % out_pitch));
    for (int64_t i = 0; i < vectors * width.kernel; i += width.kernel) {
      const Vec<T> start = fma(outputs, Vec<T>(static_cast<T>(width.stride)),
                               Vec<T>(-static_cast<T>(width.padding)));
      for (int64_t k = 0; k < width.kernel; ++k) {
        const Vec<T> column = start + Vec<T>(static_cast<T>(k * width.dilation));
        masks[i + k] = (column >= Vec<T>::zero()) & (column < Vec<T>(static_cast<T>(width.in)));
      }
      outputs += step;
      outputs = select(outputs >= pitch, outputs - pitch, outputs);
    }
  }
};

// Down: `lines` lines of n columns, each the fold of the rows at `offsets` from x, x + step, ...
template <class T, class Op, int kRows, bool kSplit>
FASTNN_INLINE void fold_lines(const Op& op, const T* x, int64_t step, const int64_t* offsets,
                              int64_t count, int64_t lines, int64_t n, T* to, int64_t half,
                              int64_t to_step, bool fetch_ahead) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t rows[kRows > 0 ? kRows : 1];  // a copy that no store can alias
  for (int r = 0; r < kRows; ++r) rows[r] = offsets[r];
  const auto fold = [&](const T* from, auto... part) FASTNN_INLINE_LAMBDA {
    Vec<T> folded = op.input(Vec<T>::load(from + (kRows > 0 ? rows[0] : offsets[0]), part...));
    if constexpr (kRows > 0) {
      FASTNN_UNROLL
      for (int r = 1; r < kRows; ++r) {
        folded = op(folded, op.input(Vec<T>::load(from + rows[r], part...)));
      }
    } else {
      for (int64_t r = 1; r < count; ++r) {
        folded = op(folded, op.input(Vec<T>::load(from + offsets[r], part...)));
      }
    }
    return folded;
  };
  constexpr int64_t kStep = kSplit ? 2 * kSize : kSize;
  // While lines are folded across, memory brings the last rows of the windows to come.
  constexpr int kFresh = kRows == 2 || kRows == 3 ? 2 : 1;
  constexpr int64_t kAhead = (16 << 10) / sizeof(T), kLine = 64 / sizeof(T);
  const int64_t fresh = offsets[count - kFresh] + kAhead, freshest = offsets[count - 1] + kAhead;
  const int64_t rest = n % kStep, whole = n - rest;
  const Mask<T> part = first_n_mask<T>(rest), second_part = first_n_mask<T>(rest - kSize);
  for (int64_t line = 0; line < lines; ++line, x += step, to += to_step) {
    for (int64_t j = 0; j < whole; j += kStep) {
      for (int64_t i = j; fetch_ahead && i < j + kStep; i += kLine) {
        __builtin_prefetch(x + freshest + i, 0, 2);
        if (kFresh == 2) __builtin_prefetch(x + fresh + i, 0, 2);
      }
      Vec<T> a = fold(x + j);
      if constexpr (kSplit) {
        Vec<T> b = fold(x + j + kSize);
        deinterleave(a, b);
        b.store(to + half + j / 2);
      }
      a.store(to + (kSplit ? j / 2 : j));
    }
    if (rest == 0) continue;
    Vec<T> a = fold(x + whole, part);
    if constexpr (kSplit) {
      Vec<T> b = rest > kSize ? fold(x + whole + kSize, second_part) : a;
      deinterleave(a, b);
      b.store(to + half + whole / 2);
    }
    a.store(to + (kSplit ? whole / 2 : whole));
  }
}

// The rows of a window, relative to its first: all of them, and those of a window that a border
// cuts off.
struct WindowRows {
  int64_t offsets[kMaxSlidingRows];
  int64_t count = 0;

  // The window from row `start_h` of slice `start_d`; offsets count from the plane's start.
  FASTNN_INLINE WindowRows(const PoolAxis& depth, const PoolAxis& height, int64_t width_in,
                           int64_t start_d, int64_t start_h, Range in_depth, Range in_height) {
    for (int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
      const int64_t d = start_d + kd * depth.dilation;
      for (int64_t kh = in_height.begin; kh < in_height.end; ++kh) {
        offsets[count++] = (d * height.in + start_h + kh * height.dilation) * width_in;
      }
    }
  }
};

template <class T, class Op>
struct FlatFold {
  const Op& op;
  const PoolAxis &depth, &height, &width;
  const FlatLayout<T>& layout;
  const bool fetch_ahead;  // where the input is not at hand in the caches
  const Range whole_depth, whole_height;
  const bool tiled;  // windows of all planes follow each other
  const WindowRows window;

  FlatFold(const Op& operation, const PoolAxis& d, const PoolAxis& h, const PoolAxis& w,
           const FlatLayout<T>& flat_layout, int64_t input_bytes)
      : op(operation),
        depth(d),
        height(h),
        width(w),
        layout(flat_layout),
        fetch_ahead(input_bytes > 4 * cache_sizes().l2),
        whole_depth(whole_windows(d)),
        whole_height(whole_windows(h)),
        tiled(d.in == 1 && d.out == 1 && h.in == h.out * h.stride && h.kernel <= h.stride &&
              whole_height.begin == 0 && whole_height.end == h.out && d.padding == 0),
        window(d, h, w.in, 0, 0, {0, d.kernel}, {0, h.kernel}) {}

  // Down: the lines of output rows [row, row + rows), counted over all planes.
  void down(const T* x, int64_t row, int64_t rows, T* scratch) const {
    const int64_t plane_size = depth.in * height.in * width.in;
    const bool joined = height.stride == 1 && layout.pitch == width.in;
    T* to = scratch + layout.front;
    if (tiled) {
      const int64_t step = height.stride * width.in;
      return fold(window, x + row * step, step, rows, layout.columns, to, layout.line(1));
    }
    int64_t h = row % height.out, slice = row / height.out;
    for (const int64_t line = layout.line(1); rows > 0;) {
      const int64_t d = slice % depth.out;
      const int64_t start_d = window_start(depth, d), start_h = window_start(height, h);
      const T* plane = x + slice / depth.out * plane_size;
      const bool inside = d >= whole_depth.begin && d < whole_depth.end;
      int64_t run = 1;
      if (inside && h >= whole_height.begin && h < whole_height.end) {
        run = smaller(rows, whole_height.end - h);
        const T* from = plane + (start_d * height.in + start_h) * width.in;
        if (joined) {
          fold(window, from, 0, 1, run * width.in, to, 0);
        } else {
          fold(window, from, height.stride * width.in, run, layout.columns, to, line);
        }
      } else {
        const WindowRows cut(depth, height, width.in, start_d, start_h, taps_inside(depth, d),
                             taps_inside(height, h));
        fold(cut, plane, 0, 1, layout.columns, to, 0);
      }
      rows -= run, h += run, to += run * line;
      if (h == height.out) h = 0, ++slice;
    }
  }

  // Across: n outputs of whole lines; finish(folded, j) makes the result.
  template <class Finish>
  FASTNN_INLINE void across(const T* scratch, const FlatMasks<T>& masks, int64_t n, T* y,
                            const T* limit, const Finish& finish) const {
    const auto with = [&](auto columns, auto masked) FASTNN_INLINE_LAMBDA {
      fold_columns<decltype(columns)::index, decltype(masked)::index>(scratch, masks.masks, n, y,
                                                                      limit, finish);
    };
    if (layout.pairs) {
      fold_pairs(scratch + layout.front, n, y, limit, finish);
    } else if (layout.stride > 2 || width.kernel > 3) {
      layout.masked ? with(Index<0>(), Index<1>()) : with(Index<0>(), Index<0>());
    } else if (width.kernel == 3) {
      layout.masked ? with(Index<3>(), Index<1>()) : with(Index<3>(), Index<0>());
    } else if (width.kernel == 2) {
      layout.masked ? with(Index<2>(), Index<1>()) : with(Index<2>(), Index<0>());
    } else {
      layout.masked ? with(Index<1>(), Index<1>()) : with(Index<1>(), Index<0>());
    }
  }

 private:
  template <int kIndex>
  struct Index {
    static constexpr int index = kIndex;
  };

  void fold(const WindowRows& list, const T* x, int64_t step, int64_t lines, int64_t n, T* to,
            int64_t to_step) const {
    const auto with = [&](auto rows) FASTNN_INLINE_LAMBDA {
      constexpr int kRows = decltype(rows)::index;
      if (layout.split) {
        fold_lines<T, Op, kRows, true>(op, x, step, list.offsets, list.count, lines, n, to,
                                       layout.half, to_step, fetch_ahead);
      } else {
        fold_lines<T, Op, kRows, false>(op, x, step, list.offsets, list.count, lines, n, to, 0,
                                        to_step, fetch_ahead);
      }
    };
    switch (list.count) {
      case 0:
        for (int64_t j = 0; j < layout.line(1); j += Vec<T>::kSize) {
          Vec<T>(Op::template neutral<T>()).store(to + j);
          if (layout.split) Vec<T>(Op::template neutral<T>()).store(to + layout.half + j);
        }
        return;
      case 1:
        return with(Index<1>());
      case 2:
        return with(Index<2>());
      case 3:
        return with(Index<3>());
      case 4:
        return with(Index<4>());
      default:
        return with(Index<0>());
    }
  }

  template <class Finish>
  FASTNN_INLINE void fold_pairs(const T* columns, int64_t n, T* y, const T* limit,
                                const Finish& shared_finish) const {
    const Finish finish = shared_finish;  // a copy that no store can alias
    for (int64_t j = 0; j < n; j += Vec<T>::kSize) {
      Vec<T> even = Vec<T>::load(columns + 2 * j);
      Vec<T> odd = Vec<T>::load(columns + 2 * j + Vec<T>::kSize);
      deinterleave(even, odd);
      store_first(y + j, finish(op(even, odd), j), n - j, limit);
    }
  }

  template <int kColumns, bool kMasked, class Finish>
  FASTNN_INLINE void fold_columns(const T* scratch, const Mask<T>* masks, int64_t n, T* y,
                                  const T* limit, const Finish& shared_finish) const {
    const Finish finish = shared_finish;  // a copy that no store can alias
    const int64_t kernel = kColumns > 0 ? kColumns : width.kernel;
    const Vec<T> neutral(Op::template neutral<T>());
    const T* taps[kColumns > 0 ? kColumns : kMaxSlidingColumns];
    for (int64_t k = 0; k < kernel; ++k) {
      taps[k] = scratch + layout.offset(k * width.dilation - width.padding);
    }
    for (int64_t j = 0; j < n; j += Vec<T>::kSize, masks += kMasked ? kernel : 0) {
      const auto tap = [&](int64_t k) FASTNN_INLINE_LAMBDA {
        const Vec<T> x = kColumns > 0 ? Vec<T>::load(taps[k] + j) : layout.load(taps[k], j);
        return kMasked ? select(masks[k], x, neutral) : x;
      };
      Vec<T> folded = tap(0);
      for (int64_t k = 1; k < kernel; ++k) folded = op(folded, tap(k));
      store_first(y + j, finish(folded, j), n - j, limit);
    }
  }
};

// y[window] = finish(fold of the window); finish as for slide(), and finish.uniform_rows(od, oh,
// most) says for how many rows finish.row(od, oh, 0) stands.
//
// Workspace a thread: a block of up to 1024 outputs (or one row) and their inputs' columns, and as
// many outputs again where lines have gaps; shared: a mask for each column of the window for each
// vector of a block, and finish's.
template <class T, class Op, class Finish>
void slide_flat(const FlatLayout<T>& layout, int64_t planes, const PoolAxis& depth,
                const PoolAxis& height, const PoolAxis& width, const T* x, T* y, Finish& finish,
                const Op& op) {
  const int64_t total = planes * depth.out * height.out;
  const FlatFold<T, Op> fold(
      op, depth, height, width, layout,
      planes * depth.in * height.in * width.in * static_cast<int64_t>(sizeof(T)));
  const bool gaps = layout.out_pitch > width.out;
  const int64_t row_cost = fold.window.count * layout.columns + width.kernel * layout.out_pitch;
  const int64_t grain = larger(1, kPartWork / (2 * row_cost * layout.rows)) * layout.rows;

  const int64_t workers = plan_workers(divide_up(total, grain));
  const int64_t spare_size =
      gaps ? (divide_up(layout.block, Vec<T>::kSize) + 1) * Vec<T>::kSize : 0;
  const int64_t each = layout.size + spare_size;
  const int64_t extra = finish.scratch_elements(layout.block);
  FlatMasks<T> masks(width, layout.out_pitch, layout.masked ? layout.block : 0);
  Workspace workspace(Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))) +
                      Workspace::padded_bytes(extra * static_cast<int64_t>(sizeof(T))) +
                      masks.bytes());
  finish.prepare(workspace.take<T>(extra), layout.out_pitch, layout.rows);
  masks.prepare(workspace);
  T* const scratch = workspace.take<T>(workers * each);

  parallel_for(total, grain, [&](int64_t row, int64_t end, int worker) {
    T* const lines = scratch + worker * each;
    T* const spare = lines + layout.size;
    const T* const limit = y + end * width.out;
    for (; row < end; row += layout.rows) {
      const int64_t rows = smaller(layout.rows, end - row);
      fold.down(x, row, rows, lines);
      for (int64_t r = 0; r < rows;) {
        const int64_t h = (row + r) % height.out, d = (row + r) / height.out % depth.out;
        const int64_t run = finish.uniform_rows(d, h, rows - r);
        T* to = y + (row + r) * width.out;
        const T* from = lines + layout.line(r);
        const auto finish_row = finish.row(d, h, 0);
        if (!gaps) {
          fold.across(from, masks, run * width.out, to, limit, finish_row);
        } else {
          fold.across(from, masks, run * layout.out_pitch, spare, spare + spare_size, finish_row);
          for (int64_t i = 0; i < run; ++i, to += width.out) {
            for (int64_t j = 0; j < width.out; j += Vec<T>::kSize) {
              store_first(to + j, Vec<T>::load(spare + i * layout.out_pitch + j), width.out - j,
                          limit);
            }
          }
        }
        r += run;
      }
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
