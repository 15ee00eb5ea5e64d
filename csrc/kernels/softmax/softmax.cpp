// softmax: y = exp(x - max) / sum exp(x - max) over the middle dimension of (outer, length, inner);
// log_softmax: y = x - max - log sum exp(x - max). Their gradients are
// y * (g - sum g y) and g - exp(y) * sum g.
//
// A row that holds a NaN or +inf, or nothing but -inf, is NaN throughout. Sums are grouped by the
// length of the row alone. Scratch: see blocks.h for long rows; a worker 17 KiB for short ones;
// over other dimensions a tile of columns a worker, at most 256 KiB.
#include "ops/softmax.h"

#include "kernels/columns.h"
#include "kernels/softmax/blocks.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
FASTNN_INLINE Vec<T> nan_where_infinite(Vec<T> max, Vec<T> value) {
  return select(abs(max) == infinity<T>(), Vec<T>(static_cast<T>(__builtin_nan(""))), value);
}

// What tells the two apart. `kKeepsExp`: the exponentials stay in the output until scaled.
struct Softmax {
  static constexpr bool kKeepsExp = true;
  template <class T>
  static FASTNN_INLINE Vec<T> scale(Vec<T> max, Vec<T> sum) {
    return nan_where_infinite(max, Vec<T>(1) / sum);
  }
  template <class T>
  static FASTNN_INLINE Vec<T> finish(Vec<T> e, Vec<T> /*max*/, Vec<T> scale) {
    return e * scale;
  }
  template <class T>
  static FASTNN_INLINE Vec<T> gradient_term(Vec<T> grad, Vec<T> y) {
    return grad * y;
  }
  template <class T>
  static FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y, Vec<T> sum) {
    return y * (grad - sum);
  }
};

struct LogSoftmax {
  static constexpr bool kKeepsExp = false;
  template <class T>
  static FASTNN_INLINE Vec<T> scale(Vec<T> max, Vec<T> sum) {
    return nan_where_infinite(max, log(sum));
  }
  template <class T>
  static FASTNN_INLINE Vec<T> finish(Vec<T> x, Vec<T> max, Vec<T> scale) {
    return (x - max) - scale;
  }
  template <class T>
  static FASTNN_INLINE Vec<T> gradient_term(Vec<T> grad, Vec<T> /*y*/) {
    return grad;
  }
  template <class T>
  static FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y, Vec<T> sum) {
    return fnma(exp(y), sum, grad);
  }
};

// The sum of a run's weights, which are kept in y if they will be scaled.
template <class Op, class T>
FASTNN_INLINE T row_weights(const T* x, T* y, int64_t n, T shift) {
  return Op::kKeepsExp ? weight_sum_store(x, y, n, shift) : weight_sum(x, y, n, shift);
}

template <class Op, class T>
FASTNN_INLINE void finish_run(const T* x, T* y, int64_t n, Vec<T> max, Vec<T> scale) {
  const T* const source = Op::kKeepsExp ? y : x;
  for_vectors<T>(n, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    lanes.store(Op::finish(lanes.load(source + i), max, scale), y + i);
  });
}

template <class Op, class T>
FASTNN_INLINE void forward_row(const T* x, T* y, int64_t n) {
  const T max = row_max(x, n);
  const Vec<T> sum(row_weights<Op>(x, y, n, shift_of(max)));
  finish_run<Op>(x, y, n, Vec<T>(max), Op::scale(Vec<T>(max), sum));
}

// Up to a vector of rows: their steps overlap, and they share what scale() costs.
template <class Op, class T>
FASTNN_INLINE void forward_row_group(const T* x, T* y, int64_t n, int64_t rows) {
  T maxima[Vec<T>::kSize] = {}, sums[Vec<T>::kSize] = {}, scales[Vec<T>::kSize];
  for (int64_t r = 0; r < rows; ++r) maxima[r] = row_max(x + r * n, n);
  for (int64_t r = 0; r < rows; ++r) {
    sums[r] = row_weights<Op>(x + r * n, y + r * n, n, shift_of(maxima[r]));
  }
  Op::scale(Vec<T>::load(maxima), Vec<T>::load(sums)).store(scales);
  for (int64_t r = 0; r < rows; ++r) {
    finish_run<Op>(x + r * n, y + r * n, n, Vec<T>(maxima[r]), Vec<T>(scales[r]));
  }
}

