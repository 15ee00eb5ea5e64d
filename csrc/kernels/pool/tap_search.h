// Max pooling that remembers which element of its window won, as a tap or as its place: a block of
// outputs at a time, of many rows and planes.
//
// The input of a block goes to scratch with -inf around it, its rows and columns sorted by what
// they are modulo the strides. One tap of all windows is then one run of elements, in lines that
// have gaps where windows overlap. Without a NaN the first that is larger than -inf wins, and so
// on; if there is one, or a window of -inf alone, the search begins again at the first element
// inside the input.
//
// Winners are numbered in T, exactly: up to 2^15 taps, or places less than 2^24 from the window's
// start.
//
// Workspace a thread: about 16 KiB, or the input of one row of up to 1024 outputs, + three numbers
// for each of a block's outputs; shared min(width.out, 27 Ki) + 2 x window elements.
#pragma once

#include "kernels/pool/column_table.h"
#include "kernels/pool/tap_bytes.h"

namespace fastnn::FASTNN_ISA::pool {

template <class T>
constexpr T kNoneWon = 1 << 24;

// How the windows of a block lie in scratch.
template <class T>
struct SearchLayout {
  static constexpr int64_t kSize = Vec<T>::kSize;
  static constexpr int64_t kStep = 4;  // vectors that are searched together
  int64_t row_stride, column_stride;
  int64_t columns, pitch;       // of outputs, and of a line
  int64_t rows, lines, slices;  // of outputs; lines of a slice; slices of outputs in a block
  int64_t area, size;           // elements of one phase, and of all

  SearchLayout(int64_t planes, const PoolAxis& depth, const PoolAxis& height, const PoolAxis& width)
      : row_stride(height.stride), column_stride(width.stride) {
    columns = smaller(width.out, kTileColumns);
    pitch = columns - 1 + divide_up(window_extent(width), column_stride);
    const int64_t more_lines = divide_up(window_extent(height), row_stride) - 1;
    const int64_t phases = depth.kernel * row_stride * column_stride;
    const int64_t room = kBlockBytes / static_cast<int64_t>(sizeof(T)) / (phases * pitch);
    rows = larger(1, smaller(height.out, room - more_lines));
    lines = rows + more_lines;
    const bool whole = rows == height.out && columns == width.out;
    slices = whole ? larger(1, smaller(planes * depth.out, room / lines)) : 1;
    area = slices * lines * pitch + pitch + kStep * kSize;
    size = phases * area;
  }

  // Outputs with the gaps between them.
  int64_t outputs(int64_t slice_count) const { return ((slice_count - 1) * lines + rows) * pitch; }
  int64_t held() const { return divide_up(outputs(slices), kStep * kSize) * kStep * kSize + kSize; }

  // Where row `row` and column `column` of the first window lie, in the area of depth tap kd.
  int64_t offset(int64_t kd, int64_t row, int64_t column) const {
    const int64_t phase = (kd * row_stride + row % row_stride) * column_stride;
    return (phase + column % column_stride) * area + row / row_stride * pitch +
           column / column_stride;
  }
};

// The numbers of a window's elements: those of (kd, kh, kw) are a sum of multiples.
struct Numbering {
  int64_t depth, height, width;

  FASTNN_INLINE int64_t operator()(int64_t kd, int64_t kh, int64_t kw) const {
    return kd * depth + kh * height + kw * width;
  }
  template <class T>
  static Numbering taps(const MaxPoolForwardArgs<T>& args) {
    return {args.height.kernel * args.width.kernel, args.width.kernel, 1};
  }
  template <class T>
  static Numbering places(const MaxPoolForwardArgs<T>& args) {
    return {args.height.in * args.width.in * args.depth.dilation,
            args.width.in * args.height.dilation, args.width.dilation};
  }
};

// Whether the places of a window can be counted.
template <class T>
bool countable(const MaxPoolForwardArgs<T>& args) {
  return Numbering::places(args)(args.depth.kernel, args.height.kernel, args.width.kernel) <
         static_cast<int64_t>(kNoneWon<T>);
}

template <class T>
struct TapSearch {
  static constexpr int64_t kSize = Vec<T>::kSize;
  const MaxPoolForwardArgs<T>& args;
  const SearchLayout<T> layout;
  const Blocks blocks;
  const Numbering number;
  const int64_t volume;
  ColumnTable<T> first_columns;  // for each output column its first tap inside, kNoneWon if none
  int64_t* offsets = nullptr;
  T* numbers = nullptr;

  explicit TapSearch(const MaxPoolForwardArgs<T>& arguments)
      : args(arguments),
        layout(args.planes, args.depth, args.height, args.width),
        blocks(args.planes, args.depth.out, args.height.out, args.width.out, layout.rows,
               layout.columns, layout.slices),
        number(args.indices != nullptr ? Numbering::places(args) : Numbering::taps(args)),
        volume(args.depth.kernel * args.height.kernel * args.width.kernel) {}

