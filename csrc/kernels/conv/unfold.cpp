// unfold writes the patch matrix of an image; fold, its transpose, adds the patches up again, tap
// by tap in order.
#include "kernels/conv/plane.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Calls f(d, h, w) for every tap with its offset in the input.
template <class F>
void for_each_tap(const ConvGeometry& g, const F& f) {
  for (int64_t d = 0; d < g.kernel[0]; ++d) {
    for (int64_t h = 0; h < g.kernel[1]; ++h) {
      for (int64_t w = 0; w < g.kernel[2]; ++w) {
        f(d * g.dilation[0] - g.padding[0], h * g.dilation[1] - g.padding[1],
          w * g.dilation[2] - g.padding[2]);
      }
    }
  }
}

// Where row o of the output reads for a tap: the input's row, or null outside.
template <class T>
T* source_row(const ConvGeometry& g, T* plane, int64_t o, int64_t depth, int64_t height) {
  const int64_t d = o / g.output[1] * g.stride[0] + depth;
  const int64_t h = o % g.output[1] * g.stride[1] + height;
  const bool inside = d >= 0 && d < g.input[0] && h >= 0 && h < g.input[1];
  return inside ? plane + (d * g.input[1] + h) * g.input[2] : nullptr;
}

int64_t plane_grain(const ConvGeometry& g) {
  return max_of(1, (int64_t{1} << 15) / max_of(1, product(g.kernel) * product(g.output)));
}

}  // namespace

template <class T>
void unfold_forward(const UnfoldArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  const int64_t positions = product(g.output), rows = g.output[0] * g.output[1];
  parallel_for(g.batch * g.in_channels, plane_grain(g), [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const T* const x = args.x + plane * product(g.input);
      T* target = args.columns + plane * product(g.kernel) * positions;
      for_each_tap(g, [&](int64_t d, int64_t h, int64_t w) {
        for (int64_t o = 0; o < rows; ++o, target += g.output[2]) {
          const T* const row = source_row(g, x, o, d, h);
          load_columns(row == nullptr ? x : row, row == nullptr ? 0 : g.input[2],
                       PaddingMode::kZeros, w, g.stride[2], g.output[2], target);
        }
      });
    }
  });
}

template <class T>
void fold_forward(const FoldArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  const int64_t positions = product(g.output), rows = g.output[0] * g.output[1];
  const int64_t stride = g.stride[2];
  parallel_for(g.batch * g.in_channels, plane_grain(g), [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* const x = args.x + plane * product(g.input);
      for (int64_t i = 0; i < product(g.input); ++i) x[i] = T(0);
      const T* source = args.columns + plane * product(g.kernel) * positions;
      for_each_tap(g, [&](int64_t d, int64_t h, int64_t w) {
        const int64_t first = w >= 0 ? 0 : ceil_div(-w, stride);
        const int64_t last = w >= g.input[2] ? 0 : ceil_div(g.input[2] - w, stride);
        for (int64_t o = 0; o < rows; ++o, source += g.output[2]) {
          T* const row = source_row(g, x, o, d, h);
          if (row == nullptr) continue;
          for (int64_t j = first; j < min_of(last, g.output[2]); ++j) {
            row[w + j * stride] += source[j];
          }
        }
      });
    }
  });
}

template void unfold_forward(const UnfoldArgs<float>&);
template void unfold_forward(const UnfoldArgs<double>&);
template void fold_forward(const FoldArgs<float>&);
template void fold_forward(const FoldArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
