// The register tiles of decoding: a few rows of queries, or of weights, times keys or values as
// they lie in memory, read once.
#pragma once

#include "kernels/attention/scores.h"

namespace fastnn::FASTNN_ISA {

// Rows and columns (of vectors) that one pass over keys or values keeps in registers.
#if defined(FASTNN_ISA_AVX512) || defined(FASTNN_ISA_NEON)
inline constexpr int kRowsAtOnce = 4;
#else
inline constexpr int kRowsAtOnce = 2;
#endif
inline constexpr int kColsAtOnce = 4;

// Lane i becomes the sum of the lanes of v[i].
template <class T>
FASTNN_INLINE Vec<T> lane_sums(Vec<T> (&v)[Vec<T>::kSize]) {
  FASTNN_UNROLL
  for (int count = static_cast<int>(Vec<T>::kSize) / 2; count > 0; count /= 2) {
    FASTNN_UNROLL
    for (int i = 0; i < count; ++i) {
      Vec<T> even = v[2 * i], odd = v[2 * i + 1];
      deinterleave(even, odd);
      v[i] = even + odd;
    }
  }
  return v[0];
}

// The processor's own prefetching falls behind where several rows share what is read, or a vector
// is less than a cache line. A single row of whole lines is left to it, but for a line of each next
// page: there it would stop, and wait for the address.
template <int kRows, class T>
inline constexpr bool kFetchesAhead = kRows > 1 || sizeof(Vec<T>) < 64;
template <int kRows, class T, class S>
FASTNN_INLINE void fetch_next_pages(const Matrix<S>& rows, int64_t count) {
  if (kFetchesAhead<kRows, T>) return;
  constexpr int64_t kPage = 4096 / sizeof(S);
  const S* const end = rows.from_row(count).data;
  for (const S* p = rows.data; p < end; p += kPage) __builtin_prefetch(p + kPage, 0, 2);
}

// Rows further on that are then fetched into L2.
template <class S>
int64_t rows_ahead(int64_t width) {
  return ceil_div(int64_t{16} << 10, max_of(1, width) * static_cast<int64_t>(sizeof(S)));
}

// scores[r * kGroup + j] = query r . key j, for kRows queries and a vector of keys. What lies
// `ahead` elements after a key comes into L2.
template <int kRows, class T, class S>
FASTNN_INLINE void score_vector(const T* queries, int64_t query_stride, const Matrix<S>& keys,
                                int64_t count, int64_t width, T* scores, int64_t ahead) {
  constexpr int kSize = static_cast<int>(Vec<T>::kSize);
  // As many products as lanes, so that their sums are one vector. A single row takes key after key,
  // as they lie in memory; several share the loads of queries among a few keys.
  constexpr int kKeys = kSize / kRows, kKeysAtOnce = kRows == 1 || kKeys == 1 ? 1
                                                     : kKeys < 4              ? 2
                                                                              : 4;
  const int64_t whole = width / kSize * kSize;
  fetch_next_pages<kRows, T>(keys, count);
  for (int64_t j = 0; j < kSize; j += kKeys) {
    Vec<T> acc[kSize];
    FASTNN_UNROLL
    for (int first = 0; first < kKeys; first += kKeysAtOnce) {
      const S* key[kKeysAtOnce];  // past the end the last key stands in
      Vec<T> sum[kRows][kKeysAtOnce];
      FASTNN_UNROLL
      for (int i = 0; i < kKeysAtOnce; ++i) {
        key[i] = keys.from_row(min_of(j + first + i, count - 1)).data;
        FASTNN_UNROLL
        for (int r = 0; r < kRows; ++r) sum[r][i] = Vec<T>::zero();
      }
      const auto add = [&](int64_t c, auto lanes) FASTNN_INLINE_LAMBDA {
        Vec<T> k[kKeysAtOnce];
        FASTNN_UNROLL
        for (int i = 0; i < kKeysAtOnce; ++i) {
          if (kFetchesAhead<kRows, T>) __builtin_prefetch(key[i] + c + ahead, 0, 2);
          k[i] = load_stored(lanes, key[i] + c);
        }
        FASTNN_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Vec<T> q = Vec<T>::load(queries + r * query_stride + c);
          FASTNN_UNROLL
          for (int i = 0; i < kKeysAtOnce; ++i) sum[r][i] = fma(q, k[i], sum[r][i]);
        }
      };
      for (int64_t c = 0; c < whole; c += kSize) add(c, AllLanes<T>());
      if (whole < width) add(whole, FirstLanes<T>{width - whole});
      FASTNN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        FASTNN_UNROLL
        for (int i = 0; i < kKeysAtOnce; ++i) acc[r * kKeys + first + i] = sum[r][i];
      }
    }
    alignas(64) T sums[kSize];
    lane_sums(acc).store(sums);
    FASTNN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      __builtin_memcpy(scores + r * kGroup<T> + j, sums + r * kKeys, kKeys * sizeof(T));
    }
  }
}

// outputs[r] += sum over `count` keys of weight * value, for kRows rows and kCols vectors of
// columns, the last of `tail` lanes; `ahead` as in score_vector. False if a sum is NaN or infinite:
// weigh_special then leaves out what has no weight.
template <int kRows, int kCols, class T, class S>
FASTNN_INLINE bool weigh_columns(const T* weights, int64_t count, const Matrix<S>& values,
                                 int64_t tail, T* outputs, int64_t output_stride, int64_t ahead) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> acc[kRows][kCols], check = Vec<T>::zero();
  FASTNN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FASTNN_UNROLL
    for (int c = 0; c < kCols; ++c) {
      acc[r][c] = Vec<T>::load(outputs + r * output_stride + c * kSize);
    }
  }
  fetch_next_pages<kRows, T>(values, count);
  const S* row = values.data;
  for (int64_t j = 0; j < count; ++j, row += values.row_stride) {
    Vec<T> v[kCols];
    FASTNN_UNROLL
    for (int c = 0; c < kCols; ++c) {
      if (kFetchesAhead<kRows, T>) __builtin_prefetch(row + c * kSize + ahead, 0, 2);
      v[c] = c == kCols - 1 ? load_stored(FirstLanes<T>{tail}, row + c * kSize)
                            : load_stored(AllLanes<T>(), row + c * kSize);
    }
    FASTNN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vec<T> weight(weights[r * kGroup<T> + j]);
      FASTNN_UNROLL
      for (int c = 0; c < kCols; ++c) acc[r][c] = fma(weight, v[c], acc[r][c]);
    }
  }
  FASTNN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FASTNN_UNROLL
    for (int c = 0; c < kCols; ++c) {
      acc[r][c].store(outputs + r * output_stride + c * kSize);
      check = fma(acc[r][c], Vec<T>::zero(), check);
    }
  }
  return all(check == Vec<T>::zero());
}

// f(integral constant n) for the greatest n <= count, at most kMost; returns n.
template <int kMost, class F>
FASTNN_INLINE int64_t with_count(int64_t count, const F& f) {
  if constexpr (kMost > 1) {
    if (count < kMost) return with_count<kMost - 1>(count, f);
  }
  f(Chain<kMost>());
  return kMost;
}

// The same for rows, whose numbers divide the lanes of a vector.
template <class T, class F>
FASTNN_INLINE int64_t with_rows(int64_t count, const F& f) {
  if constexpr (kRowsAtOnce >= 4 && Vec<T>::kSize >= 4) {
    if (count >= 4) {
      f(Chain<4>());
      return 4;
    }
  }
  return with_count<2>(count, f);
}

}  // namespace fastnn::FASTNN_ISA
