// soft_margin_loss, poisson_nll_loss and gaussian_nll_loss.
#include "kernels/loss/pointwise.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

// log(1 + exp(-t x))
template <class T>
struct SoftMargin {
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> d = t * x;
    return max(Vec<T>::zero(), -d) + log1p(exp(-abs(d)));
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    return -t * sigmoid(-(t * x));
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    return -x * sigmoid(-(t * x));
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

// exp(x) - t x, or x - t log(x + eps).
template <class T>
struct PoissonNll {
  bool log_input;
  Vec<T> eps;
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    return log_input ? exp(x) - t * x : x - t * log(x + eps);
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    return log_input ? exp(x) - t : Vec<T>(T{1}) - t / (x + eps);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T>, Vec<T>) const {
    return log_input ? -x : -log(x + eps);
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

// (log v + (x - t)^2 / v) / 2 with v = max(variance, eps), plus log(2 pi) / 2 where `full`. A
// variance below eps keeps its gradient, as in PyTorch.
template <class T>
struct GaussianNll {
  Vec<T> eps, constant;
  GaussianNll(double epsilon, bool full)
      : eps(static_cast<T>(epsilon)), constant(full ? T(0.918938533204672742) : T{0}) {}
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T> variance) const {
    const Vec<T> v = max(eps, variance), d = x - t;
    return fma(Vec<T>(T(0.5)), log(v) + d * d / v, constant);
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T> variance) const {
    return (x - t) / max(eps, variance);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T> t, Vec<T> variance) const {
    return (t - x) / max(eps, variance);
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T> x, Vec<T> t, Vec<T> variance) const {
    const Vec<T> v = max(eps, variance), d = x - t;
    return T(0.5) * (Vec<T>(T{1}) - d * d / v) / v;
  }
};

}  // namespace

FASTNN_POINTWISE_LOSS(soft_margin_loss, SoftMargin<T>());
FASTNN_POINTWISE_LOSS(poisson_nll_loss,
                      (PoissonNll<T>{args.flag, Vec<T>(static_cast<T>(args.parameter))}));
FASTNN_POINTWISE_LOSS(gaussian_nll_loss, (GaussianNll<T>(args.parameter, args.flag)));

}  // namespace fastnn::FASTNN_ISA
