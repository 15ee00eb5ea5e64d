// Attention backward (Dao, "FlashAttention-2", 2023). Weights are recomputed from the log-sum-exp,
// so nothing of size queries x keys is kept. The gradients of keys and values are computed by
// blocks of keys (KeyPart), over all query heads that share them. Where there are heads enough for
// the threads, one takes all blocks of a head in order and adds the gradient of its queries on the
// way; otherwise that has a region of its own, by blocks of queries (query_part), which computes
// the weights once more. An element is one chain of fma in the order of keys or queries either way,
// so that both give the same bytes.
//
// Workspace a thread, in elements: lane_block (at most 192 KiB, or one group) + kMaxBlockRows *
// (2 width + 2 value_width + 7 kGroup + 128), and for bfloat16 the gradient of a head's queries (at
// most kMaxQuerySums).
#include "kernels/attention/dropout.h"
#include "kernels/attention/weights.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxQuerySums = int64_t{1} << 22;

// Whether rows are a B operand as they lie.
template <class T>
bool reads_in_place(const MatrixStack<T>& stack) {
  return stack.col_stride == 1 && !stack.is_bfloat16;
}

template <class T>
struct BackwardScratch {
  T* staging;
  T* groups;        // of the lanes' side: [group][width][kGroup]
  T* value_groups;  // [group][value_width][kGroup]
  T* gradients;     // [group][width][kGroup]
  T* value_gradients;
  RowBlock<T> rows;  // of the rows' side
  RowBlock<T> value_rows;
  T* keys;        // of the lanes' side, [block][width], where they cannot be read in place
  T* query_sums;  // [group * queries][width], where they cannot be kept in grad_query
  T* scores;      // tiles [kMaxBlockRows][kGroup]
  T* grad_scores;
  T* cap_slope;
  T* extra;  // gradient of the weights, then dropout
  RuleScratch<T> rules;

  BackwardScratch(Carver<T>& carver, const AttentionProblem<T>& p, int64_t block, int64_t rows,
                  bool adds_grad_query) {
    const bool is_reduced = p.key.is_bfloat16;
    keys = carver.take(adds_grad_query && !reads_in_place(p.key) ? block * p.width : 0);
    query_sums = carver.take(adds_grad_query && is_reduced ? p.group * p.queries * p.width : 0);
    staging = carver.take(staging_elements(p));
    groups = carver.take(block * p.width);
    value_groups = carver.take(block * p.value_width);
    gradients = carver.take(block * p.width);
    value_gradients = carver.take(block * p.value_width);
    this->rows = RowBlock<T>::carve(carver, rows, p.width);
    value_rows = RowBlock<T>::carve(carver, rows, p.value_width);
    scores = carver.take(kMaxBlockRows * kGroup<T>);
    grad_scores = carver.take(kMaxBlockRows * kGroup<T>);
    cap_slope = carver.take(kMaxBlockRows * kGroup<T>);
    extra = carver.take(kMaxBlockRows * kGroup<T> + Vec<T>::kSize);
    rules = RuleScratch<T>::carve(carver);
  }
};

inline Range block_of(int64_t begin, int64_t step, int64_t end) {
  return {begin, min_of(begin + step, end)};
}

// What both passes do with a tile of one head.
template <class T, bool kQueriesInLanes>
class GradientTile {
 public:
  GradientTile(const AttentionBackwardArgs<T>& args, const BackwardScratch<T>& scratch,
               int64_t head)
      : args_(args),
        problem_(args.problem),
        s_(scratch),
        rules_(args.problem, head, scratch.rules),
        weights_{args.log_sum_exp + head * args.problem.queries,
                 args.delta + head * args.problem.queries},
        head_(head) {}

  const HeadRules<T, kQueriesInLanes>& rules() const { return rules_; }

