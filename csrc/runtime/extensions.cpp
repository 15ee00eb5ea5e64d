#include "runtime/extensions.h"

#include <atomic>

namespace fastnn {
namespace {

Extensions detect() {
#ifdef FASTNN_HAS_AVX512
  __builtin_cpu_init();
  return {__builtin_cpu_supports("avx512vnni") != 0, __builtin_cpu_supports("avx512bf16") != 0};
#else
  return {false, false};
#endif
}

std::atomic<bool> enabled{true};

}  // namespace

Extensions extensions() {
  static const Extensions machine = detect();
  return enabled.load(std::memory_order_relaxed) ? machine : Extensions{false, false};
}

void use_extensions(bool value) { enabled.store(value); }

}  // namespace fastnn
