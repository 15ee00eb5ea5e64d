"""Pooling in 1d, 2d and 3d.

One kernel serves each: max_pool3d, avg_pool3d, adaptive_avg_pool3d, adaptive_max_pool3d,
lp_pool3d, max_unpool3d.
"""

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import pool as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
# Around one, two and four vectors of 2 to 16 lanes.
WIDTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 34, 63, 65])
PLANES = st.sampled_from([1, 2, 5])
HEIGHTS = st.sampled_from([1, 2, 3, 4, 5, 7, 8])


def function(name, dims):
    return getattr(F, f"{name}{dims}d")


@st.composite
def geometries(draw, dims, dilated=True):
    """A plane's size and kernel, stride, padding and dilation that fit it."""
    size = [draw(HEIGHTS) for _ in range(dims - 1)] + [draw(WIDTHS)]
    kernel = [draw(st.sampled_from([1, 2, 3, 3, 4, 5, 7])) for _ in size]
    stride = [draw(st.sampled_from([1, 1, 2, 2, 3, 4])) for _ in size]
    dilation = [draw(st.sampled_from([1, 1, 1, 2, 3])) if dilated else 1 for _ in size]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    ceil_mode = draw(st.booleans())
    axes = list(zip(size, kernel, stride, padding, dilation))
    assume(all(reference.output_size(*axis, ceil_mode) > 0 for axis in axes))
    return tuple(size), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil_mode


def values(seed, shape, dtype, special=False):
    """Integers (so that there are equals), in places NaN and infinities."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, shape).astype(dtype)
    if special:
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.2] = -np.inf
        x[rng.random(shape) < 0.05] = np.inf
    return x


def normal(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def has_empty_window(size, kernel, stride, padding, dilation, ceil_mode):
    axes = zip(size, kernel, stride, padding, dilation)
    return any(len(w) == 0 for axis in axes for w in reference.windows(*axis, ceil_mode))


@DIMS
@given(data=st.data(), seed=st.integers(0, 99), special=st.booleans())
def test_max_pool(dims, isa, dtype, data, seed, special):
    size, *window = data.draw(geometries(dims))
    x = values(seed, (data.draw(PLANES), *size), dtype, special)
    expected, at = reference.max_pool3d(x, *window)
    y, indices = function("max_pool", dims)(x, *window, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(function("max_pool", dims)(x, *window), expected)
    assert indices.dtype == np.int64
    if has_empty_window(size, *window):
        assert indices.min() >= 0
        assert indices.max() < np.prod(size)
    else:
        np.testing.assert_array_equal(indices, at)


@DIMS
@given(data=st.data(), seed=st.integers(0, 99), special=st.booleans())
def test_max_pool_backward(dims, isa, dtype, data, seed, special):
    size, *window = data.draw(geometries(dims))
    assume(not has_empty_window(size, *window))
    x = values(seed, (2, *size), dtype, special)
    expected, at = reference.max_pool3d(x, *window)
    grad = values(seed + 1, expected.shape, dtype)
    expected = reference.max_backward(grad, at, x.shape, dims)
    for return_indices in (False, True):
        t = fastnn.Tensor(x, requires_grad=True)
        y = function("max_pool", dims)(t, *window, return_indices=return_indices)
        (y[0] if return_indices else y).backward(grad)
        np.testing.assert_array_equal(t.grad, expected)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((2, 300, 700), (3, 2, 1)),
        ((1, 400, 333), (3, 1, 1)),
        ((1, 300, 500), (5, 3, 2, 2)),
        ((1, 300, 500), (3, 5, 1)),
        ((1, 9, 90, 110), (3, 2, 1)),
        ((1, 8, 120, 130), (2,)),
    ],
)
def test_max_pool_backward_of_large_planes(shape, window):
    """Planes that several parts share, whose windows reach over the parts' ends."""
    dims = len(shape) - 1
    x = values(0, shape, np.float64, True)
    max_pool = function("max_pool", dims)

    def gradient(return_indices):
        t = fastnn.Tensor(x, requires_grad=True)
        y = max_pool(t, *window, return_indices=return_indices)
        y = y[0] if return_indices else y
        y.backward(values(1, y.shape, np.float64))
        return t.grad

    scattered = gradient(True)
    np.testing.assert_array_equal(gradient(False), scattered)
    same_bytes_for_every_thread_count(lambda: gradient(False))


