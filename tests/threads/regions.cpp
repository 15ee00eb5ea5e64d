// Regions, teams and what they promise, for either implementation of the threads. Prints what is
// wrong and returns 1. Run by tests/test_threads.py, with ThreadSanitizer where it is known.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/parallel.h"

namespace {

using namespace fastnn;

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

// Every item once, by workers below what was planned.
void covers(int64_t n, int64_t grain) {
  const FixedThreads fixed;
  std::vector<int> seen(static_cast<size_t>(n));
  std::atomic<int> largest{0};
  const int planned = plan_workers(ceil_div(n, grain));
  parallel_for(n, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    int known = largest.load();
    while (worker > known && !largest.compare_exchange_weak(known, worker)) {
    }
  });
  bool once = true;
  for (const int count : seen) once &= count == 1;
  check(once, "each item is done once");
  check(largest < planned, "workers are below the planned number");
}

// Members see what the others wrote before the barrier.
void meets(int wanted) {
  std::vector<int64_t> slots(64);
  std::atomic<int> members{0}, wrong{0};
  parallel_team(wanted, [&](int worker, int workers) {
    ++members;
    if (worker >= workers || workers > wanted) ++wrong;
    for (int64_t step = 1; step <= 50; ++step) {
      slots[static_cast<size_t>(worker)] = step;
      team_barrier();
      for (int w = 0; w < workers; ++w) wrong += slots[static_cast<size_t>(w)] != step;
      team_barrier();
    }
  });
  check(members >= 1 && members <= wanted, "a team has at most its number of members");
  check(wrong == 0, "members of a team wait for each other");
}

void nests() {
  std::atomic<int64_t> sum{0};
  parallel_for(8, 1, [&](int64_t, int64_t, int) {
    if (plan_workers(100) != 1) sum += 1000;
    parallel_for(10, 1, [&](int64_t begin, int64_t, int worker) { sum += begin + 1000 * worker; });
  });
  check(sum == 8 * 45, "a nested loop stays on its thread");
}

void throws() {
  bool caught = false;
  try {
    parallel_for(100, 1, [](int64_t begin, int64_t, int) {
      if (begin == 57) throw std::runtime_error("57");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  check(caught, "an exception comes out");
  covers(100, 1);
}

void many_callers() {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        parallel_for(16, 1, [&](int64_t begin, int64_t, int) { sum += begin; });
        parallel_team(3, [&](int, int) { team_barrier(); });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  check(sum == 4 * 50 * 120, "callers do not disturb each other");
}

}  // namespace

int main() {
  initialise_threads();
  for (const bool wait : {false, true}) {
    wait_for_every_worker(wait);
    for (const int threads : {1, 2, 3, 7, 2}) {
      set_num_threads(threads);
      for (const int64_t n : {0, 1, 2, 5, 64, 1000}) {
        for (const int64_t grain : {1, 3, 2000}) covers(n, grain);
      }
      for (int i = 0; i < 5; ++i) meets(threads);
      nests();
      throws();
      if (!wait) many_callers();
    }
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
