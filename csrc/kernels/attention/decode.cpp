#include "kernels/attention/decode.h"

#include "kernels/attention/decode_tile.h"
#include "kernels/attention/partial.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxParts = 64;
// Long runs of keys, then of values: memory is read faster where it is left for another stream
// less often.
template <class T>
constexpr int64_t kTilesPerChunk = 512 / kGroup<T>;
template <class T>
constexpr int64_t kChunk = kTilesPerChunk<T> * kGroup<T>;

template <class T>
int64_t part_keys(int64_t keys) {
  return round_up(max_of(1, ceil_div(keys, kMaxParts)), kChunk<T>);
}

// Keys of a tile that some row gives weight to.
struct LiveTile {
  int64_t tile, begin, end;  // keys
};

template <class T>
struct DecodeScratch {
  T* queries;  // [rows][padded width], scaled
  T* weights;  // [tile][rows][kGroup]
  Partial<T> chunk;
  RuleScratch<T> rules;

  DecodeScratch(Carver<T>& carver, const AttentionProblem<T>& p) {
    const int64_t rows = p.group * p.queries;
    queries = carver.take(rows * padded<T>(p.width));
    weights = carver.take(kTilesPerChunk<T> * rows * kGroup<T>);
    chunk = Partial<T>::at(carver.take(Partial<T>::size(rows, p.value_width)), rows);
    rules = RuleScratch<T>::carve(carver);
  }
};

// A part of the keys of one head; elements are stored as S.
template <class T, class S>
class DecodePart {
 public:
  DecodePart(const AttentionProblem<T>& problem, const DecodeScratch<T>& scratch, int64_t key_head)
      : p_(problem),
        s_(scratch),
        key_(Matrix<S>::of(problem.key, key_head)),
        value_(Matrix<S>::of(problem.value, key_head)),
        first_head_(key_head * problem.group),
        rows_(problem.group * problem.queries) {}

  void run(Range keys, const Partial<T>& total) {
    pack_queries();
    bool begun = false;
    for (int64_t k = keys.begin; k < keys.end; k += kChunk<T>) {
      score({k, min_of(k + kChunk<T>, keys.end)});
      if (live_count_ == 0) continue;
      const Partial<T>& chunk = begun ? s_.chunk : total;
      softmax(chunk);
      weigh(chunk);
      if (begun) merge(total, chunk, rows_, p_.value_width);
      begun = true;
    }
    if (!begun) total.clear(rows_, p_.value_width);
  }

 private:
  T* tile(int64_t t) const { return s_.weights + t * rows_ * kGroup<T>; }

  void pack_queries() {
    const int64_t stride = padded<T>(p_.width);
    for (int64_t r = 0; r < rows_; ++r) {
      const auto query =
          Matrix<S>::of(p_.query, first_head_ + r / p_.queries).from_row(r % p_.queries);
      copy_rows(s_.queries + r * stride, stride, query, 1, p_.width, p_.scale);
      fill(s_.queries + r * stride + p_.width, stride - p_.width, T(0));
    }
  }

  void score(Range keys) {
    live_count_ = 0;
    for (int64_t t = 0; keys.begin + t * kGroup<T> < keys.end; ++t) {
      const int64_t begin = keys.begin + t * kGroup<T>;
      const Range range{begin, min_of(begin + kGroup<T>, keys.end)};
      if (score_tile(tile(t), range)) live_[live_count_++] = {t, range.begin, range.end};
    }
  }

  // False if no row sees any of these keys.
  bool score_tile(T* scores, Range keys) const {
    const Rectangle at{{0, p_.queries}, keys};
    const int64_t count = keys.end - keys.begin, lanes = round_up(count, Vec<T>::kSize);
    const auto rules_of = [&](int64_t i) {
      return HeadRules<T, false>(p_, first_head_ + i, s_.rules);
    };
    bool empty = true;
    for (int64_t i = 0; i < p_.group; ++i) empty &= rules_of(i).is_empty(at);
    if (empty) return false;
    multiply_keys(scores, keys, lanes);
    bool seen = false;
    for (int64_t i = 0; i < p_.group; ++i) {
      T* const own = scores + i * p_.queries * kGroup<T>;
      const auto rules = rules_of(i);
      if (!rules.is_empty(at) && rules.apply(own, at, lanes, nullptr)) {
        seen = true;
      } else {
        fill(own, p_.queries * kGroup<T>, -infinite<T>());
      }
    }
    for (int64_t r = 0; seen && r < rows_; ++r) {
      fill(scores + r * kGroup<T> + count, kGroup<T> - count, -infinite<T>());
    }
    return seen;
  }

