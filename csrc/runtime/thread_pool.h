// The threads beneath parallel.h, which is what kernels use.
//
// thread_pool.cpp has threads of its own; thread_pool_openmp.cpp (FASTNN_OPENMP=ON) runs on
// OpenMP's, for programs that use OpenMP themselves and want one set of threads.
#pragma once

namespace fastnn::detail {

using RegionFunction = void (*)(const void* context, int worker);
using TeamFunction = void (*)(const void* context, int worker, int workers);

// Calls function(context, worker) on the calling thread, which is worker 0, and on other threads,
// workers 1 to workers - 1, as far as they come before worker 0 has returned. Returns when all
// have. Neither nests, nor may the function throw.
void run_region(int workers, RegionFunction function, const void* context);

// Calls function(context, worker, count) on `count` <= workers threads at the same time; they may
// meet at wait_for_team(). A thread that does not come soon is left out.
void run_team_region(int workers, TeamFunction function, const void* context);
void wait_for_team();

// For tests: whether regions wait for every worker, so that each of them has its share.
void wait_for_every_worker(bool wait);

// In the child of a fork, where only the forking thread is left.
void forget_threads();

}  // namespace fastnn::detail
