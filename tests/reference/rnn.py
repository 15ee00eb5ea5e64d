"""Recurrent layers in plain NumPy: one sequence at a time, one step at a time."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None, peephole=None):
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
    p_i, p_f, p_o = np.zeros((3, len(c))) if peephole is None else np.split(peephole, 3)
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    h = sigmoid(o + p_o * c) * np.tanh(c)
    return (h if w_hr is None else w_hr @ h), c


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh, linear_before_reset=True):
    x_r, x_z, x_n = np.split(w_ih @ x + b_ih, 3)
    h_r, h_z, h_n = np.split(w_hh @ h + b_hh, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    if linear_before_reset:
        n = np.tanh(x_n + r * h_n)
    else:
        n = np.tanh(x_n + np.split(w_hh, 3)[2] @ (r * h) + np.split(b_hh, 3)[2])
    return (1 - z) * n + z * h


def rnn_step(x, h, w_ih, w_hh, b_ih, b_hh, nonlinearity="tanh"):
    pre = w_ih @ x + b_ih + w_hh @ h + b_hh
    return np.tanh(pre) if nonlinearity == "tanh" else np.maximum(pre, 0)


def each_row(step, x, states, weights, options):
    """A step for every row of x (B, I) and of the states; returns the new states."""
    results = [step(row, *own, *weights, **options) for row, *own in zip(x, *states)]
    return tuple(map(np.stack, zip(*results))) if len(states) == 2 else np.stack(results)


def lstm_cell(x, hx, *weights, **options):
    return each_row(lstm_step, x, hx, weights, options)


def gru_cell(x, h, *weights, **options):
    return each_row(gru_step, x, (h,), weights, options)


def rnn_cell(x, h, *weights, **options):
    return each_row(rnn_step, x, (h,), weights, options)


def normalise(x, weight, bias, eps=1e-5):
    return (x - x.mean()) / np.sqrt(x.var() + eps) * weight + bias


def layer_norm_lstm(x, h, c, w_ih, w_hh, b, *norms, reverse=False, lengths=None):
    """x is (T, B, I); norms are weight and bias of the input's, the product's and the cell's."""
    steps, batch, _ = x.shape
    output, h_n, c_n = np.zeros((steps, *h.shape)), h.copy(), c.copy()
    for k in range(batch):
        times = range(steps if lengths is None else lengths[k])
        for t in reversed(times) if reverse else times:
            projected = normalise(w_ih @ x[t, k], *norms[0:2])
            gates = projected + normalise(w_hh @ h_n[k], *norms[2:4]) + b
            i, f, g, o = np.split(gates, 4)
            c_n[k] = sigmoid(f) * c_n[k] + sigmoid(i) * np.tanh(g)
            h_n[k] = sigmoid(o) * np.tanh(normalise(c_n[k], *norms[4:6]))
            output[t, k] = h_n[k]
    return output, h_n, c_n


def rnn(cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, reverse=False, lengths=None, **options):
    """x is (T, B, I); returns output (T, B, P), h_n (B, P) and c_n (B, H).

    `options` are the step's.
    """
    steps, batch, _ = x.shape
    output = np.zeros((steps, batch, w_hh.shape[1]))
    h_n, c_n = np.zeros_like(h0), np.zeros_like(c0)
    for b in range(batch):
        h, c = h0[b], c0[b]
        length = steps if lengths is None else lengths[b]
        times = range(length)
        for t in reversed(times) if reverse else times:
            if cell == "lstm":
                h, c = lstm_step(x[t, b], h, c, w_ih, w_hh, b_ih, b_hh, **options)
            elif cell == "gru":
                h = gru_step(x[t, b], h, w_ih, w_hh, b_ih, b_hh, **options)
            else:
                h = rnn_step(x[t, b], h, w_ih, w_hh, b_ih, b_hh, cell)
            output[t, b] = h
        h_n[b], c_n[b] = h, c
    return output, h_n, c_n
