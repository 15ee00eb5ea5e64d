// What every family's header ends with: the list of its kernels.
//
// A line KERNEL(name, Args) declares `template <class T> void name(const Args<T>&)` in every
// instruction set's namespace, gives it a slot in the dispatch table (float and double) and names
// it in the tests.
#pragma once

namespace fastnn {

template <template <class> class Args>
struct Kernel {
  void (*f32)(const Args<float>&);
  void (*f64)(const Args<double>&);
  void operator()(const Args<float>& args) const { f32(args); }
  void operator()(const Args<double>& args) const { f64(args); }
};

#define FASTNN_KERNEL_SLOT(name, Args) Kernel<Args> name;

// The family's part of the dispatch table, and `pool_kernels()`: that of the active instruction
// set.
#define FASTNN_KERNELS(Kernels, family, LIST) \
  struct Kernels {                            \
    LIST(FASTNN_KERNEL_SLOT)                  \
  };                                          \
  const Kernels& family##_kernels();

}  // namespace fastnn
