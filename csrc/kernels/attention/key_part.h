// The gradients of a block of keys, and what it adds to those of its queries.
#pragma once

#include "kernels/attention/gradient_tile.h"

namespace fastnn::FASTNN_ISA {

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
    fill(s_.begun, groups_, T(0));
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
    for (int64_t q = 0; q < p_.queries; q += step) {
      const Range queries = block_of(q, step, p_.queries);
      if (queries.end <= seen.begin || q >= seen.end) {
        if (query_sums_ && keys_.begin == 0) start_queries(head, queries);
        continue;
      }
      s_.rows.load(p_.query, head, queries, p_.scale);
      s_.value_rows.load(args_.grad_output, head, queries, T(1));
      if (args_.grad_key) s_.rows.set_specials_aside();
      if (args_.grad_value) s_.value_rows.set_specials_aside();
      for (int64_t g = 0; g < groups_; g += kGroupsAtOnce) {
        add_groups(tile, head, {g, min_of(g + kGroupsAtOnce, groups_)}, queries);
      }
    }
  }

  void add_groups(const GradientTile<T, false>& tile, int64_t head, Range groups, Range queries) {
    Range used[kGroupsAtOnce];
    for (int64_t g = groups.begin; g < groups.end; ++g) {
      used[g - groups.begin] =
          add_block(tile, head, g, queries, s_.grad_scores + (g - groups.begin) * kGroup<T>);
    }
    if (query_sums_) add_to_queries(query_rows(head, queries.begin), groups, used, queries);
  }

  T* query_rows(int64_t head, int64_t query) const {
    return query_sums_ + ((head - key_head_ * p_.group) * p_.queries + query) * p_.width;
  }
  void start_queries(int64_t head, Range queries) const {
    fill(query_rows(head, queries.begin), (queries.end - queries.begin) * p_.width, T(0));
  }

  // Returns the rows of the block that see the group; those of grad_scores are then set.
  Range add_block(const GradientTile<T, false>& tile, int64_t head, int64_t g, Range queries,
                  T* grad_scores) {
    const Rectangle at = tile.rules().narrowed({queries, keys_of_group(g)});
    const Range used{at.queries.begin - queries.begin, at.queries.end - queries.begin};
    const int64_t rows = used.end - used.begin;
    const int64_t lanes = round_up(at.keys.end - at.keys.begin, Vec<T>::kSize);
    grad_scores += used.begin * kGradientStride<T>;
    if (!tile.compute(at, g, used, lanes, grad_scores, ahead_)) return {0, 0};
    const bool begun = s_.begun[g] != T(0);
    s_.begun[g] = T(1);
    if (args_.grad_value) {
      s_.value_rows.multiply_transposed(s_.value_gradients + g * kGroup<T> * p_.value_width,
                                        s_.scores, kGroup<T>, used, lanes, begun, ahead_);
    }
    if (args_.grad_bias) {
      store_rectangle(args_.grad_bias + head * p_.queries * p_.keys, p_.keys, grad_scores,
                      kGradientStride<T>, at);
    }
    tile.apply_cap_slope(grad_scores, rows, lanes);
    if (args_.grad_key) {
      s_.rows.multiply_transposed(s_.gradients + g * kGroup<T> * p_.width, grad_scores,
                                  kGradientStride<T>, used, lanes, begun, ahead_);
    }
    return used;
  }

  // target[rows] += grad_scores * keys, for the rows that each group uses; the first groups start
  // all rows. One product over several groups: C is read and written once.
  void add_to_queries(T* target, Range groups, const Range* used, Range queries) {
    const int64_t count = groups.end - groups.begin;
    const bool starts = keys_.begin == 0 && groups.begin == 0;
    Range rows = starts ? Range{0, queries.end - queries.begin} : Range{INT64_MAX, 0};
    for (int64_t i = 0; i < count; ++i) {
      if (used[i].begin == used[i].end) continue;
      rows = {min_of(rows.begin, used[i].begin), max_of(rows.end, used[i].end)};
    }
    if (rows.begin >= rows.end) return;
    for (int64_t i = 0; i < count; ++i) {
      const Range own{max_of(rows.begin, used[i].begin), max_of(rows.begin, used[i].end)};
      clear(i, {rows.begin, own.begin});
      clear(i, {own.end, rows.end});
    }
    const int64_t panel = panel_rows(rows.end - rows.begin);
    for (int64_t r = rows.begin; r < rows.end; r += panel) {
      add_panel(target + r * p_.width, groups, used, {r, min_of(r + panel, rows.end)}, starts);
    }
  }

  void clear(int64_t group, Range rows) {
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      fill(s_.grad_scores + r * kGradientStride<T> + group * kGroup<T>, kGroup<T>, T(0));
    }
  }

  void add_panel(T* target, Range groups, const Range* used, Range rows, bool starts) {
    Range live{groups.end - groups.begin, 0};  // from the first group that a row sees to the last
    for (int64_t i = 0; i < groups.end - groups.begin; ++i) {
      if (max_of(used[i].begin, rows.begin) >= min_of(used[i].end, rows.end)) continue;
      live = {min_of(live.begin, i), i + 1};
    }
    if (live.begin >= live.end) {
      if (starts) fill(target, (rows.end - rows.begin) * p_.width, T(0));
      return;
    }
    const int64_t begin = keys_of_group(groups.begin + live.begin).begin;
    const int64_t depth = keys_of_group(groups.begin + live.end - 1).end - begin;
    const auto key = key_.from_row(begin - keys_.begin);
    const T* const a = s_.grad_scores + rows.begin * kGradientStride<T> + live.begin * kGroup<T>;
    for (int64_t c = 0; c < p_.width; c += kGroup<T>) {
      run_strided_tile<T>(static_cast<int>(rows.end - rows.begin),
                          {depth, a, kGradientStride<T>, 1, key.data + c, key.row_stride,
                           target + c, p_.width, min_of(kGroup<T>, p_.width - c), !starts},
                          ahead_);
    }
  }

  void finish(int64_t g) {
    const Range keys = keys_of_group(g);
    const int64_t first = key_head_ * p_.keys;
    if (s_.begun[g] == T(0)) {
      fill(s_.gradients + g * kGroup<T> * p_.width, kGroup<T> * p_.width, T(0));
      fill(s_.value_gradients + g * kGroup<T> * p_.value_width, kGroup<T> * p_.value_width, T(0));
    }
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

}  // namespace fastnn::FASTNN_ISA
