// Losses. Reductions to one number: the elements are cut into parts that depend on the shape
// alone, each part is summed in a fixed order, and so are the parts.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// loss[i] = f(input[i], target[i], third[i]) * weight[i] on n contiguous elements; where `loss` is
// null, total[0] = sum of them / divisor. Neither may overlap an input.
template <class T>
struct PointwiseLossForwardArgs {
  int64_t n;
  const T* input;
  const T* target;
  const T* weight;   // may be null
  const T* third;    // may be null: pos_weight, input2 or variance
  double parameter;  // beta, delta, margin or epsilon
  bool flag;         // log_target, log_input or full
  T* loss;
  T* total;
  double divisor;
};

// The gradients of the above. grad_loss holds n values, or one where grad_is_scalar, which is then
// divided by the divisor. Any gradient may be null.
template <class T>
struct PointwiseLossBackwardArgs {
  int64_t n;
  const T* input;
  const T* target;
  const T* weight;
  const T* third;
  double parameter;
  bool flag;
  const T* grad_loss;
  bool grad_is_scalar;
  double divisor;
  T* grad_input;
  T* grad_target;
  T* grad_third;
};

// input is (batch, classes, inner) logits; a position is a pair (batch, inner). Either `target`,
// (batch, inner) class indices in range or ignore_index, or `probabilities`, like input, is set.
template <class T>
struct CrossEntropyForwardArgs {
  int64_t batch, classes, inner;
  const T* input;
  const int64_t* target;
  const T* probabilities;
  const T* weight;  // (classes), or null
  int64_t ignore_index;
  double label_smoothing;
  bool mean;
  T* statistics;    // (3, batch, inner): maximum, sum of exp(x - maximum), sum of coefficients
  T* loss;          // (batch, inner), or null: then
  T* total;         // one value: the sum, or with `mean` the sum / divisor
  double* divisor;  // the sum of the weights of the counted targets, or the positions
};

template <class T>
struct CrossEntropyBackwardArgs {
  int64_t batch, classes, inner;
  const T* input;
  const int64_t* target;
  const T* probabilities;
  const T* weight;
  int64_t ignore_index;
  double label_smoothing;
  const T* statistics;  // of the forward pass
  const T* grad_loss;   // (batch, inner), or one value where grad_is_scalar
  bool grad_is_scalar;
  double divisor;         // divides the scalar
  T* grad_input;          // may be null
  T* grad_probabilities;  // may be null
};

// loss of position (batch, inner) is -weight[target] * input[batch, target, inner].
template <class T>
struct NllLossForwardArgs {
  int64_t batch, classes, inner;
  const T* input;
  const int64_t* target;
  const T* weight;
  int64_t ignore_index;
  bool mean;
  T* loss;
  T* total;
  double* divisor;
};

template <class T>
struct NllLossBackwardArgs {
  int64_t batch, classes, inner;
  const int64_t* target;
  const T* weight;
  int64_t ignore_index;
  const T* grad_loss;
  bool grad_is_scalar;
  double divisor;
  T* grad_input;
};

// Hinge losses of rows of class scores. The target of multi_margin_loss is the right class of each
// row; that of multilabel_margin_loss (rows, classes), the right classes up to the first -1.
template <class T>
struct ClassMarginForwardArgs {
  int64_t rows, classes;
  const T* input;
  const int64_t* target;
  const T* weight;  // (classes), or null
  double margin;
  bool squared;
  T* loss;   // (rows), or null: then
  T* total;  // one value: sum / divisor
  double divisor;
};

template <class T>
struct ClassMarginBackwardArgs {
  int64_t rows, classes;
  const T* input;
  const int64_t* target;
  const T* weight;
  double margin;
  bool squared;
  const T* grad_loss;  // (rows), or one value where grad_is_scalar
  bool grad_is_scalar;
  double divisor;  // divides the scalar
  T* grad_input;
};

// similarity[row] = sum of a b / (|a| |b|) over `size` contiguous elements of each of `rows` rows.
template <class T>
struct CosineForwardArgs {
  int64_t rows, size;
  const T* a;
  const T* b;
  double eps;
  bool add_eps;  // |a| is sqrt(sum of squares + eps), else at least eps
  T* norms;      // (2, rows) for the gradient, or null
  T* similarity;
};

template <class T>
struct CosineBackwardArgs {
  int64_t rows, size;
  const T* a;
  const T* b;
  double eps;
  bool add_eps;
  const T* norms;
  const T* similarity;
  const T* grad;  // (rows)
  T* grad_a;      // may be null, as may grad_b
  T* grad_b;
};

// distance[row] = p-norm of a - b + eps.
template <class T>
struct DistanceForwardArgs {
  int64_t rows, size;
  const T* a;
  const T* b;
  double p, eps;
  T* distance;
};

template <class T>
struct DistanceBackwardArgs {
  int64_t rows, size;
  const T* a;
  const T* b;
  double p, eps;
  const T* distance;
  const T* grad;  // (rows)
  T* grad_a;      // may be null, as may grad_b
  T* grad_b;
};

