"""Element-wise operations in plain NumPy."""

import numpy as np
from scipy.special import erf


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return hardtanh(x, 0, 6)


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, negative_slope * x)


def threshold(x, threshold, value):
    return np.where(x <= threshold, value, x)


def hardtanh(x, min_val=-1, max_val=1):
    return np.minimum(np.maximum(x, min_val), max_val)


def hardsigmoid(x):
    return hardtanh(x + 3, 0, 6) / 6


def hardswish(x):
    return x * hardsigmoid(x)


def hardshrink(x, lambd=0.5):
    return np.where(np.abs(x) <= lambd, 0, x)


def softshrink(x, lambd=0.5):
    return np.where(np.abs(x) <= lambd, 0, x - lambd * np.sign(x))


def softsign(x):
    return x / (1 + np.abs(x))


def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def logsigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def tanh(x):
    return np.tanh(x)


def tanhshrink(x):
    return x - np.tanh(x)


def elu(x, alpha=1):
    return np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0)), x)


def celu(x, alpha=1):
    return np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0) / alpha), x)


def selu(x):
    return 1.0507009873554804934 * elu(x, 1.6732632423543772848)


def softplus(x, beta=1, threshold=20):
    z = beta * x
    return np.where(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)


def silu(x):
    return x * sigmoid(x)


def mish(x):
    return x * np.tanh(np.where(x > 700, x, np.log1p(np.exp(np.minimum(x, 700)))))


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return gelu_tanh(x)
    return np.maximum(x, -1e3) * 0.5 * (1 + erf(x / np.sqrt(2)))


def gelu_tanh(x):
    return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def rrelu(x, slopes):
    """`slopes` are the random ones of training, or (lower + upper) / 2."""
    return np.where(x > 0, x, slopes * x)


def prelu(x, weight):
    if weight.size == 1:
        return np.where(x > 0, x, weight.reshape(()) * x)
    return np.where(x > 0, x, weight.reshape(-1, *[1] * (x.ndim - 2)) * x)


def glu(x, dim=-1):
    a, b = np.split(x, 2, axis=dim)
    return a * sigmoid(b)


def exp(x):
    return np.exp(x)


def log(x):
    return np.log(x)


def sqrt(x):
    return np.sqrt(x)


def sum(x, axis=None, keepdims=False):
    return np.sum(x, axis=axis, keepdims=keepdims)
