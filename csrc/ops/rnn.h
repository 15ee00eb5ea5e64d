// One layer, one direction of a recurrent network.
//
// A batch of sequences is processed in "packed rows", step by step as in PyTorch's PackedSequence:
// `order` sorts the sequences by falling length, step s covers its first step_rows[s] of them, and
// their packed rows are step_start[s], step_start[s] + 1, ... Padded steps have no packed row.
#pragma once

#include <cstdint>

#include "ops/kernel.h"

namespace fastnn {

enum class RnnCell { kTanh, kRelu, kLstm, kGru };

struct RnnRows {
  int64_t steps, batch;
  const int64_t* step_rows;   // (steps), never rising
  const int64_t* step_start;  // (steps)
  const int64_t* order;       // (batch): the sequence that row r belongs to
};

// Gate order is PyTorch's: LSTM i f g o, GRU r z n. G = 4, 3 or 1 gates.
template <class T>
struct RnnForwardArgs {
  RnnCell cell;
  RnnRows rows;
  int64_t input_size, hidden_size;
  const T* x;
  const int64_t* x_offsets;  // of every packed row
  const T* w_ih;             // (G hidden, input)
  const T* w_hh;             // (G hidden, hidden)
  const T* b_ih;             // (G hidden) or null
  const T* b_hh;
  const T* h0;  // (batch, hidden) or null for zero
  const T* c0;
  T* y;
  const int64_t* y_offsets;
  T* h_n;  // (batch, hidden)
  T* c_n;  // LSTM only
  // For the backward pass, or null: gates (packed rows, R hidden) with R = 4 for LSTM and GRU
  // (r, z, n, W_hn h + b_hn), 1 else (h); cells (packed rows, hidden), LSTM only.
  T* gates;
  T* cells;
};

// Turns `gates` into the gradients of the gates' inputs in place. For the GRU these are r, z, n
// with respect to the input projection, and in the fourth column n with respect to W_hn h + b_hn.
template <class T>
struct RnnBackwardArgs {
  RnnCell cell;
  RnnRows rows;
  int64_t hidden_size;
  const T* w_hh;
  const T* h0;
  const T* c0;
  const T* y;
  const int64_t* y_offsets;
  const T* grad_y;  // laid out like y; null for zero
  const T* grad_h_n;
  const T* grad_c_n;
  T* gates;
  const T* cells;
  T* grad_h0;  // (batch, hidden)
  T* grad_c0;
};

#define FASTNN_RNN_KERNELS(KERNEL)    \
  KERNEL(rnn_forward, RnnForwardArgs) \
  KERNEL(rnn_backward, RnnBackwardArgs)

FASTNN_KERNELS(RnnKernels, rnn, FASTNN_RNN_KERNELS)

}  // namespace fastnn
