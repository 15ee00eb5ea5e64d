// exp, exp2, expm1, log, log1p, tanh, sigmoid and erf over Vec<float> and Vec<double>, without
// branches.
//
// Errors in units in the last place (ULP), on every ISA: exp and log at most 1, the others at
// most 2; tests/simd/math_accuracy.cpp measures them. The whole domain is covered: NaN gives NaN,
// exp overflows to infinity and underflows gradually, log(0) is -inf, log(negative) is NaN,
// subnormal arguments count in full, and odd functions, expm1 and log1p keep the sign of zero.
// The rounding mode must be to nearest (the default) and subnormals must not be flushed.
//
// Polynomials are minimax fits (Remez, computed in 60 digits) unless a source is named; arguments
// are split as by Cody and Waite: the high part of ln 2 has trailing zeros enough for its product
// with any exponent to be exact, with or without fused multiply-add.
#pragma once

#include "vec.h"

namespace fastnn::FASTNN_ISA {

namespace math {

template <class T>
struct Constants;
template <>
struct Constants<float> {
  static constexpr float kLog2E = 0x1.715476p+0f;
  static constexpr float kLn2High = 0x1.62e4p-1f;
  static constexpr float kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr float kShifter = 0x1.8p23f;  // x + kShifter has no bits below the units
  static constexpr float kExpMin = -104.0f;     // exp of less rounds to zero ...
  static constexpr float kExpMax = 89.0f;       // ... and of more to infinity
  static constexpr float kExp2Min = -151.0f;
  static constexpr float kExp2Max = 129.0f;
  static constexpr float kExpm1Min = -20.0f;   // expm1 of less rounds to -1
  static constexpr float kSigmoidMax = 30.0f;  // sigmoid of more rounds to 1
  static constexpr float kSigmoidExponent = -32.0f;
  static constexpr float kSigmoidScale = 0x1p-32f;
  static constexpr float kErfMax = 4.0f;  // erf of more rounds to 1
  static constexpr float kErfSmall = 0.95f;
  static constexpr float kMinNormal = 0x1p-126f;
  static constexpr int kMantissaBits = 23;
  static constexpr int32_t kMantissaMask = 0x007fffff;
  static constexpr int32_t kSqrtHalfBits = 0x3f3504f3;
};
template <>
struct Constants<double> {
  static constexpr double kLog2E = 0x1.71547652b82fep+0;
  static constexpr double kLn2High = 0x1.62e42feep-1;
  static constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kShifter = 0x1.8p52;
  static constexpr double kExpMin = -746.0;
  static constexpr double kExpMax = 710.0;
  static constexpr double kExp2Min = -1076.0;
  static constexpr double kExp2Max = 1025.0;
  static constexpr double kExpm1Min = -40.0;
  static constexpr double kTanhMax = 20.0;  // tanh of more rounds to 1
  static constexpr double kSigmoidMax = 60.0;
  static constexpr double kSigmoidExponent = -64.0;
  static constexpr double kSigmoidScale = 0x1p-64;
  static constexpr double kErfMax = 5.95;
  static constexpr double kErfSmall = 1.0;
  static constexpr double kMinNormal = 0x1p-1022;
  static constexpr int kMantissaBits = 52;
  static constexpr int64_t kMantissaMask = 0x000fffffffffffff;
  static constexpr int64_t kSqrtHalfBits = 0x3fe6a09e667f3bcd;
};

// c0 + c1 x + c2 x^2 + ...
template <class T>
FASTNN_INLINE Vec<T> polynomial(Vec<T>, T c0) {
  return Vec<T>(c0);
}
template <class T, class... More>
FASTNN_INLINE Vec<T> polynomial(Vec<T> x, T c0, More... more) {
  return fma(x, polynomial(x, more...), Vec<T>(c0));
}

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2.
FASTNN_INLINE Vec<float> exp_tail(Vec<float> r) {
  return polynomial(r, 0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f2p-5f, 0x1.123a2p-7f,
                    0x1.6a2414p-10f);
}
FASTNN_INLINE Vec<double> exp_tail(Vec<double> r) {
  return polynomial(r, 0x1.000000000000ap-1, 0x1.55555555554f9p-3, 0x1.5555555550851p-5,
                    0x1.1111111127f42p-7, 0x1.6c16c18436118p-10, 0x1.a01a012965462p-13,
                    0x1.a01999e6dc051p-16, 0x1.71df27018c5f4p-19, 0x1.28ad9902e9b35p-22,
                    0x1.ad7d6c302882ep-26);
}

// 2^r for |r| <= 1/2.
FASTNN_INLINE Vec<float> exp2_near_zero(Vec<float> r) {
  return polynomial(r, 1.0f, 0x1.62e432p-1f, 0x1.ebfbe2p-3f, 0x1.c6ae72p-5f, 0x1.3b270ep-7f,
                    0x1.5f7276p-10f, 0x1.470b4ap-13f);
}
FASTNN_INLINE Vec<double> exp2_near_zero(Vec<double> r) {
  const Vec<double> x = r * Vec<double>(0x1.62e42fefa39efp-1), one(1.0);
  return fma(x, fma(x, exp_tail(x), one), one);
}

// log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2 + f); this is R (FreeBSD's e_log.c
// and e_logf.c).
FASTNN_INLINE Vec<float> log_series(Vec<float> z) {
  return z * polynomial(z, 0x1.555554p-1f, 0x1.999c26p-2f, 0x1.23d3dcp-2f, 0x1.f13c4cp-3f);
}
FASTNN_INLINE Vec<double> log_series(Vec<double> z) {
  return z * polynomial(z, 0x1.5555555555593p-1, 0x1.999999997fa04p-2, 0x1.2492494229359p-2,
                        0x1.c71c51d8e78afp-3, 0x1.7466496cb03dep-3, 0x1.39a09d078c69fp-3,
                        0x1.2f112df3e5244p-3);
}

// erf(x) / x - 1 as a function of x^2, for |x| <= kErfSmall.
FASTNN_INLINE Vec<float> erf_small(Vec<float> x2) {
  return polynomial(x2, 0x1.06eba8p-3f, -0x1.812742p-2f, 0x1.ce2dccp-4f, -0x1.b80962p-6f,
                    0x1.54966cp-8f, -0x1.a88da2p-11f, 0x1.574eb2p-14f);
}
FASTNN_INLINE Vec<double> erf_small(Vec<double> x2) {
  return polynomial(x2, 0x1.06eba8214db69p-3, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b21p-4,
                    -0x1.b82ce312849afp-6, 0x1.565bcd0db0530p-8, -0x1.c02db3d8f264ep-11,
                    0x1.f9a321a195b9dp-14, -0x1.f4d1df40274b3p-17, 0x1.b9def1de3f8ebp-20,
                    -0x1.5f1d38354a7c9p-23, 0x1.f7a41b6768ef8p-27, -0x1.386acc14bb471p-30,
                    0x1.0579a08899394p-34);
}
// log(1 - erf(x)) for kErfSmall <= x <= kErfMax, fitted so that the error of erf is minimax.
FASTNN_INLINE Vec<float> log_erfc(Vec<float> x) {
  return polynomial(x, -0x1.009ee6p-12f, -0x1.20a232p+0f, -0x1.4668a6p-1f, -0x1.a88298p-4f,
                    0x1.69e1fp-6f, -0x1.8a54fcp-9f, 0x1.938a94p-13f);
}
FASTNN_INLINE Vec<double> log_erfc(Vec<double> x) {
  return polynomial(x, 0x1.cd45b77e71de3p-26, -0x1.20dd7ac2da5a5p+0, -0x1.45f2c1911d439p-1,
                    -0x1.a4fd1a3de1155p-4, 0x1.39be9889d81e6p-6, 0x1.5e156298ce9b0p-13,
                    -0x1.ab438f7801003p-10, 0x1.09cfba8d72b0ep-11, 0x1.eba485b6ac6bcp-15,
                    -0x1.1a76945e7493dp-13, 0x1.44ede8bbe6aedp-14, -0x1.f3c2449167b12p-16,
                    0x1.24d209f336eb3p-17, -0x1.0fb02673d967dp-19, 0x1.92a787f2bdb9ep-22,
                    -0x1.d9464ce4162c2p-25, 0x1.b087116831a14p-28, -0x1.28b3211311c2ep-31,
                    0x1.1f8fc6a550a66p-35, -0x1.5f0f9a47051dbp-40, 0x1.95d48ebbd0889p-46);
}

// (tanh(x) - x) / x^3 as a function of x^2: for |x| <= 0.305 in float, 0.55 in double.
FASTNN_INLINE Vec<float> tanh_small(Vec<float> x2) {
  return polynomial(x2, -0x1.55548ep-2f, 0x1.10aa18p-3f, -0x1.9bb5b4p-5f);
}
FASTNN_INLINE Vec<double> tanh_small(Vec<double> x2) {
  return polynomial(x2, -0x1.555555555554fp-2, 0x1.1111111110797p-3, -0x1.ba1ba1b97d0fdp-5,
                    0x1.664f485954af1p-6, -0x1.226e2f10caaa0p-7, 0x1.d6d29afd7ec66p-9,
                    -0x1.7d8fcbbe3ed0fp-10, 0x1.34836b80d0b17p-11, -0x1.e96d097b73641p-13,
                    0x1.5d6c4f90763cep-14, -0x1.46fcb270b4bb1p-16);
}

// Points near multiples of 0.6 whose tanh is nearly a float, that float t, and 1 - t^2.
alignas(64) inline constexpr float kTanhPoint[16] = {
    0.0f,           0x1.332f1cp-1f, 0x1.333dacp+0f, 0x1.ccc2d8p+0f, 0x1.332d7p+1f,  0x1.80044p+1f,
    0x1.cccb36p+1f, 0x1.0cd1ccp+2f, 0x1.3334cep+2f, 0x1.599f58p+2f, 0x1.800688p+2f, 0x1.a6730ap+2f,
    0x1.cc4bb2p+2f, 0x1.f12e72p+2f, 0x1.0a2b24p+3f, 0x1.2p+3f};
alignas(64) inline constexpr float kTanhValue[16] = {
    0.0f,           0x1.12f54p-1f,  0x1.aadb2ap-1f, 0x1.e4c1b2p-1f, 0x1.f7a37cp-1f, 0x1.fd77fcp-1f,
    0x1.ff3c6ap-1f, 0x1.ffc51ap-1f, 0x1.ffee4p-1f,  0x1.fffaa8p-1f, 0x1.fffe64p-1f, 0x1.ffff84p-1f,
    0x1.ffffdap-1f, 0x1.fffff4p-1f, 0x1.fffffcp-1f, 0x1p+0f};
alignas(64) inline constexpr float kTanhSlope[16] = {
    0x1p+0f,         0x1.6c570cp-1f,  0x1.3841dcp-2f,  0x1.a84c12p-4f,
    0x1.096132p-5f,  0x1.4334f6p-7f,  0x1.86e14ap-9f,  0x1.d714e6p-11f,
    0x1.1bfb14p-12f, 0x1.55fe38p-14f, 0x1.9bff5ap-16f, 0x1.efffc4p-18f,
    0x1.2ffff4p-19f, 0x1.7ffffcp-21f, 0x1.fffffep-23f, 0.0f};

// The integer n nearest to x / ln(2).
template <class T>
FASTNN_INLINE Vec<T> nearest_power(Vec<T> x) {
  using K = Constants<T>;
  return fma(x, Vec<T>(K::kLog2E), Vec<T>(K::kShifter)) - K::kShifter;
}

// exp(x) = 2^n (1 + y), |y| < 0.42.
template <class T>
struct ScaledExpm1 {
  Vec<T> n, y;
};
// x = n ln(2) + high - low with high exact; y is nearly correctly rounded, since the low part joins
// the small terms first.
template <class T>
FASTNN_INLINE ScaledExpm1<T> scaled_expm1(Vec<T> x) {
  using K = Constants<T>;
  const Vec<T> n = nearest_power(x);
  const Vec<T> high = fnma(n, Vec<T>(K::kLn2High), x);
  const Vec<T> low = n * K::kLn2Low;
  const Vec<T> r = high - low;
  return {n, high + fma(r * r, exp_tail(r), -low)};
}

// exp(x) = 2^n y, y about 0.7 to 1.42.
template <class T>
struct ScaledExp {
  Vec<T> n, y;
};
template <class T>
FASTNN_INLINE ScaledExp<T> scaled_exp(Vec<T> x) {
#if defined(FASTNN_ISA_GENERIC)
  // Horner's form below would round the last product too, and exceed 1 ULP.
  const ScaledExpm1<T> e = scaled_expm1(x);
  return {e.n, e.y + T(1)};
#else
  using K = Constants<T>;
  const Vec<T> n = nearest_power(x);
  const Vec<T> r = fnma(n, Vec<T>(K::kLn2Low), fnma(n, Vec<T>(K::kLn2High), x));
  return {n, fma(r, fma(r, exp_tail(r), Vec<T>(T(1))), Vec<T>(T(1)))};
#endif
}

// x = 2^exponent (1 + fraction) with 1 + fraction in [sqrt(1/2), sqrt(2)), for normal x > 0.
template <class T>
struct Decomposed {
  Vec<T> exponent, fraction;
};
template <class T>
FASTNN_INLINE Decomposed<T> decompose(Vec<T> x) {
  using K = Constants<T>;
  using Int = IntVec<T>;
  const Int offset = bit_cast_to_int(x) - Int(K::kSqrtHalfBits);
  const Int mantissa = (offset & Int(K::kMantissaMask)) + Int(K::kSqrtHalfBits);
  return {to_float(shift_right<K::kMantissaBits>(offset)), bit_cast_to_float(mantissa) - T(1)};
}

// exponent ln(2) + log(1 + fraction) + correction, summed from the small terms to the large.
template <class T>
FASTNN_INLINE Vec<T> log_sum(Decomposed<T> x, Vec<T> correction) {
  using K = Constants<T>;
  const Vec<T> f = x.fraction;
  const Vec<T> s = f / (f + T(2));
  const Vec<T> half_square = T(0.5) * f * f;
  const Vec<T> low = fma(x.exponent, Vec<T>(K::kLn2Low), correction);
  const Vec<T> tail = half_square - fma(s, half_square + log_series(s * s), low);
  return x.exponent * K::kLn2High - (tail - f);
}

template <class T>
FASTNN_INLINE Vec<T> infinity() {
  return Vec<T>(static_cast<T>(__builtin_inf()));
}
// y, the logarithm of x for finite x > 0, or what the logarithm of any other x is.
template <class T>
FASTNN_INLINE Vec<T> log_special_cases(Vec<T> x, Vec<T> y) {
  const Vec<T> nan(static_cast<T>(__builtin_nan("")));
  const Vec<T> finite_or_nan = select(x < infinity<T>(), y, x);
  const Vec<T> not_positive = select(x == Vec<T>::zero(), -infinity<T>(), nan);
  return select(x <= Vec<T>::zero(), not_positive, finite_or_nan);
}

}  // namespace math

template <class T>
FASTNN_INLINE Vec<T> exp(Vec<T> x) {
  using K = math::Constants<T>;
  x = min(Vec<T>(K::kExpMax), max(Vec<T>(K::kExpMin), x));
  const math::ScaledExp<T> e = math::scaled_exp(x);
  return scale_by_pow2(e.y, e.n);
}

// 2^x for x <= 1, which is not checked: a softmax's weights, with fewer instructions than exp
// takes.
template <class T>
FASTNN_INLINE Vec<T> exp2_nonpositive(Vec<T> x) {
#if defined(FASTNN_ISA_AVX512)
  const Vec<T> r(native::minus_nearest(x.v));  // needs no limits: 2^-inf comes out as 2^0 2^-inf
  return scale_by_pow2(math::exp2_near_zero(r), x - r);
#else
  using K = math::Constants<T>;
  x = max(Vec<T>(K::kExp2Min), x);
  const Vec<T> n = (x + K::kShifter) - K::kShifter;
  return scale_by_pow2(math::exp2_near_zero(x - n), n);
#endif
}
// exp(x) for x <= 0, which is not checked, likewise; its relative error is up to (1 + |x| / 2) ULP.
template <class T>
FASTNN_INLINE Vec<T> exp_nonpositive(Vec<T> x) {
  return exp2_nonpositive(x * math::Constants<T>::kLog2E);
}
template <class T>
FASTNN_INLINE Vec<T> exp2(Vec<T> x) {
  return exp2_nonpositive(min(Vec<T>(math::Constants<T>::kExp2Max), x));
}

// exp(x) - 1 = 2^n y + (2^n - 1), computed halved since 2^n may overflow before the result does.
template <class T>
FASTNN_INLINE Vec<T> expm1(Vec<T> x) {
  using K = math::Constants<T>;
  const Vec<T> clamped = min(Vec<T>(K::kExpMax), max(Vec<T>(K::kExpm1Min), x));
  const math::ScaledExpm1<T> e = math::scaled_expm1(clamped);
  const Vec<T> half_power = pow2n(e.n - T(1));
  const Vec<T> half_result = fma(half_power, e.y, half_power - T(0.5));
  // Halving would round a subnormal.
  const Vec<T> result = select(e.n == Vec<T>::zero(), e.y, half_result + half_result);
  return copysign(result, x);
}

template <class T>
FASTNN_INLINE Vec<T> log(Vec<T> x) {
  using K = math::Constants<T>;
  const T subnormal_scale = static_cast<T>(int64_t{1} << K::kMantissaBits);
  const typename Vec<T>::Mask subnormal = x < Vec<T>(K::kMinNormal);
  math::Decomposed<T> d = math::decompose(select(subnormal, x * subnormal_scale, x));
  d.exponent -= select(subnormal, Vec<T>(static_cast<T>(K::kMantissaBits)), Vec<T>::zero());
  return math::log_special_cases(x, math::log_sum(d, Vec<T>::zero()));
}

// log(u) with u = 1 + x rounded, plus (1 + x - u) / u (FreeBSD's s_log1p.c).
template <class T>
FASTNN_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> one(T(1));
  const Vec<T> u = one + x;
  const Vec<T> rounding_error = select(x >= one, one - (u - x), x - (u - one));
  math::Decomposed<T> d = math::decompose(u);
  // Without an exponent the fraction is x itself, exactly.
  const typename Vec<T>::Mask fraction_is_x = d.exponent == Vec<T>::zero();
  d.fraction = select(fraction_is_x, x, d.fraction);
  const Vec<T> correction = select(fraction_is_x, Vec<T>::zero(), rounding_error / u);
  const Vec<T> result = copysign(math::log_sum(d, correction), x);
  return select(x == Vec<T>::zero(), x, math::log_special_cases(u, result));
}

