"""Matrix products in plain NumPy."""

import numpy as np


def matmul(a, b):
    return np.matmul(a, b)


def linear(x, weight, bias=None):
    y = np.tensordot(x, weight, axes=([-1], [-1]))
    return y if bias is None else y + bias


def column_sum(x):
    return x.sum(axis=tuple(range(x.ndim - 1)))


def bilinear(x1, x2, weight, bias=None):
    y = np.einsum("...i,oij,...j->...o", x1, weight, x2)
    return y if bias is None else y + bias
