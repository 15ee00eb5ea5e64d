#include "runtime/cache.h"

#include <unistd.h>

#include <fstream>

namespace fastnn {
namespace {

int64_t size_or(int name, int64_t fallback) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : fallback;
}

// What Linux says: sysconf multiplies the size by cores on some processors. "32768K", or 0.
int64_t last_level() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  int64_t size = 0;
  char unit = ' ';
  if (!(file >> size >> unit) || size < 0 || size > (int64_t{1} << 32)) return 0;
  return size * (unit == 'K' ? 1 << 10 : unit == 'M' ? 1 << 20 : 0);
}

}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = {
      size_or(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
      size_or(_SC_LEVEL2_CACHE_SIZE, 512 << 10),
      last_level() > 0 ? last_level() : size_or(_SC_LEVEL3_CACHE_SIZE, 8 << 20),
  };
  return sizes;
}

}  // namespace fastnn
