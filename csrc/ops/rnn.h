// One layer of a recurrent network, in one or two directions.
//
// A batch of sequences is processed in "packed rows", step by step as in PyTorch's PackedSequence:
// `order` sorts the sequences by falling length, step s covers its first step_rows[s] of them, and
// their packed rows are step_start[s], step_start[s] + 1, ... Padded steps have no packed row.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

// kGruResetFirst is ONNX's linear_before_reset 0: the reset gate scales h before W_hn.
enum class RnnCell { kTanh, kRelu, kLstm, kGru, kGruResetFirst };

struct RnnRows {
  int64_t steps, batch;
  const int64_t* step_rows;   // (steps), never rising
  const int64_t* step_start;  // (steps)
  const int64_t* order;       // (batch): the sequence that row r belongs to
};

// Sizes: input I, hidden H, output P (the width of h: H but for an LSTM with a projection), G gates
// (LSTM i f g o, GRU r z n, else one).
struct RnnSizes {
  RnnCell cell;
  RnnRows rows;
  int64_t input, hidden, output;
};

// Pointers may be null: biases, peephole weights, projection, states for zero.
template <class T>
struct RnnWeights {
  const T* w_ih;  // (G H, I)
  const T* w_hh;  // (G H, P)
  const T* w_hr;  // (P, H)
  const T* b_ih;  // (G H)
  const T* b_hh;
  const T* peephole;  // (3 H), of i, f and o
};

// A matrix of int8, from pack_quantized_linear, with a scale a row; or of bfloat16, from
// pack_bfloat16, without.
template <class T>
struct RnnReducedWeight {
  const int32_t* packed;
  const T* scale;
};

template <class T>
struct RnnReducedWeights {
  RnnReducedWeight<T> w_ih, w_hh, w_hr;
};

template <class T>
struct RnnForwardDirection {
  RnnWeights<T> weights;
  const T* packed_w_ih;          // from pack_recurrent, in place of w_ih, or null
  const T* packed_w_hh;          // from pack_recurrent, in place of w_hh, or null
  RnnReducedWeights<T> reduced;  // in place of all matrices, or null; not when gates are saved
  const int64_t* x_offsets;      // of every packed row
  const int64_t* y_offsets;
  const T* h0;  // (batch, P)
  const T* c0;  // (batch, H)
  T* h_n;
  T* c_n;  // LSTM only
  // For the backward pass, or null: gates (packed rows, R H) with R = 4 for LSTM and GRU (r, z, n,
  // W_hn h + b_hn), 3 for GRU with the reset first, 1 else (h); cells (packed rows, H), LSTM only.
  T* gates;
  T* cells;
};

template <class T>
struct RnnForwardArgs {
  RnnSizes sizes;
  const T* x;
  T* y;  // may be h_n where there is one step
  int directions;
  RnnForwardDirection<T> direction[2];
};

// One direction. Gradients of weights, biases and peepholes are written, or null for not wanted;
// grad_x is added to.
template <class T>
struct RnnBackwardArgs {
  RnnSizes sizes;
  RnnWeights<T> weights;
  const T* x;
  const int64_t* x_offsets;
  const T* h0;
  const T* c0;
  const T* y;
  const T* grad_y;  // laid out like y; null for zero
  const int64_t* y_offsets;
  const T* grad_h_n;
  const T* grad_c_n;
  const T* gates;
  const T* cells;
  T* grad_x;   // laid out like x
  T* grad_h0;  // (batch, P)
  T* grad_c0;  // (batch, H)
  T* grad_w_ih;
  T* grad_w_hh;
  T* grad_w_hr;
  T* grad_b_ih;
  T* grad_b_hh;
  T* grad_peephole;
};

// Packs weights (G H, depth), w_ih or w_hh, for use in many calls. With `packed` null only
// `elements`, the size it needs, is set. The layout belongs to one instruction set.
template <class T>
struct PackRecurrentArgs {
  int64_t gates, hidden, depth;
  const T* weights;
  T* packed;
  int64_t* elements;
};

#define FASTNN_RNN_KERNELS(KERNEL)      \
  KERNEL(rnn_forward, RnnForwardArgs)   \
  KERNEL(rnn_backward, RnnBackwardArgs) \
  KERNEL(pack_recurrent, PackRecurrentArgs)

FASTNN_KERNELS(RnnKernels, rnn, FASTNN_RNN_KERNELS)

}  // namespace fastnn
