// Attention backward (Dao, "FlashAttention-2", 2023) in three regions, each of which owns what it
// writes: delta, one number a query; the gradient of the queries by blocks of queries; those of
// keys and values by blocks of keys, over all query heads that share them. Weights are recomputed
// from the log-sum-exp, so nothing of size queries x keys is kept. All sums run in the order of
// keys or queries, cut by their number alone.
//
// Workspace a thread, in elements: lane_block (at most 192 KiB, or one group) + kMaxBlockRows *
// (2 width + 2 value_width + 7 kGroup).
#include "kernels/attention/dropout.h"
#include "kernels/attention/weights.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
struct BackwardScratch {
  T* groups;        // of the lanes' side: [group][width][kGroup]
  T* value_groups;  // [group][value_width][kGroup]
  T* gradients;     // [group][width][kGroup]
  T* value_gradients;
  T* panels;  // of the rows' side, for both products
  T* value_panels;
  Slices<T> slices;
  Slices<T> value_slices;
  T* scores;  // tiles [kMaxBlockRows][kGroup]
  T* grad_scores;
  T* cap_slope;
  T* extra;  // gradient of the weights, then dropout
  RuleScratch<T> rules;

  BackwardScratch(Carver<T>& carver, const AttentionProblem<T>& p, int64_t block, int64_t rows) {
    groups = carver.take(block * p.width);
    value_groups = carver.take(block * p.value_width);
    gradients = carver.take(block * p.width);
    value_gradients = carver.take(block * p.value_width);
    panels = carver.take(rows * p.width + Vec<T>::kSize);
    value_panels = carver.take(rows * p.value_width + Vec<T>::kSize);
    slices = Slices<T>::carve(carver, rows, p.width);
    value_slices = Slices<T>::carve(carver, rows, p.value_width);
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
        weights_{args.problem, args.log_sum_exp + head * args.problem.queries},
        head_(head) {}

  const HeadRules<T, kQueriesInLanes>& rules() const { return rules_; }

  // scores: the weights after dropout; grad_scores: the gradient of the scaled products. False if
  // all is masked. `group` counts the lanes' groups from the start of the part.
  bool compute(const Rectangle& at, int64_t group, int64_t rows, int64_t lanes) const {
    if (rules_.is_empty(at)) return false;
    const int64_t first_lane = group * kGroup<T>;
    multiply(s_.panels, rows, problem_.width, s_.groups + first_lane * problem_.width, s_.scores,
             lanes, false);
    const bool capped = problem_.rules.softcap != T(0);
    if (!rules_.apply(s_.scores, at, lanes, capped ? s_.cap_slope : nullptr)) return false;
    weights_.weigh(s_.scores, at, rows, lanes);
    multiply(s_.value_panels, rows, problem_.value_width,
             s_.value_groups + first_lane * problem_.value_width, s_.grad_scores, lanes, false);
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
    weights_.differentiate(s_.grad_scores, s_.scores, args_.delta + head_ * problem_.queries, at,
                           rows, lanes);
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

// grad_query of a block of queries of one head: lanes are queries, rows keys.
template <class T>
void query_part(const AttentionBackwardArgs<T>& args, const BackwardScratch<T>& s, int64_t head,
                Range queries) {
  const AttentionProblem<T>& p = args.problem;
  const GradientTile<T, true> tile(args, s, head);
  const int64_t count = queries.end - queries.begin, groups = ceil_div(count, kGroup<T>);
  pack_groups(s.groups, Matrix<T>::of(p.query, head).from_row(queries.begin), count, p.width,
              p.scale);
  pack_groups(s.value_groups, Matrix<T>::of(args.grad_output, head).from_row(queries.begin), count,
              p.value_width, T(1));
  fill(s.gradients, groups * kGroup<T> * p.width, T(0));
  const auto key = Matrix<T>::of(p.key, head / p.group);
  const auto value = Matrix<T>::of(p.value, head / p.group);
  Slices<T> key_slices = s.slices;
  const Range seen = tile.rules().keys_of(queries);
  const int64_t step = block_rows(p.keys);
  for (int64_t k = seen.begin / step * step; k < seen.end; k += step) {
    const Range keys = block_of(k, step, p.keys);
    const int64_t rows = keys.end - keys.begin;
    pack_panels(s.panels, key.from_row(k), rows, p.width);
    pack_panels(s.value_panels, value.from_row(k), rows, p.value_width);
    key_slices.pack(key.from_row(k), rows);
    for (int64_t g = 0; g < groups; ++g) {
      const Rectangle at{block_of(queries.begin + g * kGroup<T>, kGroup<T>, queries.end), keys};
      const int64_t lanes = round_up(at.queries.end - at.queries.begin, Vec<T>::kSize);
      if (!tile.compute(at, g, rows, lanes)) continue;
      tile.apply_cap_slope(rows, lanes);
      key_slices.multiply_into(s.gradients + g * kGroup<T> * p.width, s.grad_scores, lanes);
    }
  }
  for (int64_t g = 0; g < groups; ++g) {
    const Range lanes = block_of(queries.begin + g * kGroup<T>, kGroup<T>, queries.end);
    store_transposed(args.grad_query + (head * p.queries + lanes.begin) * p.width, p.width,
                     s.gradients + g * kGroup<T> * p.width, p.width, lanes.end - lanes.begin,
                     p.scale);
  }
}

// grad_key, grad_value and grad_bias of a block of keys: lanes are keys, rows queries.
template <class T>
class KeyPart {
 public:
  KeyPart(const AttentionBackwardArgs<T>& args, const BackwardScratch<T>& scratch, int64_t key_head,
          Range keys)
      : args_(args),
        p_(args.problem),
        s_(scratch),
        query_slices_(scratch.slices),
        grad_slices_(scratch.value_slices),
        key_head_(key_head),
        keys_(keys),
        groups_(ceil_div(keys.end - keys.begin, kGroup<T>)) {}

  void run() {
    const int64_t count = keys_.end - keys_.begin;
    pack_groups(s_.groups, Matrix<T>::of(p_.key, key_head_).from_row(keys_.begin), count, p_.width,
                p_.scale);
    pack_groups(s_.value_groups, Matrix<T>::of(p_.value, key_head_).from_row(keys_.begin), count,
                p_.value_width, T(1));
    fill(s_.gradients, groups_ * kGroup<T> * p_.width, T(0));
    fill(s_.value_gradients, groups_ * kGroup<T> * p_.value_width, T(0));
    for (int64_t i = 0; i < p_.group; ++i) add_head(key_head_ * p_.group + i);
    for (int64_t g = 0; g < groups_; ++g) finish(g);
  }

 private:
  Range keys_of_group(int64_t g) const {
    return block_of(keys_.begin + g * kGroup<T>, kGroup<T>, keys_.end);
  }

  void add_head(int64_t head) {
    const GradientTile<T, false> tile(args_, s_, head);
    const auto query = Matrix<T>::of(p_.query, head);
    const auto grad = Matrix<T>::of(args_.grad_output, head);
    const Range seen = tile.rules().queries_of(keys_);
    const int64_t step = block_rows(p_.queries);
    for (int64_t q = seen.begin / step * step; q < seen.end; q += step) {
      const Range queries = block_of(q, step, p_.queries);
      const int64_t rows = queries.end - queries.begin;
      pack_panels(s_.panels, query.from_row(q), rows, p_.width);
      pack_panels(s_.value_panels, grad.from_row(q), rows, p_.value_width);
      if (args_.grad_key) query_slices_.pack(query.from_row(q), rows);
      if (args_.grad_value) grad_slices_.pack(grad.from_row(q), rows);
      for (int64_t g = 0; g < groups_; ++g) add_block(tile, head, g, queries);
    }
  }

  void add_block(const GradientTile<T, false>& tile, int64_t head, int64_t g, Range queries) {
    const Rectangle at{queries, keys_of_group(g)};
    const int64_t rows = queries.end - queries.begin;
    const int64_t lanes = round_up(at.keys.end - at.keys.begin, Vec<T>::kSize);
    if (!tile.compute(at, g, rows, lanes)) return;
    if (args_.grad_value) {
      grad_slices_.multiply_into(s_.value_gradients + g * kGroup<T> * p_.value_width, s_.scores,
                                 lanes);
    }
    if (args_.grad_bias) {
      store_rectangle(args_.grad_bias + head * p_.queries * p_.keys, p_.keys, s_.grad_scores, at);
    }
    if (args_.grad_key) {
      tile.apply_cap_slope(rows, lanes);
      query_slices_.multiply_into(s_.gradients + g * kGroup<T> * p_.width, s_.grad_scores, lanes);
    }
  }

  void finish(int64_t g) {
    const Range keys = keys_of_group(g);
    const int64_t count = keys.end - keys.begin, row = key_head_ * p_.keys + keys.begin;
    if (args_.grad_key) {
      store_transposed(args_.grad_key + row * p_.width, p_.width,
                       s_.gradients + g * kGroup<T> * p_.width, p_.width, count, p_.scale);
    }
    if (args_.grad_value) {
      store_transposed(args_.grad_value + row * p_.value_width, p_.value_width,
                       s_.value_gradients + g * kGroup<T> * p_.value_width, p_.value_width, count,
                       T(1));
    }
  }

  const AttentionBackwardArgs<T>& args_;
  const AttentionProblem<T>& p_;
  const BackwardScratch<T>& s_;
  Slices<T> query_slices_, grad_slices_;
  int64_t key_head_;
  Range keys_;
  int64_t groups_;
};

template <class T>
T dot(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t n) {
  Chains<T> chains(0);
  if (a_stride == 1 && b_stride == 1) {
    for_vectors_in_chains<T>(n, [&](int64_t i, auto lanes, auto c) FASTNN_INLINE_LAMBDA {
      chains[c] = fma(lanes.load(a + i), lanes.load(b + i), chains[c]);
    });
    return chains.sum();
  }
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i * a_stride] * b[i * b_stride];
  return sum;
}

// delta: the sum over a row of grad_weights * weights, before normalisation of the gradient.
template <class T>
void compute_delta(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  const int64_t row_work = p.value_width + (args.weights ? p.keys : 0) + 8;
  parallel_for(p.heads * p.queries, part_grain(row_work), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const auto grad = Matrix<T>::of(args.grad_output, i / p.queries).from_row(i % p.queries);
      const auto out = Matrix<T>::of(args.output, i / p.queries).from_row(i % p.queries);
      T delta = dot(grad.data, grad.col_stride, out.data, out.col_stride, p.value_width);
      if (args.weights) {
        delta += dot(args.weights + i * p.keys, 1, args.grad_weights + i * p.keys, 1, p.keys);
      }
      if (args.grad_log_sum_exp) delta -= args.grad_log_sum_exp[i];
      args.delta[i] = delta;
    }
  });
}

