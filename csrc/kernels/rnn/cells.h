// The cells' element-wise part, on vectors of hidden units: forward beside backward.
//
// forward(pre, state, saved): pre are the gates' inputs; returns the new h and fills what the
// backward pass needs. backward(saved, grad_h, state): turns saved into the gradients of pre.
// A GRU's n gate has two inputs, of the input projection and of the recurrent product: `rec_n` is
// the second. With the reset first the recurrent product follows the reset gate: see `reset`.
//
// kGates is what the weights have, kReserve what is saved a unit.
#pragma once

#include "simd/math.h"

namespace fastnn::FASTNN_ISA {

template <class T>
struct ForwardState {
  Vec<T> h_prev;
  Vec<T> c;            // LSTM: in c_{t-1}, out c_t
  Vec<T> rec_n;        // GRU
  Vec<T> peephole[3];  // i, f, o
  bool variant;        // LSTM with peepholes; ReLU instead of tanh
};

template <class T>
struct BackwardState {
  Vec<T> h_prev, c_prev, c;
  Vec<T> grad_c;  // LSTM: in the gradient of c_t, out that of c_{t-1}
  Vec<T> direct;  // out: what reaches h_{t-1} past the recurrent product
  Vec<T> peephole[3];
  bool variant;
};

// Elman (1990), with tanh or ReLU.
template <class T>
struct PlainCell {
  static constexpr int kGates = 1, kReserve = 1;
  static constexpr bool kLstm = false, kGru = false, kResetFirst = false;

  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&pre)[1], ForwardState<T>& state,
                                      Vec<T> (&saved)[1]) {
    saved[0] = state.variant ? max(Vec<T>::zero(), pre[0]) : tanh(pre[0]);
    return saved[0];
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[1], Vec<T> grad_h, BackwardState<T>& state) {
    const Vec<T> h = saved[0];
    saved[0] = state.variant ? select(h <= Vec<T>::zero(), Vec<T>::zero(), grad_h)
                             : grad_h * fnma(h, h, Vec<T>::broadcast(T(1)));
    state.direct = Vec<T>::zero();
  }
};

// Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000), and with peepholes
// (Gers and Schmidhuber, 2000).
template <class T>
struct LstmCell {
  static constexpr int kGates = 4, kReserve = 4;
  static constexpr bool kLstm = true, kGru = false, kResetFirst = false;

  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&pre)[4], ForwardState<T>& state,
                                      Vec<T> (&saved)[4]) {
    const auto peep = [&](int gate, int i) {
      return state.variant ? fma(state.peephole[i], state.c, pre[gate]) : pre[gate];
    };
    saved[0] = sigmoid(peep(0, 0));
    saved[1] = sigmoid(peep(1, 1));
    saved[2] = tanh(pre[2]);
    state.c = fma(saved[1], state.c, saved[0] * saved[2]);
    saved[3] = sigmoid(peep(3, 2));
    return saved[3] * tanh(state.c);
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[4], Vec<T> grad_h, BackwardState<T>& state) {
    const Vec<T> one = Vec<T>::broadcast(T(1));
    const Vec<T> i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const Vec<T> tanh_c = tanh(state.c);
    saved[3] = grad_h * tanh_c * (o * (one - o));
    Vec<T> grad_c = fma(grad_h * o, fnma(tanh_c, tanh_c, one), state.grad_c);
    if (state.variant) grad_c = fma(saved[3], state.peephole[2], grad_c);
    saved[0] = grad_c * g * (i * (one - i));
    saved[1] = grad_c * state.c_prev * (f * (one - f));
    saved[2] = grad_c * i * fnma(g, g, one);
    state.grad_c = grad_c * f;
    if (state.variant) {
      state.grad_c = fma(saved[0], state.peephole[0], state.grad_c);
      state.grad_c = fma(saved[1], state.peephole[1], state.grad_c);
    }
    state.direct = Vec<T>::zero();
  }
};

// Cho et al. (2014) in the form of cuDNN and PyTorch: the reset gate scales W_hn h + b_hn.
template <class T>
struct GruCell {
  static constexpr int kGates = 3, kReserve = 4;
  static constexpr bool kLstm = false, kGru = true, kResetFirst = false;

  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&pre)[3], ForwardState<T>& state,
                                      Vec<T> (&saved)[4]) {
    saved[0] = sigmoid(pre[0]);
    saved[1] = sigmoid(pre[1]);
    saved[3] = state.rec_n;
    saved[2] = tanh(fma(saved[0], state.rec_n, pre[2]));
    return fma(saved[1], state.h_prev - saved[2], saved[2]);
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[4], Vec<T> grad_h, BackwardState<T>& state) {
    const Vec<T> one = Vec<T>::broadcast(T(1));
    const Vec<T> r = saved[0], z = saved[1], n = saved[2], q = saved[3];
    saved[2] = grad_h * (one - z) * fnma(n, n, one);
    saved[3] = saved[2] * r;
    saved[0] = saved[2] * q * (r * (one - r));
    saved[1] = grad_h * (state.h_prev - n) * (z * (one - z));
    state.direct = grad_h * z;
  }
};

// Cho et al. (2014) as published, and ONNX's default: n = tanh(W_in x + W_hn (r h) + b). The step
// has two halves: `reset` before the product with W_hn, `forward` behind it; and backwards
// `backward`, then `reset_backward` with the gradient of r h.
template <class T>
struct GruResetFirstCell {
  static constexpr int kGates = 3, kReserve = 3;
  static constexpr bool kLstm = false, kGru = true, kResetFirst = true;

  static FASTNN_INLINE Vec<T> reset(Vec<T>& r, Vec<T>& z, Vec<T> h_prev) {
    r = sigmoid(r);
    z = sigmoid(z);
    return r * h_prev;
  }
  // saved holds z.
  static FASTNN_INLINE Vec<T> forward(Vec<T> pre_n, Vec<T> z, Vec<T> h_prev, Vec<T>& n) {
    n = tanh(pre_n);
    return fma(z, h_prev - n, n);
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[3], Vec<T> grad_h, BackwardState<T>& state) {
    const Vec<T> one = Vec<T>::broadcast(T(1));
    const Vec<T> z = saved[1], n = saved[2];
    saved[2] = grad_h * (one - z) * fnma(n, n, one);
    saved[1] = grad_h * (state.h_prev - n) * (z * (one - z));
    state.direct = grad_h * z;
  }
  // Returns the gradient of r's input; grad_rh is that of r h.
  static FASTNN_INLINE Vec<T> reset_backward(Vec<T> r, Vec<T> grad_rh, BackwardState<T>& state) {
    state.direct = fma(grad_rh, r, state.direct);
    return grad_rh * state.h_prev * (r * (Vec<T>::broadcast(T(1)) - r));
  }
};

}  // namespace fastnn::FASTNN_ISA