  // scores: the weights after dropout; grad_scores: the gradient of the scaled products. `at` has
  // been narrowed. False if all is masked. `group` counts the lanes' groups from the part's first.
  bool compute(const Rectangle& at, int64_t group, Range used, int64_t lanes,
               Prefetcher& ahead) const {
    const int64_t first_lane = group * kGroup<T>, rows = used.end - used.begin;
    if (rows <= 0) return false;
    s_.rows.multiply(s_.groups + first_lane * problem_.width, s_.scores, used, lanes, ahead);
    const bool capped = problem_.rules.softcap != T(0);
    if (!rules_.apply(s_.scores, at, lanes, capped ? s_.cap_slope : nullptr)) return false;
    s_.value_rows.multiply(s_.value_groups + first_lane * problem_.value_width, s_.grad_scores,
                           used, lanes, ahead);
    if (args_.grad_weights) {
      load_rectangle<T, kQueriesInLanes>(
          s_.extra, args_.grad_weights + head_ * problem_.queries * problem_.keys, problem_.keys,
          at);
      add_tiles(s_.grad_scores, s_.extra, rows, lanes);
    }
    const bool drops = problem_.dropout.threshold != 0;
    if (drops) {
      load_dropout<T, kQueriesInLanes>(s_.extra, problem_, head_, at, s_.rules.lanes);
      multiply_tiles(s_.grad_scores, s_.extra, rows, lanes);
    }
    weights_.differentiate(s_.scores, s_.grad_scores, at, rows, lanes);
    if (drops) multiply_tiles(s_.scores, s_.extra, rows, lanes);
    return true;
  }

  // The bias is added after the cap, so its gradient comes before the cap's derivative.
  void apply_cap_slope(int64_t rows, int64_t lanes) const {
    if (problem_.rules.softcap != T(0)) multiply_tiles(s_.grad_scores, s_.cap_slope, rows, lanes);
  }

 private:
  const AttentionBackwardArgs<T>& args_;
  const AttentionProblem<T>& problem_;
  const BackwardScratch<T>& s_;
  HeadRules<T, kQueriesInLanes> rules_;
  TileWeights<T, kQueriesInLanes> weights_;
  int64_t head_;
};

// Rows of a gradient from its accumulator; those of its head begin at row `first`.
template <class T>
void store_gradient(const AttentionProblem<T>& p, void* gradient, int64_t first, Range rows,
                    int64_t width, T* acc, T factor) {
  with_stored(p.query, [&](auto zero) {
    auto* const target = static_cast<decltype(zero)*>(gradient) + (first + rows.begin) * width;
    store_transposed(target, width, acc, width, rows.end - rows.begin,
                     [factor](int64_t) { return Vec<T>(factor); });
  });
}

// grad_query of a block of queries of one head: lanes are queries, rows keys.
template <class T>
void query_part(const AttentionBackwardArgs<T>& args, BackwardScratch<T>& s, int64_t head,
                Range queries) {
  const AttentionProblem<T>& p = args.problem;
  const GradientTile<T, true> tile(args, s, head);
  const int64_t count = queries.end - queries.begin, groups = ceil_div(count, kGroup<T>);
  pack_groups(s.groups, p.query, head, queries, p.width, p.scale, s.staging);
  pack_groups(s.value_groups, args.grad_output, head, queries, p.value_width, T(1), s.staging);
  fill(s.gradients, groups * kGroup<T> * p.width, T(0));
  Prefetcher ahead;
  const Range seen = tile.rules().keys_of(queries);
  const int64_t step = block_rows(p.keys);
  for (int64_t k = seen.begin / step * step; k < seen.end; k += step) {
    const Range keys = block_of(k, step, p.keys);
    s.rows.load(p.key, head / p.group, keys, T(1));
    s.rows.set_specials_aside();
    s.value_rows.load(p.value, head / p.group, keys, T(1));
    for (int64_t g = 0; g < groups; ++g) {
      const Range lane_range = block_of(queries.begin + g * kGroup<T>, kGroup<T>, queries.end);
      const Rectangle at = tile.rules().narrowed({lane_range, keys});
      const Range used{at.keys.begin - k, at.keys.end - k};
      const int64_t lanes = round_up(at.queries.end - at.queries.begin, Vec<T>::kSize);
      if (!tile.compute(at, g, used, lanes, ahead)) continue;
      tile.apply_cap_slope(used.end - used.begin, lanes);
      s.rows.multiply_transposed(s.gradients + g * kGroup<T> * p.width, s.grad_scores, used, lanes,
                                 true, ahead);
    }
  }
  for (int64_t g = 0; g < groups; ++g) {
    const Range lanes = block_of(queries.begin + g * kGroup<T>, kGroup<T>, queries.end);
    store_gradient(p, args.grad_query, head * p.queries, lanes, p.width,
                   s.gradients + g * kGroup<T> * p.width, p.scale);
  }
}

// grad_key, grad_value and grad_bias of a block of keys: lanes are keys, rows queries. query_sums,
// [group * queries][width] or null, also receives the gradient of the scaled queries.
template <class T>
class KeyPart {
 public:
  KeyPart(const AttentionBackwardArgs<T>& args, BackwardScratch<T>& scratch, int64_t key_head,
          Range keys, T* query_sums)
      : args_(args),
        p_(args.problem),
        s_(scratch),
        key_head_(key_head),
        keys_(keys),
        query_sums_(query_sums),
        groups_(ceil_div(keys.end - keys.begin, kGroup<T>)) {
    look_ahead();
  }

