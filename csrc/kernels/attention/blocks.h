// The two sides of attention's products.
//
// A tile of scores is [rows][kGroup<T>]: "lanes" (a group of queries in the forward pass, of keys
// in the gradients of keys and values) run along the vectors, "rows" (a block of the other side)
// down the memory. So the softmax over keys goes down the rows of a tile, without a sum across
// lanes, and the tile is at once the B operand of the second product. The lanes' side is packed as
// groups of B once for a part; the rows' side, block by block, as panels of A: along the width for
// the first product, and as slices of columns for the second.
#pragma once

#include "kernels/gemm/engine.h"
#include "ops/attention.h"

namespace fastnn::FASTNN_ISA {

// Rows of a tile of scores, at most: a tile stays in L1.
inline constexpr int64_t kMaxBlockRows = kTileRows * (144 / kTileRows);

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

// Which rows of a packed block take part; used.begin is the start of a panel.
struct Rows {
  int64_t total;
  Range used;
  int64_t count() const { return used.end - used.begin; }
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

// One head's matrix.
template <class T>
struct Matrix {
  const T* data;
  int64_t row_stride, col_stride;

  static Matrix of(const MatrixStack<T>& stack, int64_t head) {
    return {stack.data + stack.offsets[head], stack.row_stride, stack.col_stride};
  }
  Matrix from_row(int64_t row) const { return {data + row * row_stride, row_stride, col_stride}; }
  T at(int64_t row, int64_t col) const { return data[row * row_stride + col * col_stride]; }
};

template <class T>
void fill(T* p, int64_t n, T value) {
  for (int64_t i = 0; i < n; ++i) p[i] = value;
}

template <class T>
void scale_run(T* p, int64_t n, T factor) {
  for (int64_t i = 0; i < n; ++i) p[i] *= factor;
}

// Rows of m, times factor, as groups of B: [group][width][kGroup], padded with zeros.
template <class T>
void pack_groups(T* target, const Matrix<T>& m, int64_t rows, int64_t width, T factor) {
  const DenseOperand<T> operand{m.data, m.row_stride, m.col_stride};
  operand.b_block(target, 0, rows, 0, width);
  if (factor != T(1)) scale_run(target, round_up(rows, kGroup<T>) * width, factor);
}

// Rows of m as panels of A: [panel][width][row of the panel].
template <class T>
void pack_panels(T* target, const Matrix<T>& m, int64_t rows, int64_t width) {
  if (rows <= 0) return;
  const DenseOperand<T> operand{m.data, m.row_stride, m.col_stride};
  operand.a_block(target, 0, rows, panel_rows(rows), 0, width);
}

// c[used rows][kGroup] = panels times a group of B, for so many lanes of the group. Whole panels
// are computed, so up to kTileRows - 1 rows more.
template <class T>
void multiply(const T* panels, const Rows& rows, int64_t depth, const T* group, T* c,
              int64_t lanes) {
  if (rows.total <= 0) return;
  const int64_t panel = panel_rows(rows.total);
  for (int64_t i = rows.used.begin; i < rows.used.end; i += panel) {
    const int count = static_cast<int>(min_of(panel, rows.total - i));
    run_tile<T>(count,
                {depth, panels + i * depth, group, kGroup<T>, 0, c, kGroup<T>, lanes, false});
    c += panel * kGroup<T>;
  }
}

// Columns of a block of rows as panels of A, for the product that sums over the rows. A row that
// holds NaN or infinity is packed as zeros and added by itself, only where its weight is not zero:
// otherwise 0 * NaN would leak out of masked positions.
template <class T>
struct Slices {
  T* packed;
  int64_t* special;  // the rows with NaN or infinity
  int64_t specials;
  Matrix<T> source;
  int64_t rows, width;

  static Slices carve(Carver<T>& carver, int64_t rows, int64_t width) {
    Slices s{};
    s.packed = carver.take(rows * width + Vec<T>::kSize);
    s.special = reinterpret_cast<int64_t*>(carver.take(rows * 8 / static_cast<int64_t>(sizeof(T))));
    s.width = width;
    return s;
  }

