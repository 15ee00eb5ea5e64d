// This instruction set's dispatch table.
#include "runtime/kernel_table.h"

namespace fastnn::FASTNN_ISA {

#define FASTNN_KERNEL(family, name, Args) \
  template <class T>                      \
  void name(const Args<T>&);
#include "kernels.inc"
#undef FASTNN_KERNEL

extern const KernelTable kTable;
const KernelTable kTable = {
#define FASTNN_KERNEL(family, name, Args) {&name<float>, &name<double>},
#include "kernels.inc"
#undef FASTNN_KERNEL
};

}  // namespace fastnn::FASTNN_ISA
