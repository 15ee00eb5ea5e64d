// Backward, a single sequence: while the steps of some rows read the recurrent weights, the
// gradient of x of the rows behind them is computed beside (single_row.h).
#pragma once

#include "kernels/rnn/recurrence.h"

namespace fastnn::FASTNN_ISA {

template <class T>
class GradXAhead {
 public:
  // depth: gradients of gates in a row, those of the inputs being those of the recurrent product.
  void plan(const RnnBackwardArgs<T>& args, int64_t depth, int64_t workers) {
    constexpr int64_t kSize = static_cast<int64_t>(sizeof(T));
    inputs_ = args.sizes.input;
    depth_ = depth;
    workers_ = workers;
    const int64_t weight_bytes = depth * (inputs_ + args.sizes.output) * kSize / workers;
    active_ = args.sizes.rows.batch == 1 && args.sizes.rows.steps > kAheadRows &&
              args.grad_x != nullptr && inputs_ > 0 && args.weights.w_hr == nullptr &&
              weight_bytes <= 8 * cache_sizes().l2;
  }
  bool active() const { return active_; }

  int64_t elements() const {
    if (!active_) return 0;
    return columns() * (depth_ + kAheadRows) + workers_ * ProjectionAhead<T>::scratch(depth_) +
           3 * Vec<T>::kSize;
  }
  template <class Pack>
  void take_memory(Workspace& workspace, const Pack& pack) {
    if (!active_) return;
    T* const weights = workspace.take<T>(columns() * depth_);
    target_ = workspace.take<T>(columns() * kAheadRows);
    panels_ = workspace.take<T>(workers_ * ProjectionAhead<T>::scratch(depth_));
    pack(weights);
    weights_ = weights;
  }

  // Calls run(begin, end, ahead) for all `rows` of a chunk, the last ones first. Returns how many
  // rows, the first ones, are left without a gradient of x. `products` of a worker come with a row.
  template <class Run>
  int64_t each_part(int64_t rows, const T* d, int64_t d_stride, const RnnBackwardArgs<T>& args,
                    int64_t first, const Share& share, int64_t products, const Run& run) const {
    const int64_t parts = active_ ? ceil_div(rows, kAheadRows) : 1;
    for (int64_t i = parts; i-- > 0;) {
      const Range part = part_of(rows, i, parts), behind = part_of(rows, i + 1, parts);
      if (i == parts - 1) {
        run(part.begin, part.end, nullptr);
        continue;
      }
      const int64_t count = behind.end - behind.begin;
      int64_t offsets[kAheadRows];
      for (int64_t r = 0; r < count; ++r) offsets[r] = (behind.begin + r) * d_stride;
      const Range tiles = part_of(columns() / Vec<T>::kSize, share.worker, share.workers);
      ProjectionAhead<T> ahead({{d, offsets}, {weights_, depth_}, target_, columns()}, 0, count,
                               tiles.begin, tiles.end, products * (part.end - part.begin),
                               panels_ + share.worker * ProjectionAhead<T>::scratch(depth_));
      run(part.begin, part.end, &ahead);
      add(args, first + behind.begin, count,
          {tiles.begin * Vec<T>::kSize, min_of(tiles.end * Vec<T>::kSize, inputs_)});
    }
    return part_of(rows, 0, parts).end;
  }

 private:
  int64_t columns() const { return round_up(inputs_, kGroup<T>); }

  void add(const RnnBackwardArgs<T>& args, int64_t packed_row, int64_t count, Range cols) const {
    for (int64_t r = 0; r < count; ++r) {
      T* const grad_x = args.grad_x + args.x_offsets[packed_row + r];
      const T* const sums = target_ + r * columns();
      for (int64_t j = cols.begin; j < cols.end; j += Vec<T>::kSize) {
        const int64_t lanes = cols.end - j;
        (Vec<T>::load(grad_x + j, lanes) + Vec<T>::load(sums + j, lanes)).store(grad_x + j, lanes);
      }
    }
  }

  bool active_ = false;
  int64_t inputs_ = 0, depth_ = 0, workers_ = 0;
  const T* weights_ = nullptr;
  T *target_ = nullptr, *panels_ = nullptr;
};

}  // namespace fastnn::FASTNN_ISA
