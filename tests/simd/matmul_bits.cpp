// Checks matmul_forward and pack_matrix, for the one ISA they are compiled for, to the bit: an
// element is one chain of fma in the order of k from zero, and then the bias. All transpositions,
// with operands that end where memory does. Exits with 1 if an element differs.
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ops/gemm.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void matmul_forward(const MatmulForwardArgs<T>& args);
template <class T>
void pack_matrix(const PackMatrixArgs<T>& args);

namespace {

// `count` elements at the end of pages behind which nothing may be touched.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    const size_t pages = (bytes + page - 1) / page * page;
    size_ = pages + page;
    base_ = static_cast<char*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages, page, PROT_NONE);
    data = reinterpret_cast<T*>(base_ + pages - bytes);
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data;

 private:
  char* base_;
  size_t size_;
};

template <class T>
void fill(T* data, int64_t count, uint32_t seed) {
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = static_cast<T>(static_cast<int32_t>(seed)) * T(0x1p-31);
  }
}

// What Vec<T> does to one lane.
template <class T>
T fma_of(T a, T b, T c) {
  T lanes[Vec<T>::kSize];
  fma(Vec<T>::broadcast(a), Vec<T>::broadcast(b), Vec<T>::broadcast(c)).store(lanes);
  return lanes[0];
}

struct Shape {
  int64_t m, n, k;
};

template <class T>
int64_t differences(const Shape& shape, bool a_transposed, bool b_transposed, bool packed) {
  const auto [m, n, k] = shape;
  const Guarded<T> a(m * k), b(k * n), bias(n), c(m * n);
  fill(a.data, m * k, 1);
  fill(b.data, k * n, 2);
  fill(bias.data, n, 3);
  const int64_t a_row = a_transposed ? 1 : k, a_col = a_transposed ? m : 1;
  const int64_t b_row = b_transposed ? 1 : n, b_col = b_transposed ? k : 1;
  int64_t elements = 0;
  PackMatrixArgs<T> pack{n, k, b.data, b_row, b_col, nullptr, &elements};
  pack_matrix(pack);
  const Guarded<T> packed_b(elements);
  pack.packed = packed_b.data;
  if (packed) pack_matrix(pack);
  const int64_t offset = 0;
  matmul_forward(MatmulForwardArgs<T>{1, m, n, k, a.data, &offset, a_row, a_col, b.data, &offset,
                                      b_row, b_col, packed ? packed_b.data : nullptr, bias.data,
                                      c.data});
  int64_t count = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t p = 0; p < k; ++p) {
        sum = fma_of(a.data[i * a_row + p * a_col], b.data[p * b_row + j * b_col], sum);
      }
      sum += bias.data[j];
      count += memcmp(&sum, c.data + i * n + j, sizeof(T)) != 0 ? 1 : 0;
    }
  }
  return count;
}

// Sizes around the edges of tiles and blocks; rows 4 KiB apart; one block of columns and several.
template <class T>
int64_t all_differences() {
  const Shape shapes[] = {{1, 1, 1},    {1, 70, 33},    {2, 129, 40},   {5, 33, 7},   {7, 64, 32},
                          {8, 31, 31},  {14, 32, 64},   {15, 65, 100},  {16, 16, 16}, {29, 97, 129},
                          {3, 5, 1100}, {17, 20, 1024}, {30, 300, 1030}};
  int64_t count = 0;
  for (const Shape& shape : shapes) {
    for (int kind = 0; kind < 8; ++kind) {
      const int64_t found = differences<T>(shape, kind & 1, kind & 2, kind & 4);
      if (found > 0) {
        printf("%lld x %lld x %lld, kind %d: %lld elements of %d bytes differ\n",
               static_cast<long long>(shape.m), static_cast<long long>(shape.n),
               static_cast<long long>(shape.k), kind, static_cast<long long>(found),
               static_cast<int>(sizeof(T)));
      }
      count += found;
    }
  }
  return count;
}

}  // namespace
}  // namespace fastnn::FASTNN_ISA

int main() {
  using namespace fastnn::FASTNN_ISA;
  return all_differences<float>() + all_differences<double>() > 0 ? 1 : 0;
}
