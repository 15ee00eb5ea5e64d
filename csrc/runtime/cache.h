// Cache sizes of this machine in bytes, read once; typical values where the system is silent.
#pragma once

#include <cstdint>

namespace fastnn {

struct CacheSizes {
  int64_t l1, l2, l3;  // data caches; l1 and l2 of one core, l3 of the package
};

const CacheSizes& cache_sizes();

}  // namespace fastnn
