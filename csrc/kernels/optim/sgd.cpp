// SGD with momentum, as PyTorch writes it: g = gradient + weight_decay p; b = momentum b +
// (1 - dampening) g, or g at first; p -= lr b, or lr (g + momentum b) by Nesterov.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void sgd_step(const SgdStepArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> sign = constant<T>(args.maximize ? -1 : 1);
    const Vec<T> decay = constant<T>(args.weight_decay), lr = constant<T>(array.step_size);
    T* param = array.param;
    const T* grad = array.grad;
    T* buffer = array.state[0];
    if (buffer == nullptr) {
      for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
        const Vec<T> p = load_part(param + i, count);
        const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
        store_part(param + i, count, fnma(lr, g, p));
      });
      return;
    }
    const Vec<T> momentum = constant<T>(args.momentum);
    const Vec<T> share = constant<T>(array.first ? 1 : 1 - args.dampening);
    // A new buffer is all zeros, so the first step needs no case of its own.
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      const Vec<T> p = load_part(param + i, count);
      const Vec<T> g = decayed_gradient(load_part(grad + i, count), p, sign, decay);
      const Vec<T> b = fma(momentum, load_part(buffer + i, count), share * g);
      store_part(buffer + i, count, b);
      store_part(param + i, count, fnma(lr, args.nesterov ? fma(momentum, b, g) : b, p));
    });
  });
}

template void sgd_step(const SgdStepArgs<float>&);
template void sgd_step(const SgdStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
