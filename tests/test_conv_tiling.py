"""Transposed convolutions whose windows tile the result: as far apart as they are large."""

from __future__ import annotations

import numpy as np
import pytest
from conv_checks import CONV_TRANSPOSE, check_forward_and_backward, normal
from helpers import assert_close, same_bytes, same_bytes_for_every_thread_count
from reference import conv as reference

import fastnn
import fastnn.functional as F

# batch, in_channels, out_channels, size, kernel, groups
SHAPES = [
    (2, 5, 7, (9,), (3,), 1),
    (3, 20, 9, (5, 18), (2, 2), 1),
    (2, 18, 6, (4, 35), (4, 4), 2),
    (1, 12, 3, (3, 2), (16, 16), 1),
    (2, 6, 8, (7, 6), (3, 1), 1),
    (2, 6, 8, (7, 33), (1, 2), 2),
    (2, 3, 4, (2, 3, 5), (2, 2, 2), 1),
    (9, 70, 130, (7, 7), (2, 2), 1),
]


@pytest.mark.parametrize(("batch", "channels", "out", "size", "kernel", "groups"), SHAPES)
def test_results(batch, channels, out, size, kernel, groups, isa, dtype, rng):
    dims = len(kernel)
    x = normal(rng, batch, channels, *size, dtype=dtype)
    w = normal(rng, channels, out // groups, *kernel, dtype=dtype)
    b = normal(rng, out, dtype=dtype)

    def call(x):
        return CONV_TRANSPOSE[dims](x, w, b, kernel, 0, 0, groups)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    none = ((0, 0),) * dims
    expected = reference.conv_transpose(x, w, b, kernel, none, (0,) * dims, (1,) * dims, groups)
    assert_close(y, expected, channels)
    assert same_bytes(call(x[:1]), y[:1])


@pytest.mark.parametrize(("batch", "out", "channels", "size", "kernel", "groups"), SHAPES)
@pytest.mark.parametrize("rest", [0, 1])
def test_gradients_of_patches(batch, out, channels, size, kernel, groups, rest, isa, dtype):
    """The forward's windows tile the input, or leave a rest behind them."""
    dims = len(kernel)
    problem = {
        "x_shape": (batch, channels, *(n * k + rest * (k > 1) for n, k in zip(size, kernel))),
        "out": out,
        "kernel": kernel,
        "stride": kernel,
        "padding": ((0, 0),) * dims,
        "dilation": (1,) * dims,
        "groups": groups,
        "seed": 5,
    }
    check_forward_and_backward(problem, dtype)


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("size", [(5, 6), (7, 7), (16, 20)])
def test_layers(kernel, size, isa, dtype, rng):
    layer = fastnn.nn.ConvTranspose2d(66, 130, kernel, stride=kernel, dtype=dtype)
    x = normal(rng, 3, 66, *size, dtype=dtype)
    plain = F.conv_transpose2d(x, layer.weight.data, layer.bias.data, kernel)
    residual = normal(rng, *plain.shape, dtype=dtype)
    fused = fastnn.nn.Fused(layer, fastnn.nn.ReLU())
    with fastnn.no_grad():
        for _ in range(2):
            assert same_bytes(layer(x), plain)
        assert_close(fused(x, residual=residual), np.maximum(plain + residual, 0), 66)


def test_layer_of_sizes_that_take_different_ways(rng):
    """Results of large images do not fit the workspace: each way has its own prepared weights."""
    layer = fastnn.nn.ConvTranspose2d(8, 32, 2, stride=2)
    with fastnn.no_grad():
        for n in (10, 180, 10, 180):
            x = normal(rng, 1, 8, n, n, dtype=np.float32)
            expected = F.conv_transpose2d(x, layer.weight.data, layer.bias.data, 2)
            assert same_bytes(layer(x), expected)
