#include "runtime/cache.h"

#include <unistd.h>

namespace fastnn {
namespace {

int64_t size_or(int name, int64_t fallback) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : fallback;
}

}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = {
      size_or(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
      size_or(_SC_LEVEL2_CACHE_SIZE, 512 << 10),
      size_or(_SC_LEVEL3_CACHE_SIZE, 8 << 20),
  };
  return sizes;
}

}  // namespace fastnn