  void pack(const Matrix<T>& matrix, int64_t count) {
    source = matrix;
    rows = count;
    specials = 0;
    if (width <= 0) return;
    const DenseOperand<T> operand{matrix.data, matrix.col_stride, matrix.row_stride};
    operand.a_block(packed, 0, width, panel_rows(width), 0, rows);
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t n = rows * width;
    Vec<T> acc = Vec<T>::zero();
    for (int64_t i = 0; i < n; i += kSize) {
      acc = fma(Vec<T>::load(packed + i, n - i), Vec<T>::zero(), acc);
    }
    if (!all(acc == Vec<T>::zero())) set_specials_aside();
  }

  // acc[width][kGroup] (+)= slices * weights[used rows][kGroup].
  void multiply_into(T* acc, const T* weights, Range used, int64_t lanes, bool accumulate) const {
    if (width <= 0) return;
    const int64_t panel = panel_rows(width);
    for (int64_t i = 0; i < width; i += panel) {
      const int64_t count = min_of(panel, width - i);
      run_tile<T>(static_cast<int>(count),
                  {used.end - used.begin, packed + i * rows + used.begin * count, weights,
                   kGroup<T>, 0, acc + i * kGroup<T>, kGroup<T>, lanes, accumulate});
    }
    for (int64_t s = 0; s < specials; ++s) {
      if (special[s] < used.begin || special[s] >= used.end) continue;
      add_special(acc, weights + (special[s] - used.begin) * kGroup<T>, special[s], lanes);
    }
  }

 private:
  void set_specials_aside() {
    const int64_t panel = panel_rows(width);
    for (int64_t r = 0; r < rows; ++r) {
      bool finite = true;
      for (int64_t c = 0; c < width; ++c) finite &= source.at(r, c) * T(0) == T(0);
      if (finite) continue;
      special[specials++] = r;
      for (int64_t c = 0; c < width; ++c) {
        const int64_t first = c / panel * panel;
        packed[first * rows + r * min_of(panel, width - first) + c - first] = T(0);
      }
    }
  }

  void add_special(T* acc, const T* weights, int64_t row, int64_t lanes) const {
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      const Vec<T> weight = Vec<T>::load(weights + v);
      for (int64_t c = 0; c < width; ++c) {
        T* const target = acc + c * kGroup<T> + v;
        const Vec<T> old = Vec<T>::load(target);
        const Vec<T> sum = fma(weight, Vec<T>(source.at(row, c)), old);
        select(weight == Vec<T>::zero(), old, sum).store(target);
      }
    }
  }
};

// tile *= factors and tile += terms, element by element.
template <class T>
void multiply_tiles(T* tile, const T* factors, int64_t rows, int64_t lanes) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      T* const p = tile + r * kGroup<T> + v;
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

// target[lane * row_stride + c] = factor * acc[c][lane], and not an element more; acc is scaled on
// the way.
template <class T>
void store_transposed(T* target, int64_t row_stride, T* acc, int64_t width, int64_t lanes,
                      T factor) {
  constexpr int64_t kSize = Vec<T>::kSize;
  if (factor != T(1)) scale_run(acc, width * kGroup<T>, factor);
  for (int64_t lane = 0; lane < lanes; lane += kSize) {
    for (int64_t c = 0; c < width; c += kSize) {
      Vec<T> rows[kSize];
      FASTNN_UNROLL
      for (int64_t r = 0; r < kSize; ++r) {
        rows[r] = c + r < width ? Vec<T>::load(acc + (c + r) * kGroup<T> + lane) : Vec<T>::zero();
      }
      transpose(rows);
      T* const first = target + lane * row_stride + c;
      FASTNN_UNROLL
      for (int64_t r = 0; r < kSize; ++r) {
        if (lane + r < lanes) rows[r].store(first + r * row_stride, width - c);
      }
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
