"""Softmax and its kin in plain NumPy, along one axis."""

import numpy as np


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def softmin(x, axis):
    return softmax(-x, axis)


def gumbel_softmax(logits, uniform, tau, axis):
    """From given uniform numbers: Jang et al., 2017, equation 2."""
    return softmax((logits - np.log(-np.log(uniform))) / tau, axis)


def logsumexp(x, axis):
    largest = x.max(axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0)
    total = np.log(np.exp(x - shift).sum(axis, keepdims=True)) + shift
    return total.squeeze(axis)


def softmax_backward(grad, y, axis):
    return y * (grad - (grad * y).sum(axis, keepdims=True))


def log_softmax_backward(grad, y, axis):
    return grad - np.exp(y) * grad.sum(axis, keepdims=True)


def logsumexp_backward(grad, x, axis):
    return np.expand_dims(grad, axis) * np.exp(x - np.expand_dims(logsumexp(x, axis), axis))
