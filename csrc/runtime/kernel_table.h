// The dispatch table: every family's kernels, filled once per instruction set by kernels/table.cpp.
#pragma once

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/dropout.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gemm.h"
#include "ops/loss.h"
#include "ops/machine.h"
#include "ops/norm.h"
#include "ops/optim.h"
#include "ops/pool.h"
#include "ops/resize.h"
#include "ops/rnn.h"
#include "ops/softmax.h"

// FAMILY(name, type, list of kernels)
#define FASTNN_FAMILIES(FAMILY)                                       \
  FAMILY(attention, AttentionKernels, FASTNN_ATTENTION_KERNELS)       \
  FAMILY(conv, ConvKernels, FASTNN_CONV_KERNELS)                      \
  FAMILY(dropout, DropoutKernels, FASTNN_DROPOUT_KERNELS)             \
  FAMILY(elementwise, ElementwiseKernels, FASTNN_ELEMENTWISE_KERNELS) \
  FAMILY(embedding, EmbeddingKernels, FASTNN_EMBEDDING_KERNELS)       \
  FAMILY(gemm, GemmKernels, FASTNN_GEMM_KERNELS)                      \
  FAMILY(loss, LossKernels, FASTNN_LOSS_KERNELS)                      \
  FAMILY(machine, MachineKernels, FASTNN_MACHINE_KERNELS)             \
  FAMILY(norm, NormKernels, FASTNN_NORM_KERNELS)                      \
  FAMILY(optim, OptimKernels, FASTNN_OPTIM_KERNELS)                   \
  FAMILY(pool, PoolKernels, FASTNN_POOL_KERNELS)                      \
  FAMILY(resize, ResizeKernels, FASTNN_RESIZE_KERNELS)                \
  FAMILY(rnn, RnnKernels, FASTNN_RNN_KERNELS)                         \
  FAMILY(softmax, SoftmaxKernels, FASTNN_SOFTMAX_KERNELS)

namespace fastnn {

struct KernelTable {
#define FASTNN_FAMILY(family, Kernels, LIST) Kernels family;
  FASTNN_FAMILIES(FASTNN_FAMILY)
#undef FASTNN_FAMILY
};

}  // namespace fastnn
