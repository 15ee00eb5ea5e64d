// Adagrad: s += g^2, p -= step_size g / (sqrt(s) + eps).
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void adagrad_step(const AdagradStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> decay = constant<T>(args.weight_decay), eps = constant<T>(args.eps);
    const Vec<T> step_size = constant<T>(array.step_size);
    T* param = array.param;
    const T* grad = array.grad;
    T* sum = array.state[0];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> p = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
      const Vec<T> s = fma(g, g, load_part(sum + i, count));
      store_part(sum + i, count, s);
      store_part(param + i, count, fnma(step_size, g / (sqrt(s) + eps), p));
    });
  });
}

template void adagrad_step(const AdagradStepArgs<float>&);
template void adagrad_step(const AdagradStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
