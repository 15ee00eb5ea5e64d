// The weights of attention as an array, recomputed from the log-sum-exp: lanes are keys, rows
// queries. Workspace a thread, in elements: one group of keys and a block of queries, kMaxBlockRows
// * (2 width + 3 kGroup + 128).
#include "kernels/attention/weights.h"

#include "kernels/attention/dropout.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
struct WeightsScratch {
  T* group;
  T* staging;
  RowBlock<T> rows;
  T* tile;
  RuleScratch<T> rules;
  WeightsScratch(Carver<T>& carver, const AttentionProblem<T>& p) {
    group = carver.take(kGroup<T> * p.width);
    staging = carver.take(staging_elements(p));
    rows = RowBlock<T>::carve(carver, block_rows(p.queries), p.width);
    tile = carver.take(kMaxBlockRows * kGroup<T>);
    rules = RuleScratch<T>::carve(carver);
  }
};

// All weights of one head for a block of queries.
template <class T>
void weights_part(const AttentionWeightsArgs<T>& args, WeightsScratch<T>& s, int64_t head,
                  Range queries) {
  const AttentionProblem<T>& p = args.problem;
  const HeadRules<T, false> rules(p, head, s.rules);
  const TileWeights<T, false> weights{args.log_sum_exp + head * p.queries, nullptr};
  const int64_t rows = queries.end - queries.begin;
  s.rows.load(p.query, head, queries, p.scale);
  Prefetcher ahead;
  for (int64_t k = 0; k < p.keys; k += kGroup<T>) {
    const Rectangle at{queries, {k, min_of(k + kGroup<T>, p.keys)}};
    const int64_t count = at.keys.end - k, lanes = round_up(count, Vec<T>::kSize);
    if (rules.is_empty(at)) continue;
    pack_groups(s.group, p.key, head / p.group, at.keys, p.width, T(1), s.staging);
    s.rows.multiply(s.group, s.tile, {0, rows}, lanes, ahead);
    if (!rules.apply(s.tile, at, lanes, nullptr)) continue;
    weights.weigh(s.tile, at, rows, lanes);
    if (p.dropout.threshold != 0) {
      load_dropout<T, false>(s.rules.mask, p, head, at, s.rules.lanes);
      multiply_tiles(s.tile, s.rules.mask, rows, lanes);
    }
    store_rectangle(args.weights + head * p.queries * p.keys, p.keys, s.tile, kGroup<T>, at);
  }
}

}  // namespace

template <class T>
void attention_weights(const AttentionWeightsArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  if (p.heads == 0 || p.queries == 0 || p.keys == 0) return;
  const int64_t step = block_rows(p.queries), blocks = ceil_div(p.queries, step);
  Carver<T> counter{nullptr};
  WeightsScratch<T>(counter, p);
  const int64_t grain = part_grain(step * p.keys * (p.width + 16));
  const int workers = plan_workers(ceil_div(p.heads * blocks, grain));
  Workspace workspace(workers * counter.used * static_cast<int64_t>(sizeof(T)) +
                      Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * counter.used);
  parallel_for(p.heads * blocks, grain, [&](int64_t begin, int64_t end, int worker) {
    Carver<T> carver{memory + worker * counter.used};
    WeightsScratch<T> scratch(carver, p);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part % blocks * step;
      weights_part(args, scratch, part / blocks, {first, min_of(first + step, p.queries)});
    }
  });
}

template void attention_weights(const AttentionWeightsArgs<float>&);
template void attention_weights(const AttentionWeightsArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
