#include "kernels/conv/convolution.h"

#include "kernels/conv/depthwise.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/gather.h"
#include "kernels/conv/im2col.h"
#include "kernels/conv/implicit.h"
#include "kernels/conv/tiling_transpose.h"
#include "kernels/conv/whole_input.h"
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
  // float64 is asked for to be exact: it stays with the direct sum.
  if constexpr (sizeof(T) == sizeof(float)) {
    if (conv.fast && winograd_scheme(conv) != WinogradScheme::kNone) return Algorithm::kWinograd;
  }
  if (planar && is_direct(conv)) return Algorithm::kDirect;
  // Of a step's positions a single tap reads only some. Spreading the results of a phase costs
  // more than a copy of the input.
  const bool direct = taps_of(conv.axes) == 1 && conv.phase.step[2] == 1;
  return !direct && is_implicit(conv) ? Algorithm::kImplicit : Algorithm::kIm2col;
}

template <class T>
bool is_empty(const Convolution<T>& conv) {
  return conv.batch <= 0 || conv.out_channels <= 0 || positions_of(conv.axes) <= 0;
}

}  // namespace

template <class T>
void fill_output(const Convolution<T>& conv) {
  if (is_empty(conv)) return;
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t size = product(conv.output), channels = conv.groups * conv.out_channels;
  parallel_for(conv.batch * channels, max_of(1, (int64_t{1} << 15) / size),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t i = begin; i < end; ++i) {
                   const Vec<T> bias(conv.bias == nullptr ? T(0) : conv.bias[i % channels]);
                   T* const y = conv.y + i * size;
                   for (int64_t j = 0; j < size; j += kSize) bias.store(y + j, size - j);
                   if (conv.finish.is_needed()) conv.finish(y, size);
                 }
               });
}

template <class T>
void convolve(const Convolution<T>& conv) {
  if (is_empty(conv) || conv.weights.columns == 0) return;
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
  constexpr int64_t kMostDigits = 10;
  int64_t form = 0, elements = 0, phases = 0;
  const auto look = [&](const Convolution<T>& conv) {
    if (++phases <= kMostDigits) form = form * kForms + prepared_form(conv);
    elements += prepared_elements(conv);
  };
  *args.form = kAsTheyAre;
  *args.elements = 0;
  if (covers_input(args.geometry)) return;
  T* target = args.prepared;
  const auto prepare = [&](const Convolution<T>& conv) {
    prepare_weights(conv, target);
    target += prepared_elements(conv);
  };
  const auto for_each = [&](const auto& f) {
    if (!args.transposed) return f(forward_convolution(args.geometry, args.w));
    if (is_tiling_transpose(args.geometry)) return f(tiling_convolution(args.geometry, args.w));
    for_each_phase(args.geometry, args.w, f);
  };
  for_each(look);
  if (target != nullptr) for_each(prepare);
  *args.form = phases <= kMostDigits ? form : 0;
  *args.elements = elements;
}

#define FASTNN_INSTANTIATE(T)                                \
  template void fill_output(const Convolution<T>&);          \
  template void convolve(const Convolution<T>&);             \
  template int64_t prepared_form(const Convolution<T>&);     \
  template int64_t prepared_elements(const Convolution<T>&); \
  template void prepare_weights(const Convolution<T>&, T*);  \
  template void conv3d_prepare(const ConvPrepareArgs<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
