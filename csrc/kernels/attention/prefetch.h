// Brings memory into L2 a cache line at a time, between the steps of other work: the operands of
// small heads come from far away, and nothing but their own head would wait for them. Lines fetched
// in a burst would fill the processor's queue of misses and stall what follows.
#pragma once

#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

class Prefetcher {
 public:
  // Rows that follow each other; what passes the budget of 256 KiB is left out. Rows with gaps are
  // left to the processor: every other line on a page of its own costs more than it saves.
  template <class T>
  void add(const T* first, int64_t row_stride, int64_t rows, int64_t width) {
    const int64_t bytes = rows * width * static_cast<int64_t>(sizeof(T));
    if (row_stride != width || bytes <= 0 || budget_ <= 0) return;
    const auto within_line = static_cast<int64_t>(reinterpret_cast<uintptr_t>(first) % kLine);
    const int64_t lines = min_of(ceil_div(bytes + within_line, kLine), budget_);
    const char* const begin = reinterpret_cast<const char*>(first);
    if (count_ == 0) next_ = begin;
    runs_[count_++] = {begin, begin + lines * kLine};
    budget_ -= lines;
  }

  // To be called after all of add(): shares the lines among so many tiles.
  void spread_over(int64_t tiles) { rate_ = ceil_div(kBudget - budget_, max_of(1, tiles)); }

  void begin_tile() { left_ = current_ < count_ ? rate_ : 0; }
  FASTNN_INLINE void step() {
    if (left_ == 0) return;
    --left_;
    __builtin_prefetch(next_, 0, 2);
    next_ += kLine;
    if (next_ == runs_[current_].end) next_run();
  }

 private:
  static constexpr int64_t kLine = 64, kBudget = (int64_t{256} << 10) / kLine;
  struct Run {
    const char* begin;
    const char* end;
  };

  __attribute__((noinline)) void next_run() {
    if (++current_ == count_) {
      left_ = 0;
    } else {
      next_ = runs_[current_].begin;
    }
  }

  Run runs_[6];
  const char* next_ = nullptr;
  int64_t left_ = 0;  // lines that this tile may still fetch
  int64_t count_ = 0, current_ = 0, budget_ = kBudget, rate_ = 0;
};

}  // namespace fastnn::FASTNN_ISA
