"""Convolutions whose kernel covers the whole input, and transposed ones of a single position."""

from __future__ import annotations

import numpy as np
import pytest
from conv_checks import CONV, CONV_TRANSPOSE, all_results, check_forward_and_backward, normal
from helpers import assert_close, same_bytes, same_bytes_for_every_thread_count
from reference import conv as reference

import fastnn
import fastnn.functional as F

# batch, in_channels, out_channels, kernel, groups
SHAPES = [
    (1, 5, 7, (3,), 1),
    (4, 20, 33, (4, 4), 1),
    (17, 6, 9, (2, 5), 3),
    (3, 16, 16, (5, 5), 16),
    (33, 40, 12, (1, 1), 1),
    (2, 3, 4, (2, 3, 2), 1),
]


@pytest.mark.parametrize(("batch", "channels", "out", "kernel", "groups"), SHAPES)
@pytest.mark.parametrize("stride", [1, 3])
def test_results_and_gradients(batch, channels, out, kernel, groups, stride, isa, dtype):
    problem = {
        "x_shape": (batch, channels, *kernel),
        "out": out,
        "kernel": kernel,
        "stride": (stride,) * len(kernel),
        "padding": ((0, 0),) * len(kernel),
        "dilation": (1,) * len(kernel),
        "groups": groups,
        "seed": 3,
    }
    check_forward_and_backward(problem, dtype)


@pytest.mark.parametrize(("batch", "channels", "out", "kernel", "groups"), SHAPES)
def test_transposed_of_one_position(batch, channels, out, kernel, groups, isa, dtype, rng):
    dims = len(kernel)
    x = normal(rng, batch, out, *[1] * dims, dtype=dtype)
    w = normal(rng, out, channels // groups, *kernel, dtype=dtype)
    b = normal(rng, channels, dtype=dtype)
    y = CONV_TRANSPOSE[dims](x, w, b, 2, 0, 0, groups)
    expected = reference.conv_transpose(
        x, w, b, (2,) * dims, ((0, 0),) * dims, (0,) * dims, (1,) * dims, groups
    )
    assert_close(y, expected, out)


@pytest.mark.parametrize("groups", [1, 4])
def test_threads_and_batch(groups, rng):
    x = normal(rng, 19, 24, 3, 4, dtype=np.float32)
    w = normal(rng, 36, 24 // groups, 3, 4, dtype=np.float32)
    b = normal(rng, 36, dtype=np.float32)
    grad = normal(rng, 19, 36, 1, 1, dtype=np.float32)
    whole = same_bytes_for_every_thread_count(lambda: all_results(x, w, b, grad, groups=groups))
    for i in range(19):
        alone = all_results(x[i : i + 1], w, b, grad[i : i + 1], groups=groups)
        assert same_bytes(alone[:2], [a[i : i + 1] for a in whole[:2]])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_epilogue_and_layers(transposed, groups, isa, dtype, rng):
    kind = fastnn.nn.ConvTranspose2d if transposed else fastnn.nn.Conv2d
    layer = kind(8, 6, (3, 2), groups=groups, dtype=dtype)
    x = normal(rng, 5, 8, *((1, 1) if transposed else (3, 2)), dtype=dtype)
    function = F.conv_transpose2d if transposed else F.conv2d
    plain = function(x, layer.weight.data, layer.bias.data, groups=groups)
    residual = normal(rng, *plain.shape, dtype=dtype)
    fused = fastnn.nn.Fused(layer, fastnn.nn.ReLU())
    with fastnn.no_grad():
        assert same_bytes(layer(x), plain)
        assert_close(fused(x, residual=residual), np.maximum(plain + residual, 0), 10)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_empty(shape, isa, dtype):
    batch, channels = shape
    x = fastnn.Tensor(np.ones((batch, channels, 2, 2), dtype), requires_grad=True)
    w = fastnn.Tensor(np.ones((5, channels, 2, 2), dtype), requires_grad=True)
    b = fastnn.Tensor(np.arange(5, dtype=dtype), requires_grad=True)
    y = F.conv2d(x, w, b)
    assert np.array_equal(y.data, np.broadcast_to(b.data[:, None, None], (batch, 5, 1, 1)))
    y.backward(np.ones_like(y.data))
    assert x.grad.shape == x.shape
    assert np.array_equal(w.grad, np.zeros_like(w.data))


@pytest.mark.parametrize("settings", [{"padding": 1}, {"dilation": 2}])
def test_kernels_that_see_more_or_less_than_the_input(settings, rng, dtype):
    """As large as the input, but padded; or dilated to its size."""
    x, w = normal(rng, 2, 3, 3, 3, dtype=dtype), normal(rng, 4, 3, 2, 2, dtype=dtype)
    w = normal(rng, 4, 3, 3, 3, dtype=dtype) if "padding" in settings else w
    padding, dilation = settings.get("padding", 0), settings.get("dilation", 1)
    expected = reference.conv(
        x, w, None, (1, 1), ((padding, padding),) * 2, (dilation, dilation), 1
    )
    assert_close(CONV[2](x, w, **settings), expected, w[0].size)
