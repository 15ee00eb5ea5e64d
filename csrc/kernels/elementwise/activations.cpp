// The activations of ops/activations.h over whole arrays: forward reads x and writes y, backward
// reads grad_y and what was saved and writes grad_x, all once. In place where the pointers agree.

// Interleaves the vectors of a step (map.h); GCC otherwise leaves them one after the other, and the
// processor's scheduler is too short to overlap them: 1.1 times the speed.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns", "sched-pressure")
#endif

#include "kernels/elementwise/activations.h"

#include "kernels/elementwise/map.h"
#include "ops/elementwise.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T, class F>
FASTNN_INLINE void forward(const UnaryForwardArgs<T>& args, F f) {
  map(args.n, args.y, f, args.x);
}

template <class T, class F>
FASTNN_INLINE void backward(const UnaryBackwardArgs<T>& args, F f) {
  map(
      args.n, args.grad_x, [f](Vec<T> grad, Vec<T> saved) { return f.gradient(grad, saved); },
      args.grad_y, args.saved);
}

}  // namespace

#define FASTNN_ACTIVATION(_, name, first_parameter, second_parameter, ...) \
  template <class T>                                                       \
  void name##_forward(const UnaryForwardArgs<T>& args) {                   \
    [[maybe_unused]] const ActivationParameters p = args.p;                \
    forward(args, __VA_ARGS__);                                            \
  }                                                                        \
  template <class T>                                                       \
  void name##_backward(const UnaryBackwardArgs<T>& args) {                 \
    [[maybe_unused]] const ActivationParameters p = args.p;                \
    backward(args, __VA_ARGS__);                                           \
  }                                                                        \
  template void name##_forward(const UnaryForwardArgs<float>&);            \
  template void name##_forward(const UnaryForwardArgs<double>&);           \
  template void name##_backward(const UnaryBackwardArgs<float>&);          \
  template void name##_backward(const UnaryBackwardArgs<double>&);
FASTNN_ACTIVATIONS(FASTNN_ACTIVATION, )
#undef FASTNN_ACTIVATION

}  // namespace fastnn::FASTNN_ISA
