// pixel_shuffle interleaves factor rows of different channels into one row, pixel_unshuffle takes
// them apart; each is the other's gradient. channel_shuffle copies whole channels.
#include <cstddef>

#include "ops/resize.h"
#include "runtime/parallel.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

namespace {

// Calls f(large row, small rows, distance from one small row to the next) for every row of the
// large side, as offsets.
template <class T, class F>
void for_each_large_row(const PixelShuffleArgs<T>& args, const F& f) {
  const int64_t factor = args.factor, rows = args.planes * args.height * factor;
  const int64_t columns = args.width * factor, channel = args.height * args.width;
  const int64_t grain = columns > 0 ? (int64_t{1} << 15) / columns : rows;
  parallel_for(rows, grain > 1 ? grain : 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t i = row % factor, plane = row / factor / args.height;
      const int64_t h = row / factor % args.height;
      f(row * columns, (plane * factor + i) * factor * channel + h * args.width, channel);
    }
  });
}

}  // namespace

template <class T>
void pixel_shuffle_forward(const PixelShuffleArgs<T>& args) {
  for_each_large_row(args, [&](int64_t large, int64_t small, int64_t channel) {
    const T* x = args.x + small;
    T* y = args.y + large;
    int64_t w = 0;
    if (args.factor == 2) {
      for (; w + Vec<T>::kSize <= args.width; w += Vec<T>::kSize) {
        Vec<T> even = Vec<T>::load(x + w), odd = Vec<T>::load(x + channel + w);
        interleave(even, odd);
        even.store(y + 2 * w);
        odd.store(y + 2 * w + Vec<T>::kSize);
      }
    }
    for (; w < args.width; ++w) {
      for (int64_t j = 0; j < args.factor; ++j) y[w * args.factor + j] = x[j * channel + w];
    }
  });
}

template <class T>
void pixel_unshuffle_forward(const PixelShuffleArgs<T>& args) {
  for_each_large_row(args, [&](int64_t large, int64_t small, int64_t channel) {
    const T* x = args.x + large;
    T* y = args.y + small;
    int64_t w = 0;
    if (args.factor == 2) {
      for (; w + Vec<T>::kSize <= args.width; w += Vec<T>::kSize) {
        Vec<T> even = Vec<T>::load(x + 2 * w), odd = Vec<T>::load(x + 2 * w + Vec<T>::kSize);
        deinterleave(even, odd);
        even.store(y + w);
        odd.store(y + channel + w);
      }
    }
    for (; w < args.width; ++w) {
      for (int64_t j = 0; j < args.factor; ++j) y[j * channel + w] = x[w * args.factor + j];
    }
  });
}

template <class T>
void channel_shuffle_forward(const ChannelShuffleArgs<T>& args) {
  const int64_t rows = args.batch * args.groups * args.channels;
  const int64_t grain = (int64_t{1} << 15) / (args.inner + 1);
  parallel_for(rows, grain > 1 ? grain : 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t g = row % args.groups, rest = row / args.groups;
      const int64_t from =
          (rest / args.channels * args.groups + g) * args.channels + rest % args.channels;
      __builtin_memcpy(args.y + row * args.inner, args.x + from * args.inner,
                       static_cast<size_t>(args.inner) * sizeof(T));
    }
  });
}

template void pixel_shuffle_forward(const PixelShuffleArgs<float>&);
template void pixel_shuffle_forward(const PixelShuffleArgs<double>&);
template void pixel_unshuffle_forward(const PixelShuffleArgs<float>&);
template void pixel_unshuffle_forward(const PixelShuffleArgs<double>&);
template void channel_shuffle_forward(const ChannelShuffleArgs<float>&);
template void channel_shuffle_forward(const ChannelShuffleArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
