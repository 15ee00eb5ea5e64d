// Adamax: u = max(beta2 u, |g| + eps), p -= step_size m / u (Kingma and Ba, 2015).
// NAdam: p -= (gradient_size g + step_size m) / (sqrt(v) correction + eps) (Dozat, 2016).
// RAdam: p -= step_size m / (sqrt(v) + eps), without the divisor in the first steps (Liu et al.,
// 2020). m and v as in adam.cpp.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {
namespace {

// step(array, gradient, mean, second state) gives what is subtracted, and updates that state.
template <class T, class Step>
void variant_step(const AdamVariantStepArgs<T>& args, const Step& step) {
  const double beta1 = args.beta1, decay = args.decay;
  step_with_two_states<T>(
      args, [=](const OptimArray<T>& array, Vec<T> p, Vec<T> g, Vec<T>& mean, Vec<T>& second) {
        mean = fma(constant<T>(1 - beta1), g - mean, mean);
        return constant<T>(decay) * p - step(array, g, mean, second);
      });
}

template <class T>
FASTNN_INLINE void update_square(Vec<T>& square, Vec<T> g, double beta2) {
  square = fma(constant<T>(1 - beta2) * g, g, constant<T>(beta2) * square);
}

}  // namespace

template <class T>
void adamax_step(const AdamVariantStepArgs<T>& args) {
  const double beta2 = args.beta2, eps = args.eps;
  variant_step(args, [=](const OptimArray<T>& array, Vec<T> g, Vec<T> m, Vec<T>& largest) {
    largest = max_nan(constant<T>(beta2) * largest, abs(g) + constant<T>(eps));
    return constant<T>(array.step_size) * m / largest;
  });
}

template <class T>
void nadam_step(const AdamVariantStepArgs<T>& args) {
  const double beta2 = args.beta2, eps = args.eps;
  variant_step(args, [=](const OptimArray<T>& array, Vec<T> g, Vec<T> m, Vec<T>& square) {
    update_square(square, g, beta2);
    const Vec<T> divisor = fma(sqrt(square), constant<T>(array.correction), constant<T>(eps));
    return fma(constant<T>(array.gradient_size), g, constant<T>(array.step_size) * m) / divisor;
  });
}

template <class T>
void radam_step(const AdamVariantStepArgs<T>& args) {
  const double beta2 = args.beta2, eps = args.eps;
  variant_step(args, [=](const OptimArray<T>& array, Vec<T> g, Vec<T> m, Vec<T>& square) {
    update_square(square, g, beta2);
    const Vec<T> step = constant<T>(array.step_size) * m;
    return array.first ? step : step / (sqrt(square) + constant<T>(eps));
  });
}

#define FASTNN_ADAM_VARIANT(name)                        \
  template void name(const AdamVariantStepArgs<float>&); \
  template void name(const AdamVariantStepArgs<double>&)
FASTNN_ADAM_VARIANT(adamax_step);
FASTNN_ADAM_VARIANT(nadam_step);
FASTNN_ADAM_VARIANT(radam_step);
#undef FASTNN_ADAM_VARIANT

}  // namespace fastnn::FASTNN_ISA