  void run() {
    pack_groups(s_.groups, p_.key, key_head_, keys_, p_.width, T(1), s_.staging);
    pack_groups(s_.value_groups, p_.value, key_head_, keys_, p_.value_width, T(1), s_.staging);
    fill(s_.gradients, groups_ * kGroup<T> * p_.width, T(0));
    fill(s_.value_gradients, groups_ * kGroup<T> * p_.value_width, T(0));
    if (query_sums_) place_keys();
    for (int64_t i = 0; i < p_.group; ++i) add_head(key_head_ * p_.group + i);
    for (int64_t g = 0; g < groups_; ++g) finish(g);
  }

 private:
  Range keys_of_group(int64_t g) const {
    return block_of(keys_.begin + g * kGroup<T>, kGroup<T>, keys_.end);
  }

  // What this part writes, and what the next head begins with.
  void look_ahead() {
    const int64_t count = keys_.end - keys_.begin, row = key_head_ * p_.keys + keys_.begin;
    const int64_t rows = block_rows(p_.queries), head = (key_head_ + 1) * p_.group;
    if (keys_.end == p_.keys && head < p_.heads) {
      const Range keys{0, count}, queries{0, min_of(rows, p_.queries)};
      fetch_rows(ahead_, p_.key, key_head_ + 1, keys, p_.width);
      fetch_rows(ahead_, p_.value, key_head_ + 1, keys, p_.value_width);
      fetch_rows(ahead_, p_.query, head, queries, p_.width);
      fetch_rows(ahead_, args_.grad_output, head, queries, p_.value_width);
    }
    with_stored(p_.query, [&](auto zero) {
      using S = decltype(zero);
      const auto fetch_gradient = [&](const void* gradient, int64_t width) {
        if (gradient == nullptr) return;
        ahead_.add(static_cast<const S*>(gradient) + row * width, width, count, width);
      };
      fetch_gradient(args_.grad_key, p_.width);
      fetch_gradient(args_.grad_value, p_.value_width);
    });
    const int64_t tiles = 2 * ceil_div(rows, kTileRows) + ceil_div(p_.width, kTileRows) +
                          ceil_div(p_.value_width, kTileRows);
    ahead_.spread_over(groups_ * p_.group * ceil_div(p_.queries, rows) * tiles);
  }

  void place_keys() {
    key_ = {s_.keys, p_.width, 1};
    if (reads_in_place(p_.key)) {
      key_ = Matrix<T>::of(p_.key, key_head_).from_row(keys_.begin);
    } else {
      with_stored(p_.key, [&](auto zero) {
        const auto source = Matrix<decltype(zero)>::of(p_.key, key_head_).from_row(keys_.begin);
        copy_rows(s_.keys, p_.width, source, keys_.end - keys_.begin, p_.width, T(1));
      });
    }
  }

  void add_head(int64_t head) {
    const GradientTile<T, false> tile(args_, s_, head);
    const Range seen = tile.rules().queries_of(keys_);
    const int64_t step = block_rows(p_.queries);
    for (int64_t q = seen.begin / step * step; q < seen.end; q += step) {
      const Range queries = block_of(q, step, p_.queries);
      s_.rows.load(p_.query, head, queries, p_.scale);
      s_.value_rows.load(args_.grad_output, head, queries, T(1));
      if (args_.grad_key) s_.rows.set_specials_aside();
      if (args_.grad_value) s_.value_rows.set_specials_aside();
      for (int64_t g = 0; g < groups_; ++g) add_block(tile, head, g, queries);
    }
  }

  void add_block(const GradientTile<T, false>& tile, int64_t head, int64_t g, Range queries) {
    const Rectangle at = tile.rules().narrowed({queries, keys_of_group(g)});
    const Range used{at.queries.begin - queries.begin, at.queries.end - queries.begin};
    const int64_t lanes = round_up(at.keys.end - at.keys.begin, Vec<T>::kSize);
    if (!tile.compute(at, g, used, lanes, ahead_)) return;
    if (args_.grad_value) {
      s_.value_rows.multiply_transposed(s_.value_gradients + g * kGroup<T> * p_.value_width,
                                        s_.scores, used, lanes, true, ahead_);
    }
    if (args_.grad_bias) {
      store_rectangle(args_.grad_bias + head * p_.queries * p_.keys, p_.keys, s_.grad_scores, at);
    }
    tile.apply_cap_slope(used.end - used.begin, lanes);
    if (args_.grad_key) {
      s_.rows.multiply_transposed(s_.gradients + g * kGroup<T> * p_.width, s_.grad_scores, used,
                                  lanes, true, ahead_);
    }
    if (query_sums_) add_to_queries(head, at);
  }

