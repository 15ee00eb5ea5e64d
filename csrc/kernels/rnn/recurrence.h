// How the threads share a recurrence, and where its rows lie.
#pragma once

#include "kernels/gemm/engine.h"
#include "ops/rnn.h"

namespace fastnn::FASTNN_ISA {

// Rows of a step that are packed together, which bounds a worker's scratch.
inline constexpr int64_t kPackedRows = 256;

// What one worker computes at every step: rows and blocks of kGroup hidden units.
struct Share {
  int64_t row_begin, row_end, block_begin, block_end;
};

// Splits a recurrence. By hidden units, every worker keeps its slice of the recurrent weights in
// its own L2 and all meet at a barrier each step; by rows, a worker has its sequences to itself.
class Split {
 public:
  // step_work: multiply-adds of one step; weight_bytes: the packed recurrent weights.
  Split(const RnnRows& rows, int64_t blocks, int64_t step_work, int64_t weight_bytes) {
    // Below this a barrier costs more than half a step saves.
    constexpr int64_t kMinStepWork = int64_t{1} << 16;
    constexpr int64_t kMinRows = 16;
    batch_ = rows.batch;
    blocks_ = blocks;
    const bool same_length = rows.steps == 0 || rows.step_rows[rows.steps - 1] == rows.batch;
    const int64_t threads = plan_workers(max_of(rows.batch, blocks));
    by_rows_ = same_length && rows.batch >= kMinRows * threads && weight_bytes <= cache_sizes().l2;
    const int64_t useful = by_rows_ ? ceil_div(rows.batch, kMinRows) : blocks;
    workers_ = step_work < kMinStepWork ? 1 : static_cast<int>(min_of(threads, useful));
  }

  int workers() const { return workers_; }

  Share share(int worker, int workers) const {
    const int64_t n = by_rows_ ? batch_ : blocks_;
    const int64_t begin = n * worker / workers, end = n * (worker + 1) / workers;
    return by_rows_ ? Share{begin, end, 0, blocks_} : Share{0, batch_, begin, end};
  }

  void meet(int workers) const {
    if (!by_rows_ && workers > 1) team_barrier();
  }

 private:
  int64_t batch_, blocks_;
  bool by_rows_;
  int workers_;
};

// Copies the state of every sequence into row order, or zeroes it.
template <class T>
void gather_state(T* state, const T* source, const RnnRows& rows, int64_t hidden) {
  for (int64_t r = 0; r < rows.batch; ++r) {
    T* target = state + r * hidden;
    if (source != nullptr) {
      __builtin_memcpy(target, source + rows.order[r] * hidden,
                       static_cast<unsigned long>(hidden) * sizeof(T));
    } else {
      __builtin_memset(target, 0, static_cast<unsigned long>(hidden) * sizeof(T));
    }
  }
}

// The reverse of gather_state.
template <class T>
void scatter_state(T* target, const T* state, const RnnRows& rows, int64_t hidden) {
  if (target == nullptr) return;
  for (int64_t r = 0; r < rows.batch; ++r) {
    __builtin_memcpy(target + rows.order[r] * hidden, state + r * hidden,
                     static_cast<unsigned long>(hidden) * sizeof(T));
  }
}

inline int64_t packed_rows(const RnnRows& rows) {
  return rows.steps > 0 ? rows.step_start[rows.steps - 1] + rows.step_rows[rows.steps - 1] : 0;
}

}  // namespace fastnn::FASTNN_ISA
