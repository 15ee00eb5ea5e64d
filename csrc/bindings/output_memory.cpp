#include "bindings/output_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace fastnn {

namespace py = pybind11;

namespace {

// In front of the memory of an array, which then lies in its cache line where malloc puts large
// arrays: what reads one and writes another meets no line's end in either.
struct alignas(16) Header {
  size_t capacity;
};

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;

// Of a block with its header.
size_t alignment_for(size_t bytes) { return bytes >= 2 * kHugePage ? kHugePage : kPage; }
size_t total_for(size_t bytes) {
  const size_t alignment = alignment_for(bytes);
  return (bytes + sizeof(Header) + alignment - 1) / alignment * alignment;
}

class Pool {
 public:
  // Null where there is no memory.
  void* take(size_t bytes) {
    if (bytes > SIZE_MAX - 2 * kHugePage) return nullptr;
    const size_t fresh = total_for(bytes);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto best = free_.end();
      for (auto block = free_.begin(); block != free_.end(); ++block) {
        const size_t capacity = (*block)->capacity;
        if (capacity < bytes || capacity > fresh + fresh / 4) continue;
        if (best == free_.end() || capacity <= (*best)->capacity) best = block;
      }
      if (best != free_.end()) {
        Header* block = *best;
        free_.erase(best);
        kept_ -= block->capacity;
        return block + 1;
      }
    }
    return allocate(bytes);
  }

  void give_back(void* memory) {
    Header* block = static_cast<Header*>(memory) - 1;
    if (block->capacity > LargeOutput::kMaxKept) return std::free(block);
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(block);
    kept_ += block->capacity;
    while (kept_ > LargeOutput::kMaxKept || free_.size() > kMaxBlocks) {
      kept_ -= free_.front()->capacity;
      std::free(free_.front());
      free_.erase(free_.begin());
    }
  }

 private:
  static constexpr size_t kMaxBlocks = 64;

  static void* allocate(size_t bytes) {
    const size_t alignment = alignment_for(bytes), total = total_for(bytes);
    void* memory = std::aligned_alloc(alignment, total);
    if (memory == nullptr) return nullptr;
#ifdef MADV_HUGEPAGE
    if (alignment == kHugePage) madvise(memory, total, MADV_HUGEPAGE);
#endif
    auto* block = static_cast<Header*>(memory);
    block->capacity = total - sizeof(Header);
    return block + 1;
  }

  std::mutex mutex_;
  std::vector<Header*> free_;  // the one unused for longest first
  size_t kept_ = 0;
};

// Never destroyed: arrays may outlive the module.
Pool& pool() {
  static Pool& pool = *new Pool;
  return pool;
}

// NumPy's hook for the memory of arrays (NEP 49).
struct Allocator {
  void* context;
  void* (*malloc)(void*, size_t);
  void* (*calloc)(void*, size_t, size_t);
  void* (*realloc)(void*, void*, size_t);
  void (*free)(void*, void*, size_t);
};
struct Handler {
  char name[127];
  uint8_t version;
  Allocator allocator;
};

void* take(void*, size_t bytes) { return pool().take(bytes); }
void* take_zeros(void*, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* memory = pool().take(bytes);
  return memory == nullptr ? nullptr : std::memset(memory, 0, bytes);
}
void* resize(void*, void* memory, size_t bytes) {
  const size_t held = (static_cast<Header*>(memory) - 1)->capacity;
  if (bytes <= held) return memory;
  void* larger = pool().take(bytes);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, memory, held);
  pool().give_back(memory);
  return larger;
}
void give_back(void*, void* memory, size_t) {
  if (memory != nullptr) pool().give_back(memory);
}

Handler handler = {"fastnn", 1, {nullptr, take, take_zeros, resize, give_back}};

// PyDataMem_SetHandler of NumPy's C API: installs a handler and returns the one before.
using SetHandler = PyObject* (*)(PyObject*);
constexpr int kSetHandlerSlot = 304;
SetHandler set_handler = nullptr;
PyObject* capsule = nullptr;

}  // namespace

void initialise_output_memory() {
  const py::object api = py::detail::import_numpy_core_submodule("multiarray").attr("_ARRAY_API");
  void** const slots = static_cast<void**>(PyCapsule_GetPointer(api.ptr(), nullptr));
  capsule = PyCapsule_New(&handler, "mem_handler", nullptr);
  if (slots == nullptr || capsule == nullptr) throw py::error_already_set();
  set_handler = reinterpret_cast<SetHandler>(slots[kSetHandlerSlot]);
}

LargeOutput::LargeOutput(int64_t bytes) {
  if (bytes < kLeastBytes) return;
  previous_ = set_handler(capsule);
  if (previous_ == nullptr) throw py::error_already_set();
}

LargeOutput::~LargeOutput() {
  if (previous_ == nullptr) return;
  const py::error_scope error;  // a MemoryError may be on its way
  Py_XDECREF(set_handler(previous_));
  Py_DECREF(previous_);
}

}  // namespace fastnn
