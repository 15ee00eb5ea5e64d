// prelu: x where x > 0, else weight[channel] * x (He et al. 2015), on (outer, channels, inner).
// grad_weight[c] sums grad_y * x over x <= 0. A channel is summed by one thread in order; a single
// channel in parts of kMapGrain elements, whose sums (ceil(n / kMapGrain) doubles of workspace)
// are added in order. Runs of 1024 elements are summed in T, those sums in double.
#include "kernels/elementwise/activations.h"
#include "kernels/elementwise/map.h"
#include "ops/elementwise.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kRun = 1024;

template <class T>
FASTNN_INLINE Vec<T> negative_product(Vec<T> grad, Vec<T> x) {
  return select(x > Vec<T>::zero(), Vec<T>::zero(), grad * x);
}

// The sum of grad[i] * x[i] over x[i] <= 0.
template <class T>
double sum_negative(int64_t n, const T* grad, const T* x) {
  constexpr int64_t kSize = Vec<T>::kSize;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t end = begin + kRun < n ? begin + kRun : n;
    Vec<T> sum = Vec<T>::zero();
    int64_t i = begin;
    for (; i + kSize <= end; i += kSize) {
      sum += negative_product(Vec<T>::load(grad + i), Vec<T>::load(x + i));
    }
    if (i < end)
      sum += negative_product(Vec<T>::load(grad + i, end - i), Vec<T>::load(x + i, end - i));
    total += static_cast<double>(reduce_add(sum));
  }
  return total;
}

template <class T>
void shared_weight_gradient(int64_t n, const PreluBackwardArgs<T>& args) {
  const int64_t parts = ceil_div(n, kMapGrain);
  Workspace workspace(Workspace::padded_bytes(parts * static_cast<int64_t>(sizeof(double))));
  double* sums = workspace.take<double>(parts);
  parallel_for(n, kMapGrain, [=, &args](int64_t begin, int64_t end, int) {
    sums[begin / kMapGrain] = sum_negative(end - begin, args.grad_y + begin, args.x + begin);
  });
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += sums[part];
  args.grad_weight[0] = static_cast<T>(total);
}

// inner == 1: a vector of channels at a time, down the rows.
template <class T>
void column_weight_gradient(const PreluBackwardArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t channels = args.channels;
  const int64_t groups = ceil_div(channels, kSize);
  parallel_for(groups, rows_per_part(args.outer * kSize),
               [=, &args](int64_t begin, int64_t end, int) {
                 for (int64_t first = begin * kSize; first < end * kSize; first += kSize) {
                   Vec<T> total = Vec<T>::zero();
                   for (int64_t top = 0; top < args.outer; top += kRun) {
                     const int64_t bottom = top + kRun < args.outer ? top + kRun : args.outer;
                     Vec<T> sum = Vec<T>::zero();
                     for (int64_t row = top; row < bottom; ++row) {
                       const int64_t at = row * channels + first;
                       sum += negative_product(Vec<T>::load(args.grad_y + at, channels - first),
                                               Vec<T>::load(args.x + at, channels - first));
                     }
                     total += sum;
                   }
                   total.store(args.grad_weight + first, channels - first);
                 }
               });
}

template <class T>
void channel_weight_gradient(const PreluBackwardArgs<T>& args) {
  const int64_t per_channel = args.outer * args.inner;
  parallel_for(args.channels, rows_per_part(per_channel),
               [=, &args](int64_t begin, int64_t end, int) {
                 for (int64_t channel = begin; channel < end; ++channel) {
                   double total = 0;
                   for (int64_t image = 0; image < args.outer; ++image) {
                     const int64_t at = (image * args.channels + channel) * args.inner;
                     total += sum_negative(args.inner, args.grad_y + at, args.x + at);
                   }
                   args.grad_weight[channel] = static_cast<T>(total);
                 }
               });
}

// y = the gradient of LeakyRelu with each channel's slope; with grad = x that is the forward.
template <class T>
void scale_negative(int64_t outer, int64_t channels, int64_t inner, const T* grad, const T* x,
                    const T* weight, T* y) {
  if (channels == 1) {
    const LeakyRelu f{static_cast<double>(weight[0])};
    map(outer * inner, y, [f](Vec<T> g, Vec<T> v) { return f.gradient(g, v); }, grad, x);
  } else if (inner == 1) {
    parallel_for(outer, rows_per_part(channels), [=](int64_t begin, int64_t end, int) {
      for (int64_t at = begin * channels; at < end * channels; at += channels) {
        map_serial(
            channels, y + at,
            [](Vec<T> g, Vec<T> v, Vec<T> slope) {
              return select(v > Vec<T>::zero(), g, g * slope);
            },
            grad + at, x + at, weight);
      }
    });
  } else {
    parallel_for(outer * channels, rows_per_part(inner), [=](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const LeakyRelu f{static_cast<double>(weight[row % channels])};
        map_serial(
            inner, y + row * inner, [f](Vec<T> g, Vec<T> v) { return f.gradient(g, v); },
            grad + row * inner, x + row * inner);
      }
    });
  }
}

}  // namespace

template <class T>
void prelu_forward(const PreluForwardArgs<T>& args) {
  scale_negative(args.outer, args.channels, args.inner, args.x, args.x, args.weight, args.y);
}

template <class T>
void prelu_backward(const PreluBackwardArgs<T>& args) {
  if (args.grad_weight != nullptr) {
    if (args.channels == 1) {
      shared_weight_gradient(args.outer * args.inner, args);
    } else if (args.inner == 1) {
      column_weight_gradient(args);
    } else {
      channel_weight_gradient(args);
    }
  }
  if (args.grad_x != nullptr) {
    scale_negative(args.outer, args.channels, args.inner, args.grad_y, args.x, args.weight,
                   args.grad_x);
  }
}

template void prelu_forward(const PreluForwardArgs<float>&);
template void prelu_forward(const PreluForwardArgs<double>&);
template void prelu_backward(const PreluBackwardArgs<float>&);
template void prelu_backward(const PreluBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
