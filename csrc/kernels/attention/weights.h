// Recomputing a tile of weights from the log-sum-exp of its queries, and of their gradient (Dao,
// "FlashAttention-2", 2023): P = exp(S - L), dS = P (dP - delta).
#pragma once

#include "kernels/attention/scores.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA {

// log-sum-exp of a query as what to subtract from scores times log2(e): a query that sees no key
// has -inf, and no weight.
template <class T>
FASTNN_INLINE Vec<T> shift_of_query(Vec<T> log_sum_exp) {
  return select(log_sum_exp == Vec<T>(-infinite<T>()), Vec<T>(infinite<T>()),
                log_sum_exp * Vec<T>(math::Constants<T>::kLog2E));
}

// Weights of one head.
template <class T, bool kQueriesInLanes>
struct TileWeights {
  const T* log_sum_exp;  // of the head's queries
  const T* delta;        // of the same, for differentiate

  // scores -> exp(scores - log_sum_exp).
  void weigh(T* scores, const Rectangle& at, int64_t rows, int64_t lanes) const {
    for_vectors_with(log_sum_exp, at, rows, lanes,
                     [&](int64_t r, int64_t v, Vec<T> shift, Vec<T>) FASTNN_INLINE_LAMBDA {
                       T* const p = scores + r * kGroup<T> + v;
                       weight_of(p, shift).store(p);
                     });
  }

  // The same, and grad_weights -> gradient of the scores, with rows `stride` apart. What has no
  // weight has no gradient, whatever the product with its value was.
  void differentiate(T* scores, const T* grad_weights, T* gradient, int64_t stride,
                     const Rectangle& at, int64_t rows, int64_t lanes) const {
    for_vectors_with(
        delta, at, rows, lanes,
        [&](int64_t r, int64_t v, Vec<T> shift, Vec<T> d) FASTNN_INLINE_LAMBDA {
          const int64_t i = r * kGroup<T> + v;
          const Vec<T> weight = weight_of(scores + i, shift);
          const Vec<T> grad = weight * (Vec<T>::load(grad_weights + i) - d);
          weight.store(scores + i);
          select(weight == Vec<T>::zero(), Vec<T>::zero(), grad).store(gradient + r * stride + v);
        });
  }

 private:
  static FASTNN_INLINE Vec<T> weight_of(const T* score, Vec<T> shift) {
    const Vec<T> log2_e(math::Constants<T>::kLog2E);
    return exp2_nonpositive(fma(Vec<T>::load(score), log2_e, -shift));
  }

  // f(row, lane, shift, number) for every vector of the tile: its place, and what belongs to its
  // queries, which lie along the lanes or down the rows.
  template <class F>
  FASTNN_INLINE void for_vectors_with(const T* numbers, const Rectangle& at, int64_t rows,
                                      int64_t lanes, const F& f) const {
    const T* const lse = log_sum_exp + at.queries.begin;
    const T* const own = numbers + at.queries.begin;
    if constexpr (kQueriesInLanes) {
      const int64_t count = at.queries.end - at.queries.begin;
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        const Vec<T> shift = shift_of_query(Vec<T>::load(lse + v, count - v, infinite<T>()));
        const Vec<T> number = Vec<T>::load(own + v, count - v);
        for (int64_t r = 0; r < rows; ++r) f(r, v, shift, number);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        const Vec<T> shift = shift_of_query(Vec<T>(lse[r])), number(own[r]);
        for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) f(r, v, shift, number);
      }
    }
  }
};

// tile[row][lane] = the rectangle of one head's C-contiguous (queries, keys), padded with zeros.
template <class T, bool kQueriesInLanes>
void load_rectangle(T* tile, const T* source, int64_t keys, const Rectangle& at) {
  const int64_t query_count = at.queries.end - at.queries.begin;
  const int64_t key_count = at.keys.end - at.keys.begin;
  const T* const first = source + at.queries.begin * keys + at.keys.begin;
  if (kQueriesInLanes) {
    pack_panel<T, true>(tile, kGroup<T>, first, query_count, keys, key_count, 1);
  } else {
    pack_panel<T, true>(tile, kGroup<T>, first, key_count, 1, query_count, keys);
  }
}

// The reverse, for keys in the lanes.
template <class T>
void store_rectangle(T* target, int64_t keys, const T* tile, int64_t stride, const Rectangle& at) {
  const int64_t key_count = at.keys.end - at.keys.begin;
  for (int64_t i = at.queries.begin; i < at.queries.end; ++i, tile += stride) {
    for_vectors<T>(key_count, [&](int64_t v, auto lanes) FASTNN_INLINE_LAMBDA {
      lanes.store(Vec<T>::load(tile + v), target + i * keys + at.keys.begin + v);
    });
  }
}

}  // namespace fastnn::FASTNN_ISA
