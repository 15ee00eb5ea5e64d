// nll_loss: picks -weight[target] * input at the target of every position. Workspace: 16 bytes a
// part of kNllPart positions.
#include "ops/loss.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"
#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kNllPart = int64_t{1} << 13;

}  // namespace

template <class T>
void nll_loss_forward(const NllLossForwardArgs<T>& args) {
  const int64_t positions = args.batch * args.inner;
  const int64_t parts = (positions + kNllPart - 1) / kNllPart;
  Workspace workspace(2 * Workspace::padded_bytes(parts * static_cast<int64_t>(sizeof(double))));
  double* sums = workspace.take<double>(parts);
  double* weights = workspace.take<double>(parts);
  parallel_for(positions, kNllPart, [&](int64_t begin, int64_t end, int) {
    double sum = 0, total_weight = 0;
    int64_t entry = begin / args.inner, column = begin - entry * args.inner;
    for (int64_t position = begin; position < end; ++position) {
      const int64_t target = args.target[position];
      T loss = 0;
      if (target != args.ignore_index) {
        const T weight = args.weight ? args.weight[target] : T{1};
        loss = -weight * args.input[(entry * args.classes + target) * args.inner + column];
        total_weight += static_cast<double>(weight);
      }
      if (args.loss) args.loss[position] = loss;
      sum += static_cast<double>(loss);
      if (++column == args.inner) {
        column = 0;
        ++entry;
      }
    }
    sums[begin / kNllPart] = sum;
    weights[begin / kNllPart] = total_weight;
  });
  double sum = 0, weight = 0;
  for (int64_t part = 0; part < parts; ++part) {
    sum += sums[part];
    weight += weights[part];
  }
  *args.divisor = weight;
  if (args.total) *args.total = static_cast<T>(args.mean ? sum / weight : sum);
}

// Every thread clears and fills its own batch entries.
template <class T>
void nll_loss_backward(const NllLossBackwardArgs<T>& args) {
  const int64_t entry_size = args.classes * args.inner;
  const int64_t grain = kNllPart * 4 / (entry_size > 0 ? entry_size : 1);
  const T scalar_grad = args.grad_is_scalar
                            ? static_cast<T>(static_cast<double>(*args.grad_loss) / args.divisor)
                            : T{0};
  parallel_for(args.batch, grain > 0 ? grain : 1, [&](int64_t begin, int64_t end, int) {
    __builtin_memset(args.grad_input + begin * entry_size, 0,
                     static_cast<size_t>((end - begin) * entry_size) * sizeof(T));
    for (int64_t entry = begin; entry < end; ++entry) {
      for (int64_t column = 0; column < args.inner; ++column) {
        const int64_t position = entry * args.inner + column;
        const int64_t target = args.target[position];
        if (target == args.ignore_index) continue;
        const T weight = args.weight ? args.weight[target] : T{1};
        const T grad = args.grad_is_scalar ? scalar_grad : args.grad_loss[position];
        args.grad_input[entry * entry_size + target * args.inner + column] = -grad * weight;
      }
    }
  });
}

template void nll_loss_forward(const NllLossForwardArgs<float>&);
template void nll_loss_forward(const NllLossForwardArgs<double>&);
template void nll_loss_backward(const NllLossBackwardArgs<float>&);
template void nll_loss_backward(const NllLossBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
