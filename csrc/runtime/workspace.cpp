#include "runtime/workspace.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace fastnn {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

char* allocate(int64_t bytes) {
  const int64_t alignment = bytes >= kHugePage ? kHugePage : 4096;
  const int64_t rounded = (std::max<int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(rounded));
  if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (alignment == kHugePage) madvise(memory, static_cast<size_t>(rounded), MADV_HUGEPAGE);
#endif
  return static_cast<char*>(memory);
}

struct Block {
  char* memory = nullptr;
  int64_t capacity = 0;
  bool busy = false;
  ~Block() { std::free(memory); }
};

// A kernel that calls the GEMM engine while it holds scratch of its own needs two.
constexpr int kBlocks = 2;
thread_local Block blocks[kBlocks];

}  // namespace

Workspace::Workspace(int64_t bytes) : kept_(-1) {
  for (int i = kBlocks - 1; i >= 0; --i) {
    if (!blocks[i].busy && bytes <= kMaxKept) kept_ = i;
  }
  if (kept_ < 0) {
    base_ = next_ = allocate(bytes);
    return;
  }
  Block& block = blocks[kept_];
  if (bytes > block.capacity) {
    // Doubling keeps a growing sequence of shapes from reallocating at every step.
    const int64_t capacity = std::min(kMaxKept, std::max(bytes, 2 * block.capacity));
    std::free(block.memory);
    block.memory = nullptr;
    block.capacity = 0;
    block.memory = allocate(capacity);
    block.capacity = capacity;
  }
  block.busy = true;
  base_ = next_ = block.memory;
}

Workspace::~Workspace() {
  if (kept_ >= 0) {
    blocks[kept_].busy = false;
  } else {
    std::free(base_);
  }
}

}  // namespace fastnn
