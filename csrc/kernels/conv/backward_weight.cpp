// The gradient with respect to the weights: grad_w (out, taps) = grad_y (out, positions) *
// patches^T (positions, taps), summed over the images.
//
// The batch is cut into parts, each summed into a buffer of its own and the buffers added in order,
// which feeds the threads and shortens the chains of additions. Workspace: kMaxParts copies of
// grad_w, at most kPartBytes, beside the GEMM engine's.
#include "kernels/conv/depthwise_gradient.h"
#include "kernels/conv/im2col.h"
#include "kernels/conv/patch.h"
#include "kernels/conv/strip_gradient.h"
#include "kernels/conv/whole_input.h"
#include "kernels/conv/winograd_gradient.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kMaxParts = 16;
constexpr int64_t kPartBytes = int64_t{8} << 20;
// A sum of about this size stays in L2 and is added to there: its copies would come from L3.
constexpr int64_t kInPlaceBytes = int64_t{1} << 20;

// A function of the shape: the bits of the result depend on it.
template <class T>
int64_t part_count(const ConvGeometry& g, int64_t weights) {
  const int64_t bytes = max_of(1, weights) * static_cast<int64_t>(sizeof(T));
  if (bytes >= kInPlaceBytes / 4 && bytes <= kInPlaceBytes) return 1;
  const int64_t fit = kPartBytes / bytes;
  return max_of(1, min_of(min_of(g.batch, kMaxParts), fit));
}

template <class T>
void add_parts(int64_t parts, int64_t count, const T* buffers, T* sum) {
  constexpr int64_t kSize = Vec<T>::kSize;
  parallel_for(count, int64_t{1} << 14, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kSize) {
      const int64_t lanes = min_of(kSize, end - i);
      Vec<T> total = Vec<T>::load(buffers + i, lanes);
      for (int64_t part = 1; part < parts; ++part) {
        total += Vec<T>::load(buffers + part * count + i, lanes);
      }
      total.store(sum + i, lanes);
    }
  });
}

}  // namespace

template <class T>
void conv3d_backward_weight(const ConvBackwardWeightArgs<T>& args) {
  const ConvGeometry& g = args.geometry;
  if (covers_input(g)) return whole_input_gradient(args);
  const int64_t taps = product(g.kernel), positions = product(g.output);
  const int64_t in_channels = g.in_channels / g.groups, out_channels = g.out_channels / g.groups;
  const int64_t group_weights = out_channels * in_channels * taps;
  const int64_t weights = g.groups * group_weights;
  const int64_t parts = part_count<T>(g, weights), images = ceil_div(g.batch, parts);
  Axis axes[3];
  for (int i = 0; i < 3; ++i) {
    axes[i] = {g.input[i], g.output[i], g.stride[i], g.kernel[i], -g.padding[i], g.dilation[i]};
  }
  const DepthwiseWeights<T> depthwise{
      g.batch, g.groups, in_channels, out_channels, {axes[0], axes[1], axes[2]},
      g.mode,  args.x,   args.grad_y, args.grad_w};
  if (is_depthwise_gradient(depthwise)) return depthwise_gradient(depthwise);
  Convolution<T> forward = forward_convolution<T>(g, nullptr);
  forward.x = args.x;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (weights > 0 && g.batch > 0 && positions > 0 && is_winograd_gradient(forward)) {
      return winograd_gradient(forward, args.grad_y, args.grad_w);
    }
  }
  if (weights > 0 && is_strip_gradient(forward)) {
    return strip_gradient(forward, args.grad_y, parts, args.grad_w);
  }
  Workspace workspace(parts > 1 ? parts * weights * static_cast<int64_t>(sizeof(T)) : 0);
  T* const buffers = parts > 1 ? workspace.take<T>(parts * weights) : args.grad_w;
  const GemmShape shape{out_channels, in_channels * taps, positions};
  gemm_grid<T>(parts * g.groups, shape, [&](int64_t item, const Cell& cell, T* scratch) {
    const int64_t group = item % g.groups, first = item / g.groups * images;
    T* const target = buffers + item * group_weights;
    int64_t n = first;
    do {  // an empty part, or no positions, leaves zeros
      const bool empty = n >= g.batch;
      const DenseOperand<T> a{args.grad_y + (n * g.groups + group) * out_channels * positions,
                              positions, 1};
      const T* const x = args.x + (n * g.groups + group) * in_channels * product(g.input);
      if (is_pointwise(forward)) {
        const DenseOperand<T> b{x, positions, 1};
        gemm_cell<T>(cell, empty ? 0 : positions, a, b, target, shape.n, n > first, scratch);
      } else {
        const TransposedPatches<T> b{{{axes[0], axes[1], axes[2]}, g.mode, x}};
        gemm_cell<T>(cell, empty ? 0 : positions, a, b, target, shape.n, n > first, scratch);
      }
    } while (++n < min_of(first + images, g.batch));
  });
  if (parts > 1) add_parts(parts, weights, buffers, args.grad_w);
}

// Each channel's sum runs over the images in order, kLanes sums side by side within an image.
template <class T>
void conv3d_backward_bias(const ConvBackwardBiasArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t work = max_of(1, args.batch * args.positions);
  parallel_for(
      args.channels, max_of(1, (int64_t{1} << 16) / work), [&](int64_t begin, int64_t end, int) {
        for (int64_t c = begin; c < end; ++c) {
          T total = 0;
          for (int64_t n = 0; n < args.batch; ++n) {
            const T* x = args.x + (n * args.channels + c) * args.positions;
            Vec<T> sum[4] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
            int64_t i = 0;
            for (; i + 4 * kSize <= args.positions; i += 4 * kSize) {
              FASTNN_UNROLL
              for (int j = 0; j < 4; ++j) sum[j] += Vec<T>::load(x + i + j * kSize);
            }
            for (; i < args.positions; i += kSize) {
              sum[0] += Vec<T>::load(x + i, min_of(kSize, args.positions - i));
            }
            total += reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
          }
          args.sums[c] = total;
        }
      });
}

template void conv3d_backward_weight(const ConvBackwardWeightArgs<float>&);
template void conv3d_backward_weight(const ConvBackwardWeightArgs<double>&);
template void conv3d_backward_bias(const ConvBackwardBiasArgs<float>&);
template void conv3d_backward_bias(const ConvBackwardBiasArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
