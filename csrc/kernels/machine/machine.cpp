// What this machine can do at most: fused multiply-adds in registers, copying and reading memory.
#include "ops/machine.h"

#include <stddef.h>

#include "runtime/extensions.h"
#include "runtime/parallel.h"
#include "simd/dot.h"

namespace fastnn::FASTNN_ISA {

template <class T>
void fma_peak(const FmaPeakArgs<T>& args) {
  // Enough independent chains to hide the latency of fma, few enough to stay in registers.
  constexpr int kChains = 12;
  parallel_for(args.threads, 1, [&](int64_t begin, int64_t, int) {
    Vec<T> chains[kChains];
    FASTNN_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = Vec<T>::broadcast(static_cast<T>(i));
    // Known at run time only, so that the compiler cannot work the chains out beforehand.
    const Vec<T> factor = Vec<T>::broadcast(args.sink[begin]);
    for (int64_t n = 0; n < args.iterations; ++n) {
      FASTNN_UNROLL
      for (int i = 0; i < kChains; ++i) chains[i] = fma(chains[i], factor, factor);
    }
    Vec<T> sum = Vec<T>::zero();
    FASTNN_UNROLL
    for (int i = 0; i < kChains; ++i) sum += chains[i];
    args.sink[begin] = reduce_add(sum);
  });
  *args.fma = args.threads * args.iterations * kChains * Vec<T>::kSize;
}

namespace {

// As fma_peak, with the words of a Dot, each of `products` multiply-adds. No two products of a
// round are the same, nor those of two rounds, or else the compiler would compute them once.
template <class Dot, class T>
void dot_peak(const FmaPeakArgs<T>& args, int64_t products) {
  using Sum = typename Dot::Sum;
  constexpr int kRows = 6, kVectors = 2;
  parallel_for(args.threads, 1, [&](int64_t begin, int64_t, int) {
    Sum chains[kRows][kVectors];
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) chains[i][0] = chains[i][1] = Sum::zero();
    Words words = Words::broadcast(args.sink[begin] > 0 ? 0x01010101 : 0);
    const typename Dot::Operand right[kVectors] = {Dot::right(words), Dot::right(words + words)};
    for (int64_t n = 0; n < args.iterations; ++n) {
      FASTNN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        words = words + Words(1);
        const typename Dot::Operand left = Dot::left(words);
        FASTNN_UNROLL
        for (int j = 0; j < kVectors; ++j) chains[i][j] = Dot::add(chains[i][j], left, right[j]);
      }
    }
    Sum sum = Sum::zero();
    FASTNN_UNROLL
    for (int i = 0; i < kRows; ++i) sum = sum + (chains[i][0] + chains[i][1]);
    typename Dot::Lane lanes[Words::kSize];
    sum.store(lanes);
    args.sink[begin] = static_cast<T>(lanes[0]);
  });
  *args.fma = args.threads * args.iterations * kRows * kVectors * Words::kSize * products;
}

}  // namespace

template <class T>
void bfloat16_peak(const FmaPeakArgs<T>& args) {
#if defined(FASTNN_ISA_AVX512)
  if (extensions().bfloat16_dot) return dot_peak<NativeBfloat16Dot>(args, 2);
#endif
  dot_peak<Bfloat16Dot>(args, 2);
}

template <class T>
void int8_peak(const FmaPeakArgs<T>& args) {
#if defined(FASTNN_ISA_AVX512)
  if (extensions().int8_dot) return dot_peak<NativeInt8Dot>(args, 4);
#endif
  dot_peak<Int8Dot>(args, 4);
}

// Elements a part: big enough to hide the start of a part, small enough to balance.
constexpr int64_t kStreamGrain = int64_t{1} << 18;

template <class T>
void stream_copy(const CopyArgs<T>& args) {
  parallel_for(args.n, kStreamGrain, [&](int64_t begin, int64_t end, int) {
    __builtin_memcpy(args.y + begin, args.x + begin, static_cast<size_t>(end - begin) * sizeof(T));
  });
}

template <class T>
void stream_read(const ReadArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kChains = 4;
  parallel_for(args.n, kStreamGrain, [&](int64_t begin, int64_t end, int) {
    Vec<T> sums[kChains] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
    for (int64_t i = begin; i + kChains * kSize <= end; i += kChains * kSize) {
      FASTNN_UNROLL
      for (int c = 0; c < kChains; ++c) sums[c] += Vec<T>::load(args.x + i + c * kSize);
    }
    const T sum = reduce_add(sums[0] + sums[1] + (sums[2] + sums[3]));
    if (sum == T(1)) *args.sink = sum;  // keeps the reads alive
  });
}

template void fma_peak(const FmaPeakArgs<float>&);
template void fma_peak(const FmaPeakArgs<double>&);
template void bfloat16_peak(const FmaPeakArgs<float>&);
template void bfloat16_peak(const FmaPeakArgs<double>&);
template void int8_peak(const FmaPeakArgs<float>&);
template void int8_peak(const FmaPeakArgs<double>&);
template void stream_copy(const CopyArgs<float>&);
template void stream_copy(const CopyArgs<double>&);
template void stream_read(const ReadArgs<float>&);
template void stream_read(const ReadArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
