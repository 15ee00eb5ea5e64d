"""Convolution in plain NumPy: a loop over the kernel's positions, in float64.

Written for any number of spatial dimensions. Arguments are tuples with one entry a dimension;
`padding` holds (before, after) pairs.
"""

import itertools

import numpy as np

PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(x, padding, mode):
    return np.pad(x, [(0, 0), (0, 0), *padding], mode=PAD_MODES[mode])


def _output_sizes(padded, kernel, stride, dilation):
    return tuple(
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(padded, kernel, stride, dilation)
    )


def _window(tap, sizes, stride, dilation):
    """Select what one tap of the kernel sees: one element an output."""
    return (
        ...,
        *(
            slice(t * d, t * d + (n - 1) * s + 1, s) if n else slice(0, 0)
            for t, n, s, d in zip(tap, sizes, stride, dilation)
        ),
    )


def _taps(kernel):
    return itertools.product(*map(range, kernel))


def _grouped(x, axis, groups):
    """Split the channel axis into (groups, channels of a group)."""
    shape = x.shape
    return x.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _flat(x):
    return x.reshape(*x.shape[:3], int(np.prod(x.shape[3:])))


def conv(x, w, b, stride, padding, dilation, groups, mode="zeros"):
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    kernel = w.shape[2:]
    padded = _pad(x, padding, mode)
    sizes = _output_sizes(padded.shape[2:], kernel, stride, dilation)
    y = np.zeros((x.shape[0], groups, w.shape[0] // groups, *sizes))
    for tap in _taps(kernel):
        seen = _grouped(padded[_window(tap, sizes, stride, dilation)], 1, groups)
        weight = _grouped(w[(..., *tap)], 0, groups)
        y += np.einsum("ngc...,gkc->ngk...", seen, weight)
    y = y.reshape(x.shape[0], w.shape[0], *sizes)
    return y if b is None else y + np.reshape(b, (-1, *[1] * len(kernel)))


def conv_backward_weight(grad, x, kernel, stride, padding, dilation, groups, mode="zeros"):
    grad, x = np.asarray(grad, np.float64), np.asarray(x, np.float64)
    padded = _pad(x, padding, mode)
    sizes = grad.shape[2:]
    out, channels = grad.shape[1], x.shape[1] // groups
    grad_w = np.zeros((out, channels, *kernel))
    for tap in _taps(kernel):
        seen = _grouped(padded[_window(tap, sizes, stride, dilation)], 1, groups)
        product = np.einsum("ngkp,ngcp->gkc", _flat(_grouped(grad, 1, groups)), _flat(seen))
        grad_w[(..., *tap)] = product.reshape(out, channels)
    return grad_w


def conv_transpose(y, w, b, stride, padding, output_padding, dilation, groups):
    y, w = np.asarray(y, np.float64), np.asarray(w, np.float64)
    kernel, sizes = w.shape[2:], y.shape[2:]
    full = tuple(
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(sizes, stride, dilation, kernel, output_padding)
    )
    x = np.zeros((y.shape[0], groups, w.shape[1], *full))
    for tap in _taps(kernel):
        weight = _grouped(w[(..., *tap)], 0, groups)
        x[_window(tap, sizes, stride, dilation)] += np.einsum(
            "ngk...,gkc->ngc...", _grouped(y, 1, groups), weight
        )
    x = x.reshape(y.shape[0], groups * w.shape[1], *full)
    x = x[(..., *(slice(p, n - q) for n, (p, q) in zip(full, padding)))]
    return x if b is None else x + np.reshape(b, (-1, *[1] * len(kernel)))


def conv3d(x, w, b, stride, padding, dilation, groups, mode="zeros"):
    return conv(x, w, b, stride, padding, dilation, groups, mode)


def unfold(x, kernel, dilation, padding, stride):
    x = _pad(np.asarray(x, np.float64), padding, "zeros")
    sizes = _output_sizes(x.shape[2:], kernel, stride, dilation)
    taps = [x[_window(tap, sizes, stride, dilation)] for tap in _taps(kernel)]
    columns = np.stack(taps, axis=2)
    return columns.reshape(x.shape[0], x.shape[1] * len(taps), int(np.prod(sizes)))


def fold(columns, output_size, kernel, dilation, padding, stride):
    padded = tuple(n + sum(p) for n, p in zip(output_size, padding))
    sizes = _output_sizes(padded, kernel, stride, dilation)
    taps = list(_taps(kernel))
    columns = columns.reshape(columns.shape[0], -1, len(taps), *sizes)
    x = np.zeros((columns.shape[0], columns.shape[1], *padded))
    for i, tap in enumerate(taps):
        x[_window(tap, sizes, stride, dilation)] += columns[:, :, i]
    return x[(..., *(slice(p, p + n) for n, (p, _) in zip(output_size, padding)))]