  int64_t shared_bytes() const {
    const auto elements = ColumnTable<T>::elements(args.width.out) + volume;
    return 2 * Workspace::padded_bytes(elements * static_cast<int64_t>(sizeof(T))) +
           Workspace::padded_bytes(volume * 8);
  }
  void prepare(Workspace& workspace) {
    T* const columns = workspace.take<T>(ColumnTable<T>::elements(args.width.out));
    first_columns.prepare(columns, args.width.out, T{0}, [&](int64_t o) {
      const Range inside = taps_inside(args.width, o);
      return inside.begin < inside.end ? static_cast<T>(number(0, 0, inside.begin)) : kNoneWon<T>;
    });
    offsets = workspace.take<int64_t>(volume);
    numbers = workspace.take<T>(volume);
    int64_t tap = 0;
    for (int64_t kd = 0; kd < args.depth.kernel; ++kd) {
      for (int64_t kh = 0; kh < args.height.kernel; ++kh) {
        for (int64_t kw = 0; kw < args.width.kernel; ++kw, ++tap) {
          offsets[tap] = layout.offset(kd, kh * args.height.dilation, kw * args.width.dilation);
          numbers[tap] = static_cast<T>(number(kd, kh, kw));
        }
      }
    }
  }

  // Copies the input of a block of outputs to scratch; whether there is a NaN.
  bool load(const Blocks::Block& b, T* scratch) const {
    if (layout.column_stride == 1) return load_rows<1>(b, scratch);
    return layout.column_stride == 2 ? load_rows<2>(b, scratch) : load_rows<0>(b, scratch);
  }

  // Searches the windows of a block: the largest elements and their numbers, in lines.
  void search(const Blocks::Block& b, const T* input, bool nan, T* best, T* winner,
              T* first) const {
    const int64_t n = layout.outputs(b.slices);
    if (!nan && search_lines<true>(input, n, best, winner, nullptr)) return;
    prepare_first(b, first);
    search_lines<false>(input, n, best, winner, first);
  }

 private:
  // kStride: that of the columns if it is 1 or 2, or 0.
  template <int kStride>
  bool load_rows(const Blocks::Block& b, T* scratch) const {
    const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
    const int64_t start = window_start(width, b.w), top = window_start(height, b.h);
    const InputRow source(layout, start < 0 ? -start : 0, width.in - larger(start, 0));
    const int64_t rows = (b.rows - 1) * height.stride + window_extent(height);
    Mask<T> nan = first_n_mask<T>(0);
    for (int64_t s = 0; s < b.slices; ++s) {
      const int64_t plane = (b.slice + s) / depth.out;
      const int64_t first = window_start(depth, (b.slice + s) % depth.out);
      for (int64_t kd = 0; kd < depth.kernel; ++kd) {
        const int64_t d = first + kd * depth.dilation;
        const bool inside = d >= 0 && d < depth.in;
        const T* slice = args.x + (plane * depth.in + d) * height.in * width.in + larger(start, 0);
        T* line = scratch + layout.offset(kd, 0, 0) + s * layout.lines * layout.pitch;
        for (int64_t row = 0; row < rows; line += layout.pitch) {
          T* to = line;
          const int64_t end = smaller(rows, row + height.stride);
          for (; row < end; ++row, to += layout.column_stride * layout.area) {
            const int64_t h = top + row;
            if (inside && h >= 0 && h < height.in) {
              nan = nan | source.template copy<kStride>(slice + h * width.in, to);
            } else {
              source.fill(0, to);
            }
          }
        }
      }
    }
    return any(nan);
  }

  // How a row of input is sorted into its phases: `left` columns outside, then `valid`.
  struct InputRow {
    const int64_t stride, pitch, area, left, valid, whole;
    const Mask<T> part, second_part;  // of what is left of whole vectors, or pairs of them

    InputRow(const SearchLayout<T>& layout, int64_t outside, int64_t inside)
        : stride(layout.column_stride),
          pitch(layout.pitch),
          area(layout.area),
          left(smaller(outside, pitch * stride)),
          valid(larger(0, smaller(inside, pitch * stride - left))),
          whole(valid - valid % (stride == 2 ? 2 * kSize : kSize)),
          part(first_n_mask<T>(valid - whole)),
          second_part(first_n_mask<T>(valid - whole - kSize)) {}

    // -inf from element `from` of the lines on.
    FASTNN_INLINE void fill(int64_t from, T* to) const {
      for (int64_t phase = 0; phase < stride; ++phase) {
        for (int64_t j = from; j < pitch; j += kSize) {
          Vec<T>(negative_infinity<T>()).store(to + phase * area + j);
        }
      }
    }

