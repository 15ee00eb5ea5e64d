// Chooses the instruction set. A call from a binding goes through the family's table once:
// `elementwise_kernels().relu_forward(args)`.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fastnn {

// The active table is the best the machine can run, or the one FASTNN_ISA names;
// `<family>_kernels()` (declared in ops/<family>.h) is a family's part of it.

// Chooses the table at import from CPUID and FASTNN_ISA. Throws std::runtime_error when FASTNN_ISA
// names an instruction set that is unknown or that this machine or build lacks.
void initialise_dispatch();

std::vector<std::pair<std::string, std::string>> kernel_names();  // (family, kernel)
std::string active_isa();
std::vector<std::string> available_isas();  // best last
void use_isa(const std::string& name);      // for tests; throws as above

}  // namespace fastnn
