// relu(x) = max(x, 0); NaN stays NaN. Its gradient at 0 is 0.
#include "kernels/elementwise/map.h"
#include "ops/elementwise.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void relu_forward(const UnaryForwardArgs<T>& args) {
  map(args.n, args.y, [](Vec<T> x) { return select(x < Vec<T>::zero(), Vec<T>::zero(), x); },
      args.x);
}

// `saved` is the output.
template <class T>
void relu_backward(const UnaryBackwardArgs<T>& args) {
  map(
      args.n, args.grad_x,
      [](Vec<T> grad, Vec<T> y) { return select(y <= Vec<T>::zero(), Vec<T>::zero(), grad); },
      args.grad_y, args.saved);
}

template void relu_forward(const UnaryForwardArgs<float>&);
template void relu_forward(const UnaryForwardArgs<double>&);
template void relu_backward(const UnaryBackwardArgs<float>&);
template void relu_backward(const UnaryBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