  void multiply_keys(T* scores, Range keys, int64_t lanes) const {
    const int64_t stride = padded<T>(p_.width);
    const int64_t ahead = rows_ahead<S>(p_.width) * key_.row_stride;
    for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
      const Matrix<S> first = key_.from_row(keys.begin + v);
      const int64_t count = min_of(Vec<T>::kSize, keys.end - keys.begin - v);
      for (int64_t r = 0; r < rows_;) {
        r += with_rows<T>(rows_ - r, [&](auto rows) FASTNN_INLINE_LAMBDA {
          score_vector<decltype(rows)::index>(s_.queries + r * stride, stride, first, count,
                                              p_.width, scores + r * kGroup<T> + v,
                                              r == 0 ? ahead : 0);
        });
      }
    }
  }

  void softmax(const Partial<T>& chunk) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    for (int64_t r = 0; r < rows_; ++r) {
      Vec<T> largest(-infinite<T>());
      for_live_vectors(r,
                       [&](T* p) FASTNN_INLINE_LAMBDA { largest = max(Vec<T>::load(p), largest); });
      const T top = reduce_max(largest);
      const Vec<T> shift = shift_of_maximum(Vec<T>(top));
      Vec<T> sum = Vec<T>::zero();
      for_live_vectors(r, [&](T* p) FASTNN_INLINE_LAMBDA {
        const Vec<T> e = exp(Vec<T>::load(p) - shift);
        e.store(p);
        sum += e;
      });
      chunk.maxima[r] = top;
      chunk.sums[r] = reduce_add(sum);
    }
    static_assert(kGroup<T> % kSize == 0);
    fill(chunk.maxima + rows_, padded<T>(rows_) - rows_, -infinite<T>());
    fill(chunk.sums + rows_, padded<T>(rows_) - rows_, T(0));
  }
  template <class F>
  FASTNN_INLINE void for_live_vectors(int64_t row, const F& f) const {
    for (int64_t t = 0; t < live_count_; ++t) {
      T* const p = tile(live_[t].tile) + row * kGroup<T>;
      for (int64_t v = 0; v < kGroup<T>; v += Vec<T>::kSize) f(p + v);
    }
  }

  void weigh(const Partial<T>& chunk) const {
    fill(chunk.outputs, rows_ * padded<T>(p_.value_width), T(0));
    bool finite = true;
    for (int64_t t = 0; t < live_count_; ++t) finite &= weigh_tile(chunk, live_[t]);
    if (!finite) weigh_special(chunk);
  }
  // Tile by tile, so that what several passes read is still near.
  bool weigh_tile(const Partial<T>& chunk, const LiveTile& live) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t stride = padded<T>(p_.value_width);
    const int64_t ahead = rows_ahead<S>(p_.value_width) * value_.row_stride;
    const Matrix<S> values = value_.from_row(live.begin);
    bool finite = true;
    for (int64_t c = 0; c < p_.value_width;) {
      const int64_t left = ceil_div(p_.value_width - c, kSize);
      const int64_t done = with_count<kColsAtOnce>(left, [&](auto cols) FASTNN_INLINE_LAMBDA {
        constexpr int kCols = decltype(cols)::index;
        const int64_t tail = min_of(kSize, p_.value_width - c - (kCols - 1) * kSize);
        for (int64_t r = 0; r < rows_;) {
          r += with_rows<T>(rows_ - r, [&](auto rows) FASTNN_INLINE_LAMBDA {
            finite &= weigh_columns<decltype(rows)::index, kCols>(
                tile(live.tile) + r * kGroup<T>, live.end - live.begin, values.from_col(c), tail,
                chunk.outputs + r * stride + c, stride, r == 0 ? ahead : 0);
          });
        }
      });
      c += done * kSize;
    }
    return finite;
  }

  // Leaves out what has no weight: 0 * NaN must not get in. What has is added as in weigh_columns.
  void weigh_special(const Partial<T>& chunk) const {
    const int64_t stride = padded<T>(p_.value_width);
    fill(chunk.outputs, rows_ * stride, T(0));
    for (int64_t t = 0; t < live_count_; ++t) {
      for (int64_t j = live_[t].begin; j < live_[t].end; ++j) {
        const S* const value = value_.from_row(j).data;
        for (int64_t r = 0; r < rows_; ++r) {
          const T weight = tile(live_[t].tile)[r * kGroup<T> + j - live_[t].begin];
          if (weight == T(0)) continue;
          T* const output = chunk.outputs + r * stride;
          for_vectors<T>(p_.value_width, [&](int64_t c, auto lanes) FASTNN_INLINE_LAMBDA {
            const Vec<T> v = load_stored(lanes, value + c);
            lanes.store(fma(Vec<T>(weight), v, lanes.load(output + c)), output + c);
          });
        }
      }
    }
  }

  const AttentionProblem<T>& p_;
  const DecodeScratch<T>& s_;
  Matrix<S> key_, value_;
  int64_t first_head_, rows_;
  LiveTile live_[kTilesPerChunk<T>];
  int64_t live_count_ = 0;
};

