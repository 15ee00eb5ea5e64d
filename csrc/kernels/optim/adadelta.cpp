// Adadelta: v = rho v + (1 - rho) g^2, step = sqrt(u + eps) / sqrt(v + eps) g,
// u = rho u + (1 - rho) step^2, p -= lr step.
#include "kernels/optim/list.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void adadelta_step(const AdadeltaStepArgs<T>& args) {
  const double rho = args.rho, eps = args.eps;
  step_with_two_states<T>(
      args, [=](const OptimArray<T>& array, Vec<T> p, Vec<T> g, Vec<T>& square, Vec<T>& steps) {
        const Vec<T> rest = constant<T>(1 - rho);
        square = fma(rest * g, g, constant<T>(rho) * square);
        const Vec<T> step = sqrt(steps + constant<T>(eps)) / sqrt(square + constant<T>(eps)) * g;
        steps = fma(rest * step, step, constant<T>(rho) * steps);
        return fnma(constant<T>(array.step_size), step, p);
      });
}

template void adadelta_step(const AdadeltaStepArgs<float>&);
template void adadelta_step(const AdadeltaStepArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
