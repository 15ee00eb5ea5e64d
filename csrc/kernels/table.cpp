// This instruction set's dispatch table.
#include "runtime/kernel_table.h"

namespace fastnn::FASTNN_ISA {

#define FASTNN_DECLARE(name, Args) \
  template <class T>               \
  void name(const Args<T>&);
#define FASTNN_FAMILY(family, Kernels, LIST) LIST(FASTNN_DECLARE)
FASTNN_FAMILIES(FASTNN_FAMILY)
#undef FASTNN_FAMILY
#undef FASTNN_DECLARE

extern const KernelTable kTable;
const KernelTable kTable = {
#define FASTNN_ENTRY(name, Args) {&name<float>, &name<double>},
#define FASTNN_FAMILY(family, Kernels, LIST) {LIST(FASTNN_ENTRY)},
    FASTNN_FAMILIES(FASTNN_FAMILY)
#undef FASTNN_FAMILY
#undef FASTNN_ENTRY
};

}  // namespace fastnn::FASTNN_ISA
