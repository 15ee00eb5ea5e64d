// What clipping by norm needs: the sum of squares of many arrays, and their scaling.
#include "kernels/optim/list.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

// In float64, element i in sum i % 16, then the sums in order.
template <class T>
FASTNN_INLINE double chunk_sum(const T* x, int64_t n) {
  constexpr int64_t kSums = 16;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int64_t j = 0; j < kSums; ++j) {
      const double value = static_cast<double>(x[i + j]);
      sums[j] += value * value;
    }
  }
  for (; i < n; ++i) {
    const double value = static_cast<double>(x[i]);
    sums[i % kSums] += value * value;
  }
  double total = 0;
  for (int64_t j = 0; j < kSums; ++j) total += sums[j];
  return total;
}

}  // namespace

// Workspace: 8 bytes a part. Every part sums its chunks in order, and then come the parts.
template <class T>
void sum_of_squares(const SumOfSquaresArgs<T>& args) {
  const OptimList<T>& list = args.list;
  Workspace workspace(list.parts * static_cast<int64_t>(sizeof(double)));
  double* sums = workspace.take<double>(list.parts);
  parallel_for(list.parts, 1, [&](int64_t part, int64_t, int) {
    double sum = 0;
    for (int64_t c = list.first_chunk[part]; c < list.first_chunk[part + 1]; ++c) {
      const OptimChunk& chunk = list.chunks[c];
      sum += chunk_sum(list.arrays[chunk.array].grad + chunk.begin, chunk.end - chunk.begin);
    }
    sums[part] = sum;
  });
  double total = 0;
  for (int64_t part = 0; part < list.parts; ++part) total += sums[part];
  *args.total = total;
}

template <class T>
void scale_arrays(const ScaleArraysArgs<T>& args) {
  for_each_chunk(args.list, [&](const OptimArray<T>& array, int64_t begin, int64_t end) {
    const Vec<T> factor = constant<T>(args.factor);
    T* values = array.param;
    for_each_vector<T>(begin, end, [&](int64_t i, auto count) {
      store_part(values + i, count, factor * load_part(values + i, count));
    });
  });
}

template void sum_of_squares(const SumOfSquaresArgs<float>&);
template void sum_of_squares(const SumOfSquaresArgs<double>&);
template void scale_arrays(const ScaleArraysArgs<float>&);
template void scale_arrays(const ScaleArraysArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
