// What both passes of attention's backward do with a tile, and their scratch.
#pragma once

#include "kernels/attention/dropout.h"
#include "kernels/attention/weights.h"

namespace fastnn::FASTNN_ISA {

// Groups of keys whose gradients of scores lie side by side, for one product over all of them.
inline constexpr int64_t kGroupsAtOnce = 4;
// From one row of these to the next: a line more, or rows would share a few sets of the cache.
template <class T>
inline constexpr int64_t kGradientStride =
    kGroupsAtOnce * kGroup<T> + 64 / static_cast<int64_t>(sizeof(T));

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
  T* begun;          // [group], whether the gradients hold anything yet
  RowBlock<T> rows;  // of the rows' side
  RowBlock<T> value_rows;
  T* keys;        // of the lanes' side, [block][width], where they cannot be read in place
  T* query_sums;  // [group * queries][width], where they cannot be kept in grad_query
  T* scores;      // tiles [kMaxBlockRows][kGroup]
  T* grad_weights;
  T* grad_scores;  // [kMaxBlockRows][kGradientStride]
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
    begun = carver.take(ceil_div(block, kGroup<T>));
    this->rows = RowBlock<T>::carve(carver, rows, p.width);
    value_rows = RowBlock<T>::carve(carver, rows, p.value_width);
    scores = carver.take(kMaxBlockRows * kGroup<T>);
    grad_weights = carver.take(kMaxBlockRows * kGroup<T>);
    grad_scores = carver.take(kMaxBlockRows * kGradientStride<T>);
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

  // scores: the weights after dropout; grad_scores: the gradient of the scaled products, its rows
  // kGradientStride apart. `at` has been narrowed. False if all is masked. `group` counts the
  // lanes' groups from the part's first.
  bool compute(const Rectangle& at, int64_t group, Range used, int64_t lanes, T* grad_scores,
               Prefetcher& ahead) const {
    const int64_t first_lane = group * kGroup<T>, rows = used.end - used.begin;
    if (rows <= 0) return false;
    s_.rows.multiply(s_.groups + first_lane * problem_.width, s_.scores, used, lanes, ahead);
    const bool capped = problem_.rules.softcap != T(0);
    if (!rules_.apply(s_.scores, at, lanes, capped ? s_.cap_slope : nullptr)) return false;
    s_.value_rows.multiply(s_.value_groups + first_lane * problem_.value_width, s_.grad_weights,
                           used, lanes, ahead);
    if (args_.grad_weights) {
      load_rectangle<T, kQueriesInLanes>(
          s_.extra, args_.grad_weights + head_ * problem_.queries * problem_.keys, problem_.keys,
          at);
      add_tiles(s_.grad_weights, s_.extra, rows, lanes);
    }
    const bool drops = problem_.dropout.threshold != 0;
    if (drops) {
      load_dropout<T, kQueriesInLanes>(s_.extra, problem_, head_, at, s_.rules.lanes);
      multiply_tiles(s_.grad_weights, s_.extra, rows, lanes);
    }
    weights_.differentiate(s_.scores, s_.grad_weights, grad_scores, kGradientStride<T>, at, rows,
                           lanes);
    if (drops) multiply_tiles(s_.scores, s_.extra, rows, lanes);
    return true;
  }

  // The bias is added after the cap, so its gradient comes before the cap's derivative.
  void apply_cap_slope(T* grad_scores, int64_t rows, int64_t lanes) const {
    if (problem_.rules.softcap != T(0)) {
      multiply_tiles(grad_scores, s_.cap_slope, rows, lanes, kGradientStride<T>);
    }
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

}  // namespace fastnn::FASTNN_ISA
