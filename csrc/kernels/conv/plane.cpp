#include "kernels/conv/plane.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
namespace {

int64_t lowest(const Axis& axis) {
  return min_of(axis.first, axis.first + (axis.taps - 1) * axis.tap_step);
}

int64_t span(const Axis& axis) {
  const int64_t reach = (axis.taps - 1) * axis.tap_step;
  return (reach < 0 ? -reach : reach) + 1;
}

// target[k] = source[k * step] for k < count.
template <class T>
void copy_columns(const T* source, int64_t step, int64_t count, T* target) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t k = 0;
  if (step == 1) {
    for (; k + kSize <= count; k += kSize) Vec<T>::load(source + k).store(target + k);
    if (k < count) Vec<T>::load(source + k, count - k).store(target + k, count - k);
  } else if (step == 2) {
    for (; k < count; k += kSize) {
      const int64_t n = min_of(kSize, count - k);
      Pairs<T>(Piece{0, 0, n}).load(source + 2 * k).store(target + k, n);
    }
  } else if (step == 4) {
    for (; k < count; k += kSize) {
      const int64_t n = min_of(kSize, count - k);
      load_quads(source + 4 * k, n).store(target + k, n);
    }
  } else {
    for (; k < count; ++k) target[k] = source[k * step];
  }
}

// The columns first + k * step that lie inside 0 .. size-1.
struct Inside {
  int64_t begin, end;
};
Inside inside(int64_t size, int64_t first, int64_t step, int64_t count) {
  const int64_t begin = min_of(count, first >= 0 ? 0 : ceil_div(-first, step));
  return {begin, max_of(begin, first >= size ? 0 : min_of(count, ceil_div(size - first, step)))};
}

}  // namespace

template <class T>
void load_columns(const T* source, int64_t size, PaddingMode mode, int64_t first, int64_t step,
                  int64_t count, T* target) {
  const Inside range = inside(size, first, step, count);
  const auto fill = [&](int64_t k) {
    const int64_t index = padded_index(mode, first + k * step, size);
    target[k] = index < 0 ? T(0) : source[index];
  };
  for (int64_t k = 0; k < range.begin; ++k) fill(k);
  copy_columns(source + first + range.begin * step, step, range.end - range.begin,
               target + range.begin);
  for (int64_t k = range.end; k < count; ++k) fill(k);
}

template <class T>
void load_column_pairs(const T* source, int64_t size, int64_t first, int64_t count, T* even,
                       T* odd) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const auto load = [=](int64_t index) {
    const T* const p = source + index;
    if (index >= 0 && index + kSize <= size) return Vec<T>::load(p);
    return Vec<T>::load(p, lanes_mask<T>(max_of(0, -index), max_of(0, size - index)));
  };
  for (int64_t k = 0; k < count; k += kSize) {
    const Vec<T> low = load(first + 2 * k), high = load(first + 2 * k + kSize);
    even_lanes(low, high).store(even + k, min_of(kSize, count - k));
    odd_lanes(low, high).store(odd + k, min_of(kSize, count - k));
  }
}

template <class T>
PlaneLayout<T>::PlaneLayout(const Axis& height_axis, const Axis& width_axis, int64_t cols)
    : height(height_axis),
      width(width_axis),
      first_row(lowest(height)),
      first_col(lowest(width)),
      row_span(span(height)),
      phases(min_of(width.step, span(width))) {
  const int64_t columns = ceil_div((cols - 1) * width.step + span(width), width.step);
  phase_pitch = round_up(columns, Vec<T>::kSize) + Vec<T>::kSize;
  row_pitch = phases * phase_pitch;
}

template <class T>
void PlaneLayout<T>::load(const T* plane, PaddingMode mode, int64_t row, int64_t rows, int64_t col,
                          T* data) const {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t top = row * height.step + first_row, left = col * width.step + first_col;
  const int64_t count = phase_pitch - kSize;
  for (int64_t r = 0; r < source_rows(rows); ++r, data += row_pitch) {
    for (int64_t k = 0; k < row_pitch; k += kSize) Vec<T>::zero().store(data + k);
    const int64_t source_row = padded_index(mode, top + r, height.source);
    if (source_row < 0) continue;
    const T* const source = plane + source_row * width.source;
    if (mode != PaddingMode::kZeros) {
      for (int64_t phase = 0; phase < phases; ++phase) {
        load_columns(source, width.source, mode, left + phase, width.step, count,
                     data + phase * phase_pitch);
      }
    } else if (phases == 2 && width.step == 2) {
      load_column_pairs(source, width.source, left, count, data, data + phase_pitch);
    } else {
      for (int64_t phase = 0; phase < phases; ++phase) {
        const Inside range = inside(width.source, left + phase, width.step, count);
        copy_columns(source + left + phase + range.begin * width.step, width.step,
                     range.end - range.begin, data + phase * phase_pitch + range.begin);
      }
    }
  }
}

template void load_columns(const float*, int64_t, PaddingMode, int64_t, int64_t, int64_t, float*);
template void load_columns(const double*, int64_t, PaddingMode, int64_t, int64_t, int64_t, double*);
template void load_column_pairs(const float*, int64_t, int64_t, int64_t, float*, float*);
template void load_column_pairs(const double*, int64_t, int64_t, int64_t, double*, double*);
template struct PlaneLayout<float>;
template struct PlaneLayout<double>;

}  // namespace fastnn::FASTNN_ISA