// log_probs is (steps, batch, classes). Sample n has input_lengths[n] steps and target_lengths[n]
// labels from targets + target_offsets[n]; with L labels it has 2 L + 1 states: blanks around and
// between the labels.
template <class T>
struct CtcLossForwardArgs {
  int64_t steps, batch, classes, max_target;
  const T* log_probs;
  const int64_t* targets;
  const int64_t* target_offsets;
  const int64_t* input_lengths;
  const int64_t* target_lengths;
  int64_t blank;
  T* alpha;         // (batch, steps, 2 max_target + 3) for the gradient, or null
  double* offsets;  // (batch, steps + 1): what is to be added to the rows of alpha, and the loss
                    // in float64; null with alpha
  T* loss;          // (batch)
};

template <class T>
struct CtcLossBackwardArgs {
  int64_t steps, batch, classes, max_target;
  const T* log_probs;
  const int64_t* targets;
  const int64_t* target_offsets;
  const int64_t* input_lengths;
  const int64_t* target_lengths;
  int64_t blank;
  const T* alpha;
  const double* offsets;
  const T* grad_loss;  // (batch)
  bool zero_infinity;
  T* grad_log_probs;
};

#define FASTNN_LOSS_KERNELS(KERNEL)                                            \
  KERNEL(mse_loss_forward, PointwiseLossForwardArgs)                           \
  KERNEL(mse_loss_backward, PointwiseLossBackwardArgs)                         \
  KERNEL(l1_loss_forward, PointwiseLossForwardArgs)                            \
  KERNEL(l1_loss_backward, PointwiseLossBackwardArgs)                          \
  KERNEL(smooth_l1_loss_forward, PointwiseLossForwardArgs)                     \
  KERNEL(smooth_l1_loss_backward, PointwiseLossBackwardArgs)                   \
  KERNEL(huber_loss_forward, PointwiseLossForwardArgs)                         \
  KERNEL(huber_loss_backward, PointwiseLossBackwardArgs)                       \
  KERNEL(binary_cross_entropy_forward, PointwiseLossForwardArgs)               \
  KERNEL(binary_cross_entropy_backward, PointwiseLossBackwardArgs)             \
  KERNEL(binary_cross_entropy_with_logits_forward, PointwiseLossForwardArgs)   \
  KERNEL(binary_cross_entropy_with_logits_backward, PointwiseLossBackwardArgs) \
  KERNEL(cross_entropy_forward, CrossEntropyForwardArgs)                       \
  KERNEL(cross_entropy_backward, CrossEntropyBackwardArgs)                     \
  KERNEL(nll_loss_forward, NllLossForwardArgs)                                 \
  KERNEL(nll_loss_backward, NllLossBackwardArgs)                               \
  KERNEL(kl_div_forward, PointwiseLossForwardArgs)                             \
  KERNEL(kl_div_backward, PointwiseLossBackwardArgs)                           \
  KERNEL(hinge_embedding_loss_forward, PointwiseLossForwardArgs)               \
  KERNEL(hinge_embedding_loss_backward, PointwiseLossBackwardArgs)             \
  KERNEL(margin_ranking_loss_forward, PointwiseLossForwardArgs)                \
  KERNEL(margin_ranking_loss_backward, PointwiseLossBackwardArgs)              \
  KERNEL(soft_margin_loss_forward, PointwiseLossForwardArgs)                   \
  KERNEL(soft_margin_loss_backward, PointwiseLossBackwardArgs)                 \
  KERNEL(poisson_nll_loss_forward, PointwiseLossForwardArgs)                   \
  KERNEL(poisson_nll_loss_backward, PointwiseLossBackwardArgs)                 \
  KERNEL(gaussian_nll_loss_forward, PointwiseLossForwardArgs)                  \
  KERNEL(gaussian_nll_loss_backward, PointwiseLossBackwardArgs)                \
  KERNEL(multi_margin_loss_forward, ClassMarginForwardArgs)                    \
  KERNEL(multi_margin_loss_backward, ClassMarginBackwardArgs)                  \
  KERNEL(multilabel_margin_loss_forward, ClassMarginForwardArgs)               \
  KERNEL(multilabel_margin_loss_backward, ClassMarginBackwardArgs)             \
  KERNEL(cosine_similarity_forward, CosineForwardArgs)                         \
  KERNEL(cosine_similarity_backward, CosineBackwardArgs)                       \
  KERNEL(pairwise_distance_forward, DistanceForwardArgs)                       \
  KERNEL(pairwise_distance_backward, DistanceBackwardArgs)                     \
  KERNEL(ctc_loss_forward, CtcLossForwardArgs)                                 \
  KERNEL(ctc_loss_backward, CtcLossBackwardArgs)

FASTNN_KERNELS(LossKernels, loss, FASTNN_LOSS_KERNELS)

}  // namespace fastnn
