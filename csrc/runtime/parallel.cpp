#include "runtime/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "runtime/thread_pool.h"

namespace fastnn {
namespace {

std::atomic<int> thread_count{1};
thread_local int region_depth = 0;
thread_local int fixed_count = 0;  // what FixedThreads holds, or 0

void after_fork_in_child() {
  detail::forget_threads();
  thread_count = 1;
  region_depth = 0;
}

int affinity_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// cgroup v2's cpu.max holds "quota period" or "max period"; v1 splits them over two files.
int cgroup_quota_count() {
  double quota = 0, period = 0;
  std::string word;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period && word != "max") {
    quota = std::atof(word.c_str());
  } else if (std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); q >> quota) {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(quota / period + 0.5));
}

}  // namespace

int num_threads() {
  return fixed_count > 0 ? fixed_count : thread_count.load(std::memory_order_relaxed);
}

FixedThreads::FixedThreads() { fixed_count = thread_count.load(std::memory_order_relaxed); }

FixedThreads::~FixedThreads() { fixed_count = 0; }

void set_num_threads(int count) { thread_count = std::max(1, count); }

void initialise_threads() {
  int count = std::min(affinity_count(), cgroup_quota_count());
  if (const char* text = std::getenv("FASTNN_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > 4096) {
      throw std::runtime_error("FASTNN_NUM_THREADS must be an integer in 1..4096, got '" +
                               std::string(text) + "'");
    }
    count = std::min(count, static_cast<int>(value));
  } else if (const char* omp = std::getenv("OMP_NUM_THREADS"); omp != nullptr) {
    const long value = std::strtol(omp, nullptr, 10);  // may be a list: the first level counts
    if (value >= 1) count = static_cast<int>(std::min<long>(count, value));
  }
  set_num_threads(count);
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, after_fork_in_child); });
}

int plan_workers(int64_t parts) {
  if (region_depth > 0) return 1;
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(num_threads(), parts)));
}

void wait_for_every_worker(bool wait) { detail::wait_for_every_worker(wait); }

void team_barrier() { detail::wait_for_team(); }

namespace {

// Nested calls see that a region is open and stay on their thread.
class InRegion {
 public:
  InRegion() { ++region_depth; }
  ~InRegion() { --region_depth; }
};

struct alignas(64) Queue {
  std::atomic<int64_t> next;
  int64_t end;
};

constexpr int kMaxQueues = 256;

}  // namespace

namespace detail {

// Each worker first takes the parts of its own contiguous share, so that repeated calls find their
// data in the same core's cache, and then what is left of the others' shares.
void run_parts(int64_t parts, PartFunction function, const void* context) {
  const int workers = std::min(plan_workers(parts), kMaxQueues);
  if (workers <= 1) {
    for (int64_t part = 0; part < parts; ++part) function(context, part, 0);
    return;
  }
  Queue queues[kMaxQueues];
  for (int w = 0; w < workers; ++w) {
    queues[w].next.store(parts * w / workers, std::memory_order_relaxed);
    queues[w].end = parts * (w + 1) / workers;
  }
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const auto serve = [&](int worker) {
    const InRegion in_region;
    for (int i = 0; i < workers; ++i) {
      Queue& queue = queues[(worker + i) % workers];
      for (;;) {
        const int64_t part = queue.next.fetch_add(1, std::memory_order_relaxed);
        if (part >= queue.end || failed.load(std::memory_order_relaxed)) break;
        try {
          function(context, part, worker);
        } catch (...) {
          if (!failed.exchange(true)) failure = std::current_exception();
        }
      }
    }
  };
  run_region(
      workers,
      [](const void* opaque, int worker) {
        (*static_cast<const decltype(serve)*>(opaque))(worker);
      },
      &serve);
  if (failure) std::rethrow_exception(failure);
}

void run_team(int workers, TeamFunction function, const void* context) {
  const int planned = plan_workers(workers);
  const auto serve = [&](int worker, int count) {
    const InRegion in_region;
    function(context, worker, count);
  };
  if (planned <= 1) {
    serve(0, 1);
    return;
  }
  run_team_region(
      planned,
      [](const void* opaque, int worker, int count) {
        (*static_cast<const decltype(serve)*>(opaque))(worker, count);
      },
      &serve);
}

}  // namespace detail
}  // namespace fastnn
