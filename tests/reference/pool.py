"""Pooling in plain NumPy, one window at a time.

`x` is (planes..., spatial...); kernel, stride, padding and dilation are tuples with one number a
spatial dimension. A window is a tuple of index arrays, one a spatial dimension.
"""

import itertools

import numpy as np


def output_size(size, kernel, stride, padding, dilation, ceil_mode):
    """The windows along one dimension; the last starts in the input or the padding before it."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """For each output along one dimension the inputs that it covers."""
    count = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    taps = np.arange(kernel) * dilation
    starts = np.arange(count) * stride - padding
    return [(taps + start)[(taps + start >= 0) & (taps + start < size)] for start in starts]


def adaptive_windows(size, count):
    return [np.arange(o * size // count, -(-(o + 1) * size // count)) for o in range(count)]


def every_window(x, axes):
    """Pairs of an output's place and its window; `axes` has the list of windows an axis."""
    for place in itertools.product(*(range(len(axis)) for axis in axes)):
        yield place, np.ix_(*(axis[o] for axis, o in zip(axes, place)))


def fold(x, axes, f):
    y = np.empty(x.shape[: -len(axes)] + tuple(len(axis) for axis in axes))
    for place, window in every_window(x, axes):
        y[(..., *place)] = f(x[(..., *window)].reshape(*y.shape[: -len(axes)], -1), place)
    return y


def largest_index(values):
    """The first of equals, but the last of NaNs."""
    if np.isnan(values).any():
        return int(np.flatnonzero(np.isnan(values))[-1])
    return int(np.argmax(values))


def max_over(x, axes):
    """The maxima and their indices in the flattened plane; an empty window has -inf and 0."""
    spatial = x.shape[-len(axes) :]
    planes = x.reshape(-1, *spatial)
    shape = (len(planes), *(len(axis) for axis in axes))
    y, indices = np.full(shape, -np.inf), np.zeros(shape, np.int64)
    for n, plane in enumerate(planes):
        for place, window in every_window(plane, axes):
            values = plane[window].ravel()
            if values.size:
                at = largest_index(values)
                flat = np.arange(plane.size).reshape(spatial)[window].ravel()
                y[(n, *place)], indices[(n, *place)] = values[at], flat[at]
    shape = x.shape[: -len(axes)] + shape[1:]
    return y.reshape(shape), indices.reshape(shape)


def max_pool3d(x, kernel, stride, padding, dilation, ceil_mode):
    """For any number of spatial dimensions; returns (values, indices)."""
    spatial = x.shape[-len(kernel) :]
    axes = [windows(*axis, ceil_mode) for axis in zip(spatial, kernel, stride, padding, dilation)]
    return max_over(x, axes)


def adaptive_max_pool3d(x, output):
    return max_over(x, [adaptive_windows(*axis) for axis in zip(x.shape[-len(output) :], output)])


def fractional_windows(size, count, kernel, sample):
    """Windows whose starts `sample` spreads; the last one ends where the input does."""
    step = (size - kernel) / (count - 1) if count > 1 else 0
    starts = [int((o + sample) * step) - int(sample * step) for o in range(count - 1)]
    return [np.arange(kernel) + start for start in [*starts, size - kernel]]


def fractional_max_pool3d(x, kernel, output, samples):
    """For any number of spatial dimensions; `samples` is (planes, dims) in their order."""
    spatial = x.shape[-len(kernel) :]
    planes = x.reshape(-1, *spatial)
    results = [
        max_over(
            plane, [fractional_windows(*axis) for axis in zip(spatial, output, kernel, sample)]
        )
        for plane, sample in zip(planes, samples)
    ]
    shape = (*x.shape[: -len(kernel)], *output)
    return tuple(np.stack(parts).reshape(shape) for parts in zip(*results))


def max_backward(grad, indices, shape, dims):
    """Each output's gradient goes to the element that its maximum came from."""
    planes = int(np.prod(shape[:-dims]))
    grad_x = np.zeros((planes, int(np.prod(shape[-dims:]))))
    for plane, at, g in zip(grad_x, indices.reshape(planes, -1), grad.reshape(planes, -1)):
        np.add.at(plane, at, g)
    return grad_x.reshape(shape)


def divisors(size, kernel, stride, padding, ceil_mode, count_include_pad):
    """How many elements each window along one dimension counts."""
    if not count_include_pad:
        return [len(w) for w in windows(size, kernel, stride, padding, 1, ceil_mode)]
    count = output_size(size, kernel, stride, padding, 1, ceil_mode)
    starts = [o * stride - padding for o in range(count)]
    return [min(start + kernel, size + padding) - start for start in starts]


def avg_pool3d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    """For any number of spatial dimensions."""
    spatial = x.shape[-len(kernel) :]
    geometry = list(zip(spatial, kernel, stride, padding))
    axes = [windows(*axis, 1, ceil_mode) for axis in geometry]
    counts = [divisors(*axis, ceil_mode, count_include_pad) for axis in geometry]

    def mean(values, place):
        divisor = np.prod([count[o] for count, o in zip(counts, place)])
        return values.sum(-1) / (divisor_override or divisor)

    return fold(x, axes, mean)


def adaptive_avg_pool3d(x, output):
    axes = [adaptive_windows(*axis) for axis in zip(x.shape[-len(output) :], output)]
    return fold(x, axes, lambda values, place: values.mean(-1))


def lp_pool3d(x, p, kernel, stride, ceil_mode):
    """For any number of spatial dimensions; the mean is over what lies inside the input."""
    mean = avg_pool3d(x**p, kernel, stride, (0,) * len(kernel), ceil_mode, True)
    return (mean * np.prod(kernel)) ** (1 / p)


def max_unpool3d(x, indices, output):
    """For any number of spatial dimensions; where indices repeat, the last element stays."""
    planes = x.shape[: -len(output)]
    y = np.zeros((int(np.prod(planes)), int(np.prod(output))))
    for plane, values, at in zip(y, x.reshape(len(y), -1), indices.reshape(len(y), -1)):
        for value, i in zip(values, at):
            plane[i] = value
    return y.reshape(*planes, *output)
