// The rules that turn products q . k into scores (see AttentionRules), for one head: which blocks
// they leave empty, and what they do to a tile. A masked score is -inf, whatever it was.
#pragma once

#include "kernels/attention/blocks.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {

// A rectangle of scores.
struct Rectangle {
  Range queries, keys;
};

template <class T>
FASTNN_INLINE T infinite() {
  return static_cast<T>(__builtin_inf());
}

// Scratch that the rules need for a tile.
template <class T>
struct RuleScratch {
  T* mask;   // [kMaxBlockRows][kGroup], what is added
  T* lanes;  // [kGroup][kMaxBlockRows], the same before transposing
  T* begin;  // [kGroup], the first key that a lane's query sees, and the end
  T* end;
  static RuleScratch carve(Carver<T>& carver) {
    RuleScratch s{};
    s.mask = carver.take(kMaxBlockRows * kGroup<T> + Vec<T>::kSize);
    s.lanes = carver.take(kMaxBlockRows * kGroup<T>);
    s.begin = carver.take(kGroup<T>);
    s.end = carver.take(kGroup<T>);
    return s;
  }
};

// target[i] = 0 where allowed, else -inf.
template <class T>
void mask_from_bool(T* target, const uint8_t* allowed, int64_t stride, int64_t n) {
  const T masked = -infinite<T>();
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) target[i] = allowed[i] != 0 ? T(0) : masked;
  } else {
    for (int64_t i = 0; i < n; ++i) target[i] = allowed[i * stride] != 0 ? T(0) : masked;
  }
}

// kQueriesInLanes tells the tile's orientation: queries along the lanes, or keys.
template <class T, bool kQueriesInLanes>
class HeadRules {
 public:
  HeadRules(const AttentionProblem<T>& problem, int64_t head, const RuleScratch<T>& scratch)
      : rules_(problem.rules), scratch_(scratch) {
    queries_ = rules_.query_lengths ? rules_.query_lengths[head] : problem.queries;
    keys_ = rules_.key_lengths ? rules_.key_lengths[head] : problem.keys;
    diagonal_ = rules_.lower_right ? keys_ - queries_ : 0;
    slope_ = rules_.slopes ? rules_.slopes[head] : T(0);
    has_mask_ = rules_.bias != nullptr || rules_.allowed != nullptr;
    mask_offset_ = has_mask_ ? rules_.mask_offsets[head] : 0;
  }

  // Keys outside of the range are seen by no query of the block, and the reverse.
  Range keys_of(Range queries) const {
    const int64_t end = min_of(queries.end, queries_);
    if (queries.begin >= end) return {0, 0};
    return {first_key(queries.begin), end_key(end - 1)};
  }
  Range queries_of(Range keys) const {
    const int64_t end = min_of(keys.end, keys_);
    if (keys.begin >= end) return {0, 0};
    return {max_of(0, keys.begin - diagonal_ - rules_.right),
            min_of(queries_, end - diagonal_ + rules_.left)};
  }

  // The rectangle without the rows that no lane sees.
  Rectangle narrowed(const Rectangle& at) const {
    const Range rows = kQueriesInLanes ? at.keys : at.queries;
    const Range seen = kQueriesInLanes ? keys_of(at.queries) : queries_of(at.keys);
    const int64_t begin = max_of(seen.begin, rows.begin);
    const Range left{begin, max_of(begin, min_of(seen.end, rows.end))};
    return kQueriesInLanes ? Rectangle{at.queries, left} : Rectangle{left, at.keys};
  }

  // Whether window and lengths mask the whole rectangle (a mask may still do so).
  bool is_empty(const Rectangle& at) const {
    const Range keys = keys_of(at.queries);
    return max_of(keys.begin, at.keys.begin) >= min_of(keys.end, at.keys.end);
  }

  // Turns a tile of products into scores. `lanes` is a multiple of a vector and may pass the
  // rectangle. `cap_slope`, a tile or null, receives the derivative of the softcap. Returns false,
  // with the tile undefined, when everything is masked.
  bool apply(T* tile, const Rectangle& at, int64_t lanes, T* cap_slope) const {
    if (has_mask_ && !load_mask(at, lanes)) return false;
    const int64_t rows =
        kQueriesInLanes ? at.keys.end - at.keys.begin : at.queries.end - at.queries.begin;
    if (rules_.softcap != T(0)) cap(tile, rows, lanes, cap_slope);
    if (rules_.slopes) subtract_distance(tile, at, rows, lanes);
    if (has_mask_) add_mask(tile, rows, lanes);
    if (!is_full(at)) clip(tile, at, rows, lanes);
    return true;
  }

 private:
  int64_t first_key(int64_t query) const {
    return min_of(max_of(0, query + diagonal_ - rules_.left), keys_);
  }
  int64_t end_key(int64_t query) const {
    return min_of(max_of(0, query + diagonal_ + rules_.right + 1), keys_);
  }
  Range keys_of_query(int64_t query) const {
    if (query >= queries_) return {0, 0};
    return {first_key(query), end_key(query)};
  }
  // Whether window and lengths mask nothing.
  bool is_full(const Rectangle& at) const {
    return at.queries.end <= queries_ && first_key(at.queries.end - 1) <= at.keys.begin &&
           end_key(at.queries.begin) >= at.keys.end;
  }

