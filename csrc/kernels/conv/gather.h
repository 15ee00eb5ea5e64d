// One vector of neighbouring output positions: where its lanes come from for a tap.
//
// The lanes are cut into segments, one an output row. For a tap, a segment is a run of the input's
// row with a step of 1 or 2, clipped at the row's edges: one or two masked loads. Other steps, and
// edges that a padding mode fills, go lane by lane.
#pragma once

#include "kernels/conv/patch.h"

namespace fastnn::FASTNN_ISA {

// Lanes lane .. lane + lanes-1, whose tap 0 lies at input (depth, height, width + i * step) of the
// image that starts at `base`.
struct Segment {
  int64_t lane, lanes, base;
  int64_t depth, height, width;
};

// Cuts positions col .. col + lanes-1 at the ends of the output's rows.
inline int cut_segments(const Axis (&axes)[3], int64_t image_stride, int64_t col, int64_t lanes,
                        Segment* segments) {
  const int64_t row_length = axes[2].positions;
  int64_t row = col / row_length, w = col % row_length;
  int count = 0;
  for (int64_t lane = 0; lane < lanes; ++row, w = 0) {
    const int64_t h = row % axes[1].positions, plane = row / axes[1].positions;
    const int64_t d = plane % axes[0].positions, image = plane / axes[0].positions;
    const int64_t length = min_of(row_length - w, lanes - lane);
    segments[count++] = {lane,
                         length,
                         image * image_stride,
                         d * axes[0].step + axes[0].first,
                         h * axes[1].step + axes[1].first,
                         w * axes[2].step + axes[2].first};
    lane += length;
  }
  return count;
}

// Lanes begin .. end-1 at channel + offset + lane * step.
struct Piece {
  int64_t offset, begin, end;
};

template <class T>
struct Gather {
  static constexpr int64_t kSize = Vec<T>::kSize;
  enum Kind { kWhole, kRuns, kPairs, kLanes } kind;
  int count;
  Piece pieces[kSize];
  int64_t lane_offset[kSize];  // kLanes: -1 is a zero

  // The vector for the channel that starts at x.
  FASTNN_INLINE Vec<T> load(const T* x) const;
};

template <class T>
FASTNN_INLINE Mask<T> lanes_mask(int64_t begin, int64_t end) {
  return first_n_mask<T>(end) & ~first_n_mask<T>(begin);
}

// Every second lane of a then b, from lane 0.
FASTNN_INLINE Vec<float> even_lanes(Vec<float> a, Vec<float> b) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<float>(
      __builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
#elif defined(FASTNN_ISA_AVX2)
  return Vec<float>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14));
#else
  return Vec<float>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6));
#endif
}
FASTNN_INLINE Vec<double> even_lanes(Vec<double> a, Vec<double> b) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14));
#elif defined(FASTNN_ISA_AVX2)
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6));
#else
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 0, 2));
#endif
}

// Every second lane of a then b, from lane 1.
FASTNN_INLINE Vec<float> odd_lanes(Vec<float> a, Vec<float> b) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<float>(
      __builtin_shufflevector(a.v, b.v, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
#elif defined(FASTNN_ISA_AVX2)
  return Vec<float>(__builtin_shufflevector(a.v, b.v, 1, 3, 5, 7, 9, 11, 13, 15));
#else
  return Vec<float>(__builtin_shufflevector(a.v, b.v, 1, 3, 5, 7));
#endif
}
FASTNN_INLINE Vec<double> odd_lanes(Vec<double> a, Vec<double> b) {
#if defined(FASTNN_ISA_AVX512)
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 1, 3, 5, 7, 9, 11, 13, 15));
#elif defined(FASTNN_ISA_AVX2)
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 1, 3, 5, 7));
#else
  return Vec<double>(__builtin_shufflevector(a.v, b.v, 1, 3));
#endif
}

// a0 b0 a1 b1 ..., the first half in `low`.
FASTNN_INLINE void interleave(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
#if defined(FASTNN_ISA_AVX512)
  low->v =
      __builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  high->v = __builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                    15, 31);
#elif defined(FASTNN_ISA_AVX2)
  low->v = __builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11);
  high->v = __builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  low->v = __builtin_shufflevector(a.v, b.v, 0, 4, 1, 5);
  high->v = __builtin_shufflevector(a.v, b.v, 2, 6, 3, 7);
#endif
}
FASTNN_INLINE void interleave(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
#if defined(FASTNN_ISA_AVX512)
  low->v = __builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11);
  high->v = __builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(FASTNN_ISA_AVX2)
  low->v = __builtin_shufflevector(a.v, b.v, 0, 4, 1, 5);
  high->v = __builtin_shufflevector(a.v, b.v, 2, 6, 3, 7);
#else
  low->v = __builtin_shufflevector(a.v, b.v, 0, 2);
  high->v = __builtin_shufflevector(a.v, b.v, 1, 3);
#endif
}

// target[i * step] = values[i] for i < n; what lies between is left alone.
template <class T>
void spread(const T* values, int64_t n, T* target, int64_t step) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t i = 0;
  if (step == 1) {
    for (; i < n; i += kSize) Vec<T>::load(values + i, n - i).store(target + i, n - i);
  } else if (step == 2) {
    Vec<T> even, ignored;
    interleave(Vec<T>(T(1)), Vec<T>::zero(), &even, &ignored);
    const Mask<T> places = even > Vec<T>::zero();
    for (; i < n; i += kSize) {
      const int64_t lanes = n - i < kSize ? n - i : kSize;
      Vec<T> low, high;
      interleave(Vec<T>::load(values + i, lanes), Vec<T>::zero(), &low, &high);
      low.store(target + 2 * i, places & first_n_mask<T>(2 * lanes));
      if (2 * lanes > kSize) {
        high.store(target + 2 * i + kSize, places & first_n_mask<T>(2 * lanes - kSize));
      }
    }
  }
  for (; i < n; ++i) target[i * step] = values[i];
}