  // query_sums[rows] += grad_scores * keys.
  void add_to_queries(int64_t head, const Rectangle& at) {
    const int64_t rows = at.queries.end - at.queries.begin, depth = at.keys.end - at.keys.begin;
    const int64_t panel = panel_rows(rows);
    const auto key = key_.from_row(at.keys.begin - keys_.begin);
    const int64_t first = (head - key_head_ * p_.group) * p_.queries + at.queries.begin;
    T* const target = query_sums_ + first * p_.width;
    for (int64_t i = 0; i < rows; i += panel) {
      const int count = static_cast<int>(min_of(panel, rows - i));
      for (int64_t c = 0; c < p_.width; c += kGroup<T>) {
        run_strided_tile<T>(
            count,
            {depth, s_.grad_scores + i * kGroup<T>, kGroup<T>, 1, key.data + c, key.row_stride,
             target + i * p_.width + c, p_.width, min_of(kGroup<T>, p_.width - c), true},
            ahead_);
      }
    }
  }

  void finish(int64_t g) {
    const Range keys = keys_of_group(g);
    const int64_t first = key_head_ * p_.keys;
    if (args_.grad_key) {
      store_gradient(p_, args_.grad_key, first, keys, p_.width,
                     s_.gradients + g * kGroup<T> * p_.width, T(1));
    }
    if (args_.grad_value) {
      store_gradient(p_, args_.grad_value, first, keys, p_.value_width,
                     s_.value_gradients + g * kGroup<T> * p_.value_width, T(1));
    }
  }

  const AttentionBackwardArgs<T>& args_;
  const AttentionProblem<T>& p_;
  BackwardScratch<T>& s_;
  int64_t key_head_;
  Range keys_;
  T* query_sums_;
  int64_t groups_;
  Matrix<T> key_{};  // of keys_, for query_sums_
  Prefetcher ahead_;
};

// The product of two rows.
template <class T, class S>
T dot(const Matrix<S>& a, const Matrix<S>& b, int64_t n) {
  Chains<T> chains(0);
  if (a.col_stride == 1 && b.col_stride == 1) {
    for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      chains[c] = fma(load_stored(lanes, a.data + i), load_stored(lanes, b.data + i), chains[c]);
    });
    return chains.sum();
  }
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += from_stored(a.at(0, i)) * from_stored(b.at(0, i));
  return sum;
}

// delta: the sum over a row of grad_weights * weights, before normalisation of the gradient.
template <class T>
void compute_delta(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t row_work = p.value_width + (args.weights ? p.keys : 0) + 8;
  parallel_for(p.heads * p.queries, part_grain(row_work), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T delta = with_stored(p.query, [&](auto zero) {
        using Rows = Matrix<decltype(zero)>;
        const int64_t head = i / p.queries, query = i % p.queries;
        return dot<T>(Rows::of(args.grad_output, head).from_row(query),
                      Rows::of(args.output, head).from_row(query), p.value_width);
      });
      if (args.weights) {
        delta += dot<T>(Matrix<T>{args.weights + i * p.keys, 0, 1},
                        Matrix<T>{args.grad_weights + i * p.keys, 0, 1}, p.keys);
      }
      if (args.grad_log_sum_exp) delta -= args.grad_log_sum_exp[i];
      args.delta[i] = delta;
    }
  });
}

// f(scratch, part) for every part < parts, on all threads. `multiply_adds` is the work of a part.
template <class T, class F>
void for_parts(const AttentionProblem<T>& p, int64_t parts, int64_t block, int64_t rows,
               bool adds_grad_query, int64_t multiply_adds, const F& f) {
  Carver<T> counter{nullptr};
  BackwardScratch<T>(counter, p, block, block_rows(rows), adds_grad_query);
  const int64_t grain = part_grain(multiply_adds);
  const int workers = plan_workers(ceil_div(parts, grain));
  Workspace workspace(workers * counter.used * static_cast<int64_t>(sizeof(T)) +
                      Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * counter.used);
  parallel_for(parts, grain, [&](int64_t begin, int64_t end, int worker) {
    Carver<T> carver{memory + worker * counter.used};
    BackwardScratch<T> scratch(carver, p, block, block_rows(rows), adds_grad_query);
    for (int64_t part = begin; part < end; ++part) f(scratch, part);
  });
}

