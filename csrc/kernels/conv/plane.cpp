#include "kernels/conv/plane.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
template <class T>
void load_columns(const T* source, int64_t size, PaddingMode mode, int64_t first, int64_t step,
                  int64_t count, T* target) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t begin = min_of(count, first >= 0 ? 0 : ceil_div(-first, step));
  const int64_t end =
      max_of(begin, first >= size ? 0 : min_of(count, ceil_div(size - first, step)));
  const auto fill = [&](int64_t k) {
    const int64_t index = padded_index(mode, first + k * step, size);
    target[k] = index < 0 ? T(0) : source[index];
  };
  for (int64_t k = 0; k < begin; ++k) fill(k);
  int64_t k = begin;
  if (step == 1) {
    for (; k < end; k += kSize) {
      Vec<T>::load(source + first + k, min_of(kSize, end - k))
          .store(target + k, min_of(kSize, end - k));
    }
  } else if (step == 2) {
    for (; k < end; k += kSize) {
      load_pairs(source + first + 2 * k, Piece{0, 0, min_of(kSize, end - k)})
          .store(target + k, min_of(kSize, end - k));
    }
  } else if (step == 4) {
    for (; k < end; k += kSize) {
      const int64_t n = min_of(kSize, end - k);
      load_quads(source + first + 4 * k, n).store(target + k, n);
    }
  } else {
    for (; k < end; ++k) target[k] = source[first + k * step];
  }
  for (k = end; k < count; ++k) fill(k);
}

template <class T>
void PlaneBlock<T>::load(const T* plane, PaddingMode mode, T* data) const {
  const int64_t pitch = phase_pitch(), phases = min_of(width.step, span(width));
  const int64_t first_row = row * height.step + lowest(height);
  const int64_t first_col = col * width.step + lowest(width);
  const int64_t filled = pitch - 2 * Vec<T>::kSize;
  for (int64_t r = 0; r < source_rows(); ++r) {
    const int64_t source_row = padded_index(mode, first_row + r, height.source);
    for (int64_t phase = 0; phase < phases; ++phase, data += pitch) {
      if (source_row < 0) {
        for (int64_t k = 0; k < pitch; ++k) data[k] = T(0);
        continue;
      }
      load_columns(plane + source_row * width.source, width.source, mode, first_col + phase,
                   width.step, filled, data);
      for (int64_t k = filled; k < pitch; ++k) data[k] = T(0);
    }
  }
}

template void load_columns(const float*, int64_t, PaddingMode, int64_t, int64_t, int64_t, float*);
template void load_columns(const double*, int64_t, PaddingMode, int64_t, int64_t, int64_t, double*);
template struct PlaneBlock<float>;
template struct PlaneBlock<double>;

}  // namespace fastnn::FASTNN_ISA
