#include "kernels/conv/sparse_transpose.h"

#include "kernels/conv/convolution.h"
#include "kernels/conv/gather.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxSparseResults = int64_t{16} << 20;
constexpr int64_t kColumns = 512;  // of a product of small images

int64_t phase_positions(const ConvGeometry& g) {
  int64_t positions = 1;
  for (int i = 0; i < 3; ++i) positions *= ceil_div(g.input[i], g.stride[i]);
  return positions;
}

template <class T>
class SparseTranspose {
 public:
  explicit SparseTranspose(const ConvBackwardInputArgs<T>& args)
      : args_(args), g_(args.geometry), finish_(args.epilogue, args.x) {
    for (int i = 0; i < 3; ++i) {
      phase_[i] = (g_.stride[i] - g_.padding[i] % g_.stride[i]) % g_.stride[i];
    }
  }

  void run() {
    Convolution<T> conv = phase_convolution(g_, args_.w, phase_);
    for (int i = 0; i < 3; ++i) {
      conv.phase.first[i] = 0;
      conv.phase.step[i] = 1;
      conv.output[i] = conv.axes[i].positions;
    }
    const int64_t image = g_.in_channels * product(conv.output);
    const int64_t most = kMaxSparseResults / static_cast<int64_t>(sizeof(T)) / max_of(1, image);
    const int64_t images =
        min_of(g_.batch, min_of(most, ceil_div(kColumns, max_of(1, product(conv.output)))));
    Workspace workspace(images * image * static_cast<int64_t>(sizeof(T)));
    conv.y = workspace.take<T>(images * image);
    conv.prepared = args_.prepared;
    for (int64_t n = 0; n < g_.batch; n += images) {
      conv.batch = min_of(images, g_.batch - n);
      conv.x = args_.y + n * g_.out_channels * product(g_.output);
      convolve(conv);
      write(conv, n * g_.in_channels);
    }
  }

 private:
  // The planes of x from `first` on, as many as conv has.
  void write(const Convolution<T>& conv, int64_t first) const {
    const int64_t size = product(g_.input), work = max_of(1, size);
    parallel_for(conv.batch * g_.in_channels, max_of(1, (int64_t{1} << 15) / work),
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t i = begin; i < end; ++i) {
                     const T bias = args_.bias == nullptr ? T(0) : args_.bias[i % g_.in_channels];
                     T* const plane = args_.x + (first + i) * size;
                     write_plane(conv, conv.y + i * product(conv.output), bias, plane);
                     if (finish_.is_needed()) finish_(plane, size);
                   }
                 });
  }

  void write_plane(const Convolution<T>& conv, const T* results, T bias, T* plane) const {
    for (int64_t line = 0; line < g_.input[0] * g_.input[1]; ++line) {
      const int64_t d = line / g_.input[1] - phase_[0], h = line % g_.input[1] - phase_[1];
      T* const row = plane + line * g_.input[2];
      const bool empty = d < 0 || h < 0 || d % g_.stride[0] != 0 || h % g_.stride[1] != 0;
      if (empty) {
        fill(row, g_.input[2], bias);
      } else {
        write_row(results + (d / g_.stride[0] * conv.output[1] + h / g_.stride[1]) * conv.output[2],
                  bias, row);
      }
    }
  }

  static void fill(T* row, int64_t count, T value) {
    constexpr int64_t kSize = Vec<T>::kSize;
    const Vec<T> values = Vec<T>::broadcast(value);
    int64_t i = 0;
    for (; i + kSize <= count; i += kSize) values.store(row + i);
    if (i < count) values.store(row + i, count - i);
  }

  void write_row(const T* results, T bias, T* row) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const int64_t width = g_.input[2], step = g_.stride[2];
    const Vec<T> shift = Vec<T>::broadcast(bias);
    if (step == 1) {
      for (int64_t i = 0; i < width; i += kSize) {
        (Vec<T>::load(results + i, width - i) + shift).store(row + i, width - i);
      }
      return;
    }
    if (step != 2) {
      fill(row, width, bias);
      for (int64_t i = phase_[2], k = 0; i < width; i += step, ++k) row[i] = results[k] + bias;
      return;
    }
    for (int64_t i = 0; i < width; i += 2 * kSize) {
      const int64_t count = max_of(0, (width - phase_[2] - i + 1) / 2);
      const Vec<T> values = Vec<T>::load(results + i / 2, count) + shift;
      Vec<T> low = phase_[2] == 0 ? values : shift, high = phase_[2] == 0 ? shift : values;
      interleave(low, high);
      low.store(row + i, width - i);
      if (width - i > kSize) high.store(row + i + kSize, width - i - kSize);
    }
  }

  const ConvBackwardInputArgs<T>& args_;
  const ConvGeometry& g_;
  Finish<T> finish_;
  int64_t phase_[3];  // the one with taps
};

}  // namespace

bool is_sparse_transpose(const ConvGeometry& g) {
  bool strided = false;
  for (int i = 0; i < 3; ++i) {
    strided = strided || g.stride[i] > 1;
    // Every dimension has positions of the phase.
    if (g.stride[i] > 1 && (g.kernel[i] != 1 || g.input[i] < g.stride[i])) return false;
  }
  return strided && g.batch > 0 && g.in_channels > 0 && g.out_channels > 0 &&
         phase_positions(g) <= kMaxSparseResults / 8 / g.in_channels;
}

template <class T>
void sparse_transpose(const ConvBackwardInputArgs<T>& args) {
  SparseTranspose<T>(args).run();
}

template void sparse_transpose(const ConvBackwardInputArgs<float>&);
template void sparse_transpose(const ConvBackwardInputArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
