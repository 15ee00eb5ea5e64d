"""fractional_max_pool3d, pooling in 1d by its public names, and planes above 2^31 elements."""

import os

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import pool as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

DIMS = pytest.mark.parametrize("dims", [2, 3])


def fractional(dims):
    return getattr(F, f"fractional_max_pool{dims}d")


@DIMS
@given(data=st.data(), seed=st.integers(0, 99), special=st.booleans())
def test_fractional_max_pool(dims, isa, dtype, data, seed, special):
    rng = np.random.default_rng(seed)
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(dims))
    output = tuple(data.draw(st.integers(1, 9)) for _ in range(dims))
    size = tuple(k + o - 1 + data.draw(st.integers(0, 9)) for k, o in zip(kernel, output))
    x = rng.integers(-4, 5, (2, 2, *size)).astype(dtype)
    if special:
        x[rng.random(x.shape) < 0.1] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
    samples = rng.random((2, 2, dims)).astype(dtype)
    # PyTorch's order: width and height, but depth, height and width.
    ordered = samples.reshape(4, dims)[:, :: -1 if dims == 2 else 1].astype(np.float64)
    expected, at = reference.fractional_max_pool3d(x, kernel, output, ordered)
    f = fractional(dims)
    t = fastnn.Tensor(x, requires_grad=True)
    y, indices = f(t, kernel, output, return_indices=True, _random_samples=samples)
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(indices, at)
    grad = rng.integers(-4, 5, expected.shape).astype(dtype)
    y.backward(grad)
    np.testing.assert_array_equal(t.grad, reference.max_backward(grad, at, x.shape, dims))
    assert same_bytes(f(x[0], kernel, output, _random_samples=samples[:1]), y.numpy()[0])


@DIMS
def test_fractional_gradient(dims, isa, rng):
    x = rng.standard_normal((2, 1, 7, 6, 5)[: dims + 2])
    samples = rng.random((2, 1, dims))
    gradcheck(lambda t: fractional(dims)(t, 2, 3, _random_samples=samples), x)


def test_fractional_threads_and_strides(isa, dtype, rng):
    x = rng.standard_normal((3, 16, 30, 34)).astype(dtype)
    samples = rng.random((3, 16, 2)).astype(dtype)

    def both():
        t = fastnn.Tensor(x, requires_grad=True)
        y = F.fractional_max_pool2d(t, 3, output_ratio=0.6, _random_samples=samples)
        y.sum().backward()
        return y, t.grad

    whole = same_bytes_for_every_thread_count(both)[0].numpy()
    for view in strided_variants(x).values():
        y = F.fractional_max_pool2d(view, 3, output_ratio=0.6, _random_samples=samples)
        assert same_bytes(y, whole)


def test_fractional_draws_from_the_seed(dtype, rng):
    x = rng.standard_normal((2, 3, 20, 20)).astype(dtype)
    fastnn.manual_seed(1)
    first = F.fractional_max_pool2d(x, 2, output_ratio=(0.7, 0.6))
    assert not same_bytes(F.fractional_max_pool2d(x, 2, (14, 12)), first)
    fastnn.manual_seed(1)
    assert same_bytes(nn.FractionalMaxPool2d(2, (14, 12))(x), first)
    assert first.shape == (2, 3, 14, 12)
    layer = nn.FractionalMaxPool3d(2, output_ratio=0.5)
    assert layer(x).shape == (2, 1, 10, 10)
    assert repr(layer) == "FractionalMaxPool3d(kernel_size=2, output_ratio=0.5)"
    out = np.empty((2, 3, 14, 12), dtype)
    assert F.fractional_max_pool2d(x, 2, (14, 12), out=out) is out


