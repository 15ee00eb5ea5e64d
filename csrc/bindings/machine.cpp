#include "ops/machine.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "bindings/common.h"

namespace fastnn {
namespace {

template <class Work>
double seconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The best of several short runs, in GFLOP/s on all of fastnn's threads.
double peak(const Kernel<FmaPeakArgs>& kernel) {
  py::gil_scoped_release release;
  const FixedThreads fixed;
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    std::vector<float> sink(static_cast<size_t>(num_threads()), 0.5f);
    int64_t fma = 0;
    const FmaPeakArgs<float> args{1'000'000, num_threads(), sink.data(), &fma};
    const double time = seconds([&] { kernel(args); });
    best = std::max(best, 2.0 * static_cast<double>(fma) / time / 1e9);
  }
  return best;
}

// The best of several runs over `bytes` of memory, in GB/s (a copy counts what it reads and what
// it writes).
double copy_bandwidth(int64_t bytes) {
  const Check check("copy_bandwidth");
  check.at_least("bytes", bytes, 8);
  py::gil_scoped_release release;
  const int64_t n = bytes / 4;
  std::vector<float> x(static_cast<size_t>(n), 1.0f), y(static_cast<size_t>(n), 2.0f);
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const CopyArgs<float> args{n, x.data(), y.data()};
    const double time = seconds([&] { machine_kernels().stream_copy(args); });
    best = std::max(best, 8.0 * static_cast<double>(n) / time / 1e9);
  }
  return best;
}

double read_bandwidth(int64_t bytes) {
  const Check check("read_bandwidth");
  check.at_least("bytes", bytes, 8);
  py::gil_scoped_release release;
  const int64_t n = bytes / 4;
  std::vector<float> x(static_cast<size_t>(n), 1.0f);
  float sink = 0;
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const ReadArgs<float> args{n, x.data(), &sink};
    const double time = seconds([&] { machine_kernels().stream_read(args); });
    best = std::max(best, 4.0 * static_cast<double>(n) / time / 1e9);
  }
  return best;
}

}  // namespace

void init_machine(py::module_& m) {
  m.def(
      "fma_peak", [] { return peak(machine_kernels().fma_peak); },
      "Measured float32 peak of the active threads in GFLOP/s");
  m.def(
      "bfloat16_peak", [] { return peak(machine_kernels().bfloat16_peak); },
      "The same for products of bfloat16 added in float32");
  m.def(
      "int8_peak", [] { return peak(machine_kernels().int8_peak); },
      "The same for products of int8 added in int32");
  m.def("stream_copy", &copy_bandwidth, py::arg("bytes"), "Measured copy bandwidth in GB/s");
  m.def("stream_read", &read_bandwidth, py::arg("bytes"), "Measured read bandwidth in GB/s");
}

}  // namespace fastnn
