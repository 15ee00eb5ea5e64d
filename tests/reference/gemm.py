"""Matrix products in plain NumPy."""

import numpy as np


def matmul(a, b):
    return np.matmul(a, b)


def linear(x, weight, bias=None):
    y = np.tensordot(x, weight, axes=([-1], [-1]))
    return y if bias is None else y + bias


def grouped_mm(a, b, offs=None, bias=None):
    if offs is None:
        return a @ b if bias is None else a @ b + np.expand_dims(bias, -2)
    rows, columns = a.ndim == 2 and b.ndim == 3, a.ndim == 3
    shape = (a.shape[-2], b.shape[-1])
    y = np.zeros(shape if rows or columns else (len(offs), *shape))
    begin = 0
    for g, end in enumerate(offs):
        part = slice(begin, end)
        begin = end
        own = 0 if bias is None else bias[g] if bias.ndim == 2 else bias
        if rows:
            y[part] = a[part] @ b[g] + own
        elif columns:
            y[:, part] = a[g] @ b[:, part] + (0 if bias is None else bias[part])
        else:
            y[g] = a[:, part] @ b[part] + own
    return y


def quantize_per_channel(weight):
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    scale = np.where(largest == 0, 1, largest / 127)
    return np.rint(weight / scale).astype(np.int8), scale.reshape(-1)


def column_sum(x):
    return x.sum(axis=tuple(range(x.ndim - 1)))


def bilinear(x1, x2, weight, bias=None):
    y = np.einsum("...i,oij,...j->...o", x1, weight, x2)
    return y if bias is None else y + bias


def quantize_rows(x):
    """Levels 0 .. 255 of each row, its scale and the level of zero."""
    low = np.minimum(x.min(axis=-1, initial=0), 0)
    high = np.maximum(x.max(axis=-1, initial=0), 0)
    scale = np.maximum((high - low) / 255, 2.0**-126)[..., None]
    zero = np.rint(-low[..., None] / scale)
    return np.clip(np.rint(x / scale + zero), 0, 255), scale, zero


def quantized_linear(x, weight, weight_scale, bias=None):
    levels, scale, zero = quantize_rows(x)
    y = (levels - zero) @ weight.T.astype(np.float64) * scale * weight_scale
    return y if bias is None else y + bias