@DIMS
@pytest.mark.parametrize("count_include_pad", [True, False])
@given(data=st.data(), seed=st.integers(0, 99))
def test_avg_pool(dims, count_include_pad, isa, dtype, data, seed):
    size, kernel, stride, padding, _, ceil_mode = data.draw(geometries(dims, dilated=False))
    override = data.draw(st.sampled_from([None, None, 3, -2])) if dims > 1 else None
    x = normal(seed, (data.draw(PLANES), *size), dtype)
    window = (kernel, stride, padding, ceil_mode, count_include_pad)
    window += (override,) if dims > 1 else ()
    t = fastnn.Tensor(x, requires_grad=True)
    y = function("avg_pool", dims)(t, *window)
    expected = reference.avg_pool3d(x.astype(np.float64), *window)
    assert_close(y, expected, int(np.prod(kernel)))

    # Linear: its gradient is the transposed map, <grad, f(x)> = <f'(grad), x>.
    grad = normal(seed + 1, y.shape, dtype)
    y.backward(grad)
    left = (grad.astype(np.float64) * expected).sum()
    right = (t.grad.astype(np.float64) * x).sum()
    assert_close(dtype.type(right), left, 4 * x.size)


@DIMS
def test_avg_pool_gradient(dims, isa):
    x = np.random.default_rng(dims).standard_normal((2, 5, 6, 7)[: dims + 1])
    gradcheck(lambda t: function("avg_pool", dims)(t, 3, 2, 1, True, False), x)
    gradcheck(lambda t: function("avg_pool", dims)(t, 3, 1, 1), x)
    gradcheck(lambda t: function("adaptive_avg_pool", dims)(t, 2), x)
    gradcheck(lambda t: function("adaptive_avg_pool", dims)(t, 1), x)
    gradcheck(lambda t: function("adaptive_max_pool", dims)(t, 3), x)
    gradcheck(lambda t: function("max_pool", dims)(t, 3, 2, 1, 1, True), x)


@DIMS
@given(data=st.data(), seed=st.integers(0, 99), special=st.booleans())
def test_adaptive(dims, isa, dtype, data, seed, special):
    size = tuple([data.draw(HEIGHTS) for _ in range(dims - 1)] + [data.draw(WIDTHS)])
    output = tuple(data.draw(st.sampled_from([1, 2, 3, n, 2 * n])) for n in size)
    x = normal(seed, (2, *size), dtype)
    y = function("adaptive_avg_pool", dims)(x, output)
    assert_close(y, reference.adaptive_avg_pool3d(x.astype(np.float64), output), x[0].size)
    x = values(seed, (2, *size), dtype, special)
    y, indices = function("adaptive_max_pool", dims)(x, output, return_indices=True)
    expected, at = reference.adaptive_max_pool3d(x, output)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_array_equal(function("adaptive_max_pool", dims)(x, output), expected)


@DIMS
@given(data=st.data(), seed=st.integers(0, 99))
def test_lp_pool(dims, isa, dtype, data, seed):
    p = data.draw(st.sampled_from([1, 2, 3, 2.5, 0.5, -1]))
    size, kernel, stride, _, _, ceil_mode = data.draw(geometries(dims, dilated=False))
    axes = zip(size, kernel, stride)
    assume(all(reference.output_size(*axis, 0, 1, ceil_mode) > 0 for axis in axes))
    x = np.random.default_rng(seed).uniform(0.5, 2, (2, *size)).astype(dtype)
    y = function("lp_pool", dims)(x, p, kernel, stride, ceil_mode)
    expected = reference.lp_pool3d(x.astype(np.float64), p, kernel, stride, ceil_mode)
    length = 8 + int(np.prod(kernel))
    assert_close(y, expected, length, scale=np.maximum(1, 1 / abs(p)) * expected)


@DIMS
def test_lp_pool_gradient(dims, isa):
    x = np.random.default_rng(dims).uniform(0.5, 2, (2, 5, 6, 7)[: dims + 1])
    for p in (1, 2, 3, 1.5):
        gradcheck(lambda t, p=p: function("lp_pool", dims)(t, p, 3, 2, True), x)
    t = fastnn.Tensor(np.zeros_like(x), requires_grad=True)
    function("lp_pool", dims)(t, 2, 2).sum().backward()
    assert not t.grad.any()


