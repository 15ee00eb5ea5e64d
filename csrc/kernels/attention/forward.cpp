// Attention forward with an online softmax (Milakov and Gimelshein 2018; Dao et al.,
// "FlashAttention", 2022): a part takes a block of queries of one head and walks over the blocks of
// keys in order, with a running maximum and sum for every query. Blocks that the rules empty are
// skipped. Each element is reduced in the order of the keys, cut by their number alone, so that
// neither threads nor the batch change a bit.
//
// Workspace a thread, in elements: lane_block (at most 192 KiB, or one group) + kMaxBlockRows *
// (2 width + 2 value_width + 3 kGroup + 128).
#include "kernels/attention/decode.h"
#include "kernels/attention/dropout.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
struct ForwardScratch {
  T* query_groups;  // [group][width][kGroup], scaled
  T* staging;
  T* outputs;  // [group][value_width][kGroup]
  T* shifts;   // [group][kGroup], the running maxima times log2(e)
  T* sums;
  T* begun;  // [group], whether outputs hold anything yet
  RowBlock<T> keys, values;
  T* scores;   // [kMaxBlockRows][kGroup]
  T* factors;  // [kGroup]
  RuleScratch<T> rules;

  ForwardScratch(Carver<T>& carver, const AttentionProblem<T>& p, int64_t block) {
    query_groups = carver.take(block * p.width);
    staging = carver.take(staging_elements(p));
    outputs = carver.take(block * p.value_width);
    shifts = carver.take(block);
    sums = carver.take(block);
    begun = carver.take(ceil_div(block, kGroup<T>));
    const int64_t rows = block_rows(p.keys);
    keys = RowBlock<T>::carve(carver, rows, p.width);
    values = RowBlock<T>::carve(carver, rows, p.value_width);
    scores = carver.take(kMaxBlockRows * kGroup<T>);
    factors = carver.take(kGroup<T>);
    rules = RuleScratch<T>::carve(carver);
  }
};

// Turns a tile of scores into weights relative to the new maximum and adds them up; `factors`
// receives what sums so far have to be multiplied by. exp(s - m) is 2^(s log2(e) - shift), where
// shift is m log2(e) rounded once, so that its rounding cancels in the quotient.
template <class T>
void softmax_step(T* tile, int64_t rows, int64_t lanes, T* shifts, T* sums, T* factors) {
  constexpr int kDown = 4;  // independent chains
  const Vec<T> lowest(-infinite<T>()), zero = Vec<T>::zero(), log2_e(math::Constants<T>::kLog2E);
  for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
    T* const column = tile + v;
    Vec<T> largest[kDown] = {lowest, lowest, lowest, lowest};
    int64_t r = 0;
    for (; r + kDown <= rows; r += kDown) {
      FASTNN_UNROLL
      for (int c = 0; c < kDown; ++c) {
        largest[c] = max(Vec<T>::load(column + (r + c) * kGroup<T>), largest[c]);
      }
    }
    for (; r < rows; ++r) largest[0] = max(Vec<T>::load(column + r * kGroup<T>), largest[0]);
    const Vec<T> old = Vec<T>::load(shifts + v);
    const Vec<T> top = max(max(largest[0], largest[1]), max(largest[2], largest[3]));
    const Vec<T> highest = max(top * log2_e, old);
    const Vec<T> shift = select(abs(highest) < Vec<T>(infinite<T>()), highest, zero);
    const auto weigh = [&](int64_t row) FASTNN_INLINE_LAMBDA {
      T* const p = column + row * kGroup<T>;
      const Vec<T> e = exp2_nonpositive(fma(Vec<T>::load(p), log2_e, -shift));
      e.store(p);
      return e;
    };
    Vec<T> sum[kDown] = {zero, zero, zero, zero};
    r = 0;
    for (; r + kDown <= rows; r += kDown) {
      FASTNN_UNROLL
      for (int c = 0; c < kDown; ++c) sum[c] += weigh(r + c);
    }
    for (; r < rows; ++r) sum[0] += weigh(r);
    const Vec<T> factor = exp2_nonpositive(old - shift);
    factor.store(factors + v);
    highest.store(shifts + v);
    fma(Vec<T>::load(sums + v), factor, (sum[0] + sum[1]) + (sum[2] + sum[3])).store(sums + v);
  }
}

