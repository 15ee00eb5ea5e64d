#include "kernels/conv/convolution.h"

#include "kernels/conv/depthwise.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/gather.h"
#include "kernels/conv/im2col.h"
#include "kernels/conv/implicit.h"
#include "kernels/conv/winograd.h"

namespace fastnn::FASTNN_ISA {
namespace {

enum class Algorithm { kDepthwise, kDirect, kWinograd, kImplicit, kIm2col };

template <class T>
Algorithm choose(const Convolution<T>& conv) {
  const bool planar = conv.output[0] == 1;
  if (planar && is_depthwise<T>(conv.axes, conv.in_channels, conv.out_channels)) {
    return Algorithm::kDepthwise;
  }
  if (planar && is_direct(conv)) return Algorithm::kDirect;
  // float64 is asked for to be exact: it stays with the direct sum.
  if constexpr (sizeof(T) == sizeof(float)) {
    if (conv.fast && winograd_scheme(conv) != WinogradScheme::kNone) return Algorithm::kWinograd;
  }
  // Spreading the results of a phase costs more than a copy of the input.
  const bool direct = is_pointwise(conv) && conv.phase.step[2] == 1;
  return !direct && is_implicit(conv) ? Algorithm::kImplicit : Algorithm::kIm2col;
}

// A phase that no tap reaches holds the bias.
template <class T>
void fill_phase(const Convolution<T>& conv) {
  const int64_t rows = conv.axes[0].positions * conv.axes[1].positions;
  const int64_t width = conv.axes[2].positions, planes = conv.groups * conv.out_channels;
  const int64_t grain = max_of(1, (int64_t{1} << 15) / (rows * width));
  const int workers = plan_workers(ceil_div(conv.batch * planes, grain));
  const int64_t part = round_up(width, 16);
  Workspace workspace(workers * part * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * part);
  parallel_for(conv.batch * planes, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const values = memory + worker * part;
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t d = conv.phase.first[0] + r / conv.axes[1].positions * conv.phase.step[0];
        const int64_t h = conv.phase.first[1] + r % conv.axes[1].positions * conv.phase.step[1];
        T* const target = conv.y +
                          ((i * conv.output[0] + d) * conv.output[1] + h) * conv.output[2] +
                          conv.phase.first[2];
        for (int64_t j = 0; j < width; ++j) {
          values[j] = conv.bias == nullptr ? T(0) : conv.bias[i % planes];
        }
        conv.finish(values, width, target, conv.phase.step[2]);
        spread(values, width, target, conv.phase.step[2]);
      }
    }
  });
}

template <class T>
bool is_empty(const Convolution<T>& conv) {
  return conv.batch <= 0 || conv.out_channels <= 0 || positions_of(conv.axes) <= 0;
}

}  // namespace

template <class T>
void convolve(const Convolution<T>& conv) {
  if (is_empty(conv)) return;
  if (conv.weights.columns == 0) return fill_phase(conv);
  switch (choose(conv)) {
    case Algorithm::kDepthwise:
      return convolve_depthwise(conv);
    case Algorithm::kDirect:
      return convolve_direct(conv);
    case Algorithm::kWinograd:
      if constexpr (sizeof(T) == sizeof(float)) convolve_winograd(conv);
      return;
    case Algorithm::kImplicit:
      return convolve_implicit(conv);
    case Algorithm::kIm2col:
      return convolve_im2col(conv);
  }
}

template <class T>
int64_t prepared_form(const Convolution<T>& conv) {
  if (is_empty(conv)) return kAsTheyAre;
  switch (choose(conv)) {
    case Algorithm::kWinograd:
      if constexpr (sizeof(T) == sizeof(float)) {
        return kWinograd + static_cast<int64_t>(winograd_scheme(conv));
      }
      break;
    case Algorithm::kImplicit:
    case Algorithm::kIm2col:
      return kPanels;
    case Algorithm::kDepthwise:
    case Algorithm::kDirect:
      break;
  }
  return kAsTheyAre;
}

template <class T>
int64_t prepared_elements(const Convolution<T>& conv) {
  const int64_t form = prepared_form(conv);
  if (form == kAsTheyAre) return 0;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (form >= kWinograd) return winograd_weights(conv);
  }
  return conv.groups * conv.out_channels * conv.weights.columns;
}

template <class T>
void prepare_weights(const Convolution<T>& conv, T* target) {
  const int64_t form = prepared_form(conv);
  if (form == kPanels) pack_panels(conv, target);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (form >= kWinograd) transform_winograd_weights(conv, target);
  }
}

// The phases of a transpose have a form each, the digits of `form`. More phases than an int64 has
// room for are left as they are.
template <class T>
void conv3d_prepare(const ConvPrepareArgs<T>& args) {
  constexpr int64_t kMostDigits = 15;
  int64_t form = 0, elements = 0, phases = 0;
  const auto look = [&](const Convolution<T>& conv) {
    if (++phases <= kMostDigits) form = form * kForms + prepared_form(conv);
    elements += prepared_elements(conv);
  };
  T* target = args.prepared;
  const auto prepare = [&](const Convolution<T>& conv) {
    prepare_weights(conv, target);
    target += prepared_elements(conv);
  };
  if (args.transposed) {
    for_each_phase(args.geometry, args.w, look);
    if (target != nullptr) for_each_phase(args.geometry, args.w, prepare);
  } else {
    look(forward_convolution(args.geometry, args.w));
    if (target != nullptr) prepare(forward_convolution(args.geometry, args.w));
  }
  *args.form = phases <= kMostDigits ? form : 0;
  *args.elements = elements;
}

#define FASTNN_INSTANTIATE(T)                                \
  template void convolve(const Convolution<T>&);             \
  template int64_t prepared_form(const Convolution<T>&);     \
  template int64_t prepared_elements(const Convolution<T>&); \
  template void prepare_weights(const Convolution<T>&, T*);  \
  template void conv3d_prepare(const ConvPrepareArgs<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