// f(scratch, head, range) for every block of `lanes` of every head, on all threads.
template <class T, class F>
void for_parts(const AttentionProblem<T>& p, int64_t heads, int64_t lanes, int64_t rows,
               const F& f) {
  if (heads == 0 || lanes == 0) return;
  const int64_t width = p.width + p.value_width;
  const int64_t block = lane_block<T>(lanes, heads, 2 * width);
  const int64_t blocks = ceil_div(lanes, block);
  Carver<T> counter{nullptr};
  BackwardScratch<T>(counter, p, block, block_rows(rows));
  const int64_t grain = part_grain(min_of(block, lanes) * rows * (2 * width + 16));
  const int workers = plan_workers(ceil_div(heads * blocks, grain));
  Workspace workspace(workers * counter.used * static_cast<int64_t>(sizeof(T)) +
                      Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * counter.used);
  parallel_for(heads * blocks, grain, [&](int64_t begin, int64_t end, int worker) {
    Carver<T> carver{memory + worker * counter.used};
    const BackwardScratch<T> scratch(carver, p, block, block_rows(rows));
    for (int64_t part = begin; part < end; ++part) {
      f(scratch, part / blocks, block_of(part % blocks * block, block, lanes));
    }
  });
}

}  // namespace

template <class T>
void scaled_dot_product_attention_backward(const AttentionBackwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  compute_delta(args);
  if (args.grad_query) {
    for_parts(p, p.heads, p.queries, p.keys,
              [&](const BackwardScratch<T>& scratch, int64_t head, Range queries) {
                query_part(args, scratch, head, queries);
              });
  }
  if (args.grad_key || args.grad_value || args.grad_bias) {
    for_parts(p, p.heads / p.group, p.keys, p.queries,
              [&](const BackwardScratch<T>& scratch, int64_t head, Range keys) {
                KeyPart<T>(args, scratch, head, keys).run();
              });
  }
}

template void scaled_dot_product_attention_backward(const AttentionBackwardArgs<float>&);
template void scaled_dot_product_attention_backward(const AttentionBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
