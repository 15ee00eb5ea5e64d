// What the forward and the backward pass of cross_entropy share.
//
// input is (batch, classes, inner). With inner = 1 a position's logits are contiguous ("rows"):
// rows are done one after the other, lanes along the classes. Otherwise ("columns") lanes run
// along inner, kColumns vectors at a time. Either way a position is computed by one thread and
// in the same order wherever it stands. Workspace: 16 bytes a part.
//
// A loss is a sum over the classes of coefficients q_c times (log-sum-exp - x_c). The q_c are
// weights times class probabilities; or what label smoothing spreads over all classes, beside
// which the target's own term is added; or all but the target's are zero.
#pragma once

#include "kernels/loss/pointwise.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {

enum class Coefficients { kNone, kClassWeights, kProbabilities };

// Logits a part.
inline constexpr int64_t kCrossEntropyPart = int64_t{1} << 15;
inline constexpr int kColumns = 4;
// Positions that are finished together.
template <class T>
inline constexpr int64_t kPositionGroup = kColumns * Vec<T>::kSize;

// An item is a row, or a group of neighbouring columns of one batch entry.
struct PositionGrid {
  int64_t items;
  int64_t tiles;  // items a batch entry
  int64_t items_per_part;
};

template <class T>
FASTNN_INLINE PositionGrid position_grid(int64_t batch, int64_t classes, int64_t inner) {
  const int64_t item_positions = inner == 1 ? 1 : kPositionGroup<T>;
  const int64_t tiles = (inner + item_positions - 1) / item_positions;
  const int64_t items_per_part = kCrossEntropyPart / (item_positions * (classes > 0 ? classes : 1));
  return {batch * tiles, tiles, items_per_part > 0 ? items_per_part : 1};
}

// Positions first ... first + count - 1: rows, or columns of one batch entry.
struct PositionGroup {
  int64_t first, count;
};

// Calls f(group) for items [begin, end).
template <class T, class F>
FASTNN_INLINE void for_each_group(int64_t inner, int64_t tiles, int64_t begin, int64_t end,
                                  const F& f) {
  if (inner == 1) {
    for (int64_t row = begin; row < end; row += kPositionGroup<T>) {
      f(PositionGroup{row, end - row < kPositionGroup<T> ? end - row : kPositionGroup<T>});
    }
    return;
  }
  for (int64_t item = begin; item < end; ++item) {
    const int64_t entry = item / tiles, start = (item - entry * tiles) * kPositionGroup<T>;
    const int64_t left = inner - start;
    f(PositionGroup{entry * inner + start, left < kPositionGroup<T> ? left : kPositionGroup<T>});
  }
}

// Where class 0 of a position lies in the input.
FASTNN_INLINE int64_t first_class_offset(int64_t position, int64_t classes, int64_t inner) {
  if (inner == 1) return position * classes;
  const int64_t entry = position / inner;
  return entry * classes * inner + (position - entry * inner);
}

// Probabilities after label smoothing.
template <class T>
FASTNN_INLINE Vec<T> smoothed(Vec<T> probability, double smoothing, int64_t classes) {
  return fma(probability, Vec<T>(static_cast<T>(1 - smoothing)),
             Vec<T>(static_cast<T>(smoothing / static_cast<double>(classes))));
}

}  // namespace fastnn::FASTNN_ISA