@DIMS
def test_max_unpool(dims, isa, dtype, rng):
    x = rng.permutation(2 * 5 ** (dims - 1) * 37).reshape(2, *[5] * (dims - 1), 37).astype(dtype)
    y, indices = function("max_pool", dims)(x, 2, return_indices=True)
    size = x.shape[1:]
    t = fastnn.Tensor(y, requires_grad=True)
    back = function("max_unpool", dims)(t, indices, 2, output_size=size)
    np.testing.assert_array_equal(back.numpy(), reference.max_unpool3d(y, indices, size))
    grad = rng.standard_normal(x.shape).astype(dtype)
    back.backward(grad)
    expected = np.take_along_axis(grad.reshape(2, -1), indices.reshape(2, -1), 1)
    np.testing.assert_array_equal(t.grad, expected.reshape(y.shape))
    indices = np.zeros_like(indices)
    back = function("max_unpool", dims)(y, indices, 2)
    np.testing.assert_array_equal(back, reference.max_unpool3d(y, indices, back.shape[1:]))


LARGE = [
    # Rows of several tiles of 1024 columns; windows that do not slide; whole planes.
    ((1, 3000), (1, 3), (1, 1), (0, 1), (1, 1)),
    ((3, 2500), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((2, 4000), (2, 5), (1, 3), (1, 2), (1, 1)),
    ((2, 1500), (2, 300), (1, 7), (0, 100), (1, 1)),
    ((140, 20), (135, 3), (2, 2), (60, 1), (1, 1)),
    ((40, 50), (40, 50), (1, 1), (0, 0), (1, 1)),
    ((40, 50), (3, 3), (20, 20), (1, 1), (1, 1)),
    ((2, 5000), (1, 3), (1, 1), (0, 1), (1, 2100)),
    ((33, 33), (17, 16), (1, 1), (8, 8), (1, 1)),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), LARGE)
def test_large(isa, dtype, size, kernel, stride, padding, dilation):
    x = values(0, (2, *size), dtype)
    expected, at = reference.max_pool3d(x, kernel, stride, padding, dilation, False)
    y, indices = F.max_pool2d(x, kernel, stride, padding, dilation, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_array_equal(F.max_pool2d(x, kernel, stride, padding, dilation), expected)
    grad = values(1, y.shape, dtype)
    t = fastnn.Tensor(x, requires_grad=True)
    F.max_pool2d(t, kernel, stride, padding, dilation).backward(grad)
    np.testing.assert_array_equal(t.grad, reference.max_backward(grad, at, x.shape, 2))
    if dilation == (1, 1):
        t = fastnn.Tensor(x, requires_grad=True)
        y = F.avg_pool2d(t, kernel, stride, padding)
        expected = reference.avg_pool3d(x, kernel, stride, padding, False, True)
        assert_close(y, expected, int(np.prod(kernel)))
        y.backward(grad)
        left, right = (grad * expected).sum(), (t.grad.astype(np.float64) * x).sum()
        assert_close(dtype.type(right), left, 4 * x.size)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (4, 2, 2)])
def test_long_rows(isa, dtype, kernel, stride, padding):
    """Rows whose tables of columns hold the two ends alone: past 27 Ki outputs."""

    def windows(row, border):
        row = np.pad(row, ((0, 0), (padding, padding)), constant_values=border)
        return np.lib.stride_tricks.sliding_window_view(row, kernel, axis=1)[:, ::stride]

    x = values(0, (2, 60_000), dtype)
    seen = windows(x, -np.inf)
    at = seen.argmax(-1) + np.arange(seen.shape[1]) * stride - padding
    y, indices = F.max_pool1d(x, kernel, stride, padding, return_indices=True)
    np.testing.assert_array_equal(y, seen.max(-1))
    np.testing.assert_array_equal(indices, at)
    t = fastnn.Tensor(x, requires_grad=True)
    F.max_pool1d(t, kernel, stride, padding).backward(np.ones_like(y))
    expected = reference.max_backward(np.ones(y.shape), at, x.shape, 1)
    np.testing.assert_array_equal(t.grad, expected)

    t = fastnn.Tensor(x, requires_grad=True)
    y = F.avg_pool1d(t, kernel, stride, padding, False, False)
    expected = windows(x, 0.0).sum(-1) / windows(np.ones(x.shape), 0.0).sum(-1)
    assert_close(y, expected, kernel)
    grad = values(1, y.shape, dtype)
    y.backward(grad)
    left, right = (grad * expected).sum(), (t.grad.astype(np.float64) * x).sum()
    assert_close(dtype.type(right), left, x.size)


