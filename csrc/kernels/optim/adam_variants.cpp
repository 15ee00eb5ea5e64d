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
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> weight_decay = constant<T>(args.weight_decay), decay = constant<T>(args.decay);
    const Vec<T> rest1 = constant<T>(1 - args.beta1);
    T* param = array.param;
    const T* grad = array.grad;
    T *mean = array.state[0], *second = array.state[1];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> start = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), start, sign, weight_decay);
      const Vec<T> old_mean = load_part(mean + i, count);
      const Vec<T> m = fma(rest1, g - old_mean, old_mean);
      Vec<T> state = load_part(second + i, count);
      const Vec<T> change = step(array, g, m, state);
      store_part(mean + i, count, m);
      store_part(second + i, count, state);
      store_part(param + i, count, decay * start - change);
    });
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
