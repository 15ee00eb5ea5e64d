// Threads that sleep, spin for a short time after a region, and are never waited for before they
// come: the calling thread takes all parts that nobody has taken. So a call after a rest, or on a
// busy machine, takes no longer than it would on one thread.
#include "runtime/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>

namespace fastnn::detail {
namespace {

using Clock = std::chrono::steady_clock;

// How long a thread looks for the next region before it sleeps: longer than the gap between two
// calls of a loop in Python. Waking it takes 50 to 150 microseconds.
constexpr auto kIdleSpin = std::chrono::microseconds(1000);
// How long a team waits for threads that have to be woken.
constexpr auto kMuster = std::chrono::microseconds(200);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How often a waiting thread looks before it offers its core to others: at once where there are
// more threads than cores, so that the awaited one may run.
int looks(int threads) {
  static const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return threads > cores ? 16 : 1024;
}

template <class Ready>
void spin_until(int looks, const Ready& ready) {
  for (int i = 0; !ready(); ++i) {
    if (i < looks) {
      relax();
    } else {
      sched_yield();
    }
  }
}

// Spins until ready() or the time is up; returns whether it was ready.
template <class Ready>
bool spin_for(Clock::duration time, const Ready& ready) {
  const auto end = Clock::now() + time;
  do {
    for (int i = 0; i < 256; ++i) {
      if (ready()) return true;
      relax();
    }
    sched_yield();  // the thread that would make it ready may be waiting for this very core
  } while (Clock::now() < end);
  return ready();
}

// What the door says: which region, for how many workers, whether one may still enter, and how many
// pool threads are inside.
struct Sign {
  static constexpr uint64_t kInside = 0xFFFF, kOpen = 1 << 16;

  uint64_t bits;

  static Sign open(uint32_t region, int workers) {
    return {uint64_t{region} << 32 | static_cast<uint64_t>(workers) << 17 | kOpen};
  }
  uint32_t region() const { return static_cast<uint32_t>(bits >> 32); }
  int workers() const { return static_cast<int>(bits >> 17 & 0x7FFF); }
  bool is_open() const { return (bits & kOpen) != 0; }
  int inside() const { return static_cast<int>(bits & kInside); }
};

class ThreadPool {
 public:
  // Opens a region that function(context, worker) serves; false if another thread has one.
  bool open(int workers, RegionFunction function, const void* context) {
    if (!busy_.try_lock()) return false;
    while (static_cast<int>(threads_.size()) < workers - 1 && add_thread()) {
    }
    function_ = function;
    context_ = context;
    workers_ = workers;
    entered_.store(0, std::memory_order_relaxed);
    caller_core_.store(sched_getcpu(), std::memory_order_relaxed);
    door_.store(Sign::open(++region_, workers).bits, std::memory_order_seq_cst);
    wake_children(0, workers);
    return true;
  }

  // Waits until all threads that were asked for have come, at most for `time`.
  void wait_for_threads(Clock::duration time) const {
    spin_for(time, [&] { return all_came(); });
  }
  void wait_for_threads() const {
    spin_until(looks(workers_), [&] { return all_came(); });
  }

  // Lets nobody in any more; returns how many threads are inside.
  int shut() { return Sign{door_.fetch_and(~Sign::kOpen, std::memory_order_acq_rel)}.inside(); }

  // Waits until all have left, and ends the region.
  void end() {
    spin_until(looks(workers_), [&] { return inside() == 0; });
    busy_.unlock();
  }

 private:
  struct Thread {
    std::mutex mutex;
    std::condition_variable called;
    std::atomic<bool> asleep{false};
  };

  int inside() const { return Sign{door_.load(std::memory_order_acquire)}.inside(); }
  bool all_came() const {
    const int expected = std::min(workers_ - 1, static_cast<int>(threads_.size()));
    return entered_.load(std::memory_order_acquire) >= expected;
  }

