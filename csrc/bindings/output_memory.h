// Memory of large outputs: a block that an array gave back is handed out again, so that steady
// work neither asks the system for pages nor touches them for the first time, which costs more
// than filling them. At most kMaxKept bytes are kept; the block unused for longest goes first.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

namespace fastnn {

// Once, before the first LargeOutput.
void initialise_output_memory();

// While one lives, arrays that this thread creates take their memory from the kept blocks (through
// NumPy's own hook, so that they are ordinary arrays). Smaller ones are left to malloc.
class LargeOutput {
 public:
  static constexpr int64_t kLeastBytes = int64_t{256} << 10;
  static constexpr int64_t kMaxKept = int64_t{256} << 20;

  explicit LargeOutput(int64_t bytes);
  ~LargeOutput();
  LargeOutput(const LargeOutput&) = delete;
  LargeOutput& operator=(const LargeOutput&) = delete;

 private:
  PyObject* previous_ = nullptr;
};

}  // namespace fastnn
