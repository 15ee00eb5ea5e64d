// Adadelta: v = rho v + (1 - rho) g^2, step = sqrt(u + eps) / sqrt(v + eps) g,
// u = rho u + (1 - rho) step^2, p -= lr step.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void adadelta_step(const AdadeltaStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> decay = constant<T>(args.weight_decay), eps = constant<T>(args.eps);
    const Vec<T> rho = constant<T>(args.rho), rest = constant<T>(1 - args.rho);
    const Vec<T> lr = constant<T>(array.step_size);
    T* param = array.param;
    const T* grad = array.grad;
    T *square = array.state[0], *steps = array.state[1];
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> p = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
      const Vec<T> v = fma(rest * g, g, rho * load_part(square + i, count));
      const Vec<T> u = load_part(steps + i, count);
      const Vec<T> step = sqrt(u + eps) / sqrt(v + eps) * g;
      store_part(square + i, count, v);
      store_part(steps + i, count, fma(rest * step, step, rho * u));
      store_part(param + i, count, fnma(lr, step, p));
    });
  });
}

template void adadelta_step(const AdadeltaStepArgs<float>&);
template void adadelta_step(const AdadeltaStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
