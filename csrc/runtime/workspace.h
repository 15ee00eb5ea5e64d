// Aligned scratch memory for the length of one call.
//
// Each calling thread keeps two blocks and hands them out again, so that steady work allocates
// nothing; a request nested more deeply, or past kMaxKept, gets memory of its own. Taken before a
// parallel region opens; throws std::bad_alloc, at which point no output has been touched.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnn {

class Workspace {
 public:
  static constexpr int64_t kAlignment = 64;
  static constexpr int64_t kMaxKept = int64_t{64} << 20;  // bytes

  explicit Workspace(int64_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // The next `count` elements, aligned; the sum of all takes must not pass the size asked for,
  // each rounded up by padded_bytes. Never a function of its own, which all instruction sets would
  // share.
  template <class T>
  __attribute__((always_inline)) T* take(int64_t count) {
    T* pointer = reinterpret_cast<T*>(next_);
    next_ += padded_bytes(count * static_cast<int64_t>(sizeof(T)));
    return pointer;
  }

  static constexpr int64_t padded_bytes(int64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

 private:
  char* base_;
  char* next_;
  int kept_;  // which kept block, or -1
};

}  // namespace fastnn