template <class T>
void grad_of_queries(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t width = 2 * (p.width + p.value_width);
  const int64_t block = lane_block<T>(p.queries, p.heads, width);
  const int64_t blocks = ceil_div(p.queries, block);
  for_parts(p, p.heads * blocks, block, p.keys, false, min_of(block, p.queries) * p.keys * width,
            [&](BackwardScratch<T>& scratch, int64_t part) {
              query_part(args, scratch, part / blocks,
                         block_of(part % blocks * block, block, p.queries));
            });
}

template <class T>
void grad_of_keys(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t width = 2 * (p.width + p.value_width), key_heads = p.heads / p.group;
  const int64_t block = lane_block<T>(p.keys, key_heads, width);
  const int64_t blocks = ceil_div(p.keys, block);
  for_parts(p, key_heads * blocks, block, p.queries, false,
            min_of(block, p.keys) * p.queries * p.group * width,
            [&](BackwardScratch<T>& scratch, int64_t part) {
              KeyPart<T>(args, scratch, part / blocks,
                         block_of(part % blocks * block, block, p.keys), nullptr)
                  .run();
            });
}

// All gradients, the blocks of a head one after the other.
template <class T>
void grad_by_heads(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t width = 2 * (p.width + p.value_width), key_heads = p.heads / p.group;
  const int64_t size = p.group * p.queries * p.width;
  const int64_t block = lane_block<T>(p.keys, INT32_MAX, width);
  for_parts(p, key_heads, block, p.queries, true, p.keys * p.group * p.queries * width,
            [&](BackwardScratch<T>& scratch, int64_t key_head) {
              T* const sums = p.query.is_bfloat16
                                  ? scratch.query_sums
                                  : static_cast<T*>(args.grad_query) + key_head * size;
              fill(sums, size, T(0));
              for (int64_t k = 0; k < p.keys; k += block) {
                KeyPart<T>(args, scratch, key_head, block_of(k, block, p.keys), sums).run();
              }
              with_stored(p.query, [&](auto zero) {
                auto* const grad = static_cast<decltype(zero)*>(args.grad_query) + key_head * size;
                for_vectors<T>(size, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
                  store_stored(lanes, lanes.load(sums + i) * Vec<T>(p.scale), grad + i);
                });
              });
            });
}

// Whether rows can be an operand whose weights may be zero.
template <class T>
bool is_finite(const MatrixStack<T>& stack, int64_t heads, int64_t rows, int64_t width) {
  return with_stored(stack, [&](auto zero) {
    for (int64_t i = 0; i < heads * rows; ++i) {
      const auto row = Matrix<decltype(zero)>::of(stack, i / rows).from_row(i % rows);
      Vec<T> acc = Vec<T>::zero();
      if (row.col_stride == 1) {
        for_vectors<T>(width, [&](int64_t c, auto lanes) FASTNN_INLINE_LAMBDA {
          acc = fma(load_stored(lanes, row.data + c), Vec<T>::zero(), acc);
        });
      } else {
        for (int64_t c = 0; c < width; ++c) acc += Vec<T>(from_stored(row.at(0, c)) * T(0));
      }
      if (!all(acc == Vec<T>::zero())) return false;
    }
    return true;
  });
}

// Whether heads by themselves feed the threads evenly.
inline bool feed_threads(int64_t heads) {
  const int64_t threads = plan_workers(num_threads());
  return heads % threads == 0 || heads >= 4 * threads;
}

}  // namespace

template <class T>
void scaled_dot_product_attention_backward(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t key_heads = p.heads / p.group;
  const bool keys = args.grad_key || args.grad_value || args.grad_bias;
  compute_delta(args);
  const bool has_room = !p.query.is_bfloat16 || p.group * p.queries * p.width <= kMaxQuerySums;
  if (args.grad_query && keys && has_room && feed_threads(key_heads) &&
      is_finite(p.key, key_heads, p.keys, p.width)) {
    return grad_by_heads(args);
  }
  if (args.grad_query && p.queries > 0) grad_of_queries(args);
  if (keys && p.keys > 0) grad_of_keys(args);
}

template void scaled_dot_product_attention_backward(const AttentionBackwardArgs<float>&);
template void scaled_dot_product_attention_backward(const AttentionBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
