"""What the tests of convolution share."""

from __future__ import annotations

import numpy as np
from helpers import assert_close
from reference import conv as reference

import fastnn
import fastnn.functional as F

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def normal(rng, *shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


def check_forward_and_backward(problem, dtype, mode="zeros"):
    dims = len(problem["kernel"])
    rng = np.random.default_rng(problem["seed"])
    groups = problem["groups"]
    x = normal(rng, *problem["x_shape"], dtype=dtype)
    w_shape = (problem["out"], x.shape[1] // groups, *problem["kernel"])
    w, b = normal(rng, *w_shape, dtype=dtype), normal(rng, problem["out"], dtype=dtype)
    common = (problem["stride"], problem["padding"], problem["dilation"], groups)
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = CONV[dims](*tensors, *common, padding_mode=mode)
    expected = reference.conv(x, w, b, *common, mode)
    assert y.data.dtype == dtype
    assert_close(y, expected, w[0].size)

    grad = normal(rng, *expected.shape, dtype=dtype)
    y.backward(grad)
    length = grad[:, 0].size
    assert_close(
        tensors[1].grad,
        reference.conv_backward_weight(grad, x, problem["kernel"], *common, mode),
        length,
        scale=10.0,
    )
    assert_close(tensors[2].grad, grad.sum((0, *range(2, grad.ndim)), np.float64), length)
    if mode == "zeros":
        stride, padding, dilation, _ = common
        rest = tuple(
            n - (size - 1) * s - d * (k - 1) - 1 + sum(p)
            for n, size, s, d, k, p in zip(
                x.shape[2:], grad.shape[2:], stride, dilation, problem["kernel"], padding
            )
        )
        expected = reference.conv_transpose(grad, w, None, stride, padding, rest, dilation, groups)
        assert_close(tensors[0].grad, expected, w.size // w.shape[1], scale=10.0)


def all_results(x, w, b, grad, **settings):
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.conv2d(*tensors, **settings)
    y.backward(grad)
    return [y.data, *(t.grad for t in tensors)]


def error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()
