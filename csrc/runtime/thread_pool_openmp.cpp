#include <omp.h>

#include <atomic>
#include <thread>

#include "runtime/thread_pool.h"

namespace fastnn::detail {
namespace {

// In the child of a fork OpenMP's threads are gone but its book-keeping says they exist: entering a
// region from the forking thread would wait for them for ever.
std::atomic<bool> forked{false};

template <class Region>
void enter(const Region& region) {
  if (forked.load(std::memory_order_relaxed)) {
    std::thread(region).join();  // a fresh thread has OpenMP threads of its own
  } else {
    region();
  }
}

}  // namespace

void run_region(int workers, RegionFunction function, const void* context) {
  enter([&] {
#pragma omp parallel num_threads(workers)
    function(context, omp_get_thread_num());
  });
}

void run_team_region(int workers, TeamFunction function, const void* context) {
  enter([&] {
#pragma omp parallel num_threads(workers)
    function(context, omp_get_thread_num(), omp_get_num_threads());
  });
}

void wait_for_team() {
#pragma omp barrier
}

void wait_for_every_worker(bool) {}  // OpenMP always does

void forget_threads() { forked = true; }

}  // namespace fastnn::detail
