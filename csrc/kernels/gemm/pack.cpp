#include "kernels/gemm/operand.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Both strides arbitrary.
template <class T>
void pack_strided(T* panel, int64_t panel_stride, const T* source, int64_t width,
                  int64_t width_stride, int64_t depth, int64_t depth_stride) {
  for (int64_t p = 0; p < depth; ++p) {
    for (int64_t i = 0; i < width; ++i) {
      panel[p * panel_stride + i] = source[i * width_stride + p * depth_stride];
    }
  }
}

// width_stride 1: rows of the panel are contiguous in the source.
template <class T>
void pack_rows(T* panel, int64_t panel_stride, const T* source, int64_t width, int64_t depth,
               int64_t depth_stride) {
  constexpr int64_t kSize = Vec<T>::kSize;
  if (width == 2 * kSize) {
    for (int64_t p = 0; p < depth; ++p) {
      const Vec<T> first = Vec<T>::load(source + p * depth_stride);
      const Vec<T> second = Vec<T>::load(source + p * depth_stride + kSize);
      first.store(panel + p * panel_stride);
      second.store(panel + p * panel_stride + kSize);
    }
    return;
  }
  for (int64_t i = 0; i < width; i += kSize) {
    const int64_t n = min_of(kSize, width - i);
    for (int64_t p = 0; p < depth; ++p) {
      Vec<T>::load(source + p * depth_stride + i, n).store(panel + p * panel_stride + i, n);
    }
  }
}

// Transposes `lanes` rows of `steps` values in registers and stores them as columns.
template <class T, class Row>
FASTNN_INLINE void transpose_block(T* target, int64_t target_stride, const Row& row, int64_t i,
                                   int64_t p, int64_t lanes, int64_t steps) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> rows[kSize];
  FASTNN_UNROLL
  for (int64_t r = 0; r < kSize; ++r) {
    rows[r] = r < lanes ? Vec<T>::load(row(i + r) + p, steps) : Vec<T>::zero();
  }
  transpose(rows);
  const Mask<T> mask = first_n_mask<T>(lanes);
  FASTNN_UNROLL
  for (int64_t r = 0; r < kSize; ++r) {
    if (r < steps) rows[r].store(target + r * target_stride, mask);
  }
}

// The same for kSize rows of kSize values. With fewer rows (kPartial) a column is stored whole all
// the same: what spills over must lie in columns that are stored later.
template <class T, bool kPartial, class Row>
FASTNN_INLINE void transpose_full_block(T* target, int64_t target_stride, const Row& row, int64_t i,
                                        int64_t p, int64_t lanes) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> rows[kSize];
  FASTNN_UNROLL
  for (int64_t r = 0; r < kSize; ++r) {
    const T* const source = row(!kPartial || r < lanes ? i + r : i) + p;
    __builtin_prefetch(source + 2 * kSize);
    rows[r] = Vec<T>::load(source);
  }
  transpose(rows);
  FASTNN_UNROLL
  for (int64_t r = 0; r < kSize; ++r) rows[r].store(target + r * target_stride);
}

// depth_stride 1, row(i) the start of row i: kSize x kSize blocks are transposed in registers,
// kSize rows to their ends before the next ones. The rows often lie a power of two apart, where
// more of them at once would evict one another from L1.
template <class T, class Row>
void pack_transposed(T* panel, int64_t panel_stride, const Row& row, int64_t width, int64_t depth) {
  constexpr int64_t kSize = Vec<T>::kSize;
  for (int64_t i = 0; i < width; i += kSize) {
    const int64_t lanes = min_of(kSize, width - i);
    for (int64_t p = 0; p < depth; p += kSize) {
      const int64_t steps = min_of(kSize, depth - p);
      T* const target = panel + p * panel_stride + i;
      if (steps == kSize && lanes == kSize) {
        transpose_full_block<T, false>(target, panel_stride, row, i, p, lanes);
      } else if (steps == kSize && width < kSize && width == panel_stride &&
                 (p + kSize - 1) * width + kSize <= depth * width) {
        transpose_full_block<T, true>(target, panel_stride, row, i, p, lanes);
      } else {
        transpose_block(target, panel_stride, row, i, p, lanes, steps);
      }
    }
  }
}

template <class T>
struct StridedRows {
  const T* data;
  int64_t stride;
  const T* operator()(int64_t i) const { return data + i * stride; }
};

}  // namespace

template <class T, bool kPad>
void pack_panel(T* panel, int64_t panel_stride, const T* source, int64_t width,
                int64_t width_stride, int64_t depth, int64_t depth_stride) {
  if (width_stride == 1) {
    pack_rows(panel, panel_stride, source, width, depth, depth_stride);
  } else if (depth_stride == 1) {
    const int64_t head = steps_to_alignment(source, depth);
    if (head > 0) {
      pack_transposed(panel, panel_stride, StridedRows<T>{source, width_stride}, width, head);
    }
    pack_transposed(panel + head * panel_stride, panel_stride,
                    StridedRows<T>{source + head, width_stride}, width, depth - head);
  } else {
    pack_strided(panel, panel_stride, source, width, width_stride, depth, depth_stride);
  }
  if (kPad && width < panel_stride) {
    for (int64_t p = 0; p < depth; ++p) {
      for (int64_t i = width; i < panel_stride; ++i) panel[p * panel_stride + i] = T(0);
    }
  }
}

template <class T>
void pack_gathered(T* panel, const T* source, const int64_t* offsets, int64_t width,
                   int64_t depth) {
  pack_transposed(panel, width, [=](int64_t i) { return source + offsets[i]; }, width, depth);
}

template void pack_gathered(float*, const float*, const int64_t*, int64_t, int64_t);
template void pack_gathered(double*, const double*, const int64_t*, int64_t, int64_t);
template void pack_panel<float, false>(float*, int64_t, const float*, int64_t, int64_t, int64_t,
                                       int64_t);
template void pack_panel<float, true>(float*, int64_t, const float*, int64_t, int64_t, int64_t,
                                      int64_t);
template void pack_panel<double, false>(double*, int64_t, const double*, int64_t, int64_t, int64_t,
                                        int64_t);
template void pack_panel<double, true>(double*, int64_t, const double*, int64_t, int64_t, int64_t,
                                       int64_t);

}  // namespace fastnn::FASTNN_ISA
