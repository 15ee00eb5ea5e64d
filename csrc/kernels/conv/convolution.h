// The problem that the forward algorithms solve, each in a file of its own, and their chooser.
#pragma once

#include "kernels/conv/finish.h"
#include "kernels/conv/patch.h"
#include "kernels/conv/weights.h"

namespace fastnn::FASTNN_ISA {

// Where the product goes: position i of a dimension lies at first + i * step of y.
struct Phase {
  int64_t first[3], step[3];
};

// One convolution as the algorithms see it: a forward, or one phase of a transposed convolution.
template <class T>
struct Convolution {
  int64_t batch, groups;
  int64_t in_channels, out_channels;  // of one group
  Axis axes[3];
  PaddingMode mode;
  bool fast;  // algorithms with larger rounding errors are allowed
  Phase phase;
  int64_t output[3];      // y's sizes
  const T* x;             // (batch, groups * in_channels, axes.source...)
  Weights<T> weights;     // of the first group
  int64_t group_weights;  // elements from one group's weights to the next
  const T* bias;          // (groups * out_channels) or null
  T* y;                   // (batch, groups * out_channels, output...)
  const T* prepared;      // what prepare_weights wrote, or null
  Finish<T> finish;
};

// The weights with taps in ascending order of the input they see, to which conv's axes are set.
template <class T>
Weights<T> ascending_taps(Convolution<T>* conv) {
  Weights<T> w = conv->weights;
  for (int i = 0; i < 3; ++i) {
    Axis& axis = conv->axes[i];
    if (axis.tap_step >= 0) continue;
    w.data += (axis.taps - 1) * w.tap_stride[i];
    w.tap_stride[i] = -w.tap_stride[i];
    axis.first += (axis.taps - 1) * axis.tap_step;
    axis.tap_step = -axis.tap_step;
  }
  return w;
}

// All of y without any product: the bias, finished.
template <class T>
void fill_output(const Convolution<T>& conv);

// Solves it with the algorithm that suits the shape; the batch size plays no part in the choice.
// Without taps or channels y is left as fill_output wrote it.
template <class T>
void convolve(const Convolution<T>& conv);

// The form of the weights that the algorithm works with: see ConvPrepareArgs.
// kWinograd and more: a scheme of winograd.h.
enum PreparedForm : int64_t { kAsTheyAre = 0, kPanels = 1, kWinograd = 2, kForms = 64 };
template <class T>
int64_t prepared_form(const Convolution<T>& conv);
template <class T>
int64_t prepared_elements(const Convolution<T>& conv);
template <class T>
void prepare_weights(const Convolution<T>& conv, T* target);

// The forward, without its arrays but the weights.
template <class T>
Convolution<T> forward_convolution(const ConvGeometry& g, const T* w);

// The positions of the transpose with remainders r by the strides.
template <class T>
Convolution<T> phase_convolution(const ConvGeometry& g, const T* w, const int64_t (&r)[3]);

// The transpose: calls f(convolution) for each of its phases, in order, without their arrays but
// the weights.
template <class T, class F>
void for_each_phase(const ConvGeometry& g, const T* w, const F& f) {
  for (int64_t d = 0; d < min_of(g.stride[0], g.input[0]); ++d) {
    for (int64_t h = 0; h < min_of(g.stride[1], g.input[1]); ++h) {
      for (int64_t v = 0; v < min_of(g.stride[2], g.input[2]); ++v) {
        f(phase_convolution(g, w, {d, h, v}));
      }
    }
  }
}

}  // namespace fastnn::FASTNN_ISA
