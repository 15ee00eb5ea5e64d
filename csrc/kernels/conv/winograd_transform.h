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

// F(1,1): nothing to transform.
struct WinogradIdentity {
  static constexpr int kOut = 1, kTaps = 1, kIn = 1;

  template <class T>
  static FASTNN_INLINE void input(const Vec<T> (&d)[1], Vec<T> (&t)[1]) {
    t[0] = d[0];
  }
  template <class T>
  static FASTNN_INLINE void weights(const Vec<T> (&g)[1], Vec<T> (&t)[1]) {
    t[0] = g[0];
  }
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[1], Vec<T> (&y)[1]) {
    y[0] = m[0];
  }
};

// F(2,3) and F(3,2).
template <int kFilterTaps>
struct WinogradFourPoints {
  static constexpr int kTaps = kFilterTaps, kIn = 4, kOut = kIn - kTaps + 1;

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
  static constexpr int kTaps = kFilterTaps, kIn = 6, kOut = kIn - kTaps + 1;

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

}  // namespace fastnn::FASTNN_ISA
