// The dispatch table: a slot a kernel, filled once per instruction set by kernels/table.cpp.
//
// Every kernel is a template `template <class T> void name(const Args<T>&)`, compiled once per
// instruction set in namespace fastnn::<isa> with float and double instantiations.
#pragma once

#include "ops/ops.h"

namespace fastnn {

template <template <class> class Args>
struct Kernel {
  void (*f32)(const Args<float>&);
  void (*f64)(const Args<double>&);
  void operator()(const Args<float>& args) const { f32(args); }
  void operator()(const Args<double>& args) const { f64(args); }
};

struct KernelTable {
#define FASTNN_KERNEL(family, name, Args) Kernel<Args> name;
#include "kernels.inc"
#undef FASTNN_KERNEL
};

}  // namespace fastnn
