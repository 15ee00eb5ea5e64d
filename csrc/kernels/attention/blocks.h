// The two sides of attention's products.
//
// A tile of scores is [rows][kGroup<T>]: "lanes" (a group of queries in the forward pass, of keys
// in the gradients of keys and values) run along the vectors, "rows" (a block of the other side)
// down the memory. So the softmax over keys goes down the rows of a tile, without a sum across
// lanes, and the tile is at once the B operand of the second product. The lanes' side is packed as
// groups of B once for a part; the rows' side is the A of both products where it lies.
#pragma once

#include "kernels/attention/strided_tile.h"
#include "kernels/gemm/engine.h"
#include "kernels/storage.h"
#include "ops/attention.h"

namespace fastnn::FASTNN_ISA {

// Rows of a tile of scores, at most: a tile stays in L1.
inline constexpr int64_t kMaxBlockRows = kTileRows * (224 / kTileRows);

// Rows of a block when `count` rows are cut evenly.
inline int64_t block_rows(int64_t count) {
  return count > 0 ? ceil_div(count, ceil_div(count, kMaxBlockRows)) : 1;
}

// Lanes a part works on: many, since the rows' side is packed again for every part, but enough
// parts for all threads. `width` counts the elements that a lane keeps. No result depends on it.
template <class T>
int64_t lane_block(int64_t lanes, int64_t heads, int64_t width) {
  const int64_t lane_bytes = max_of(1, width * static_cast<int64_t>(sizeof(T)));
  const int64_t most = max_of(1, (int64_t{192} << 10) / (kGroup<T> * lane_bytes));
  const int64_t groups = ceil_div(lanes, kGroup<T>);
  const int64_t threads = num_threads();
  const int64_t wanted = threads > 1 ? ceil_div(4 * threads, max_of(1, heads)) : 1;
  const int64_t blocks = max_of(ceil_div(groups, most), min_of(wanted, ceil_div(groups, 2)));
  return ceil_div(groups, max_of(1, blocks)) * kGroup<T>;
}

// Items of so many multiply-adds each that make a part worth its start.
inline int64_t part_grain(int64_t multiply_adds) {
  return max_of(1, kMinCellWork / max_of(1, multiply_adds));
}

struct Range {
  int64_t begin, end;
};

// Cuts scratch memory; without a base it only counts.
template <class T>
struct Carver {
  T* base;
  int64_t used = 0;
  T* take(int64_t count) {
    T* const p = base == nullptr ? nullptr : base + used;
    used += round_up(count, 16);
    return p;
  }
};

// f(S{}) with the type that the elements are stored as.
template <class T, class F>
FASTNN_INLINE auto with_stored(const MatrixStack<T>& stack, const F& f) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (stack.is_bfloat16) return f(uint16_t());
  }
  return f(T());
}

// One head's matrix, of T as it is stored.
template <class T>
struct Matrix {
  const T* data;
  int64_t row_stride, col_stride;

  template <class Sum>
  static Matrix of(const MatrixStack<Sum>& stack, int64_t head) {
    return {static_cast<const T*>(stack.data) + stack.offsets[head], stack.row_stride,
            stack.col_stride};
  }
  Matrix from_row(int64_t row) const { return {data + row * row_stride, row_stride, col_stride}; }
  Matrix from_col(int64_t col) const { return {data + col * col_stride, row_stride, col_stride}; }
  T at(int64_t row, int64_t col) const { return data[row * row_stride + col * col_stride]; }
};

// Rows of one head for `ahead` to fetch, if their columns are contiguous.
template <class T>
void fetch_rows(Prefetcher& ahead, const MatrixStack<T>& stack, int64_t head, Range rows,
                int64_t width) {
  if (stack.col_stride != 1) return;
  with_stored(stack, [&](auto zero) {
    const auto m = Matrix<decltype(zero)>::of(stack, head).from_row(rows.begin);
    ahead.add(m.data, m.row_stride, rows.end - rows.begin, width);
  });
}

template <class T>
void fill(T* p, int64_t n, T value) {
  for (int64_t i = 0; i < n; ++i) p[i] = value;
}

template <class T>
void scale_run(T* p, int64_t n, T factor) {
  for (int64_t i = 0; i < n; ++i) p[i] *= factor;
}

