// Dropout of attention's weights: factors 0 or scale by the position of a weight, so that every
// pass sees the same, in any order. Key j of query i has the word of element j in a row of its own,
// which starts at a multiple of kPhiloxGroup.
#pragma once

#include "kernels/attention/scores.h"
#include "simd/philox.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void dropout_row(T* factors, const AttentionProblem<T>& p, int64_t row, Range keys) {
  const AttentionDropout& dropout = p.dropout;
  const Vec<T> scale(static_cast<T>(dropout.scale));
  const uint64_t first_group = static_cast<uint64_t>(row * ceil_div(p.keys, kPhiloxGroup));
  const auto threshold = static_cast<uint32_t>(dropout.threshold);
  for (int64_t k = keys.begin; k < keys.end;) {
    const int64_t shift = k % kPhiloxGroup, n = min_of(kPhiloxGroup - shift, keys.end - k);
    const uint64_t group = first_group + static_cast<uint64_t>(k / kPhiloxGroup);
    const uint64_t keep = dropout.threshold >> 32 != 0
                              ? 0
                              : philox_keep({dropout.seed, dropout.stream}, group, threshold);
    for (int64_t v = 0; v < n; v += Vec<T>::kSize) {
      select(mask_from_bits<T>(keep >> (shift + v)), scale, Vec<T>::zero())
          .store(factors + k - keys.begin + v, n - v);
    }
    k += n;
  }
}

// The factors of a rectangle of one head in the layout of a tile; rows of at least kGroup or
// kMaxBlockRows elements are needed in `lanes`.
template <class T, bool kQueriesInLanes>
void load_dropout(T* tile, const AttentionProblem<T>& p, int64_t head, const Rectangle& at,
                  T* lanes) {
  const int64_t key_count = at.keys.end - at.keys.begin;
  const int64_t query_count = at.queries.end - at.queries.begin;
  for (int64_t i = 0; i < query_count; ++i) {
    dropout_row(kQueriesInLanes ? lanes + i * key_count : tile + i * kGroup<T>, p,
                head * p.queries + at.queries.begin + i, at.keys);
  }
  if (kQueriesInLanes) {
    pack_panel<T, true>(tile, kGroup<T>, lanes, query_count, key_count, key_count, 1);
  }
}

}  // namespace fastnn::FASTNN_ISA
