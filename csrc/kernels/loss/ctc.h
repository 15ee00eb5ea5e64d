// The states of a CTC sample and one step of their recursion.
//
// With L labels there are 2 L + 1 states: a blank before, between and after the labels. From a
// state one may stay, go to the next or, from a label to the next label if they differ, skip the
// blank between. All in logarithms; every row is kept relative to an offset (the sum, in double,
// of the largest elements of the rows before it), so that long inputs cost no accuracy.
#pragma once

#include "ops/loss.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"
#include "simd/math.h"
#include "simd/part.h"

namespace fastnn::FASTNN_ISA {

// Elements before (alpha) or after (beta) a row's states: always -infinity.
inline constexpr int64_t kCtcPadding = 2;

FASTNN_INLINE int64_t ctc_row_size(int64_t max_target) { return 2 * max_target + 3; }

template <class T>
FASTNN_INLINE T minus_infinity() {
  return -static_cast<T>(__builtin_inff());
}

// One worker's scratch: what the states emit and where they lead, and two rows of states.
template <class T>
struct CtcScratch {
  int64_t* label;  // of every state
  T* skip;         // 0 where state s may be entered from s - 2, else -infinity; 2 more behind
  T* emission;     // log-probability of every state in one step
  T* rows[2];

  static FASTNN_INLINE int64_t bytes(int64_t max_target) {
    const int64_t row = ctc_row_size(max_target) + kCtcPadding;
    return padded(row * static_cast<int64_t>(sizeof(int64_t))) +
           4 * padded(row * static_cast<int64_t>(sizeof(T)));
  }
  static FASTNN_INLINE int64_t padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

  // In `memory`, of that many bytes.
  FASTNN_INLINE CtcScratch(char* memory, int64_t max_target) {
    const int64_t row = ctc_row_size(max_target) + kCtcPadding;
    label = reinterpret_cast<int64_t*>(memory);
    T* next = reinterpret_cast<T*>(memory + padded(row * static_cast<int64_t>(sizeof(int64_t))));
    const int64_t step =
        padded(row * static_cast<int64_t>(sizeof(T))) / static_cast<int64_t>(sizeof(T));
    skip = next;
    emission = next + step;
    rows[0] = next + 2 * step;
    rows[1] = next + 3 * step;
  }

  FASTNN_INLINE void set_labels(const int64_t* target, int64_t length, int64_t blank) const {
    const int64_t states = 2 * length + 1;
    for (int64_t s = 0; s < states; ++s) {
      label[s] = s % 2 == 0 ? blank : target[s / 2];
      const bool may_skip = s % 2 == 1 && s > 1 && target[s / 2] != target[s / 2 - 1];
      skip[s] = may_skip ? T{0} : minus_infinity<T>();
    }
    for (int64_t s = states; s < states + kCtcPadding; ++s) skip[s] = minus_infinity<T>();
  }

  FASTNN_INLINE void set_emissions(const T* log_probs, int64_t states) const {
    for (int64_t s = 0; s < states; ++s) emission[s] = log_probs[label[s]];
  }
};

// log(exp(a) + exp(b) + exp(c)); -infinity where all three are.
template <class T>
FASTNN_INLINE Vec<T> log_sum(Vec<T> a, Vec<T> b, Vec<T> c) {
  const Vec<T> lowest(minus_infinity<T>());
  const Vec<T> most = max(a, max(b, c));
  const Vec<T> shift = select(most == lowest, Vec<T>::zero(), most);
  return shift + log(exp(a - shift) + exp(b - shift) + exp(c - shift));
}

// next[s] = emission[s] - shift + log(sum of exp of here[s], here[s + d], here[s + 2 d] +
// skip[s]); returns the largest. d is -1 forward in time and 1
// backward, where skip[s + 2] counts.
template <class T, int d>
FASTNN_INLINE T ctc_step(int64_t states, const T* here, T* next, const T* emission, const T* skip,
                         T shift) {
  Vec<T> most(minus_infinity<T>());
  for_each_vector<T>(0, states, [&](int64_t s, auto count) {
    const Vec<T> stay = load_part(here + s, count);
    const Vec<T> move = load_part(here + s + d, count);
    const Vec<T> jump =
        load_part(here + s + 2 * d, count) + load_part(d < 0 ? skip + s : skip + s + 2, count);
    const Vec<T> value = load_part(emission + s, count) - Vec<T>(shift) + log_sum(stay, move, jump);
    store_part(next + s, count, value);
    most = max(select(part_mask<T>(count), value, most), most);
  });
  return reduce_max(most);
}

}  // namespace fastnn::FASTNN_ISA