// acc[width][kGroup] *= factors[kGroup].
template <class T>
void rescale(T* acc, int64_t width, int64_t lanes, const T* factors) {
  for (int64_t v = 0; v < lanes; v += Vec<T>::kSize) {
    const Vec<T> factor = Vec<T>::load(factors + v);
    for (int64_t c = 0; c < width; ++c) {
      T* const p = acc + c * kGroup<T> + v;
      (Vec<T>::load(p) * factor).store(p);
    }
  }
}

// A block of queries of one head.
template <class T>
class ForwardPart {
 public:
  // The next part, of next_head from query next_begin on, follows on the same thread; next_head may
  // be past the last one.
  ForwardPart(const AttentionForwardArgs<T>& args, const ForwardScratch<T>& scratch, int64_t head,
              Range queries, int64_t next_head, int64_t next_begin)
      : args_(args),
        problem_(args.problem),
        s_(scratch),
        rules_(args.problem, head, scratch.rules),
        head_(head),
        queries_(queries),
        next_head_(next_head),
        next_begin_(next_begin) {}

  void run() {
    start();
    const Range seen = rules_.keys_of(queries_);
    const int64_t step = block_rows(problem_.keys);
    const int64_t key_head = head_ / problem_.group;
    for (int64_t k = seen.begin / step * step; k < seen.end; k += step) {
      const Range keys{k, min_of(k + step, problem_.keys)};
      look_ahead(k, step, seen);
      s_.keys.load(problem_.key, key_head, keys, T(1));
      s_.values.load(problem_.value, key_head, keys, T(1));
      s_.values.set_specials_aside();
      for (int64_t g = 0; g < groups(); ++g) add_block(g, keys);
    }
    for (int64_t g = 0; g < groups(); ++g) finish(g);
  }

 private:
  int64_t groups() const { return ceil_div(queries_.end - queries_.begin, kGroup<T>); }
  Range queries_of_group(int64_t g) const {
    const int64_t begin = queries_.begin + g * kGroup<T>;
    return {begin, min_of(begin + kGroup<T>, queries_.end)};
  }
  // Whole vectors; the lanes past the last query hold zeros.
  static int64_t lanes_of(Range queries) {
    return round_up(queries.end - queries.begin, Vec<T>::kSize);
  }

  // Fetches what comes after the block of keys that begins at `block`: the next one, or after the
  // last one the start of the next part and the output.
  void look_ahead(int64_t block, int64_t step, Range seen) {
    const AttentionProblem<T>& p = problem_;
    ahead_ = Prefetcher();
    if (block + step < seen.end) {
      fetch_keys(head_ / p.group, {block + step, min_of(block + 2 * step, p.keys)});
    } else {
      const int64_t count = queries_.end - queries_.begin;
      with_stored(p.query, [&](auto zero) {
        const auto* const first = output<decltype(zero)>(queries_.begin);
        ahead_.add(first, args_.output_row_stride, count, p.value_width);
      });
      if (next_head_ < p.heads) {
        fetch_rows(ahead_, p.query, next_head_,
                   {next_begin_, min_of(next_begin_ + count, p.queries)}, p.width);
        fetch_keys(next_head_ / p.group, {0, min_of(step, p.keys)});
      }
    }
    ahead_.spread_over(groups() * (ceil_div(step, kTileRows) + ceil_div(p.value_width, kTileRows)));
  }
  void fetch_keys(int64_t key_head, Range keys) {
    fetch_rows(ahead_, problem_.key, key_head, keys, problem_.width);
    fetch_rows(ahead_, problem_.value, key_head, keys, problem_.value_width);
  }

  template <class S>
  S* output(int64_t query) const {
    return static_cast<S*>(args_.output) + args_.output_offsets[head_] +
           query * args_.output_row_stride;
  }

  void start() {
    const int64_t padded = groups() * kGroup<T>;
    pack_groups(s_.query_groups, problem_.query, head_, queries_, problem_.width, problem_.scale,
                s_.staging);
    fill(s_.begun, groups(), T(0));
    fill(s_.shifts, padded, -infinite<T>());
    fill(s_.sums, padded, T(0));
  }