    // Where the row has a NaN.
    template <int kStride>
    FASTNN_INLINE Mask<T> copy(const T* x, T* to) const {
      const Vec<T> outside(negative_infinity<T>());
      Mask<T> nan = first_n_mask<T>(0);
      const auto load = [&](const T* from, auto... lanes) FASTNN_INLINE_LAMBDA {
        const Vec<T> v = Vec<T>::load(from, lanes...);
        nan = nan | is_nan(v);
        if constexpr (sizeof...(lanes) == 0) {
          return v;
        } else {
          return select(lanes..., v, outside);
        }
      };
      if constexpr (kStride == 1) {
        for (int64_t j = 0; j < left; j += kSize) outside.store(to + j);
        for (int64_t j = 0; j < whole; j += kSize) load(x + j).store(to + left + j);
        if (left + whole == pitch) return nan;
        load(x + whole, part).store(to + left + whole);
        fill(left + whole + kSize, to);
      } else if constexpr (kStride == 2) {
        for (int64_t j = 0; 2 * j < left; j += kSize) {
          outside.store(to + j);
          outside.store(to + area + j);
        }
        T* even = to + (left & 1) * area + (left >> 1);
        T* odd = to + (~left & 1) * area + ((left + 1) >> 1);
        const auto split = [&](int64_t j, Vec<T> a, Vec<T> b) FASTNN_INLINE_LAMBDA {
          deinterleave(a, b);
          a.store(even + j / 2);
          b.store(odd + j / 2);
        };
        for (int64_t j = 0; j < whole; j += 2 * kSize) split(j, load(x + j), load(x + j + kSize));
        if (left + whole >= 2 * pitch) return nan;
        split(whole, load(x + whole, part), load(x + whole + kSize, second_part));
        fill((left + whole) / 2 + kSize, to);  // the last lane of a pair is free
      } else {
        for (int64_t phase = 0; phase < stride; ++phase, to += area) {
          for (int64_t j = 0; j < pitch; j += kSize) {
            const int64_t from = phase + j * stride - left;
            if (from >= 0 && from + (kSize - 1) * stride < valid) {
              const Vec<T> v = Vec<T>::load_strided(x + from, stride);
              nan = nan | is_nan(v);
              v.store(to + j);
              continue;
            }
            alignas(64) T lanes[kSize];
            for (int64_t i = 0; i < kSize; ++i) {
              const int64_t at = from + i * stride;
              lanes[i] = at >= 0 && at < valid ? x[at] : negative_infinity<T>();
            }
            load(lanes).store(to + j);
          }
        }
      }
      return nan;
    }
  };

  // The number of each window's first element inside the input.
  void prepare_first(const Blocks::Block& b, T* first) const {
    const T* const columns = first_columns.at(b.w);
    for (int64_t s = 0; s < b.slices; ++s) {
      const Range in_depth = taps_inside(args.depth, (b.slice + s) % args.depth.out);
      T* line = first + s * layout.lines * layout.pitch;
      for (int64_t r = 0; r < b.rows; ++r, line += layout.pitch) {
        const Range in_height = taps_inside(args.height, b.h + r);
        const bool none = in_depth.begin == in_depth.end || in_height.begin == in_height.end;
        const Vec<T> before(none ? kNoneWon<T>
                                 : static_cast<T>(number(in_depth.begin, in_height.begin, 0)));
        for (int64_t j = 0; j < b.columns; j += kSize) {
          (Vec<T>::load(columns + j) + before).store(line + j);
        }
      }
    }
  }

