// Rows of pixels brought into the lanes of vectors, a channel a lane.
#pragma once

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {

// Pixels of one row of a plane: the first, which may lie outside.
template <class T>
struct PixelRow {
  const T* row;  // null: zeros
  int64_t first;
};

// Loads pixels `step` apart of rows of `size`, each row into a lane.
template <class T>
class PixelLoader {
 public:
  PixelLoader(int64_t size, int64_t step, PaddingMode mode)
      : size_(size), step_(step), mode_(mode) {}

  // target[pixel][kSize]: `count` pixels of kSize rows; writes whole squares of them.
  void load(const PixelRow<T> (&lanes)[Vec<T>::kSize], int64_t count, T* target) const {
    bool alike = step_ <= 2;
    for (int64_t c = 1; c < kSize; ++c) {
      alike = alike && lanes[c].first == lanes[0].first &&
              (lanes[c].row == nullptr) == (lanes[0].row == nullptr);
    }
    if (alike && lanes[0].row == nullptr) {
      for (int64_t p = 0; p < round_up(count, kSize); ++p) Vec<T>::zero().store(target + p * kSize);
      return;
    }
    for (int64_t p = 0; p < count; p += kSize) {
      const int64_t index = lanes[0].first + p * step_;
      if (alike && is_masked(index)) {
        const Mask<T> low = lanes_mask<T>(-index, size_ - index);
        const Mask<T> high = lanes_mask<T>(-index - kSize, size_ - index - kSize);
        if (step_ == 1) {
          square(target + p * kSize,
                 [&](int64_t c) { return Vec<T>::load(lanes[c].row + index, low); });
        } else {
          square(target + p * kSize, [&](int64_t c) {
            const T* const pair = lanes[c].row + index;
            return even_lanes(Vec<T>::load(pair, low), Vec<T>::load(pair + kSize, high));
          });
        }
        continue;
      }
      T pixels[kSize * kSize];
      for (int64_t c = 0; c < kSize; ++c) load_any(lanes[c], p * step_).store(pixels + c * kSize);
      square(target + p * kSize, [&](int64_t c) { return Vec<T>::load(pixels + c * kSize); });
    }
  }

 private:
  static constexpr int64_t kSize = Vec<T>::kSize;

  template <class Load>
  static FASTNN_INLINE void square(T* target, const Load& load) {
    Vec<T> rows[kSize];
    FASTNN_UNROLL
    for (int64_t c = 0; c < kSize; ++c) rows[c] = load(c);
    transpose(rows);
    FASTNN_UNROLL
    for (int64_t j = 0; j < kSize; ++j) rows[j].store(target + j * kSize);
  }

  Vec<T> load_any(const PixelRow<T>& lane, int64_t offset) const {
    const int64_t index = lane.first + offset;
    if (lane.row == nullptr) return Vec<T>::zero();
    if (step_ == 1 && is_masked(index)) return load_inside(lane.row, index);
    if (step_ == 2 && is_masked(index)) {
      return even_lanes(load_inside(lane.row, index), load_inside(lane.row, index + kSize));
    }
    T values[kSize];
    for (int64_t j = 0; j < kSize; ++j) {
      const int64_t inside = padded_index(mode_, index + j * step_, size_);
      values[j] = inside < 0 ? T(0) : lane.row[inside];
    }
    return Vec<T>::load(values);
  }

  // Whether what lies outside is zero, or nothing does.
  bool is_masked(int64_t index) const {
    return mode_ == PaddingMode::kZeros || (index >= 0 && index + kSize * step_ <= size_);
  }
  FASTNN_INLINE Vec<T> load_inside(const T* row, int64_t index) const {
    return Vec<T>::load(row + index, lanes_mask<T>(-index, size_ - index));
  }

  int64_t size_, step_;
  PaddingMode mode_;
};

}  // namespace fastnn::FASTNN_ISA
