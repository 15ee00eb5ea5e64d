// The one-dimensional transforms of Winograd's F(m,r): y = A^T ((G g) * (B^T d)) are the m outputs
// of a filter g of r taps over m + r - 1 inputs d, with m + r - 1 products instead of r m.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). With six points they
// are 0, 1, -1, 1/2, -2 and infinity, whose rounding error is lower than that of 0, 1, -1, 2, -2;
// with four 0, 1, -1 and infinity. Row i of a transform belongs to point i. B depends on the points
// alone, and so do the factors in G: row i of G is that factor times the filter's polynomial at
// point i, row i of A^T the points to the power of i.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// F(m,1): nothing to transform.
template <int kOutputs, int kInputStep = 1>
struct WinogradOneTap {
  static_assert(kOutputs == 1 || kInputStep == 1);
  static constexpr int kOut = kOutputs, kTaps = 1, kStep = kInputStep, kIn = kOut, kPoints = kOut;

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kPoints]) {
    FASTNN_UNROLL
    for (int i = 0; i < kPoints; ++i) t[i] = d[i];
  }
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kPoints]) {
    FASTNN_UNROLL
    for (int i = 0; i < kPoints; ++i) t[i] = g[0];
  }
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kPoints], Vec<T> (&y)[kOut]) {
    FASTNN_UNROLL
    for (int i = 0; i < kOut; ++i) y[i] = m[i];
  }
};

// F(2,2), with the points 0, -1 and infinity: Karatsuba's.
struct WinogradThreePoints {
  static constexpr int kOut = 2, kTaps = 2, kStep = 1, kIn = 3, kPoints = 3;

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kPoints]) {
    t[0] = d[0] - d[1];
    t[1] = d[1];
    t[2] = d[2] - d[1];
  }
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kPoints]) {
    t[0] = g[0];
    t[1] = g[0] + g[1];
    t[2] = g[1];
  }
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kPoints], Vec<T> (&y)[kOut]) {
    y[0] = m[0] + m[1];
    y[1] = m[1] + m[2];
  }
};

// F(2,3) and F(3,2).
template <int kFilterTaps>
struct WinogradFourPoints {
  static constexpr int kTaps = kFilterTaps, kStep = 1, kIn = 4, kPoints = kIn;
  static constexpr int kOut = kIn - kTaps + 1;

  // t = B^T d.
  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kIn]) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  }

  // t = G g.
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kIn]) {
    const Vec<T> half(T(0.5));
    Vec<T> even = g[0];
    if constexpr (kTaps == 3) even = even + g[2];
    t[0] = g[0];
    t[1] = even * half + g[1] * half;
    t[2] = even * half - g[1] * half;
    t[3] = g[kTaps - 1];
  }

  // y = A^T m.
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kIn], Vec<T> (&y)[kOut]) {
    const Vec<T> sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = m[0] + sum;
    if constexpr (kOut == 2) {
      y[1] = difference + m[3];
    } else {
      y[1] = difference;
      y[2] = sum + m[3];
    }
  }
};

// F(4,3), F(2,5) and F(5,2).
template <int kFilterTaps>
struct WinogradSixPoints {
  static constexpr int kTaps = kFilterTaps, kStep = 1, kIn = 6, kPoints = kIn;
  static constexpr int kOut = kIn - kTaps + 1;

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kIn]) {
    const Vec<T> u = d[4] - d[2], v = d[3] - d[1];
    const Vec<T> half(T(0.5)), one_and_half(T(1.5)), two(T(2));
    t[0] = fma(one_and_half, v, (d[0] - d[2]) + u);
    t[1] = fma(one_and_half, d[2] + d[3], u + v);
    t[2] = fma(one_and_half, d[3] - d[2], u - v);
    t[3] = fma(two, v, u);
    t[4] = fnma(half, v, u);
    t[5] = fma(one_and_half, u, (d[5] - d[3]) - v);
  }

  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kIn]) {
    const Vec<T> third(T(1.0 / 3.0)), fifteenth(T(1.0 / 15.0)), half(T(0.5)), two(T(2));
    Vec<T> even = g[0], odd = g[1];
    Vec<T> at_half = g[kTaps - 1], at_two = g[kTaps - 1];  // Horner, at 1/2 and -2
    FASTNN_UNROLL
    for (int i = 2; i < kTaps; ++i) (i % 2 == 0 ? even : odd) = (i % 2 == 0 ? even : odd) + g[i];
    FASTNN_UNROLL
    for (int i = kTaps - 2; i >= 0; --i) {
      at_half = fma(half, at_half, g[i]);
      at_two = fnma(two, at_two, g[i]);
    }
    t[0] = g[0];
    t[1] = even * third + odd * third;
    t[2] = odd * third - even * third;
    t[3] = at_half * (Vec<T>(T(-16)) * fifteenth);
    t[4] = at_two * fifteenth;
    t[5] = g[kTaps - 1];
  }

  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kIn], Vec<T> (&y)[kOut]) {
    const Vec<T> sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = ((m[0] + sum) + m[3]) + m[4];
    FASTNN_UNROLL
    for (int i = 1; i < kOut; ++i) {
      const T two = static_cast<T>(i % 2 == 0 ? 1 << i : -(1 << i));
      const T half = T(1) / static_cast<T>(1 << i);
      y[i] = fma(Vec<T>(two), m[4], fma(Vec<T>(half), m[3], i % 2 == 0 ? sum : difference));
    }
    y[kOut - 1] = y[kOut - 1] + m[5];
  }
};