// target[r][c] = factor * source[r][c].
template <class T, class S>
void copy_rows(T* target, int64_t target_stride, const Matrix<S>& source, int64_t rows,
               int64_t width, T factor) {
  for (int64_t r = 0; r < rows; ++r, target += target_stride) {
    const Matrix<S> row = source.from_row(r);
    if (row.col_stride == 1) {
      for_vectors<T>(width, [&](int64_t c, auto lanes) FASTNN_INLINE_LAMBDA {
        lanes.store(load_stored(lanes, row.data + c) * factor, target + c);
      });
    } else {
      for (int64_t c = 0; c < width; ++c) target[c] = from_stored(row.at(0, c)) * factor;
    }
  }
}

// Rows of one head, times factor, as groups of B: [group][width][kGroup], padded with zeros.
// `staging` holds a group of rows where they are not stored as T.
template <class T>
void pack_groups(T* target, const MatrixStack<T>& stack, int64_t head, Range rows, int64_t width,
                 T factor, T* staging) {
  const int64_t count = rows.end - rows.begin;
  if (!stack.is_bfloat16) {
    const auto m = Matrix<T>::of(stack, head).from_row(rows.begin);
    const DenseOperand<T> operand{m.data, m.row_stride, m.col_stride};
    operand.b_block(target, 0, count, 0, width);
    if (factor != T(1)) scale_run(target, round_up(count, kGroup<T>) * width, factor);
    return;
  }
  with_stored(stack, [&](auto zero) {
    const auto m = Matrix<decltype(zero)>::of(stack, head);
    for (int64_t i = 0; i < count; i += kGroup<T>, target += kGroup<T> * width) {
      const int64_t lanes = min_of(kGroup<T>, count - i);
      copy_rows(staging, width, m.from_row(rows.begin + i), lanes, width, factor);
      const DenseOperand<T> operand{staging, width, 1};
      operand.b_block(target, 0, lanes, 0, width);
    }
  });
}
template <class T>
int64_t staging_elements(const AttentionProblem<T>& p) {
  return p.query.is_bfloat16 ? kGroup<T> * max_of(p.width, p.value_width) : 0;
}

// A block of rows of one head as the A operand of both products: of the one that sums along the
// width, and of the one that sums over the rows. It is used in place, or from a copy where factors,
// strides or bfloat16 ask for one. The sum over the rows needs set_specials_aside() first: there a
// row that holds NaN or infinity is replaced by zeros and added by itself, only where its weight is
// not zero, since otherwise 0 * NaN would leak out of masked positions.
template <class T>
class RowBlock {
 public:
  static int64_t copy_stride(int64_t width) { return round_up(width, Vec<T>::kSize) + 16; }

  static RowBlock carve(Carver<T>& carver, int64_t rows, int64_t width) {
    RowBlock block{};
    block.copy_ = carver.take(rows * copy_stride(width));
    block.finite_copy_ = carver.take(rows * copy_stride(width));
    block.special_ =
        reinterpret_cast<int64_t*>(carver.take(rows * 8 / static_cast<int64_t>(sizeof(T))));
    block.width_ = width;
    return block;
  }

  void load(const MatrixStack<T>& stack, int64_t head, Range rows, T factor) {
    rows_ = rows.end - rows.begin;
    specials_ = 0;
    // Rows a multiple of 2 KiB apart share a few sets of the cache.
    const bool crowded =
        stack.row_stride * static_cast<int64_t>(sizeof(T)) % 2048 == 0 && stack.row_stride != 0;
    if (factor != T(1) || stack.col_stride != 1 || crowded || stack.is_bfloat16) {
      data_ = copy_;
      stride_ = copy_stride(width_);
      with_stored(stack, [&](auto zero) {
        const auto source = Matrix<decltype(zero)>::of(stack, head).from_row(rows.begin);
        copy_rows(copy_, stride_, source, rows_, width_, factor);
      });
    } else {
      data_ = Matrix<T>::of(stack, head).from_row(rows.begin).data;
      stride_ = stack.row_stride;
    }
    finite_ = data_;
    finite_stride_ = stride_;
  }

