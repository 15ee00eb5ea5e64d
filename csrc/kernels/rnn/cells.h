// The cells' element-wise part, on vectors of hidden units: forward beside backward.
//
// forward(x, rec, state, saved): x are the gates' input projections with their biases, rec the
// recurrent products; returns the new h and fills what the backward pass needs.
// backward(saved, grad_h, state, grads): turns saved into the gradients of the gates' inputs.
#pragma once

#include "simd/math.h"

namespace fastnn::FASTNN_ISA {

template <class T>
struct ForwardState {
  Vec<T> h_prev;
  Vec<T> c;         // LSTM: in c_{t-1}, out c_t
  Vec<T> rec_bias;  // GRU: b_hn
};

template <class T>
struct BackwardState {
  Vec<T> h_prev, c_prev, c;
  Vec<T> grad_c;  // LSTM: in the gradient of c_t, out that of c_{t-1}
  Vec<T> direct;  // out: what reaches h_{t-1} past the recurrent product
};

// Gates are kGates wide in the weights, kReserve in what is saved.
template <class T>
struct TanhCell {
  static constexpr int kGates = 1, kReserve = 1;
  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&x)[1], const Vec<T> (&rec)[1],
                                      ForwardState<T>&, Vec<T> (&saved)[1]) {
    saved[0] = tanh(x[0] + rec[0]);
    return saved[0];
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[1], Vec<T> grad_h, BackwardState<T>& state) {
    saved[0] = grad_h * fnma(saved[0], saved[0], Vec<T>::broadcast(T(1)));
    state.direct = Vec<T>::zero();
  }
};

template <class T>
struct ReluCell {
  static constexpr int kGates = 1, kReserve = 1;
  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&x)[1], const Vec<T> (&rec)[1],
                                      ForwardState<T>&, Vec<T> (&saved)[1]) {
    saved[0] = max(Vec<T>::zero(), x[0] + rec[0]);
    return saved[0];
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[1], Vec<T> grad_h, BackwardState<T>& state) {
    saved[0] = select(saved[0] <= Vec<T>::zero(), Vec<T>::zero(), grad_h);
    state.direct = Vec<T>::zero();
  }
};

// Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000).
template <class T>
struct LstmCell {
  static constexpr int kGates = 4, kReserve = 4;
  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&x)[4], const Vec<T> (&rec)[4],
                                      ForwardState<T>& state, Vec<T> (&saved)[4]) {
    saved[0] = sigmoid(x[0] + rec[0]);
    saved[1] = sigmoid(x[1] + rec[1]);
    saved[2] = tanh(x[2] + rec[2]);
    saved[3] = sigmoid(x[3] + rec[3]);
    state.c = fma(saved[1], state.c, saved[0] * saved[2]);
    return saved[3] * tanh(state.c);
  }
  static FASTNN_INLINE void backward(Vec<T> (&saved)[4], Vec<T> grad_h, BackwardState<T>& state) {
    const Vec<T> one = Vec<T>::broadcast(T(1));
    const Vec<T> i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const Vec<T> tanh_c = tanh(state.c);
    const Vec<T> grad_c = fma(grad_h * o, fnma(tanh_c, tanh_c, one), state.grad_c);
    saved[0] = grad_c * g * (i * (one - i));
    saved[1] = grad_c * state.c_prev * (f * (one - f));
    saved[2] = grad_c * i * fnma(g, g, one);
    saved[3] = grad_h * tanh_c * (o * (one - o));
    state.grad_c = grad_c * f;
    state.direct = Vec<T>::zero();
  }
};

// Cho et al. (2014) in the form of cuDNN and PyTorch: the reset gate scales W_hn h + b_hn.
template <class T>
struct GruCell {
  static constexpr int kGates = 3, kReserve = 4;
  static FASTNN_INLINE Vec<T> forward(const Vec<T> (&x)[3], const Vec<T> (&rec)[3],
                                      ForwardState<T>& state, Vec<T> (&saved)[4]) {
    saved[0] = sigmoid(x[0] + rec[0]);
    saved[1] = sigmoid(x[1] + rec[1]);
    saved[3] = rec[2] + state.rec_bias;
    saved[2] = tanh(fma(saved[0], saved[3], x[2]));
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

}  // namespace fastnn::FASTNN_ISA
