// Adam, AdamW and their amsgrad forms: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
// p -= step_size m / (sqrt(v) correction + eps), with the largest v so far under amsgrad.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void adam_step(const AdamStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> weight_decay = constant<T>(args.weight_decay), decay = constant<T>(args.decay);
    const Vec<T> rest1 = constant<T>(1 - args.beta1);
    const Vec<T> beta2 = constant<T>(args.beta2), rest2 = constant<T>(1 - args.beta2);
    const Vec<T> eps = constant<T>(args.eps), correction = constant<T>(array.correction);
    const Vec<T> step_size = constant<T>(array.step_size);
    T* param = array.param;
    const T* grad = array.grad;
    T *mean = array.state[0], *square = array.state[1], *largest = array.state[2];
    const auto step = [&](int64_t i, auto count) {
      const Vec<T> start = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), start, sign, weight_decay);
      const Vec<T> old_mean = load_part(mean + i, count);
      const Vec<T> m = fma(rest1, g - old_mean, old_mean);
      const Vec<T> v = fma(rest2 * g, g, beta2 * load_part(square + i, count));
      store_part(mean + i, count, m);
      store_part(square + i, count, v);
      Vec<T> used = v;
      if (largest != nullptr) {
        used = max_nan(load_part(largest + i, count), v);
        store_part(largest + i, count, used);
      }
      const Vec<T> divisor = fma(sqrt(used), correction, eps);
      store_part(param + i, count, fnma(step_size, m / divisor, decay * start));
    };
    for_each_vector<T>(begin, end, step);
  });
}

template void adam_step(const AdamStepArgs<float>&);
template void adam_step(const AdamStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
