// Chooses the instruction set. A call from a binding goes through the table once:
// `kernels().relu_forward(args)`.
#pragma once

#include <string>
#include <vector>

#include "runtime/kernel_table.h"

namespace fastnn {

// The active table: the best the machine can run, or the one FASTNN_ISA names.
const KernelTable& kernels();

// Chooses the table at import from CPUID and FASTNN_ISA. Throws std::runtime_error when FASTNN_ISA
// names an instruction set that is unknown or that this machine or build lacks.
void initialise_dispatch();

std::string active_isa();
std::vector<std::string> available_isas();  // best last
void use_isa(const std::string& name);      // for tests; throws as above

}  // namespace fastnn
