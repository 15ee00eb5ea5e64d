// Optimizers: one pass over the parameters, gradients and state of many arrays at once.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// One parameter: n contiguous elements. Its state arrays, as many as the algorithm keeps, are
// updated in place like the parameter; unused ones are null. Arrays must not overlap.
template <class T>
struct OptimArray {
  int64_t n;
  T* param;
  const T* grad;
  T* state[3];
  double step_size;          // multiplies the step: the learning rate and what corrects it
  double correction;         // Adam: 1 / sqrt(1 - beta2^t)
  bool first;                // SGD: the momentum buffer is not set yet; RAdam: v is not used yet
  double gradient_size = 0;  // NAdam: multiplies the gradient's own part of the step
};

// Elements [begin, end) of an array.
struct OptimChunk {
  int64_t array, begin, end;
};

// Part p, one thread's work, is chunks first_chunk[p] ... first_chunk[p + 1] - 1. The chunks are
// cut by the sizes of the arrays alone.
template <class T>
struct OptimList {
  const OptimArray<T>* arrays;
  const OptimChunk* chunks;
  const int64_t* first_chunk;
  int64_t parts;
};

// state: momentum buffer (null where momentum is 0).
template <class T>
struct SgdStepArgs {
  OptimList<T> list;
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
};

// state: mean, mean square, largest mean square (null unless amsgrad). `decay` multiplies the
// parameter first (decoupled weight decay), `weight_decay` joins the gradient.
template <class T>
struct AdamStepArgs {
  OptimList<T> list;
  double beta1, beta2, eps, weight_decay, decay;
  bool maximize;
};

// The same for NAdam and RAdam, without the largest. Adamax: mean, largest magnitude.
template <class T>
struct AdamVariantStepArgs {
  OptimList<T> list;
  double beta1, beta2, eps, weight_decay, decay;
  bool maximize;
};

// state: mean square of the gradients, of the steps.
template <class T>
struct AdadeltaStepArgs {
  OptimList<T> list;
  double rho, eps, weight_decay;
  bool maximize;
};

// state: mean square, mean (null unless centred), momentum buffer (null where momentum is 0).
template <class T>
struct RmspropStepArgs {
  OptimList<T> list;
  double alpha, eps, weight_decay, momentum;
  bool maximize;
};

// state: sum of squares.
template <class T>
struct AdagradStepArgs {
  OptimList<T> list;
  double eps, weight_decay;
  bool maximize;
};

// state: mean.
template <class T>
struct LionStepArgs {
  OptimList<T> list;
  double beta1, beta2, decay;
  bool maximize;
};

// total = the sum of the squares of all gradients, in float64.
template <class T>
struct SumOfSquaresArgs {
  OptimList<T> list;
  double* total;
};

// param *= factor.
template <class T>
struct ScaleArraysArgs {
  OptimList<T> list;
  double factor;
};

#define FASTNN_OPTIM_KERNELS(KERNEL)       \
  KERNEL(sgd_step, SgdStepArgs)            \
  KERNEL(adam_step, AdamStepArgs)          \
  KERNEL(adamax_step, AdamVariantStepArgs) \
  KERNEL(nadam_step, AdamVariantStepArgs)  \
  KERNEL(radam_step, AdamVariantStepArgs)  \
  KERNEL(adadelta_step, AdadeltaStepArgs)  \
  KERNEL(rmsprop_step, RmspropStepArgs)    \
  KERNEL(adagrad_step, AdagradStepArgs)    \
  KERNEL(lion_step, LionStepArgs)          \
  KERNEL(sum_of_squares, SumOfSquaresArgs) \
  KERNEL(scale_arrays, ScaleArraysArgs)

FASTNN_KERNELS(OptimKernels, optim, FASTNN_OPTIM_KERNELS)

}  // namespace fastnn