// F(3,3), without infinity.
struct WinogradFivePoints {
  static constexpr int kOut = 3, kTaps = 3, kStep = 1, kIn = 5, kPoints = 5;
  using Six = WinogradSixPoints<4>;  // with a last tap of zero, its product at infinity is zero

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kPoints]) {
    const Vec<T> inputs[6] = {d[0], d[1], d[2], d[3], d[4], Vec<T>::zero()};
    Vec<T> all[6];
    Six::input(inputs, all);
    FASTNN_UNROLL
    for (int i = 0; i < kPoints; ++i) t[i] = all[i];
  }
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kPoints]) {
    const Vec<T> taps[4] = {g[0], g[1], g[2], Vec<T>::zero()};
    Vec<T> all[6];
    Six::weights(taps, all);
    FASTNN_UNROLL
    for (int i = 0; i < kPoints; ++i) t[i] = all[i];
  }
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kPoints], Vec<T> (&y)[kOut]) {
    const Vec<T> all[6] = {m[0], m[1], m[2], m[3], m[4], Vec<T>::zero()};
    Six::output(all, y);
  }
};

// The sum of two filters with the same number of outputs. kApart 1: the taps of First, then those
// of Second. kApart 2: a convolution with a step of 2, whose even taps are First's and see the even
// inputs, and the odd ones Second's.
template <int kApart, class First, class Second>
struct WinogradSum {
  static_assert(First::kOut == Second::kOut && First::kStep == 1 && Second::kStep == 1);
  static constexpr int kOut = First::kOut, kTaps = First::kTaps + Second::kTaps, kStep = kApart;
  static constexpr int kIn = (kOut - 1) * kStep + kTaps;
  static constexpr int kPoints = First::kPoints + Second::kPoints;
  static constexpr int kSecond = kApart == 1 ? First::kTaps : 1;  // Second's first tap

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[kIn], Vec<T> (&t)[kPoints]) {
    Vec<T> first[First::kIn], second[Second::kIn], a[First::kPoints], b[Second::kPoints];
    FASTNN_UNROLL
    for (int i = 0; i < First::kIn; ++i) first[i] = d[i * kApart];
    FASTNN_UNROLL
    for (int i = 0; i < Second::kIn; ++i) second[i] = d[kSecond + i * kApart];
    First::input(first, a);
    Second::input(second, b);
    join(a, b, t);
  }
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[kTaps], Vec<T> (&t)[kPoints]) {
    Vec<T> first[First::kTaps], second[Second::kTaps], a[First::kPoints], b[Second::kPoints];
    FASTNN_UNROLL
    for (int i = 0; i < First::kTaps; ++i) first[i] = g[i * kApart];
    FASTNN_UNROLL
    for (int i = 0; i < Second::kTaps; ++i) second[i] = g[kSecond + i * kApart];
    First::weights(first, a);
    Second::weights(second, b);
    join(a, b, t);
  }
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kPoints], Vec<T> (&y)[kOut]) {
    Vec<T> a[First::kPoints], b[Second::kPoints], other[kOut];
    FASTNN_UNROLL
    for (int i = 0; i < First::kPoints; ++i) a[i] = m[i];
    FASTNN_UNROLL
    for (int i = 0; i < Second::kPoints; ++i) b[i] = m[First::kPoints + i];
    First::output(a, y);
    Second::output(b, other);
    FASTNN_UNROLL
    for (int i = 0; i < kOut; ++i) y[i] = y[i] + other[i];
  }

 private:
  template <class T>
  static FASTNN_INLINE void join(const Vec<T> (&a)[First::kPoints],
                                 const Vec<T> (&b)[Second::kPoints], Vec<T> (&t)[kPoints]) {
    FASTNN_UNROLL
    for (int i = 0; i < First::kPoints; ++i) t[i] = a[i];
    FASTNN_UNROLL
    for (int i = 0; i < Second::kPoints; ++i) t[First::kPoints + i] = b[i];
  }
};

// store(i, j, ·) for the transform in both dimensions of load(i, j).
template <class T, int kRowsIn, int kRowsOut, int kColsIn, int kColsOut, class Load, class Height,
          class Width, class Store>
FASTNN_INLINE void transform_planes(const Load& load, const Height& height, const Width& width,
                                    const Store& store) {
  Vec<T> half[kRowsOut][kColsIn];
  FASTNN_UNROLL
  for (int j = 0; j < kColsIn; ++j) {
    Vec<T> column[kRowsIn], t[kRowsOut];
    FASTNN_UNROLL
    for (int i = 0; i < kRowsIn; ++i) column[i] = load(i, j);
    height(column, t);
    FASTNN_UNROLL
    for (int i = 0; i < kRowsOut; ++i) half[i][j] = t[i];
  }
  FASTNN_UNROLL
  for (int i = 0; i < kRowsOut; ++i) {
    Vec<T> t[kColsOut];
    width(half[i], t);
    FASTNN_UNROLL
    for (int j = 0; j < kColsOut; ++j) store(i, j, t[j]);
  }
}

}  // namespace fastnn::FASTNN_ISA