def test_window_without_an_element(isa, dtype):
    x = np.ones((1, 3), dtype)
    y, indices = F.max_pool1d(x, 2, 1, 3, 5, return_indices=True)
    np.testing.assert_array_equal(y, [[1, -np.inf, -np.inf, 1]])
    assert ((indices >= 0) & (indices < 3)).all()
    t = fastnn.Tensor(x, requires_grad=True)
    F.max_pool1d(t, 2, 1, 3, 5).backward(np.ones((1, 4), dtype))
    np.testing.assert_array_equal(t.grad, [[1, 0, 1]])


def test_infinite_and_nan_averages(isa, dtype):
    x = np.zeros((1, 1, 8), dtype)
    x[0, 0, 3] = np.inf
    np.testing.assert_array_equal(F.avg_pool1d(x, 2, 1), [[[0, 0, np.inf, np.inf, 0, 0, 0]]])
    x[0, 0, 3] = np.nan
    np.testing.assert_array_equal(F.avg_pool1d(x, 2, 1), [[[0, 0, np.nan, np.nan, 0, 0, 0]]])


CALLS = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d taps": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool2d uneven": lambda x: F.adaptive_avg_pool2d(x, (5, 7)),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, 3, 2, True),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (5, 7), return_indices=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_threads_and_batches(call, isa, dtype, rng):
    x = rng.standard_normal((5, 17, 61, 67)).astype(dtype)
    whole = same_bytes_for_every_thread_count(lambda: call(x))
    whole = whole if isinstance(whole, tuple) else (whole,)
    alone = call(x[3])
    for one, batch in zip(alone if isinstance(alone, tuple) else (alone,), whole):
        assert same_bytes(one, batch[3])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_threads_backward(call, isa, dtype, rng):
    x = rng.standard_normal((3, 17, 61, 67)).astype(dtype)

    def gradient():
        t = fastnn.Tensor(x, requires_grad=True)
        y = call(t)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(np.random.default_rng(1).standard_normal(y.shape).astype(dtype))
        return t.grad

    same_bytes_for_every_thread_count(gradient)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_strides(call, dtype, rng):
    x = rng.standard_normal((2, 3, 9, 17)).astype(dtype)
    for name, view in strided_variants(x).items():
        assert same_bytes(call(view), call(x)), name
    x.flags.writeable = False
    call(x)


@DIMS
def test_empty_batch_and_unbatched(dims, dtype):
    size = (6, 5, 7)[:dims]
    for name, argument in (
        ("max_pool", 2),
        ("avg_pool", 2),
        ("adaptive_avg_pool", 3),
        ("adaptive_max_pool", 3),
    ):
        f = function(name, dims)
        assert f(np.zeros((0, 3, *size), dtype), argument).shape[:2] == (0, 3)
        assert f(np.zeros((2, 0, *size), dtype), argument).shape[:2] == (2, 0)
        x = normal(0, (1, 3, *size), dtype)
        assert same_bytes(f(x[0], argument), f(x, argument)[0])
        t = fastnn.Tensor(np.zeros((0, 3, *size), dtype), requires_grad=True)
        f(t, argument).sum().backward()
        assert t.grad.shape == t.shape


def test_out(dtype):
    x = normal(0, (2, 3, 8, 9), dtype)
    for f, argument, shape in (
        (F.max_pool2d, 2, (2, 3, 4, 4)),
        (F.avg_pool2d, 2, (2, 3, 4, 4)),
        (F.adaptive_avg_pool2d, 3, (2, 3, 3, 3)),
        (F.adaptive_max_pool2d, 3, (2, 3, 3, 3)),
    ):
        out = np.empty(shape, dtype)
        assert f(x, argument, out=out) is out
        assert same_bytes(out, f(x, argument))
        with pytest.raises(ValueError, match=rf"{f.__name__}: out\.shape must be"):
            f(x, argument, out=np.empty((1,), dtype))
        with pytest.raises(ValueError, match=f"{f.__name__}: out must be None while"):
            f(fastnn.Tensor(x, requires_grad=True), argument, out=out)
    with pytest.raises(ValueError, match="max_pool2d: out must be None with return_indices"):
        F.max_pool2d(x, 2, return_indices=True, out=np.empty((2, 3, 4, 4), dtype))
    with pytest.raises(ValueError, match="out must not share memory"):
        F.max_pool2d(x, 1, out=x)


