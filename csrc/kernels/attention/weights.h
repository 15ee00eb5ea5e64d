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

// Numbers of the queries, one each, over the tile: along the lanes or down the rows.
template <class T, bool kQueriesInLanes>
FASTNN_INLINE Vec<T> query_values(const T* values, int64_t row, int64_t lane, int64_t count,
                                  T fill_value) {
  return kQueriesInLanes ? Vec<T>::load(values + lane, count - lane, fill_value)
                         : Vec<T>(values[row]);
}

// Weights of one head.
template <class T, bool kQueriesInLanes>
struct TileWeights {
  const AttentionProblem<T>& problem;
  const T* log_sum_exp;  // of this head

  // scores -> exp(scores - log_sum_exp).
  void weigh(T* tile, const Rectangle& at, int64_t rows, int64_t lanes) const {
    const T* const lse = log_sum_exp + at.queries.begin;
    const Vec<T> log2_e(math::Constants<T>::kLog2E);
    const int64_t count = at.queries.end - at.queries.begin;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        T* const p = tile + r * kGroup<T> + v;
        const Vec<T> shift =
            shift_of_query(query_values<T, kQueriesInLanes>(lse, r, v, count, infinite<T>()));
        exp2(fma(Vec<T>::load(p), log2_e, -shift)).store(p);
      }
    }
  }

  // grad_weights -> gradient of the scores. What has no weight has no gradient, whatever the
  // product with its value was.
  void differentiate(T* gradient, const T* weights, const T* delta, const Rectangle& at,
                     int64_t rows, int64_t lanes) const {
    const T* const values = delta + at.queries.begin;
    const int64_t count = at.queries.end - at.queries.begin;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        T* const p = gradient + r * kGroup<T> + v;
        const Vec<T> d = query_values<T, kQueriesInLanes>(values, r, v, count, T(0));
        const Vec<T> weight = Vec<T>::load(weights + r * kGroup<T> + v);
        const Vec<T> grad = weight * (Vec<T>::load(p) - d);
        select(weight == Vec<T>::zero(), Vec<T>::zero(), grad).store(p);
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
void store_rectangle(T* target, int64_t keys, const T* tile, const Rectangle& at) {
  const int64_t key_count = at.keys.end - at.keys.begin;
  for (int64_t i = at.queries.begin; i < at.queries.end; ++i, tile += kGroup<T>) {
    for_vectors<T>(key_count, [&](int64_t v, auto lanes) FASTNN_INLINE_LAMBDA {
      lanes.store(Vec<T>::load(tile + v), target + i * keys + at.keys.begin + v);
    });
  }
}

}  // namespace fastnn::FASTNN_ISA