  void add_block(int64_t g, Range keys) {
    const Rectangle at = rules_.narrowed({queries_of_group(g), keys});
    const Range used{at.keys.begin - keys.begin, at.keys.end - keys.begin};
    const int64_t rows = used.end - used.begin, lanes = lanes_of(at.queries);
    if (rows <= 0) return;
    s_.keys.multiply(s_.query_groups + g * kGroup<T> * problem_.width, s_.scores, used, lanes,
                     ahead_);
    if (!rules_.apply(s_.scores, at, lanes, nullptr)) return;
    softmax_step(s_.scores, rows, lanes, s_.shifts + g * kGroup<T>, s_.sums + g * kGroup<T>,
                 s_.factors);
    T* const acc = s_.outputs + g * kGroup<T> * problem_.value_width;
    if (s_.begun[g] != T(0)) rescale(acc, problem_.value_width, lanes, s_.factors);
    if (problem_.dropout.threshold != 0) {
      load_dropout<T, true>(s_.rules.mask, problem_, head_, at, s_.rules.lanes);
      multiply_tiles(s_.scores, s_.rules.mask, rows, lanes);
    }
    s_.values.multiply_transposed(acc, s_.scores, kGroup<T>, used, lanes, s_.begun[g] != T(0),
                                  ahead_);
    s_.begun[g] = T(1);
  }

  void finish(int64_t g) {
    const Range queries = queries_of_group(g);
    const int64_t count = queries.end - queries.begin;
    T* const acc = s_.outputs + g * kGroup<T> * problem_.value_width;
    T* const log_sum_exp = args_.log_sum_exp + head_ * problem_.queries + queries.begin;
    const Vec<T> ln2(static_cast<T>(0x1.62e42fefa39efp-1));
    for (int64_t v = 0; v < count; v += Vec<T>::kSize) {
      const Vec<T> sum = Vec<T>::load(s_.sums + g * kGroup<T> + v);
      const Vec<T> top = Vec<T>::load(s_.shifts + g * kGroup<T> + v) * ln2;
      const Mask<T> unseen = sum == Vec<T>::zero();  // the query sees no key
      select(unseen, Vec<T>::zero(), Vec<T>(T(1)) / sum).store(s_.factors + v);
      select(unseen, Vec<T>(-infinite<T>()), top + log(sum)).store(log_sum_exp + v, count - v);
    }
    if (s_.begun[g] == T(0)) fill(acc, kGroup<T> * problem_.value_width, T(0));
    with_stored(problem_.query, [&](auto zero) {
      store_transposed(output<decltype(zero)>(queries.begin), args_.output_row_stride, acc,
                       problem_.value_width, count,
                       [this](int64_t lane) { return Vec<T>::load(s_.factors + lane); });
    });
  }

  const AttentionForwardArgs<T>& args_;
  const AttentionProblem<T>& problem_;
  ForwardScratch<T> s_;
  HeadRules<T, true> rules_;
  int64_t head_;
  Range queries_;
  int64_t next_head_, next_begin_;
  Prefetcher ahead_;
};

}  // namespace

template <class T>
void scaled_dot_product_attention_forward(const AttentionForwardArgs<T>& args) {
  const AttentionProblem<T>& p = args.problem;
  if (p.heads == 0 || p.queries == 0) return;
  if (is_decoding(p)) return decode_attention(args);
  const int64_t block = lane_block<T>(p.queries, p.heads, p.width + p.value_width);
  const int64_t blocks = ceil_div(p.queries, block);
  Carver<T> counter{nullptr};
  ForwardScratch<T>(counter, p, block);
  const int64_t grain =
      part_grain(min_of(block, p.queries) * p.keys * (p.width + p.value_width + 8));
  const int workers = plan_workers(ceil_div(p.heads * blocks, grain));
  Workspace workspace(workers * counter.used * static_cast<int64_t>(sizeof(T)) +
                      Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * counter.used);
  parallel_for(p.heads * blocks, grain, [&](int64_t begin, int64_t end, int worker) {
    Carver<T> carver{memory + worker * counter.used};
    const ForwardScratch<T> scratch(carver, p, block);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part % blocks * block;
      ForwardPart<T>(args, scratch, part / blocks, {first, min_of(first + block, p.queries)},
                     (part + 1) / blocks, (part + 1) % blocks * block)
          .run();
    }
  });
}

template void scaled_dot_product_attention_forward(const AttentionForwardArgs<float>&);
template void scaled_dot_product_attention_forward(const AttentionForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