  void set_specials_aside() {
    Chains<T> chains(0);  // zero times what is finite
    for (int64_t r = 0; r < rows_; ++r) {
      const T* const row = data_ + r * stride_;
      for_vectors_in_chains<T>(width_, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
        chains[c] = fma(lanes.load(row + i), Vec<T>::zero(), chains[c]);
      });
    }
    if (chains.sum() != T(0)) find_specials();
  }

  // c[used rows][kGroup] = rows times a group of B, for so many lanes of the group.
  void multiply(const T* group, T* c, Range used, int64_t lanes, Prefetcher& ahead) const {
    const int64_t panel = panel_rows(used.end - used.begin);
    for (int64_t i = used.begin; i < used.end; i += panel) {
      const int64_t count = min_of(panel, used.end - i);
      run_strided_tile<T>(
          static_cast<int>(count),
          {width_, data_ + i * stride_, stride_, 1, group, kGroup<T>, c, kGroup<T>, lanes, false},
          ahead);
      c += panel * kGroup<T>;
    }
  }

  // acc[width][kGroup] (+)= the rows, transposed, times weights[used rows][kGroup], whose rows are
  // `stride` apart.
  void multiply_transposed(T* acc, const T* weights, int64_t stride, Range used, int64_t lanes,
                           bool accumulate, Prefetcher& ahead) const {
    if (width_ <= 0) return;
    const int64_t panel = panel_rows(width_);
    for (int64_t i = 0; i < width_; i += panel) {
      run_strided_tile<T>(
          static_cast<int>(min_of(panel, width_ - i)),
          {used.end - used.begin, finite_ + used.begin * finite_stride_ + i, 1, finite_stride_,
           weights, stride, acc + i * kGroup<T>, kGroup<T>, lanes, accumulate},
          ahead);
    }
    for (int64_t s = 0; s < specials_; ++s) {
      if (special_[s] < used.begin || special_[s] >= used.end) continue;
      add_special(acc, weights + (special_[s] - used.begin) * stride, special_[s], lanes);
    }
  }

 private:
  void find_specials() {
    finite_ = finite_copy_;
    finite_stride_ = copy_stride(width_);
    for (int64_t r = 0; r < rows_; ++r) {
      const T* const row = data_ + r * stride_;
      T* const target = finite_copy_ + r * finite_stride_;
      bool finite = true;
      for (int64_t c = 0; c < width_; ++c) finite &= row[c] * T(0) == T(0);
      for (int64_t c = 0; c < width_; ++c) target[c] = finite ? row[c] : T(0);
      if (!finite) special_[specials_++] = r;
    }
  }

  void add_special(T* acc, const T* weights, int64_t row, int64_t lanes) const {
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      const Vec<T> weight = Vec<T>::load(weights + v);
      for (int64_t c = 0; c < width_; ++c) {
        T* const target = acc + c * kGroup<T> + v;
        const Vec<T> old = Vec<T>::load(target);
        const Vec<T> sum = fma(weight, Vec<T>(data_[row * stride_ + c]), old);
        select(weight == Vec<T>::zero(), old, sum).store(target);
      }
    }
  }

  const T* data_;
  const T* finite_;  // without what has been set aside
  T* copy_;
  T* finite_copy_;
  int64_t* special_;  // the rows with NaN or infinity
  int64_t stride_, finite_stride_, rows_, width_, specials_;
};

// tile *= factors and tile += terms, element by element.
template <class T>
void multiply_tiles(T* tile, const T* factors, int64_t rows, int64_t lanes,
                    int64_t stride = kGroup<T>) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      T* const p = tile + r * stride + v;
      (Vec<T>::load(p) * Vec<T>::load(factors + r * kGroup<T> + v)).store(p);
    }
  }
}
template <class T>
void add_tiles(T* tile, const T* terms, int64_t rows, int64_t lanes) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      T* const p = tile + r * kGroup<T> + v;
      (Vec<T>::load(p) + Vec<T>::load(terms + r * kGroup<T> + v)).store(p);
    }
  }
}

// target[lane * row_stride + c] = acc[c][lane] * factor_of(lane), and not an element more; lane is
// the first of a vector of them.
template <class T, class S, class F>
void store_transposed(S* target, int64_t row_stride, const T* acc, int64_t width, int64_t lanes,
                      const F& factor_of) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t lane = 0; lane < lanes; lane += kSize) {
    const Vec<T> factor = factor_of(lane);
    for (int64_t c = 0; c < width; c += kSize) {
      Vec<T> rows[kSize];
      FASTNN_UNROLL
      for (int64_t r = 0; r < kSize; ++r) {
        rows[r] = c + r < width ? Vec<T>::load(acc + (c + r) * kGroup<T> + lane) * factor
                                : Vec<T>::zero();
      }
      transpose(rows);
      S* const first = target + lane * row_stride + c;
      FASTNN_UNROLL
      for (int64_t r = 0; r < kSize; ++r) {
        if (lane + r < lanes) store_stored(first + r * row_stride, width - c, rows[r]);
      }
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