X = np.zeros((2, 3, 8, 9), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(X, 2), ValueError, "either output_size or output_ratio"),
        (lambda f: f(X, 2, 3, 0.5), ValueError, "either output_size or output_ratio"),
        (lambda f: f(X, 2, output_ratio=1.0), ValueError, r"a float in \(0, 1\) or 2"),
        (lambda f: f(X, 2, output_ratio="a"), TypeError, "output_ratio must be a number"),
        (lambda f: f(X, 2, output_ratio=0.01), ValueError, "output_size must be >= 1, got 0"),
        (lambda f: f(X, 2, 8), ValueError, "at most the input's size of 8, got 8 and 2"),
        (lambda f: f(X, 0, 8), ValueError, "kernel_size must be >= 1, got 0"),
        (lambda f: f(X, 2**40, 8), ValueError, "at most the input's size"),
        (lambda f: f(X, "a", 8), TypeError, "kernel_size must be an int or a tuple"),
        (lambda f: f(X, 2, "a"), TypeError, "output_size must be an int"),
        (lambda f: f(X[0, 0], 2, 3), ValueError, "input must have 4 dimensions"),
        (lambda f: f(None, 2, 3), TypeError, "input must be a numpy.ndarray"),
        (lambda f: f(X.astype(int), 2, 3), TypeError, "float32 or float64"),
        (lambda f: f(X, 2, 3, return_indices="no"), TypeError, "return_indices must be a bool"),
        (lambda f: f(X, 2, 3, _random_samples=X), ValueError, r"must have shape \(2, 3, 2\)"),
        (
            lambda f: f(X, 2, 3, _random_samples=np.full((2, 3, 2), 2, np.float32)),
            ValueError,
            r"must be in \[0, 1\]",
        ),
        (lambda _: nn.FractionalMaxPool2d(2), ValueError, "either output_size or output_ratio"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(F.fractional_max_pool2d)


LENGTHS = st.integers(1, 40)


@given(length=LENGTHS, output=LENGTHS, seed=st.integers(0, 99))
def test_adaptive_pool1d(isa, dtype, length, output, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, length)).astype(dtype)
    y = F.adaptive_avg_pool1d(x, output)
    assert_close(y, reference.adaptive_avg_pool3d(x.astype(np.float64), (output,)), length)
    assert same_bytes(nn.AdaptiveAvgPool1d(output)(x[0]), y[0])
    expected, at = reference.adaptive_max_pool3d(x, (output,))
    y, indices = F.adaptive_max_pool1d(x, output, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    assert same_bytes(nn.AdaptiveMaxPool1d(output)(x), y)


@given(length=LENGTHS, kernel=st.integers(1, 7), stride=st.integers(1, 4), ceil=st.booleans())
def test_lp_pool1d(isa, dtype, length, kernel, stride, ceil):
    x = np.random.default_rng(length).random((2, 3, length + kernel)).astype(dtype)
    expected = reference.lp_pool3d(x.astype(np.float64), 3, (kernel,), (stride,), ceil)
    y = F.lp_pool1d(x, 3, kernel, stride, ceil)
    assert_close(y, expected, 4 * kernel)
    assert same_bytes(nn.LPPool1d(3, kernel, stride, ceil)(x), y)


def test_pool1d_gradients(isa, rng):
    x = rng.random((2, 3, 11)) + 0.5
    gradcheck(lambda t: F.adaptive_avg_pool1d(t, 4), x)
    gradcheck(lambda t: F.adaptive_max_pool1d(t, 4), x)
    gradcheck(lambda t: F.lp_pool1d(t, 3, 3, 2), x)
    x = rng.random((1, 2, 5, 4, 6)) + 0.5
    gradcheck(lambda t: F.lp_pool3d(t, 2, 2), x)
    gradcheck(lambda t: F.adaptive_avg_pool3d(t, (2, 3, 4)), x)
    gradcheck(lambda t: F.adaptive_max_pool3d(t, (2, 3, 4)), x)


def test_planes_above_2_to_31_elements():
    """Windows of 2^16 elements, so that the outputs are small; the input is one page of zeros."""
    size = (2**31 + 2**17) * 4
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < size + 2**30:
        pytest.skip("needs 9.5 GiB of free memory")
    x = np.zeros((1, 1, 2**15 + 2, 2**16), np.float32)
    x[0, 0, -1, -1] = 3
    y, indices = F.max_pool2d(x, (2, 2**16), return_indices=True)
    assert y[0, 0, -1, 0] == 3
    assert indices[0, 0, -1, 0] == x.size - 1
    y, indices = F.max_pool2d(x, (1, 2), (1, 2**12), return_indices=True)
    assert indices[0, 0, -1, -1] == x.size - 2**12
    assert F.avg_pool2d(x, (2, 2**16))[0, 0, -1, 0] == np.float32(3 / 2**17)
    assert F.adaptive_max_pool2d(x, 1)[0, 0, 0, 0] == 3