// tanh(point + d) = t + (1 - t^2) y / (1 + t y) with t = tanh(point) and y = tanh(d).
FASTNN_INLINE Vec<float> tanh(Vec<float> x) {
  const Vec<float> clamped = min(Vec<float>(9.25f), abs(x));
  const Vec<float> nearest = fma(clamped, Vec<float>(1 / 0.6f), Vec<float>(0x1.8p23f));
  const IntVec<float> index = bit_cast_to_int(nearest);
  const Vec<float> t = lookup(math::kTanhValue, index);
  const Vec<float> d = clamped - lookup(math::kTanhPoint, index);
  const Vec<float> d2 = d * d;
  const Vec<float> y = fma(d * d2, math::tanh_small(d2), d);
  const Vec<float> step = lookup(math::kTanhSlope, index) * y / fma(t, y, Vec<float>(1.0f));
  return copysign(t + step, x);
}
// A polynomial near zero; 1 - 2 / (1 + exp(2 |x|)) where the result is at least 1/2 and so loses
// nothing in the difference.
FASTNN_INLINE Vec<double> tanh(Vec<double> x) {
  const Vec<double> magnitude = abs(x);
  const Vec<double> x2 = x * x;
  const Vec<double> small = fma(x * x2, math::tanh_small(x2), x);
  const Vec<double> clamped = min(Vec<double>(math::Constants<double>::kTanhMax), magnitude);
  const math::ScaledExp<double> e = math::scaled_exp(clamped + clamped);
  const Vec<double> quotient = 2.0 / fma(pow2n(e.n), e.y, Vec<double>(1.0));
  return copysign(select(magnitude > Vec<double>(0.55), 1.0 - quotient, small), x);
}

