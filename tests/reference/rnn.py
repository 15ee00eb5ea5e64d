"""Recurrent layers in plain NumPy: one sequence at a time, one step at a time."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n = np.split(w_ih @ x + b_ih, 3)
    h_r, h_z, h_n = np.split(w_hh @ h + b_hh, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return (1 - z) * n + z * h


def rnn_step(x, h, w_ih, w_hh, b_ih, b_hh, nonlinearity="tanh"):
    pre = w_ih @ x + b_ih + w_hh @ h + b_hh
    return np.tanh(pre) if nonlinearity == "tanh" else np.maximum(pre, 0)


def rnn(cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, reverse=False, lengths=None):
    """x is (T, B, I); returns output (T, B, H), h_n (B, H) and c_n (B, H)."""
    steps, batch, _ = x.shape
    hidden = w_hh.shape[1]
    output = np.zeros((steps, batch, hidden))
    h_n, c_n = np.zeros((batch, hidden)), np.zeros((batch, hidden))
    for b in range(batch):
        h, c = h0[b], c0[b]
        length = steps if lengths is None else lengths[b]
        times = range(length)
        for t in reversed(times) if reverse else times:
            if cell == "lstm":
                h, c = lstm_step(x[t, b], h, c, w_ih, w_hh, b_ih, b_hh)
            elif cell == "gru":
                h = gru_step(x[t, b], h, w_ih, w_hh, b_ih, b_hh)
            else:
                h = rnn_step(x[t, b], h, w_ih, w_hh, b_ih, b_hh, cell)
            output[t, b] = h
        h_n[b], c_n[b] = h, c
    return output, h_n, c_n
