// The one-dimensional transforms of Winograd's F(m,3): y = A^T ((G g) * (B^T d)) are the m outputs
// of a filter g of 3 taps over m + 2 inputs d, with m + 2 products instead of 3 m.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). F(4,3) has the
// interpolation points 0, 1, -1, 1/2, -2 and infinity, whose rounding error is lower than that of
// 0, 1, -1, 2, -2; F(2,3) has 0, 1, -1 and infinity. Row i of a transform belongs to point i.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

struct WinogradF2 {
  static constexpr int kOut = 2, kIn = 4;

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
  static FASTNN_INLINE void weights(const Vec<T> (&g)[3], Vec<T> (&t)[kIn]) {
    const Vec<T> half(T(0.5));
    const Vec<T> ends = (g[0] + g[2]) * half, middle = g[1] * half;
    t[0] = g[0];
    t[1] = ends + middle;
    t[2] = ends - middle;
    t[3] = g[2];
  }

  // y = A^T m.
  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kIn], Vec<T> (&y)[kOut]) {
    y[0] = (m[0] + m[1]) + m[2];
    y[1] = (m[1] - m[2]) + m[3];
  }
};

struct WinogradF4 {
  static constexpr int kOut = 4, kIn = 6;

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
  static FASTNN_INLINE void weights(const Vec<T> (&g)[3], Vec<T> (&t)[kIn]) {
    const Vec<T> third(T(1.0 / 3.0)), fifteenth(T(1.0 / 15.0)), two(T(2)), four(T(4));
    const Vec<T> ends = (g[0] + g[2]) * third, middle = g[1] * third;
    t[0] = g[0];
    t[1] = ends + middle;
    t[2] = middle - ends;
    t[3] = fma(four, g[0], fma(two, g[1], g[2])) * (Vec<T>(T(-4)) * fifteenth);
    t[4] = fma(four, g[2], fnma(two, g[1], g[0])) * fifteenth;
    t[5] = g[2];
  }

  template <class T>
  static FASTNN_INLINE void output(const Vec<T> (&m)[kIn], Vec<T> (&y)[kOut]) {
    const Vec<T> sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = ((m[0] + sum) + m[3]) + m[4];
    y[1] = fma(Vec<T>(T(-2)), m[4], fma(Vec<T>(T(0.5)), m[3], difference));
    y[2] = fma(Vec<T>(T(4)), m[4], fma(Vec<T>(T(0.25)), m[3], sum));
    y[3] = fma(Vec<T>(T(-8)), m[4], fma(Vec<T>(T(0.125)), m[3], difference)) + m[5];
  }
};

}  // namespace fastnn::FASTNN_ISA