// row[2 * i] = even[i] + shift, row[2 * i + 1] = odd[i] + shift, for `width` elements of row.
template <class T>
void interleave_rows(const T* even, const T* odd, int64_t width, T shift, T* row) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const Vec<T> shifts = Vec<T>::broadcast(shift);
  for (int64_t i = 0; i < width; i += 2 * kSize) {
    Vec<T> low = Vec<T>::load(even + i / 2, (width - i + 1) / 2) + shifts;
    Vec<T> high = Vec<T>::load(odd + i / 2, (width - i) / 2) + shifts;
    interleave(low, high);
    low.store(row + i, width - i);
    if (width - i > kSize) high.store(row + i + kSize, width - i - kSize);
  }
}

template <class T>
FASTNN_INLINE Vec<T> load_run(const T* x, const Piece& piece) {
  return Vec<T>::load(x + piece.offset, lanes_mask<T>(piece.begin, piece.end));
}

// A piece with a step of two. Reads nothing before the first or behind the last lane's element.
template <class T>
struct Pairs {
  FASTNN_INLINE explicit Pairs(const Piece& piece)
      : offset(piece.offset),
        low(lanes_mask<T>(2 * piece.begin, 2 * piece.end - 1)),
        high(lanes_mask<T>(2 * piece.begin - Vec<T>::kSize, 2 * piece.end - 1 - Vec<T>::kSize)) {}
  FASTNN_INLINE Vec<T> load(const T* x) const {
    const T* const p = x + offset;
    return even_lanes(Vec<T>::load(p, low), Vec<T>::load(p + Vec<T>::kSize, high));
  }

  int64_t offset;
  Mask<T> low, high;
};

// Elements 0, 4, ... of p, n <= kSize of them; reads nothing behind the last.
template <class T>
FASTNN_INLINE Vec<T> load_quads(const T* p, int64_t n) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t end = 4 * n - 3;
  Vec<T> part[4];
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) {
    part[i] = Vec<T>::load(p + i * kSize, first_n_mask<T>(end - i * kSize));
  }
  return even_lanes(even_lanes(part[0], part[1]), even_lanes(part[2], part[3]));
}

template <class T>
FASTNN_INLINE Vec<T> Gather<T>::load(const T* x) const {
  if (kind == kWhole) return Vec<T>::load(x + pieces[0].offset);
  if (kind == kLanes) {
    T lanes[kSize];
    for (int64_t i = 0; i < kSize; ++i) lanes[i] = lane_offset[i] < 0 ? T(0) : x[lane_offset[i]];
    return Vec<T>::load(lanes);
  }
  Vec<T> v = Vec<T>::zero();
  if (kind == kRuns) {
    for (int i = 0; i < count; ++i) v = bit_or(v, load_run(x, pieces[i]));
  } else {
    // A step of two leaves lanes outside the piece to be cleared: its odd neighbours are loaded.
    for (int i = 0; i < count; ++i) v = bit_or(v, Pairs<T>(pieces[i]).load(x));
  }
  return v;
}

// A step that is at least 1, tap offsets (depth, height, width) in input elements.
template <class T>
FASTNN_INLINE void make_gather(const Axis (&axes)[3], PaddingMode mode, const Segment* segments,
                               int count, int64_t depth, int64_t height, int64_t width,
                               Gather<T>* gather) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t step = axes[2].step, size = axes[2].source;
  gather->count = 0;
  bool lanes = step > 2;
  for (int s = 0; s < count && !lanes; ++s) {
    const Segment& segment = segments[s];
    const int64_t d = padded_index(mode, segment.depth + depth, axes[0].source);
    const int64_t h = padded_index(mode, segment.height + height, axes[1].source);
    const int64_t w = segment.width + width;
    // The lanes whose column w + i * step lies in 0 .. size-1.
    const int64_t begin = w >= 0 ? 0 : ceil_div(-w, step);
    const int64_t end = w >= size ? 0 : min_of(segment.lanes, ceil_div(size - w, step));
    lanes = mode != PaddingMode::kZeros && (begin > 0 || end < segment.lanes);
    if (d < 0 || h < 0 || begin >= end) continue;
    gather->pieces[gather->count++] = {
        segment.base + (d * axes[1].source + h) * size + w - segment.lane * step,
        segment.lane + begin, segment.lane + end};
  }
  gather->kind = step == 1 ? Gather<T>::kRuns : Gather<T>::kPairs;
  if (step == 1 && gather->count == 1 && gather->pieces[0].begin == 0 &&
      gather->pieces[0].end == kSize) {
    gather->kind = Gather<T>::kWhole;
  }
  if (!lanes) return;
  gather->kind = Gather<T>::kLanes;
  for (int64_t i = 0; i < kSize; ++i) gather->lane_offset[i] = -1;
  for (int s = 0; s < count; ++s) {
    const Segment& segment = segments[s];
    const int64_t d = padded_index(mode, segment.depth + depth, axes[0].source);
    const int64_t h = padded_index(mode, segment.height + height, axes[1].source);
    if (d < 0 || h < 0) continue;
    for (int64_t i = 0; i < segment.lanes; ++i) {
      const int64_t w = padded_index(mode, segment.width + width + i * step, size);
      if (w >= 0)
        gather->lane_offset[segment.lane + i] = segment.base + (d * axes[1].source + h) * size + w;
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