// Rows of at most a block; short ones several together, which share a logarithm. One long row after
// the other lets memory bring the next while this one's exponentials are taken.
template <class Op, class T>
void forward_short_rows(const SoftmaxForwardArgs<T>& args) {
  constexpr int64_t kGroupElements = kRowBlock<T> / 2, kLongest = kRowBlock<T> / 8;
  const int64_t n = args.length;
  const int64_t fitting = Op::kKeepsExp || n > kLongest ? 1 : kGroupElements / n;
  const int64_t group = fitting < Vec<T>::kSize ? fitting : Vec<T>::kSize;
  parallel_for(args.outer, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
    int64_t row = begin;
    for (; group > 1 && row < end; row += group) {
      const int64_t rows = end - row < group ? end - row : group;
      forward_row_group<Op>(args.x + row * n, args.y + row * n, n, rows);
    }
    for (; row < end; ++row) forward_row<Op>(args.x + row * n, args.y + row * n, n);
  });
}

template <class Op, class T>
void forward_long_rows(const SoftmaxForwardArgs<T>& args) {
  const int64_t n = args.length;
  for_rows_in_blocks<T>(
      args.outer, n,
      [&](int64_t row, int64_t begin, int64_t end, T* max, T* sum) {
        const T* const x = args.x + row * n + begin;
        *max = row_max(x, end - begin);
        *sum = row_weights<Op>(x, args.y + row * n + begin, end - begin, shift_of(*max));
      },
      [](int64_t, int64_t count, T* maxima, T* sums) {
        const RowSum<T> row = combine_blocks(count, maxima, sums);
        const Vec<T> scale = Op::scale(Vec<T>(row.max), Vec<T>(row.sum));
        for_vectors<T>(count, [&](int64_t b, auto lanes) FASTNN_INLINE_LAMBDA {
          if (Op::kKeepsExp) {
            // A block's exponentials are relative to its own maximum.
            lanes.store(exp(lanes.load(maxima + b) - row.max) * scale, sums + b);
          } else {
            lanes.store(Vec<T>(row.max), maxima + b);
            lanes.store(scale, sums + b);
          }
        });
      },
      [&](int64_t row, int64_t begin, int64_t end, T max, T scale) {
        const int64_t at = row * n + begin;
        finish_run<Op>(args.x + at, args.y + at, end - begin, Vec<T>(max), Vec<T>(scale));
      });
}

// One tile of up to kVectors x lanes columns, `stride` apart from row to row. `buffer` holds the
// tile between the passes, so that x is read once and y written once; it may be y.
template <class Op, int kVectors, class T, class Lanes>
FASTNN_INLINE void forward_tile(const T* x, T* y, int64_t length, int64_t stride, T* buffer,
                                int64_t buffer_stride, Lanes lanes) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> maxima[kVectors], shifts[kVectors], sums[kVectors], scales[kVectors];
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) maxima[v] = Vec<T>(-infinity<T>());
  for (int64_t i = 0; i < length; ++i) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> value = lanes.load(x + i * stride + v * kSize);
      maxima[v] = max(value, maxima[v]);
      lanes.store(value, buffer + i * buffer_stride + v * kSize);
    }
  }
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) shifts[v] = shift_of(maxima[v]);
  sum_columns(length, sums, [&](int64_t i, int v) FASTNN_INLINE_LAMBDA {
    T* const p = buffer + i * buffer_stride + v * kSize;
    const Vec<T> e = weight(lanes.load(p), shifts[v]);
    if (Op::kKeepsExp) lanes.store(e, p);
    return e;
  });
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) scales[v] = Op::scale(maxima[v], sums[v]);
  for (int64_t i = 0; i < length; ++i) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> value = lanes.load(buffer + i * buffer_stride + v * kSize);
      lanes.store(Op::finish(value, maxima[v], scales[v]), y + i * stride + v * kSize);
    }
  }
}

template <class Op, class T>
void forward_columns(const SoftmaxForwardArgs<T>& args) {
  const int64_t length = args.length, inner = args.inner;
  const int64_t tile_size = length * kTileColumns<T>;
  const bool buffered = tile_size * static_cast<int64_t>(sizeof(T)) <= int64_t{256} << 10;
  const int workers = plan_workers(args.outer * inner);
  Workspace workspace(buffered ? workers * tile_size * static_cast<int64_t>(sizeof(T)) : 0);
  T* const buffers = workspace.take<T>(buffered ? workers * tile_size : 0);
  for_column_tiles<T>(
      args.outer, length, inner, [&](int64_t slice, int64_t column, int64_t columns, int worker) {
        const T* const x = args.x + slice * length * inner + column;
        T* const y = args.y + slice * length * inner + column;
        T* const buffer = buffered ? buffers + worker * tile_size : y;
        const int64_t buffer_stride = buffered ? kTileColumns<T> : inner;
        for_tile_vectors<T>(columns, [&](int64_t i, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          forward_tile<Op, decltype(tag)::index>(x + i, y + i, length, inner, buffer + i,
                                                 buffer_stride, lanes);
        });
      });
}

