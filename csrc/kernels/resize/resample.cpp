// Resampling of one axis by a table of weights: bicubic and antialiased interpolation do one axis
// after another, and their gradient is the same kernel with the transposed table.
// Taps are added in order.
#include "ops/resize.h"
#include "runtime/parallel.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

namespace {

constexpr int64_t kResampleGrain = int64_t{1} << 15;  // products a part

// y = sum over the taps of weights[k] * x[k * inner], for `inner` neighbours.
template <class T>
FASTNN_INLINE void mix_rows(const T* x, const T* weights, int64_t taps, int64_t inner, T* y) {
  for (int64_t i = 0; i < inner; i += Vec<T>::kSize) {
    const int64_t n = inner - i;
    Vec<T> sum = Vec<T>::zero();
    for (int64_t k = 0; k < taps; ++k) {
      if (weights[k] == 0) continue;  // infinities outside the window do not count
      sum = fma(Vec<T>::load(x + k * inner + i, n), Vec<T>(weights[k]), sum);
    }
    sum.store(y + i, n);
  }
}

}  // namespace

template <class T>
void resample_forward(const ResampleArgs<T>& args) {
  const int64_t row_work = args.taps * args.inner;
  const int64_t grain = row_work < kResampleGrain ? kResampleGrain / row_work : 1;
  parallel_for(args.outer * args.out, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t o = row % args.out;
      const T* x = args.x + (row / args.out * args.in + args.first[o]) * args.inner;
      const T* weights = args.weights + o * args.taps;
      if (args.inner > 1) {
        mix_rows(x, weights, args.counts[o], args.inner, args.y + row * args.inner);
        continue;
      }
      T sum = 0;
      for (int64_t k = 0; k < args.counts[o]; ++k) {
        if (weights[k] != 0) sum += x[k] * weights[k];
      }
      args.y[row] = sum;
    }
  });
}

template void resample_forward(const ResampleArgs<float>&);
template void resample_forward(const ResampleArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