// 1 / (1 + exp(-x)) with exp(-x) = 2^n (1 + y). Both sides of the fraction are multiplied by a
// power of two that keeps 2^n finite where the result is subnormal.
template <class T>
FASTNN_INLINE Vec<T> sigmoid(Vec<T> x) {
  using K = math::Constants<T>;
  const Vec<T> clamped = min(Vec<T>(K::kSigmoidMax), max(Vec<T>(K::kExpMin), x));
  // The last bits of `shifted` are those of n + kSigmoidExponent.
  constexpr T kShifter = K::kShifter + K::kSigmoidExponent;
  const Vec<T> shifted = fma(clamped, Vec<T>(-K::kLog2E), Vec<T>(kShifter));
  const Vec<T> n = shifted - kShifter;
  const Vec<T> r = fnma(n, Vec<T>(K::kLn2Low), fnma(n, Vec<T>(K::kLn2High), -clamped));
  const Vec<T> y = fma(r * r, math::exp_tail(r), r);
  const Vec<T> power = pow2n(bit_cast_to_int(shifted));
  const Vec<T> scale(K::kSigmoidScale);
  return scale / (fma(power, y, scale) + power);
}

// A polynomial near zero, 1 - exp(log(1 - erf)) beyond.
template <class T>
FASTNN_INLINE Vec<T> erf(Vec<T> x) {
  using K = math::Constants<T>;
  const Vec<T> magnitude = abs(x);
  const Vec<T> small = fma(x, math::erf_small(x * x), x);
  const Vec<T> clamped = min(Vec<T>(K::kErfMax), magnitude);
  const math::ScaledExp<T> complement = math::scaled_exp(math::log_erfc(clamped));
  const Vec<T> large = fnma(complement.y, pow2n(complement.n), Vec<T>(T(1)));
  return select(magnitude > Vec<T>(K::kErfSmall), copysign(large, x), small);
}

}  // namespace fastnn::FASTNN_ISA
