// Threads: the one place where they appear.
//
// parallel_for splits [0, n) into parts of `grain` items (the last may be shorter), so the parts
// depend on the shape alone; which thread runs which part is left open. Results are therefore the
// same for every number of threads as long as a part writes only its own outputs.
// Nested calls run on the calling thread. Inside a region: no allocation, no Python.
#pragma once

#include <cstdint>

namespace fastnn {

// Threads a call may use; at least 1. In the child of a fork it is 1 until set_num_threads.
int num_threads();
void set_num_threads(int count);
// Reads FASTNN_NUM_THREADS, OMP_NUM_THREADS, affinity and cgroup quota. Throws
// std::runtime_error when FASTNN_NUM_THREADS is not a positive integer.
void initialise_threads();

// Holds the number of threads still for the calling thread while one kernel runs: scratch that
// plan_workers sized must fit its regions even if another thread calls set_num_threads meanwhile.
class FixedThreads {
 public:
  FixedThreads();
  ~FixedThreads();
  FixedThreads(const FixedThreads&) = delete;
  FixedThreads& operator=(const FixedThreads&) = delete;
};

// For tests: a region then waits until all of its workers have come, so that each takes part.
void wait_for_every_worker(bool wait);

// How many workers a region of `parts` parts gets: what per-worker scratch must be sized for.
int plan_workers(int64_t parts);

namespace detail {
using PartFunction = void (*)(const void* context, int64_t part, int worker);
void run_parts(int64_t parts, PartFunction function, const void* context);
using TeamFunction = void (*)(const void* context, int worker, int workers);
void run_team(int workers, TeamFunction function, const void* context);
}  // namespace detail

inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls f(begin, end, worker) for every part of [0, n); worker < plan_workers(ceil(n / grain)).
template <class F>
void parallel_for(int64_t n, int64_t grain, const F& f) {
  struct Context {
    const F& f;
    int64_t n, grain;
  };
  const Context context{f, n, grain};
  detail::run_parts(
      n > 0 ? (n + grain - 1) / grain : 0,
      [](const void* opaque, int64_t part, int worker) {
        const Context& c = *static_cast<const Context*>(opaque);
        const int64_t begin = part * c.grain;
        const int64_t end = begin + c.grain < c.n ? begin + c.grain : c.n;
        c.f(begin, end, worker);
      },
      &context);
}

// Waits until every worker of the enclosing parallel_team has arrived.
void team_barrier();

// Runs f(worker, workers) once on each of up to `workers` threads that stay together and may meet
// at team_barrier(); `workers` is the number that really run. f must not throw.
template <class F>
void parallel_team(int workers, const F& f) {
  detail::run_team(
      workers,
      [](const void* opaque, int worker, int count) {
        (*static_cast<const F*>(opaque))(worker, count);
      },
      &f);
}

}  // namespace fastnn
