#include "kernels/conv/joint_phases.h"

#include "kernels/conv/convolution.h"
#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMostChannels = 4;  // of x
constexpr int64_t kMostFilters = 16;  // phases times those
constexpr int64_t kMaxJointResults = int64_t{16} << 20;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

// Position r + stride * i of x sees y[i + shift] with tap r + padding - stride * shift.
struct Shifts {
  Shifts(const ConvGeometry& g, int dim)
      : lowest(-floor_div(g.kernel[dim] - 1 - g.padding[dim], g.stride[dim])),
        count(floor_div(g.stride[dim] - 1 + g.padding[dim], g.stride[dim]) - lowest + 1) {}
  int64_t lowest, count;
};

int64_t joint_taps(const ConvGeometry& g) {
  return Shifts(g, 0).count * Shifts(g, 1).count * Shifts(g, 2).count;
}

template <class T>
class JointPhases {
 public:
  explicit JointPhases(const ConvBackwardInputArgs<T>& args)
      : args_(args), g_(args.geometry), finish_(args.epilogue, args.x) {}

  void run() {
    const int64_t filters = product(g_.stride) * g_.in_channels;
    const int64_t weights = filters * g_.out_channels * joint_taps(g_);
    Convolution<T> conv{};
    conv.batch = conv.groups = 1;
    conv.fast = g_.fast;
    conv.in_channels = g_.out_channels;
    conv.out_channels = filters;
    conv.mode = PaddingMode::kZeros;
    for (int i = 0; i < 3; ++i) {
      const Shifts shifts(g_, i);
      conv.axes[i] = {
          g_.output[i], ceil_div(g_.input[i], g_.stride[i]), 1, shifts.count, shifts.lowest, 1};
      conv.phase.step[i] = 1;
      conv.output[i] = conv.axes[i].positions;
      conv.weights.taps[i] = shifts.count;
    }
    const int64_t results = filters * positions_of(conv.axes);
    Workspace workspace((weights + results) * static_cast<int64_t>(sizeof(T)) +
                        Workspace::kAlignment);
    T* const w = workspace.take<T>(weights);
    T* const phases = workspace.take<T>(results);
    pack(w);
    const int64_t taps = taps_of(conv.axes);
    conv.weights.data = w;
    conv.weights.row_stride = conv.weights.columns = g_.out_channels * taps;
    conv.weights.channel_stride = taps;
    conv.weights.tap_stride[0] = conv.axes[1].taps * conv.axes[2].taps;
    conv.weights.tap_stride[1] = conv.axes[2].taps;
    conv.weights.tap_stride[2] = 1;
    conv.group_weights = weights;
    conv.y = phases;
    for (int64_t n = 0; n < g_.batch; ++n) {
      conv.x = args_.y + n * g_.out_channels * product(g_.output);
      convolve(conv);
      interleave_image(conv, args_.x + n * g_.in_channels * product(g_.input));
    }
  }

 private:
  // w[phase][channel of x][channel of y][shift].
  void pack(T* w) const {
    const Shifts shifts[3] = {{g_, 0}, {g_, 1}, {g_, 2}};
    const int64_t all = product(g_.kernel);
    for (int64_t phase = 0; phase < product(g_.stride); ++phase) {
      const int64_t r[3] = {phase / (g_.stride[1] * g_.stride[2]),
                            phase / g_.stride[2] % g_.stride[1], phase % g_.stride[2]};
      for (int64_t c = 0; c < g_.in_channels; ++c) {
        for (int64_t k = 0; k < g_.out_channels; ++k) {
          const T* const filter = args_.w + (k * g_.in_channels + c) * all;
          for (int64_t e = 0; e < joint_taps(g_); ++e) {
            const int64_t shift[3] = {e / (shifts[1].count * shifts[2].count),
                                      e / shifts[2].count % shifts[1].count, e % shifts[2].count};
            int64_t tap = 0;
            bool exists = true;
            for (int i = 0; i < 3; ++i) {
              const int64_t t = r[i] + g_.padding[i] - g_.stride[i] * (shifts[i].lowest + shift[i]);
              exists = exists && t >= 0 && t < g_.kernel[i];
              tap = tap * g_.kernel[i] + t;
            }
            *w++ = exists ? filter[tap] : T(0);
          }
        }
      }
    }
  }

  // Rows of x from those of its phases.
  void interleave_image(const Convolution<T>& conv, T* x) const {
    const int64_t width = g_.input[2], rows = g_.input[0] * g_.input[1];
    const int64_t grain = max_of(1, (int64_t{1} << 15) / width);
    parallel_for(g_.in_channels * rows, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c = i / rows, d = i % rows / g_.input[1], h = i % g_.input[1];
        const int64_t phase = (d % g_.stride[0] * g_.stride[1] + h % g_.stride[1]) * g_.stride[2];
        const int64_t line = d / g_.stride[0] * conv.output[1] + h / g_.stride[1];
        const T* const source =
            conv.y + (phase * g_.in_channels + c) * product(conv.output) + line * conv.output[2];
        T* const row = x + i * width;
        interleave_row(source, g_.in_channels * product(conv.output), width,
                       args_.bias == nullptr ? T(0) : args_.bias[c], row);
        if (finish_.is_needed()) finish_(row, width);
      }
    });
  }

  void interleave_row(const T* source, int64_t phase_stride, int64_t width, T bias, T* row) const {
    const int64_t step = g_.stride[2];
    if (step == 2) return interleave_rows(source, source + phase_stride, width, bias, row);
    for (int64_t i = 0; i < width; ++i) row[i] = source[i % step * phase_stride + i / step] + bias;
  }

  const ConvBackwardInputArgs<T>& args_;
  const ConvGeometry& g_;
  Finish<T> finish_;
};

}  // namespace

// A tile of so few rows runs at a third of the speed: products with zeros are worth it up to that.
bool is_joint(const ConvGeometry& g) {
  const int64_t phases = product(g.stride);
  bool result = g.groups == 1 && g.in_channels <= kMostChannels && phases > 1 &&
                g.in_channels * phases <= kMostFilters && g.out_channels > kMostChannels;
  for (int i = 0; i < 3; ++i) {
    result = result && g.dilation[i] == 1 && g.kernel[i] >= g.stride[i];
  }
  if (!result) return false;
  int64_t positions = 1;
  for (int i = 0; i < 3; ++i) positions *= ceil_div(g.input[i], g.stride[i]);
  return joint_taps(g) * phases * 2 <= product(g.kernel) * 5 &&
         positions <= kMaxJointResults / 8 / (phases * g.in_channels);
}

template <class T>
void joint_phases(const ConvBackwardInputArgs<T>& args) {
  JointPhases<T>(args).run();
}

template void joint_phases(const ConvBackwardInputArgs<float>&);
template void joint_phases(const ConvBackwardInputArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
