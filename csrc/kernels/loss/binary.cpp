// Binary cross-entropy from probabilities and from logits.
#include "kernels/loss/pointwise.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

// -(t log x + (1 - t) log(1 - x)) with both logarithms at least -100, so that a wrong certainty
// costs 100 instead of infinity; x (1 - x) in the gradient is at least 1e-12.
template <class T>
struct BinaryCrossEntropy {
  FASTNN_INLINE Vec<T> clamped(Vec<T> logarithm) const { return max(Vec<T>(T{-100}), logarithm); }
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    return (t - Vec<T>(T{1})) * clamped(log1p(-x)) - t * clamped(log(x));
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    return (x - t) / max(Vec<T>(static_cast<T>(1e-12)), (Vec<T>(T{1}) - x) * x);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T>, Vec<T>) const {
    return clamped(log1p(-x)) - clamped(log(x));
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

// (1 - t) x + (1 + (p - 1) t) softplus(-x), where p = pos_weight multiplies the positive term and
// softplus(-x) = log1p(exp(-|x|)) + max(-x, 0) does not overflow.
template <class T>
struct BinaryCrossEntropyWithLogits {
  FASTNN_INLINE Vec<T> softplus(Vec<T> x) const {
    return log1p(exp(-abs(x))) + max(Vec<T>::zero(), x);
  }
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T> p) const {
    const Vec<T> one(T{1});
    return fma(one - t, x, fma(p - one, t, one) * softplus(-x));
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T> p) const {
    return fma(p * t + (Vec<T>(T{1}) - t), sigmoid(x), -(p * t));
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T>, Vec<T> p) const {
    return fma(p - Vec<T>(T{1}), softplus(-x), -x);
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T> x, Vec<T> t, Vec<T>) const { return t * softplus(-x); }
};

}  // namespace

FASTNN_POINTWISE_LOSS(binary_cross_entropy, BinaryCrossEntropy<T>());
FASTNN_POINTWISE_LOSS(binary_cross_entropy_with_logits, BinaryCrossEntropyWithLogits<T>());

}  // namespace fastnn::FASTNN_ISA
