#include "kernels/conv/tiling_transpose.h"

#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxTilingResults = int64_t{16} << 20;
constexpr int64_t kColumns = 512;  // of a product of small images

template <class T>
class TilingTranspose {
 public:
  explicit TilingTranspose(const ConvBackwardInputArgs<T>& args)
      : args_(args),
        g_(args.geometry),
        finish_(args.epilogue, args.x),
        taps_(product(g_.kernel)),
        positions_(product(g_.output)) {}

  void run() {
    const int64_t filters = g_.in_channels * taps_, image = filters * positions_;
    const int64_t most = kMaxTilingResults / static_cast<int64_t>(sizeof(T)) / image;
    const int64_t images = min_of(g_.batch, min_of(most, ceil_div(kColumns, positions_)));
    Workspace workspace((images * image + filters) * static_cast<int64_t>(sizeof(T)) +
                        Workspace::kAlignment);
    T* const results = workspace.take<T>(images * image);
    T* const bias = workspace.take<T>(filters);
    Convolution<T> conv = tiling_convolution(g_, args_.w);
    conv.prepared = args_.prepared;
    if (args_.bias != nullptr) {
      for (int64_t i = 0; i < filters; ++i) bias[i] = args_.bias[i / taps_];
      conv.bias = bias;
    }
    conv.y = results;
    for (int64_t n = 0; n < g_.batch; n += images) {
      conv.batch = min_of(images, g_.batch - n);
      conv.x = args_.y + n * g_.out_channels * positions_;
      convolve(conv);
      write(results, conv.batch * g_.in_channels, args_.x + n * g_.in_channels * product(g_.input));
    }
  }

 private:
  // Planes of x from the results of their taps, (planes, taps, positions).
  void write(const T* results, int64_t planes, T* x) const {
    const int64_t lines = g_.input[0] * g_.input[1], width = g_.input[2];
    const int64_t grain = max_of(1, (int64_t{1} << 15) / width);
    parallel_for(planes * lines, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t plane = i / lines, d = i % lines / g_.input[1], h = i % g_.input[1];
        const int64_t tap = (d % g_.stride[0] * g_.stride[1] + h % g_.stride[1]) * g_.stride[2];
        const int64_t line = d / g_.stride[0] * g_.output[1] + h / g_.stride[1];
        T* const row = x + i * width;
        const T* const first = results + (plane * taps_ + tap) * positions_ + line * g_.output[2];
        if (g_.stride[2] == 2) {
          interleave_rows(first, first + positions_, width, T(0), row);
        } else if (g_.stride[2] == 1) {
          spread(first, width, row, 1);
        } else {
          pack_panel<T, false>(row, g_.stride[2], first, g_.stride[2], positions_, g_.output[2], 1);
        }
        if (finish_.is_needed()) finish_(row, width);
      }
    });
  }

  const ConvBackwardInputArgs<T>& args_;
  const ConvGeometry& g_;
  Finish<T> finish_;
  int64_t taps_, positions_;
};

}  // namespace

bool is_tiling_transpose(const ConvGeometry& g) {
  bool result = g.batch > 0 && g.in_channels > 0 && g.out_channels > 0 && product(g.output) > 0 &&
                product(g.stride) > 1;
  for (int i = 0; i < 3; ++i) {
    result = result && g.kernel[i] == g.stride[i] && g.padding[i] == 0 && g.dilation[i] == 1 &&
             g.input[i] == g.output[i] * g.stride[i];
  }
  return result && product(g.input) <= kMaxTilingResults / 8 / g.in_channels;
}

template <class T>
Convolution<T> tiling_convolution(const ConvGeometry& g, const T* w) {
  Convolution<T> conv{};
  conv.batch = g.batch;
  conv.groups = g.groups;
  conv.in_channels = g.out_channels / g.groups;
  conv.out_channels = g.in_channels / g.groups * product(g.kernel);
  conv.mode = PaddingMode::kZeros;
  conv.fast = g.fast;
  for (int i = 0; i < 3; ++i) {
    conv.axes[i] = {g.output[i], g.output[i], 1, 1, 0, 1};
    conv.phase.step[i] = 1;
    conv.output[i] = g.output[i];
  }
  conv.weights = {w, 1, conv.out_channels, {1, 1, 1}, {1, 1, 1}, conv.in_channels};
  conv.group_weights = conv.in_channels * conv.out_channels;
  return conv;
}

template <class T>
void tiling_transpose(const ConvBackwardInputArgs<T>& args) {
  TilingTranspose<T>(args).run();
}

template Convolution<float> tiling_convolution(const ConvGeometry&, const float*);
template Convolution<double> tiling_convolution(const ConvGeometry&, const double*);
template void tiling_transpose(const ConvBackwardInputArgs<float>&);
template void tiling_transpose(const ConvBackwardInputArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