X = np.zeros((2, 3, 8, 9), np.float32)
PLACES = np.zeros(X.shape, np.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_pool2d(X[0, 0], 2), ValueError, "max_pool2d: input must have 4 dimensions"),
        (lambda: F.max_pool1d(X, 2), ValueError, "max_pool1d: input must have 3 dimensions"),
        (lambda: F.max_pool3d(X[0], 2), ValueError, "max_pool3d: input must have 5 dimensions"),
        (lambda: F.max_pool2d(X[:, :, :0], 2), ValueError, "must not be empty in its last 2"),
        (lambda: F.max_pool2d(X.astype(np.float16), 2), TypeError, "float32 or float64"),
        (lambda: F.max_pool2d(X.astype(int), 2), TypeError, "float32 or float64, got int64"),
        (lambda: F.max_pool2d(None, 2), TypeError, "input must be a numpy.ndarray"),
        (lambda: F.max_pool2d(X, 0), ValueError, r"kernel_size\[0\] must be >= 1, got 0"),
        (lambda: F.max_pool2d(X, (2, -1)), ValueError, r"kernel_size\[1\] must be >= 1, got -1"),
        (lambda: F.max_pool2d(X, 2, 0), ValueError, r"stride\[0\] must be >= 1, got 0"),
        (lambda: F.max_pool2d(X, 2, 1, -1), ValueError, r"padding\[0\] must be >= 0, got -1"),
        (lambda: F.max_pool2d(X, 2, 1, 2), ValueError, r"at most half of the window \(1\), got 2"),
        (lambda: F.max_pool2d(X, 2, dilation=0), ValueError, r"dilation\[0\] must be >= 1"),
        (lambda: F.max_pool2d(X, 9), ValueError, r"must fit into the padded input \(8\)"),
        (lambda: F.max_pool2d(X, (2, 2, 2)), ValueError, "int or a tuple of 2 ints"),
        (lambda: F.max_pool2d(X, "a"), TypeError, "kernel_size must be an int or a tuple of 2"),
        (lambda: F.max_pool2d(X, 2.0), TypeError, r"ints, got 2\.0"),
        (lambda: F.max_pool2d(X, True), TypeError, "ints, got True"),
        (lambda: F.max_pool2d(X, (2, None)), TypeError, "tuple of 2 ints"),
        (lambda: F.max_pool1d(X[0], "a"), TypeError, "kernel_size must be an int, got 'a'"),
        (lambda: F.max_pool2d(X, 2**70), ValueError, "between"),
        (lambda: F.max_pool2d(X, 2**39, dilation=2**39), ValueError, "must span at most"),
        (lambda: F.max_pool2d(X, 2, ceil_mode="a"), TypeError, "ceil_mode must be a bool, got 'a'"),
        (lambda: F.avg_pool2d(X, 2, count_include_pad=None), TypeError, "must be a bool, got None"),
        (lambda: F.max_pool3d(X, 2**40, padding=2**39), ValueError, "too many elements"),
        (lambda: F.avg_pool2d(X, 2, 1, 2), ValueError, "avg_pool2d: padding"),
        (lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError, "must not be 0"),
        (lambda: F.avg_pool2d(X, 2, divisor_override="a"), TypeError, "divisor_override must be"),
        (lambda: F.adaptive_avg_pool2d(X, -1), ValueError, "output_size must be >= 0, got -1"),
        (lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), ValueError, "output_size must be an int"),
        (lambda: F.adaptive_avg_pool2d(X, "a"), TypeError, "output_size must be an int"),
        (lambda: F.adaptive_max_pool2d(X, 1.5), TypeError, "output_size must be an int"),
        (lambda: F.lp_pool2d(X, 0, 2), ValueError, "norm_type must be finite and not 0, got 0"),
        (lambda: F.lp_pool2d(X, np.inf, 2), ValueError, "norm_type must be finite"),
        (lambda: F.lp_pool2d(X, "a", 2), TypeError, "norm_type must be a float, got 'a'"),
        (lambda: F.lp_pool2d(X, 2, 0), ValueError, r"lp_pool2d: kernel_size\[0\] must be >= 1"),
        (lambda: F.max_unpool2d(X, X, 2), TypeError, "indices.dtype must be an integer type"),
        (
            lambda: F.max_unpool2d(X, PLACES[0], 2),
            ValueError,
            r"indices.shape must be \(2, 3, 8, 9\)",
        ),
        (
            lambda: F.max_unpool2d(X, PLACES - 1, 2),
            ValueError,
            r"indices must be in 0\.\.287 .*got -1",
        ),
        (lambda: F.max_unpool2d(X, PLACES + 288, 2), ValueError, "got 288"),
        (lambda: F.max_unpool2d(X, PLACES, 0), ValueError, "must be positive"),
        (
            lambda: F.max_unpool2d(X, PLACES, 2, output_size=(18, 18)),
            ValueError,
            "less than stride",
        ),
        (lambda: F.max_unpool2d(X, PLACES, 2, output_size=9), TypeError, "a tuple of ints, got 9"),
        (lambda: F.max_unpool2d(None, PLACES, 2), TypeError, "input must be a numpy.ndarray"),
        (lambda: F.max_unpool1d(X, PLACES, 2), ValueError, "max_unpool1d: input must have 3"),
        (lambda: F.max_unpool3d(X, PLACES, (1, 2, 2), padding=2), ValueError, "must not be empty"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_output_size():
    assert F.adaptive_avg_pool2d(X, (None, 2)).shape == (2, 3, 8, 2)
    assert F.adaptive_avg_pool2d(X, None).shape == X.shape
    assert F.adaptive_max_pool2d(X, [3]).shape == (2, 3, 3, 3)
    assert F.adaptive_avg_pool2d(X, 0).shape == (2, 3, 0, 0)
    assert F.adaptive_max_pool2d(X, (0, 2), return_indices=True)[1].shape == (2, 3, 0, 2)
    t = fastnn.Tensor(X, requires_grad=True)
    F.adaptive_avg_pool2d(t, 0).backward(np.zeros((2, 3, 0, 0), np.float32))
    assert not t.grad.any()


def test_layers(dtype):
    x = normal(0, (2, 3, 8, 9), dtype)
    assert same_bytes(nn.MaxPool2d(3, 2, 1)(x), F.max_pool2d(x, 3, 2, 1))
    assert len(nn.MaxPool2d(2, return_indices=True)(x)) == 2
    layer = nn.AvgPool2d(3, ceil_mode=True, divisor_override=2)
    assert same_bytes(layer(x), F.avg_pool2d(x, 3, ceil_mode=True, divisor_override=2))
    assert same_bytes(nn.AdaptiveAvgPool2d(1)(x), F.adaptive_avg_pool2d(x, 1))
    assert same_bytes(nn.AdaptiveMaxPool2d(2)(x), F.adaptive_max_pool2d(x, 2))
    assert same_bytes(nn.MaxPool1d(2)(x[0]), F.max_pool1d(x[0], 2))
    assert same_bytes(nn.AvgPool1d(2)(x[0]), F.avg_pool1d(x[0], 2))
    assert same_bytes(nn.AvgPool3d(2)(x), F.avg_pool3d(x, 2))
    assert same_bytes(nn.LPPool2d(2, 3, ceil_mode=True)(x), F.lp_pool2d(x, 2, 3, None, True))
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, indices, output_size=x.shape)
    assert same_bytes(back, F.max_unpool2d(y, indices, 2, output_size=(8, 9)))
    text = "MaxPool2d(kernel_size=3, stride=3, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.MaxPool2d(3)) == text
    assert repr(nn.AvgPool2d(3, 2)) == "AvgPool2d(kernel_size=3, stride=2, padding=0)"


