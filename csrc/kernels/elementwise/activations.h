// The activations as functors over vectors, for the element-wise kernels and for whatever fuses
// one into its own loop. f(x) is the activation; f.gradient(grad, x) or f.gradient(grad, y) is
// grad * f', taken at the input or the output, as the parameter's name says. A NaN in gives a NaN
// out. At a kink the derivative is PyTorch's choice.
#pragma once

#include "kernels/elementwise/gelu.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

// Piecewise linear.

struct Relu {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return max(Vec<T>::zero(), x);  // max gives its second operand for NaN
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y) const {
    return select(y <= Vec<T>::zero(), Vec<T>::zero(), grad);
  }
};

struct LeakyRelu {
  double negative_slope;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return gradient(x, x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(x > Vec<T>::zero(), grad, grad * T(negative_slope));
  }
};

struct Threshold {
  double threshold, value;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return select(x <= Vec<T>(T(threshold)), Vec<T>(T(value)), x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(x <= Vec<T>(T(threshold)), Vec<T>::zero(), grad);
  }
};

struct Hardtanh {
  double min_val, max_val;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return min(Vec<T>(T(max_val)), max(Vec<T>(T(min_val)), x));
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const auto outside = (x <= Vec<T>(T(min_val))) | (x >= Vec<T>(T(max_val)));
    return select(outside, Vec<T>::zero(), grad);
  }
};

// min(max(x + 3, 0), 6) / 6
struct Hardsigmoid {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return Hardtanh{0, 6}(x + T(3)) * T(1.0 / 6);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(abs(x) < Vec<T>(T(3)), grad * T(1.0 / 6), Vec<T>::zero());
  }
};

// x * hardsigmoid(x); Howard et al. 2019 (MobileNetV3).
struct Hardswish {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return x * Hardsigmoid{}(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> inside = grad * fma(x, Vec<T>(T(1.0 / 3)), Vec<T>(T(0.5)));
    const Vec<T> right = select(x < Vec<T>(T(3)), inside, grad);
    return select(x <= Vec<T>(T(-3)), Vec<T>::zero(), right);
  }
};

struct Hardshrink {
  double lambd;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return gradient(x, x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(abs(x) <= Vec<T>(T(lambd)), Vec<T>::zero(), grad);
  }
};

struct Softshrink {
  double lambd;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return gradient(x - copysign(Vec<T>(T(lambd)), x), x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(abs(x) <= Vec<T>(T(lambd)), Vec<T>::zero(), grad);
  }
};

// Sigmoid-shaped.

// x / (1 + |x|)
struct Softsign {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return x / (T(1) + abs(x));
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> denominator = T(1) + abs(x);
    return grad / denominator / denominator;
  }
};

struct Sigmoid {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return sigmoid(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y) const {
    return grad * fnma(y, y, y);
  }
};

// log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|))
struct LogSigmoid {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return min(Vec<T>::zero(), x) - log1p(exp(-abs(x)));
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return grad * sigmoid(-x);
  }
};

struct Tanh {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return tanh(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y) const {
    return grad * fnma(y, y, Vec<T>(T(1)));
  }
};

// x - tanh(x)
struct Tanhshrink {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return x - tanh(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> t = tanh(x);
    return grad * (t * t);
  }
};

// Exponential on the left.

// x > 0 ? x : alpha (exp(x) - 1); Clevert, Unterthiner, Hochreiter 2015.
struct Elu {
  double alpha;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return select(x <= Vec<T>::zero(), expm1(x) * T(alpha), x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(x <= Vec<T>::zero(), grad * T(alpha) * exp(x), grad);
  }
};

// x > 0 ? x : alpha (exp(x / alpha) - 1); Barron 2017.
struct Celu {
  double alpha, inverse;  // inverse = 1 / alpha
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return select(x <= Vec<T>::zero(), expm1(x * T(inverse)) * T(alpha), x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return select(x <= Vec<T>::zero(), grad * exp(x * T(inverse)), grad);
  }
};

// scale * elu(x, alpha); Klambauer et al. 2017.
struct Selu {
  static constexpr double kAlpha = 1.6732632423543772848, kScale = 1.0507009873554804934;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return Elu{kAlpha}(x)*T(kScale);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return Elu{kAlpha}.gradient(grad * T(kScale), x);
  }
};

// log(1 + exp(beta x)) / beta, and x where beta x > threshold.
struct Softplus {
  double beta, inverse, threshold;  // inverse = 1 / beta
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    const Vec<T> z = x * T(beta);
    return select(z > Vec<T>(T(threshold)), x, log1p(exp(z)) * T(inverse));
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> z = x * T(beta);
    return select(z > Vec<T>(T(threshold)), grad, grad * sigmoid(z));
  }
};

// x times a distribution function.

// x * sigmoid(x); Elfwing, Uchibe, Doya 2017.
struct Silu {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return x * sigmoid(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> s = sigmoid(x);
    return grad * fma(s, fnma(x, s, x), s);
  }
};

// x * tanh(log(1 + w)) with w = exp(x), which is x n / (n + 2) with n = w (w + 2); Misra 2019.
struct Mish {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    const Vec<T> w = exp(near(x));
    const Vec<T> n = w * (w + T(2));
    return x * (n / (n + T(2)));
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> limited = near(x);
    const Vec<T> w = exp(limited);
    const Vec<T> n = w * (w + T(2)), denominator = n + T(2);
    const Vec<T> slope = T(4) * limited * (w / denominator) * ((w + T(1)) / denominator);
    return grad * (n / denominator + slope);
  }
  // Past 40 the factor is 1 in any precision; n must not overflow.
  template <class T>
  static FASTNN_INLINE Vec<T> near(Vec<T> x) {
    return min(Vec<T>(T(40)), x);
  }
};

// x * Phi(x), Phi the normal distribution function; Hendrycks, Gimpel 2016.
struct Gelu {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return gelu(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return grad * gelu_derivative(x);
  }
};

// Gelu with Phi(x) ~ sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is PyTorch's
// 0.5 (1 + tanh(...)) in a form that keeps its relative precision for negative x.
struct GeluTanh {
  static constexpr double kScale = 1.59576912160573072, kCubic = 0.044715 * kScale;
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return x * distribution(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    const Vec<T> s = distribution(x);
    // Past 64 the slope of the sigmoid is 0 in any precision; x * x must not overflow.
    const Vec<T> near = min(Vec<T>(T(64)), max(Vec<T>(T(-64)), x));
    const Vec<T> inner = fma(Vec<T>(T(3 * kCubic)), near * near, Vec<T>(T(kScale)));
    return grad * fma(fnma(s, s, s), near * inner, s);
  }
  template <class T>
  static FASTNN_INLINE Vec<T> distribution(Vec<T> x) {
    return sigmoid(x * fma(Vec<T>(T(kCubic)), x * x, Vec<T>(T(kScale))));
  }
};

// Plain functions.

struct Exp {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return exp(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y) const {
    return grad * y;
  }
};

struct Log {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return log(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> x) const {
    return grad / x;
  }
};

struct Sqrt {
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> x) const {
    return sqrt(x);
  }
  template <class T>
  FASTNN_INLINE Vec<T> gradient(Vec<T> grad, Vec<T> y) const {
    return grad / (y + y);
  }
};

}  // namespace fastnn::FASTNN_ISA
