#include "runtime/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "runtime/kernel_table.h"

namespace fastnn {

#define FASTNN_DECLARE_TABLE(isa)  \
  namespace isa {                  \
  extern const KernelTable kTable; \
  }
#ifdef FASTNN_HAS_GENERIC
FASTNN_DECLARE_TABLE(generic)
#endif
#ifdef FASTNN_HAS_AVX2
FASTNN_DECLARE_TABLE(avx2)
#endif
#ifdef FASTNN_HAS_AVX512
FASTNN_DECLARE_TABLE(avx512)
#endif
#ifdef FASTNN_HAS_NEON
FASTNN_DECLARE_TABLE(neon)
#endif
#undef FASTNN_DECLARE_TABLE

namespace {

struct Candidate {
  const char* name;
  const KernelTable* table;
  bool (*supported)();
};

// The build's instruction sets, from the plainest to the best.
const Candidate kCandidates[] = {
#ifdef FASTNN_HAS_GENERIC
    {"generic", &generic::kTable, [] { return true; }},
#endif
#ifdef FASTNN_HAS_AVX2
    {"avx2", &avx2::kTable,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
#ifdef FASTNN_HAS_AVX512
    {"avx512", &avx512::kTable,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("fma");
     }},
#endif
#ifdef FASTNN_HAS_NEON
    {"neon", &neon::kTable, [] { return true; }},
#endif
};

std::atomic<const Candidate*> active{&kCandidates[0]};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

#define FASTNN_FAMILY(family, Kernels, LIST)                      \
  const Kernels& family##_kernels() {                             \
    return active.load(std::memory_order_relaxed)->table->family; \
  }
FASTNN_FAMILIES(FASTNN_FAMILY)
#undef FASTNN_FAMILY

std::vector<std::pair<std::string, std::string>> kernel_names() {
  std::vector<std::pair<std::string, std::string>> names;
#define FASTNN_NAME(name, Args) names.emplace_back(family_name, #name);
#define FASTNN_FAMILY(family, Kernels, LIST) \
  {const char* family_name = #family;        \
  LIST(FASTNN_NAME)                          \
  }
  FASTNN_FAMILIES(FASTNN_FAMILY)
#undef FASTNN_FAMILY
#undef FASTNN_NAME
  return names;
}

std::string active_isa() { return active.load()->name; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const auto& candidate : kCandidates) {
    if (candidate.supported()) names.emplace_back(candidate.name);
  }
  return names;
}

void use_isa(const std::string& name) {
  for (const auto& candidate : kCandidates) {
    if (name == candidate.name && candidate.supported()) {
      active.store(&candidate);
      return;
    }
  }
  throw std::runtime_error("FASTNN_ISA must be one of " + join(available_isas()) +
                           " on this machine, got '" + name + "'");
}

void initialise_dispatch() {
#ifdef __x86_64__
  __builtin_cpu_init();
#endif
  const char* forced = std::getenv("FASTNN_ISA");
  use_isa(forced != nullptr && *forced != '\0' ? std::string(forced) : available_isas().back());
}

}  // namespace fastnn