  bool add_thread() {
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool added = true;
    try {
      Thread& self = threads_.emplace_back();
      std::thread thread(&ThreadPool::serve, this, std::ref(self), threads_.size(), region_);
      pthread_setname_np(thread.native_handle(), "fastnn");
      thread.detach();
    } catch (const std::system_error&) {  // no more threads here: those that are there do it
      threads_.pop_back();
      added = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return added;
  }

  // What a thread does for ever; `seen` is the last region that it knows.
  void serve(Thread& self, size_t number, uint32_t seen) {
    const int worker = static_cast<int>(number);
    for (;;) {
      Sign sign = next_region(self, seen);
      seen = sign.region();
      while (sign.is_open() && sign.region() == seen && worker < sign.workers()) {
        if (door_.compare_exchange_weak(sign.bits, sign.bits + 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
          entered_.fetch_add(1, std::memory_order_release);
          wake_children(worker, sign.workers());
          function_(context_, worker);
          door_.fetch_sub(1, std::memory_order_release);
          break;
        }
      }
    }
  }

  // Some schedulers wake a thread on the core of its waker though others idle, and leave it there
  // for milliseconds: the two would take turns. The thread moves itself away.
  void leave_core_of_caller() {
    const int core = caller_core_.load(std::memory_order_relaxed);
    if (core < 0 || sched_getcpu() != core) return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    cpu_set_t others = allowed;
    CPU_CLR(core, &others);
    sched_setaffinity(0, sizeof others, &others);
    sched_setaffinity(0, sizeof allowed, &allowed);
  }

  Sign next_region(Thread& self, uint32_t seen) {
    const auto sign = [&] { return Sign{door_.load(std::memory_order_seq_cst)}; };
    if (!spin_for(kIdleSpin, [&] { return sign().region() != seen; })) {
      std::unique_lock<std::mutex> lock(self.mutex);
      self.asleep.store(true, std::memory_order_seq_cst);
      self.called.wait(lock, [&] { return sign().region() != seen; });
      self.asleep.store(false, std::memory_order_relaxed);
      leave_core_of_caller();
    }
    return sign();
  }

  // Workers wake each other along a binary tree, the caller at its root: two calls at most for
  // each.
  void wake_children(int worker, int workers) {
    for (int child = 2 * worker + 1; child <= 2 * worker + 2 && child < workers; ++child) {
      if (child > static_cast<int>(threads_.size())) return;
      Thread& thread = threads_[static_cast<size_t>(child - 1)];
      if (!thread.asleep.load(std::memory_order_seq_cst)) continue;
      { const std::lock_guard<std::mutex> lock(thread.mutex); }
      thread.called.notify_one();
    }
  }

  alignas(64) std::atomic<uint64_t> door_{0};
  std::atomic<int> entered_{
      0};  // threads that came to this region, those that have left among them
  // Written while the door is shut and nobody is inside.
  alignas(64) RegionFunction function_ = nullptr;
  const void* context_ = nullptr;
  int workers_ = 0;
  uint32_t region_ = 0;
  std::atomic<int> caller_core_{-1};
  std::deque<Thread> threads_;
  std::mutex busy_;
};

std::atomic<ThreadPool*> pool_pointer{nullptr};
std::atomic<bool> wait_for_all{false};

// The pool is never destroyed: its threads may still look at it while the process ends.
ThreadPool& pool() {
  ThreadPool* known = pool_pointer.load(std::memory_order_acquire);
  if (known != nullptr) return *known;
  ThreadPool* fresh = new ThreadPool;
  if (pool_pointer.compare_exchange_strong(known, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *known;
}

struct alignas(64) Team {
  TeamFunction function;
  const void* context;
  int looks;
  std::atomic<int> ranks{0};
  std::atomic<int> count{0};  // 0 until the team is complete
  alignas(64) std::atomic<int> waiting{0};
  alignas(64) std::atomic<int> meetings{0};
};

thread_local Team* team = nullptr;

void serve_team(const Team& shared, int rank) {
  team = const_cast<Team*>(&shared);
  shared.function(shared.context, rank, shared.count.load(std::memory_order_relaxed));
  team = nullptr;
}

}  // namespace

void run_region(int workers, RegionFunction function, const void* context) {
  ThreadPool& threads = pool();
  if (!threads.open(workers, function, context)) {  // another thread's region: this one runs alone
    function(context, 0);
    return;
  }
  if (wait_for_all.load(std::memory_order_relaxed)) threads.wait_for_threads();
  function(context, 0);
  threads.shut();
  threads.end();
}

void run_team_region(int workers, TeamFunction function, const void* context) {
  ThreadPool& threads = pool();
  Team shared{function, context, looks(workers)};
  const auto join = [](const void* opaque, int) {
    Team& t = *static_cast<Team*>(const_cast<void*>(opaque));
    const int rank = t.ranks.fetch_add(1, std::memory_order_relaxed) + 1;
    spin_until(t.looks, [&] { return t.count.load(std::memory_order_acquire) != 0; });
    serve_team(t, rank);
  };
  if (!threads.open(workers, join, &shared)) {
    function(context, 0, 1);
    return;
  }
  if (wait_for_all.load(std::memory_order_relaxed)) {
    threads.wait_for_threads();
  } else {
    threads.wait_for_threads(kMuster);
  }
  shared.count.store(1 + threads.shut(), std::memory_order_release);
  serve_team(shared, 0);
  threads.end();
}

void wait_for_team() {
  if (team == nullptr) return;
  const int meeting = team->meetings.load(std::memory_order_relaxed);
  const int count = team->count.load(std::memory_order_relaxed);
  if (team->waiting.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    team->waiting.store(0, std::memory_order_relaxed);
    team->meetings.store(meeting + 1, std::memory_order_release);
  } else {
    spin_until(team->looks,
               [&] { return team->meetings.load(std::memory_order_acquire) != meeting; });
  }
}

void wait_for_every_worker(bool wait) { wait_for_all = wait; }

void forget_threads() { pool_pointer = nullptr; }

}  // namespace fastnn::detail