template <class Op, class T>
void forward(const SoftmaxForwardArgs<T>& args) {
  if (args.outer == 0 || args.length == 0 || args.inner == 0) return;
  if (args.inner > 1) {
    forward_columns<Op>(args);
  } else if (args.length <= kRowBlock<T>) {
    forward_short_rows<Op>(args);
  } else {
    forward_long_rows<Op>(args);
  }
}

template <class Op, class T>
void backward_rows(const SoftmaxBackwardArgs<T>& args) {
  const int64_t n = args.length;
  for_rows_in_blocks<T>(
      args.outer, n,
      [&](int64_t row, int64_t begin, int64_t end, T* sum, T*) {
        const int64_t start = row * n + begin;
        Chains<T> chains(0);
        for_vectors_in_chains<T>(
            end - begin, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
              const Vec<T> grad = lanes.load(args.grad_y + start + i);
              chains[c] += Op::gradient_term(grad, lanes.load(args.y + start + i));
            });
        *sum = chains.sum();
      },
      [](int64_t, int64_t count, T* sums, T*) {
        T total = 0;
        for (int64_t b = 0; b < count; ++b) total += sums[b];
        for (int64_t b = 0; b < count; ++b) sums[b] = total;
      },
      [&](int64_t row, int64_t begin, int64_t end, T sum, T) {
        const int64_t start = row * n + begin;
        for_vectors<T>(end - begin, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
          const Vec<T> grad = lanes.load(args.grad_y + start + i);
          const Vec<T> y = lanes.load(args.y + start + i);
          lanes.store(Op::gradient(grad, y, Vec<T>(sum)), args.grad_x + start + i);
        });
      });
}

template <class Op, class T>
void backward_columns(const SoftmaxBackwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t length = args.length, inner = args.inner;
  for_column_tiles<T>(
      args.outer, length, inner, [&](int64_t slice, int64_t column, int64_t columns, int) {
        const int64_t start = slice * length * inner + column;
        for_tile_vectors<T>(columns, [&](int64_t i, auto lanes, auto tag) FASTNN_INLINE_LAMBDA {
          constexpr int kVectors = decltype(tag)::index;
          const T* const grad_y = args.grad_y + start + i;
          const T* const y = args.y + start + i;
          T* const grad_x = args.grad_x + start + i;
          Vec<T> sums[kVectors];
          sum_columns(length, sums, [&](int64_t row, int v) FASTNN_INLINE_LAMBDA {
            const int64_t at = row * inner + v * kSize;
            return Op::gradient_term(lanes.load(grad_y + at), lanes.load(y + at));
          });
          for (int64_t row = 0; row < length; ++row) {
            FASTNN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
              const int64_t at = row * inner + v * kSize;
              const Vec<T> grad = lanes.load(grad_y + at);
              lanes.store(Op::gradient(grad, lanes.load(y + at), sums[v]), grad_x + at);
            }
          }
        });
      });
}

template <class Op, class T>
void backward(const SoftmaxBackwardArgs<T>& args) {
  if (args.outer == 0 || args.length == 0 || args.inner == 0) return;
  args.inner == 1 ? backward_rows<Op>(args) : backward_columns<Op>(args);
}

}  // namespace

template <class T>
void softmax_forward(const SoftmaxForwardArgs<T>& args) {
  forward<Softmax>(args);
}
template <class T>
void softmax_backward(const SoftmaxBackwardArgs<T>& args) {
  backward<Softmax>(args);
}
template <class T>
void log_softmax_forward(const SoftmaxForwardArgs<T>& args) {
  forward<LogSoftmax>(args);
}
template <class T>
void log_softmax_backward(const SoftmaxBackwardArgs<T>& args) {
  backward<LogSoftmax>(args);
}

template void softmax_forward(const SoftmaxForwardArgs<float>&);
template void softmax_forward(const SoftmaxForwardArgs<double>&);
template void softmax_backward(const SoftmaxBackwardArgs<float>&);
template void softmax_backward(const SoftmaxBackwardArgs<double>&);
template void log_softmax_forward(const SoftmaxForwardArgs<float>&);
template void log_softmax_forward(const SoftmaxForwardArgs<double>&);
template void log_softmax_backward(const SoftmaxBackwardArgs<float>&);
template void log_softmax_backward(const SoftmaxBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
