// Brings rows of matrices into L2 a cache line at a time, between the steps of other work: the
// operands of small heads come from far away, and nothing but their own head would wait for them.
// Lines fetched in a burst would fill the processor's queue of misses and stall what follows.
#pragma once

#include "kernels/gemm/engine.h"

namespace fastnn::FASTNN_ISA {

class Prefetcher {
 public:
  // Rows with contiguous columns; what passes the budget of 256 KiB is left out.
  template <class T>
  void add(const T* first, int64_t row_stride, int64_t rows, int64_t width) {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    if (row_stride == width) {
      width *= rows;
      rows = min_of(rows, 1);
    }
    if (rows <= 0 || width <= 0 || budget_ <= 0) return;
    const auto within_line = static_cast<int64_t>(reinterpret_cast<uintptr_t>(first) % kLine);
    const bool aligned = rows == 1 || row_stride * kBytes % kLine == 0;
    const int64_t lines = ceil_div(width * kBytes + (aligned ? within_line : kLine - 1), kLine);
    Region& region = regions_[count_++];
    region.row = reinterpret_cast<const char*>(first);
    region.stride = row_stride * kBytes;
    region.lines = min_of(lines, budget_);
    region.rows = min_of(rows, budget_ / region.lines);
    budget_ -= region.rows * region.lines;
  }

  // To be called after all of add(): shares the lines among so many tiles.
  void spread_over(int64_t tiles) {
    rate_ = ceil_div(kBudget - budget_, max_of(1, tiles));
    if (count_ > 0) begin_row();
  }

  void begin_tile() { left_ = current_ < count_ ? rate_ : 0; }
  FASTNN_INLINE void step() {
    if (left_ == 0) return;
    --left_;
    __builtin_prefetch(next_, 0, 2);
    next_ += kLine;
    if (next_ == row_end_) next_row();
  }

 private:
  static constexpr int64_t kLine = 64, kBudget = (int64_t{256} << 10) / kLine;
  struct Region {
    const char* row;
    int64_t stride, rows, lines;
  };

  void begin_row() {
    next_ = regions_[current_].row;
    row_end_ = next_ + regions_[current_].lines * kLine;
  }
  __attribute__((noinline)) void next_row() {
    Region& region = regions_[current_];
    region.row += region.stride;
    if (--region.rows == 0 && ++current_ == count_) {
      left_ = 0;
    } else {
      begin_row();
    }
  }

  const char* next_ = nullptr;
  const char* row_end_ = nullptr;
  int64_t left_ = 0;  // lines that this tile may still fetch
  Region regions_[6];
  int64_t count_ = 0, current_ = 0, budget_ = kBudget, rate_ = 0;
};

}  // namespace fastnn::FASTNN_ISA