// Merges the parts of one head of keys in order and writes its rows of the output.
template <class S, class T>
void finish_head(const AttentionForwardArgs<T>& args, int64_t key_head, T* parts,
                 int64_t part_count) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t rows = p.group * p.queries, size = Partial<T>::size(rows, p.value_width);
  const auto total = Partial<T>::at(parts, rows);
  for (int64_t i = 1; i < part_count; ++i) {
    merge(total, Partial<T>::at(parts + i * size, rows), rows, p.value_width);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t head = key_head * p.group + r / p.queries, query = r % p.queries;
    const T sum = total.sums[r];
    S* const output =
        static_cast<S*>(args.output) + args.output_offsets[head] + query * args.output_row_stride;
    const T* const row = total.outputs + r * padded<T>(p.value_width);
    const T factor = sum == T(0) ? T(0) : T(1) / sum;
    for (int64_t c = 0; c < p.value_width; c += Vec<T>::kSize) {
      store_stored(output + c, p.value_width - c, Vec<T>::load(row + c) * factor);
    }
    const Vec<T> lse = Vec<T>(total.maxima[r]) + log(Vec<T>(sum));
    args.log_sum_exp[head * p.queries + query] = sum == T(0) ? -infinite<T>() : reduce_max_nan(lse);
  }
}

template <class T, class S>
void decode_stored(const AttentionForwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t rows = p.group * p.queries, key_heads = p.heads / p.group;
  const int64_t step = part_keys<T>(p.keys), parts = ceil_div(p.keys, step);
  const int64_t size = Partial<T>::size(rows, p.value_width);
  Carver<T> counter{nullptr};
  DecodeScratch<T>(counter, p);
  // Reading an element costs about as much as 8 multiply-adds.
  const int64_t work = min_of(step, p.keys) * (p.width + p.value_width) * (rows + 8);
  const int64_t grain = part_grain(work);
  const int workers = plan_workers(ceil_div(key_heads * parts, grain));
  Workspace workspace((key_heads * parts * size + workers * counter.used) *
                          static_cast<int64_t>(sizeof(T)) +
                      2 * Workspace::kAlignment);
  T* const partials = workspace.take<T>(key_heads * parts * size);
  T* const memory = workspace.take<T>(workers * counter.used);
  parallel_for(key_heads * parts, grain, [&](int64_t begin, int64_t end, int worker) {
    Carver<T> carver{memory + worker * counter.used};
    const DecodeScratch<T> scratch(carver, p);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % parts * step;
      DecodePart<T, S>(p, scratch, i / parts)
          .run({first, min_of(first + step, p.keys)}, Partial<T>::at(partials + i * size, rows));
    }
  });
  parallel_for(key_heads, part_grain(parts * rows * p.value_width * 8),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t head = begin; head < end; ++head) {
                   finish_head<S>(args, head, partials + head * parts * size, parts);
                 }
               });
}

}  // namespace

template <class T>
void decode_attention(const AttentionForwardArgs<T>& args) {
  with_stored(args.problem.query, [&](auto zero) { decode_stored<T, decltype(zero)>(args); });
}

template <class T>
bool is_decoding(const AttentionProblem<T>& p) {
  const int64_t most_rows = p.group == 1 ? 8 : 32;
  return p.queries <= 16 && p.group * p.queries <= most_rows && p.keys > 0 &&
         p.key.col_stride == 1 && p.value.col_stride == 1 && p.dropout.threshold == 0;
}

template bool is_decoding(const AttentionProblem<float>&);
template bool is_decoding(const AttentionProblem<double>&);
template void decode_attention(const AttentionForwardArgs<float>&);
template void decode_attention(const AttentionForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