def test_against_pytorch(dtype):
    torch = pytest.importorskip("torch")
    x = values(0, (2, 3, 13, 19), dtype, special=True)
    t = torch.from_numpy(x)
    for window in ((3, 2, 1, 1, True), ((2, 3), 1, (1, 0), (1, 2), False)):
        expected = torch.nn.functional.max_pool2d(t, *window, return_indices=True)
        for ours, theirs in zip(F.max_pool2d(x, *window, return_indices=True), expected):
            np.testing.assert_array_equal(ours, theirs.numpy())
    x = normal(0, (2, 3, 13, 19), dtype)
    t = torch.from_numpy(x)
    for window in ((3, 2, 1, True, False), ((2, 3), 1, (1, 0), True, True, 5)):
        expected = torch.nn.functional.avg_pool2d(t, *window).numpy()
        assert_close(F.avg_pool2d(x, *window), expected, 9)
    for window in ((2, 3, 2, True), (3.0, (2, 3))):
        ours, t = fastnn.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, expected = F.lp_pool2d(ours, *window), torch.nn.functional.lp_pool2d(t, *window)
        y.sum().backward()
        expected.sum().backward()
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-5)
        np.testing.assert_allclose(ours.grad, t.grad.numpy(), rtol=1e-4)


def test_return_indices_must_be_a_bool():
    with pytest.raises(TypeError, match=r"adaptive_max_pool1d: return_indices must be a bool"):
        F.adaptive_max_pool1d(np.ones((1, 2, 4)), 2, return_indices="no")
