// max_unpool: every element goes to the place that its maximum came from, zeros elsewhere. One
// thread a plane, elements in order: where indices repeat the last one stays.
#include "kernels/pool/window.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

template <class T>
void max_unpool3d_forward(const MaxUnpoolForwardArgs<T>& args) {
  const int64_t grain = larger(1, kPartWork / 4 / larger(1, args.inputs + args.outputs));
  parallel_for(args.planes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* to = args.y + plane * args.outputs;
      __builtin_memset(to, 0, static_cast<size_t>(args.outputs) * sizeof(T));
      for (int64_t i = plane * args.inputs; i < (plane + 1) * args.inputs; ++i) {
        to[args.indices[i]] = args.x[i];
      }
    }
  });
}

template <class T>
void max_unpool3d_backward(const MaxUnpoolBackwardArgs<T>& args) {
  const int64_t grain = larger(1, kPartWork / 4 / larger(1, args.inputs));
  parallel_for(args.planes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const T* from = args.grad_y + plane * args.outputs;
      for (int64_t i = plane * args.inputs; i < (plane + 1) * args.inputs; ++i) {
        args.grad_x[i] = from[args.indices[i]];
      }
    }
  });
}

template void max_unpool3d_forward(const MaxUnpoolForwardArgs<float>&);
template void max_unpool3d_forward(const MaxUnpoolForwardArgs<double>&);
template void max_unpool3d_backward(const MaxUnpoolBackwardArgs<float>&);
template void max_unpool3d_backward(const MaxUnpoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
