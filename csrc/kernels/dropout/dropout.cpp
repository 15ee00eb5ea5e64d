// dropout: y = scale * x + shift where the element's random word says keep, else y = dropped; a
// word for each row of `inner` elements. The word depends on the row's number alone, so the mask
// is the same for every number of threads, instruction set and dtype. y may be x.
#include "ops/dropout.h"

#include <cstddef>

#include "kernels/elementwise/map.h"
#include "simd/philox.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
struct Dropout {
  PhiloxKey key;
  uint64_t threshold;
  Vec<T> scale, shift, dropped;

  explicit FASTNN_INLINE Dropout(const DropoutArgs<T>& args)
      : key{args.seed, args.stream},
        threshold(args.threshold),
        scale(static_cast<T>(args.scale)),
        shift(static_cast<T>(args.shift)),
        dropped(static_cast<T>(args.dropped)) {}

  FASTNN_INLINE uint64_t keep(int64_t group) const {
    if (threshold > 0xffffffff) return 0;
    return philox_keep(key, static_cast<uint64_t>(group), static_cast<uint32_t>(threshold));
  }
  FASTNN_INLINE Vec<T> kept(Vec<T> x) const { return fma(x, scale, shift); }
  FASTNN_INLINE Vec<T> apply(Vec<T> x, uint64_t bits) const {
    return select(mask_from_bits<T>(bits), kept(x), dropped);
  }
};

template <class T>
void drop_elements(const DropoutArgs<T>& args) {
  static_assert(kMapGrain % kPhiloxGroup == 0);
  parallel_for(args.rows, kMapGrain, [&args](int64_t begin, int64_t end, int) {
    constexpr int64_t kSize = Vec<T>::kSize;
    const Dropout<T> dropout(args);
    for (int64_t first = begin; first < end; first += kPhiloxGroup) {
      const uint64_t bits = dropout.keep(first / kPhiloxGroup);
      const T* x = args.x + first;
      T* y = args.y + first;
      const int64_t n = end - first;
      if (n >= kPhiloxGroup) {
        FASTNN_UNROLL
        for (int64_t i = 0; i < kPhiloxGroup; i += kSize) {
          dropout.apply(Vec<T>::load(x + i), bits >> i).store(y + i);
        }
      } else {
        for (int64_t i = 0; i < n; i += kSize) {
          dropout.apply(Vec<T>::load(x + i, n - i), bits >> i).store(y + i, n - i);
        }
      }
    }
  });
}

template <class T>
void drop_rows(const DropoutArgs<T>& args) {
  parallel_for(args.rows, rows_per_part(args.inner), [&args](int64_t begin, int64_t end, int) {
    const Dropout<T> dropout(args);
    uint64_t bits = 0;
    for (int64_t row = begin; row < end; ++row) {
      if (row == begin || row % kPhiloxGroup == 0) bits = dropout.keep(row / kPhiloxGroup);
      const T* x = args.x + row * args.inner;
      T* y = args.y + row * args.inner;
      if ((bits >> (row % kPhiloxGroup) & 1) != 0) {
        map_serial(args.inner, y, [&dropout](Vec<T> v) { return dropout.kept(v); }, x);
      } else {
        map_serial(args.inner, y, [&dropout] { return dropout.dropped; });
      }
    }
  });
}

}  // namespace

template <class T>
void dropout_forward(const DropoutArgs<T>& args) {
  args.inner == 1 ? drop_elements(args) : drop_rows(args);
}

template <class T>
void philox_words(const PhiloxWordsArgs<T>& args) {
  const PhiloxKey key{args.seed, args.stream};
  parallel_for(args.n, kMapGrain, [&args, key](int64_t begin, int64_t end, int) {
    for (int64_t first = begin; first < end; first += kPhiloxGroup) {
      uint32_t words[kPhiloxGroup];
      philox_words(key, args.first_group + static_cast<uint64_t>(first / kPhiloxGroup), words);
      const int64_t n = end - first < kPhiloxGroup ? end - first : kPhiloxGroup;
      __builtin_memcpy(args.words + first, words, static_cast<size_t>(n) * sizeof(uint32_t));
    }
  });
}

template void dropout_forward(const DropoutArgs<float>&);
template void dropout_forward(const DropoutArgs<double>&);
template void philox_words(const PhiloxWordsArgs<float>&);
template void philox_words(const PhiloxWordsArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
