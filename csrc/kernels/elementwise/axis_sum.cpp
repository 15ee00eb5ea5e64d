// Sums over the middle dimension of (outer, length, inner). Long rows are cut into parts, a row's
// parts are added in order; columns are summed side by side. Workspace: 8 bytes a part of a row.
#include "kernels/columns.h"
#include "ops/elementwise.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Summed up in T; the sums of blocks are added in double.
constexpr int64_t kSumBlock = int64_t{1} << 11;

template <class T>
double run_sum(const T* x, int64_t n) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    Chains<T> chains(0);
    for_vectors_in_chains<T>(n - begin < kSumBlock ? n - begin : kSumBlock,
                             [&](int64_t i, auto lanes, auto c)
                                 FASTNN_INLINE_LAMBDA { chains[c] += lanes.load(x + begin + i); });
    total += static_cast<double>(chains.sum());
  }
  return total;
}

template <class T>
void sum_rows(const AxisSumArgs<T>& args) {
  const int64_t n = args.length, parts = ceil_div(n, kPartElements);
  if (parts == 1) {
    parallel_for(args.outer, rows_a_part(n), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        args.y[row] = static_cast<T>(run_sum(args.x + row * n, n) / args.divisor);
      }
    });
    return;
  }
  Workspace workspace(args.outer * parts * static_cast<int64_t>(sizeof(double)));
  double* const sums = workspace.take<double>(args.outer * parts);
  parallel_for(args.outer * parts, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % parts * kPartElements, left = n - first;
      sums[i] =
          run_sum(args.x + i / parts * n + first, left < kPartElements ? left : kPartElements);
    }
  });
  for (int64_t row = 0; row < args.outer; ++row) {
    double total = 0;
    for (int64_t part = 0; part < parts; ++part) total += sums[row * parts + part];
    args.y[row] = static_cast<T>(total / args.divisor);
  }
}

// kVectors vectors of columns.
template <int kVectors, class T, class Lanes>
FASTNN_INLINE void sum_strip(const AxisSumArgs<T>& args, const T* x, T* y, Lanes lanes) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t inner = args.inner;
  Vec<T> sums[kVectors];
  sum_columns(args.length, sums, [&](int64_t i, int v) FASTNN_INLINE_LAMBDA {
    return lanes.load(x + i * inner + v * kSize);
  });
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    lanes.store(sums[v] / Vec<T>(static_cast<T>(args.divisor)), y + v * kSize);
  }
}

}  // namespace

template <class T>
void axis_sum(const AxisSumArgs<T>& args) {
  constexpr int kVectors = 8;  // long runs of each row are read at the speed of memory
  constexpr int64_t kStrip = kVectors * Vec<T>::kSize;
  const int64_t length = args.length, inner = args.inner;
  if (inner == 1 && length > 0) return sum_rows(args);
  const int64_t strips = ceil_div(inner, kStrip), grain = rows_a_part(length * kStrip);
  parallel_for(args.outer * strips, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slice = i / strips, column = i % strips * kStrip, left = inner - column;
      const T* const x = args.x + slice * length * inner + column;
      T* const y = args.y + slice * inner + column;
      if (left >= kStrip) {
        sum_strip<kVectors>(args, x, y, AllLanes<T>());
        continue;
      }
      for_vectors<T>(left, [&](int64_t first, auto lanes) FASTNN_INLINE_LAMBDA {
        sum_strip<1>(args, x + first, y + first, lanes);
      });
    }
  });
}

template void axis_sum(const AxisSumArgs<float>&);
template void axis_sum(const AxisSumArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
