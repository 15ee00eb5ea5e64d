// Lion: p = decay p - step_size sign(beta1 m + (1 - beta1) g), m = beta2 m + (1 - beta2) g.
// Chen et al., "Symbolic discovery of optimization algorithms", 2023.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void lion_step(const LionStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1), decay = constant<T>(args.decay);
    const Vec<T> rest1 = constant<T>(1 - args.beta1), rest2 = constant<T>(1 - args.beta2);
    const Vec<T> step_size = constant<T>(array.step_size), zero = Vec<T>::zero();
    T* param = array.param;
    const T* grad = array.grad;
    T* mean = array.state[0];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> g = sign * load_part(grad + i, count);
      const Vec<T> m = load_part(mean + i, count);
      const Vec<T> direction = fma(rest1, g - m, m);
      // A step of 0 where the direction is 0, and NaN where it is NaN.
      const Vec<T> step =
          select(direction > zero, step_size, select(direction < zero, -step_size, direction));
      store_part(mean + i, count, fma(rest2, g - m, m));
      store_part(param + i, count, decay * load_part(param + i, count) - step);
    });
  });
}

template void lion_step(const LionStepArgs<float>&);
template void lion_step(const LionStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