  // Whether every window has a winner. Without a NaN nothing has to be known before.
  template <bool kPlain>
  bool search_lines(const T* input, int64_t n, T* best, T* winner, const T* first) const {
    constexpr int64_t kStep = SearchLayout<T>::kStep;
    Mask<T> without = first_n_mask<T>(0);
    for (int64_t j = 0; j < n; j += kStep * kSize) {
      Vec<T> largest[kStep], won[kStep];
      FASTNN_UNROLL
      for (int64_t v = 0; v < kStep; ++v) {
        largest[v] = Vec<T>(negative_infinity<T>());
        won[v] = kPlain ? Vec<T>(kNoneWon<T>) : Vec<T>::load(first + j + v * kSize);
      }
      for (int64_t k = 0; k < volume; ++k) {
        const T* from = input + offsets[k] + j;
        const Vec<T> tap(numbers[k]);
        FASTNN_UNROLL
        for (int64_t v = 0; v < kStep; ++v) {
          const Vec<T> x = Vec<T>::load(from + v * kSize);
          const Mask<T> better = kPlain ? x > largest[v] : (x > largest[v]) | is_nan(x);
          largest[v] = kPlain ? max(largest[v], x) : select(better, x, largest[v]);
          won[v] = select(better, tap, won[v]);
        }
      }
      FASTNN_UNROLL
      for (int64_t v = 0; v < kStep; ++v) {
        largest[v].store(best + j + v * kSize);
        won[v].store(winner + j + v * kSize);
        const Mask<T> none = won[v] == Vec<T>(kNoneWon<T>);
        const int64_t left = n - j - v * kSize;
        without = without | (left >= kSize ? none : none & first_n_mask<T>(left));
      }
    }
    return !any(without);
  }
};

// A row of indices. A window without an element gets the place nearest to its start.
template <class T>
void write_indices(const MaxPoolForwardArgs<T>& args, int64_t od, int64_t oh, int64_t ow,
                   int64_t columns, const T* winner, int64_t* indices) {
  const int64_t d = window_start(args.depth, od), h = window_start(args.height, oh);
  const int64_t w = window_start(args.width, ow);
  int64_t start = (d * args.height.in + h) * args.width.in + w;
  for (int64_t j = 0; j < columns; ++j, start += args.width.stride) {
    const auto inside = [](int64_t i, int64_t n) { return larger(0, smaller(i, n - 1)); };
    indices[j] = winner[j] < kNoneWon<T>
                     ? start + static_cast<int64_t>(winner[j])
                     : (inside(d, args.depth.in) * args.height.in + inside(h, args.height.in)) *
                               args.width.in +
                           inside(w + j * args.width.stride, args.width.in);
  }
}

// Either taps or indices are wanted; for indices the places must be countable.
template <class T>
void search_taps(const MaxPoolForwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  if (args.planes * args.height.out == 0) return;
  const int64_t width = args.width.out;
  TapSearch<T> shared(args);
  const SearchLayout<T>& layout = shared.layout;
  const Blocks& blocks = shared.blocks;
  const int64_t grain =
      larger(1, kPartWork / ((shared.volume + 4) * layout.slices * layout.rows * layout.columns));
  const int64_t workers = plan_workers(divide_up(blocks.count, grain));
  const int64_t each = layout.size + 3 * layout.held();
  Workspace workspace(shared.shared_bytes() +
                      Workspace::padded_bytes(workers * each * static_cast<int64_t>(sizeof(T))));
  shared.prepare(workspace);
  T* const scratch = workspace.take<T>(workers * each);

  parallel_for(blocks.count, grain, [&](int64_t begin, int64_t end, int worker) {
    const TapSearch<T> search = shared;  // a copy that no store can alias
    T* const input = scratch + worker * each;
    T* const best = input + layout.size;
    T* const winner = best + layout.held();
    const Blocks::Block last = blocks[end - 1];
    const T* const limit = blocks.chunks == 1
                               ? args.y + blocks.place(last) + last.slices * last.rows * width
                               : nullptr;
    const uint8_t* const tap_limit = limit == nullptr ? nullptr : args.taps + (limit - args.y);
    const auto write = [&](int64_t place, int64_t n, const T* y, const T* taps) {
      for (int64_t j = 0; j < n; j += kSize) {
        store_first(args.y + place + j, Vec<T>::load(y + j), n - j, limit);
      }
      for (int64_t j = 0; args.taps != nullptr && j < n; j += kSize) {
        TapBytes<T>::store(Vec<T>::load(taps + j), args.taps + place + j, n - j, tap_limit);
      }
    };
    __builtin_memset(input, 0, static_cast<size_t>(layout.size) * sizeof(T));  // also its gaps
    for (int64_t i = begin; i < end; ++i) {
      const Blocks::Block b = blocks[i];
      const bool nan = search.load(b, input);
      search.search(b, input, nan, best, winner, winner + layout.held());
      const int64_t place = blocks.place(b);
      if (layout.pitch == width && layout.lines == b.rows) {
        write(place, b.slices * b.rows * width, best, winner);
      } else {
        for (int64_t s = 0, row = 0; s < b.slices; ++s) {
          for (int64_t r = 0; r < b.rows; ++r, ++row) {
            const int64_t at = (s * layout.lines + r) * layout.pitch;
            write(place + row * width, b.columns, best + at, winner + at);
          }
        }
      }
      for (int64_t row = 0; args.indices != nullptr && row < b.slices * b.rows; ++row) {
        const int64_t slice = row / b.rows, r = row % b.rows;
        write_indices(args, (b.slice + slice) % args.depth.out, b.h + r, b.w, b.columns,
                      winner + (slice * layout.lines + r) * layout.pitch,
                      args.indices + place + row * width);
      }
    }
  });
}

}  // namespace fastnn::FASTNN_ISA::pool
