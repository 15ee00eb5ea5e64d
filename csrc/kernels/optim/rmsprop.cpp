// RMSprop: s = alpha s + (1 - alpha) g^2 and, centred, a = alpha a + (1 - alpha) g; the step is
// g / (sqrt(s - a^2) + eps), gathered in a momentum buffer if there is one.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void rmsprop_step(const RmspropStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> decay = constant<T>(args.weight_decay), momentum = constant<T>(args.momentum);
    const Vec<T> alpha = constant<T>(args.alpha), rest = constant<T>(1 - args.alpha);
    const Vec<T> eps = constant<T>(args.eps), lr = constant<T>(array.step_size);
    T* param = array.param;
    const T* grad = array.grad;
    T *square = array.state[0], *mean = array.state[1], *buffer = array.state[2];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> p = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
      const Vec<T> s = fma(rest * g, g, alpha * load_part(square + i, count));
      store_part(square + i, count, s);
      Vec<T> variance = s;
      if (mean != nullptr) {
        const Vec<T> old_mean = load_part(mean + i, count);
        const Vec<T> a = fma(rest, g - old_mean, old_mean);
        store_part(mean + i, count, a);
        variance = max(Vec<T>::zero(), fnma(a, a, s));  // rounding may leave it negative
      }
      Vec<T> step = g / (sqrt(variance) + eps);
      if (buffer != nullptr) {
        step = fma(momentum, load_part(buffer + i, count), step);
        store_part(buffer + i, count, step);
      }
      store_part(param + i, count, fnma(lr, step, p));
    });
  });
}

template void rmsprop_step(const RmspropStepArgs<float>&);
template void rmsprop_step(const RmspropStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