  void cap(T* tile, int64_t rows, int64_t lanes, T* cap_slope) const {
    const Vec<T> limit(rules_.softcap), one(T(1));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        T* const p = tile + r * kGroup<T> + v;
        const Vec<T> t = tanh(Vec<T>::load(p) / limit);
        (t * limit).store(p);
        if (cap_slope) fnma(t, t, one).store(cap_slope + r * kGroup<T> + v);
      }
    }
  }

  void subtract_distance(T* tile, const Rectangle& at, int64_t rows, int64_t lanes) const {
    const Vec<T> first(static_cast<T>(at.queries.begin + diagonal_ - at.keys.begin));
    const Vec<T> lane = to_float(IntVec<T>::iota()), slope(slope_);
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      const Vec<T> across = lane + Vec<T>(static_cast<T>(v));
      for (int64_t r = 0; r < rows; ++r) {
        T* const p = tile + r * kGroup<T> + v;
        const Vec<T> down(static_cast<T>(r));
        const Vec<T> distance = (kQueriesInLanes ? across - down : down - across) + first;
        fnma(slope, abs(distance), Vec<T>::load(p)).store(p);
      }
    }
  }

  // -inf in the mask wins over a NaN in the tile.
  void add_mask(T* tile, int64_t rows, int64_t lanes) const {
    const Vec<T> masked(-infinite<T>());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        const Vec<T> m = Vec<T>::load(scratch_.mask + r * kGroup<T> + v);
        T* const p = tile + r * kGroup<T> + v;
        select(m == masked, masked, Vec<T>::load(p) + m).store(p);
      }
    }
  }

  void clip(T* tile, const Rectangle& at, int64_t rows, int64_t lanes) const {
    const auto relative = [&at](int64_t key) {
      return static_cast<T>(min_of(max_of(key - at.keys.begin, 0), at.keys.end - at.keys.begin));
    };
    if (kQueriesInLanes) {
      for (int64_t i = 0; i < lanes; ++i) {
        const Range keys = keys_of_query(at.queries.begin + i);
        scratch_.begin[i] = relative(keys.begin);
        scratch_.end[i] = relative(keys.end);
      }
    }
    const Vec<T> lane = to_float(IntVec<T>::iota()), masked(-infinite<T>());
    for (int64_t r = 0; r < rows; ++r) {
      const Range keys = kQueriesInLanes ? Range{} : keys_of_query(at.queries.begin + r);
      for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
        const Vec<T> begin =
            kQueriesInLanes ? Vec<T>::load(scratch_.begin + v) : Vec<T>(relative(keys.begin));
        const Vec<T> end =
            kQueriesInLanes ? Vec<T>::load(scratch_.end + v) : Vec<T>(relative(keys.end));
        const Vec<T> key =
            kQueriesInLanes ? Vec<T>(static_cast<T>(r)) : lane + Vec<T>(static_cast<T>(v));
        T* const p = tile + r * kGroup<T> + v;
        select((begin <= key) & (key < end), Vec<T>::load(p), masked).store(p);
      }
    }
  }

  // The mask of a rectangle as values to add, laid out as the tile. False if it masks everything.
  bool load_mask(const Rectangle& at, int64_t lanes) const {
    const Range row_range = kQueriesInLanes ? at.keys : at.queries;
    const Range lane_range = kQueriesInLanes ? at.queries : at.keys;
    const int64_t rows = row_range.end - row_range.begin;
    const int64_t columns = lane_range.end - lane_range.begin;
    const int64_t query_stride = rules_.mask_query_stride, key_stride = rules_.mask_key_stride;
    const int64_t row_stride = kQueriesInLanes ? key_stride : query_stride;
    const int64_t lane_stride = kQueriesInLanes ? query_stride : key_stride;
    const int64_t offset =
        mask_offset_ + at.queries.begin * query_stride + at.keys.begin * key_stride;
    T* const mask = scratch_.mask;
    if (rules_.bias) {
      pack_panel<T, true>(mask, kGroup<T>, rules_.bias + offset, columns, lane_stride, rows,
                          row_stride);
    } else if (lane_stride == 1 || lane_stride == 0) {
      for (int64_t r = 0; r < rows; ++r) {
        mask_from_bool(mask + r * kGroup<T>, rules_.allowed + offset + r * row_stride, lane_stride,
                       columns);
        for (int64_t i = columns; i < lanes; ++i) mask[r * kGroup<T> + i] = T(0);
      }
    } else {
      for (int64_t i = 0; i < columns; ++i) {
        mask_from_bool(scratch_.lanes + i * rows, rules_.allowed + offset + i * lane_stride,
                       row_stride, rows);
      }
      pack_panel<T, true>(mask, kGroup<T>, scratch_.lanes, columns, rows, rows, 1);
    }
    return lets_through(rows, columns);
  }

  // Whether any element of the mask's rectangle is not -inf.
  bool lets_through(int64_t rows, int64_t columns) const {
    const Vec<T> masked(-infinite<T>());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < columns; v += Vec<T>::kSize) {
        const Mask<T> open = Vec<T>::load(scratch_.mask + r * kGroup<T> + v) != masked;
        if (any(open & first_n_mask<T>(columns - v))) return true;
      }
    }
    return false;
  }

  const AttentionRules<T>& rules_;
  RuleScratch<T> scratch_;
  int64_t queries_, keys_, diagonal_, mask_offset_;
  T slope_;
  bool has_mask_;
};

}  // namespace fastnn::FASTNN_ISA
