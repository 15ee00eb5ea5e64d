// mse_loss, l1_loss, smooth_l1_loss and huber_loss: functions of the difference d.
#include "kernels/loss/pointwise.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
FASTNN_INLINE Vec<T> sign(Vec<T> d) {
  const Vec<T> zero = Vec<T>::zero(), one(T{1});
  return select(d > zero, one, select(d < zero, -one, d));  // NaN stays NaN
}

// d^2
template <class T>
struct Square {
  FASTNN_INLINE Vec<T> value(Vec<T> d) const { return d * d; }
  FASTNN_INLINE Vec<T> slope(Vec<T> d) const { return d + d; }
};

// |d|; the slope at 0 is 0.
template <class T>
struct Absolute {
  FASTNN_INLINE Vec<T> value(Vec<T> d) const { return abs(d); }
  FASTNN_INLINE Vec<T> slope(Vec<T> d) const { return sign(d); }
};

// d^2 / (2 beta) where |d| < beta, else |d| - beta / 2. beta = 0 gives |d|.
template <class T>
struct SmoothL1 {
  Vec<T> beta;
  explicit FASTNN_INLINE SmoothL1(double b) : beta(static_cast<T>(b)) {}
  FASTNN_INLINE Vec<T> value(Vec<T> d) const {
    const Vec<T> size = abs(d), half(T{0.5});
    return select(size < beta, half * size * size / beta, size - half * beta);
  }
  FASTNN_INLINE Vec<T> slope(Vec<T> d) const { return select(abs(d) < beta, d / beta, sign(d)); }
};

// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).
template <class T>
struct Huber {
  Vec<T> delta;
  explicit FASTNN_INLINE Huber(double d) : delta(static_cast<T>(d)) {}
  FASTNN_INLINE Vec<T> value(Vec<T> d) const {
    const Vec<T> size = abs(d), half(T{0.5});
    return select(size <= delta, half * size * size, delta * (size - half * delta));
  }
  FASTNN_INLINE Vec<T> slope(Vec<T> d) const { return select(abs(d) <= delta, d, delta * sign(d)); }
};

template <class T, class F>
FASTNN_INLINE DifferenceLoss<T, F> of_difference(const F& f) {
  return {f};
}

}  // namespace

FASTNN_POINTWISE_LOSS(mse_loss, of_difference<T>(Square<T>()));
FASTNN_POINTWISE_LOSS(l1_loss, of_difference<T>(Absolute<T>()));
FASTNN_POINTWISE_LOSS(smooth_l1_loss, of_difference<T>(SmoothL1<T>(args.parameter)));
FASTNN_POINTWISE_LOSS(huber_loss, of_difference<T>(Huber<T>(args.parameter)));

}  // namespace fastnn::FASTNN_ISA
