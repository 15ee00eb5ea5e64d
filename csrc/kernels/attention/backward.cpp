// Attention backward (Dao, "FlashAttention-2", 2023). Weights are recomputed from the log-sum-exp,
// so nothing of size queries x keys is kept. The gradients of keys and values are computed by
// blocks of keys (KeyPart), over all query heads that share them. Where there are heads enough for
// the threads, one takes all blocks of a head in order and adds the gradient of its queries on the
// way; otherwise that has a region of its own, by blocks of queries (query_part), which computes
// the weights once more. An element is one chain of fma in the order of keys or queries either way,
// so that both give the same bytes.
//
// Workspace a thread, in elements: lane_block (at most 192 KiB, or one group) + kMaxBlockRows *
// (2 width + 2 value_width + 11 kGroup + 128), and for bfloat16 the gradient of a head's queries
// (at most kMaxQuerySums).
#include "kernels/attention/key_part.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxQuerySums = int64_t{1} << 22;

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
      if (!tile.compute(at, g, used, lanes, s.grad_scores, ahead)) continue;
      tile.apply_cap_slope(s.grad_scores, used.end - used.begin, lanes);
      s.rows.multiply_transposed(s.gradients + g * kGroup<T> * p.width, s.grad_scores,
                                 kGradientStride<T>, used, lanes, true, ahead);
    }
  }
  for (int64_t g = 0; g < groups; ++g) {
    const Range lanes = block_of(queries.begin + g * kGroup<T>, kGroup<T>, queries.end);
    store_gradient(p, args.grad_query, head * p.queries, lanes, p.width,
                   s.gradients + g * kGroup<T> * p.width, p.scale);
  }
}

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
              if (p.keys == 0) fill(sums, size, T(0));
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
