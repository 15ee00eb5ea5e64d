"""local_response_norm and normalize."""

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
from reference import norm as reference

import fastnn
import fastnn.functional as F
from fastnn import _core, nn

SIZES = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129, 200])
SEEDS = st.integers(0, 99)


def normal(rng, shape, dtype):
    return (rng.standard_normal(shape) * 2 + 0.5).astype(dtype)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), SIZES),
    size=st.integers(1, 9),
    beta=st.sampled_from([0.75, 0.5, 1.3]),
    seed=SEEDS,
)
def test_local_response_norm(isa, dtype, shape, size, beta, seed):
    x = normal(np.random.default_rng(seed), shape, dtype)
    expected = reference.local_response_norm(x.astype(np.float64), size, 0.5, beta, 2.0)
    assert_close(F.local_response_norm(x, size, 0.5, beta, 2.0), expected, c=16)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("beta", [0.75, 1.1])
def test_local_response_norm_gradients(isa, rng, size, beta):
    for shape in ((2, 5, 3), (1, 4, 2, 9), (1, 3, 70)):
        x = rng.standard_normal(shape)
        gradcheck(lambda x: F.local_response_norm(x, size, 0.7, beta, 1.5), x)


@given(shape=st.tuples(st.integers(1, 40), SIZES), seed=SEEDS)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_normalize(dim, isa, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    x, grad = normal(rng, shape, dtype), normal(rng, shape, dtype)
    x64, g64 = x.astype(np.float64), grad.astype(np.float64)
    y64 = reference.normalize(x64, dim=dim)
    y, norms = _core.normalize_forward(x, dim, 1e-12)
    assert_close(y, y64, c=16)
    norm = np.linalg.norm(x64, axis=dim, keepdims=True)
    expected = (g64 - y64 * (g64 * y64).sum(dim, keepdims=True)) / norm
    scale = np.abs(g64).max() * shape[dim] ** 0.5 / norm.min()
    assert_close(_core.normalize_backward(grad, y, norms, dim, 1e-12), expected, c=16, scale=scale)


@pytest.mark.parametrize("length", [4095, 4097, 9001])
def test_normalize_long(isa, dtype, rng, length):
    x = normal(rng, (2, length), dtype)
    assert_close(F.normalize(x), reference.normalize(x.astype(np.float64)), c=16)
    assert_close(F.normalize(x.T, dim=0), reference.normalize(x.astype(np.float64)).T, c=16)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 2.5, 0.5, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_norms(dtype, rng, p, dim):
    x = normal(rng, (3, 4, 5), dtype)
    y = F.normalize(x, p, dim)
    assert_close(y, reference.normalize(x.astype(np.float64), p, dim), c=64)
    gradcheck(lambda x: F.normalize(x, p, dim), x.astype(np.float64))
    t = fastnn.Tensor(x, requires_grad=True)
    F.normalize(t, p, dim).sum().backward()
    assert t.grad.dtype == dtype
    out = np.empty_like(x)
    assert F.normalize(x, p, dim, out=out) is out
    assert same_bytes(out, y)


def test_normalize_over_several(rng):
    x = rng.standard_normal((3, 4, 5))
    norm = np.sqrt((x**2).sum((0, 2), keepdims=True))
    assert_close(F.normalize(x, dim=(0, 2)), x / norm, c=16)
    gradcheck(lambda x: F.normalize(x, dim=(0, -1)), x)


def test_normalize_small_and_special(isa, dtype):
    x = np.array([[0, 0], [1e-13, 0], [np.nan, 1], [np.inf, 1]], dtype)
    for rows, dim in ((x, 1), (np.ascontiguousarray(x.T), 0)):
        y = F.normalize(rows, dim=dim)
        y = y if dim == 1 else y.T
        assert_close(y[:2], np.array([[0, 0], [0.1, 0]]), c=8)
        assert np.isnan(y[2]).all()
        assert np.isnan(y[3, 0])
        assert y[3, 1] == 0
        t = fastnn.Tensor(rows[:2] if dim == 1 else rows[:, :2], requires_grad=True)
        F.normalize(t, dim=dim).sum().backward()
        # Below eps the divisor is constant.
        assert_close(t.grad, np.full((2, 2), 1e12), c=8)


@pytest.mark.parametrize("shape", [(300, 197), (3, 70, 130)])
def test_threads_and_batches(isa, rng, shape):
    x = normal(rng, shape, np.float32)
    whole = same_bytes_for_every_thread_count(lambda: F.normalize(x))
    assert same_bytes(F.normalize(x[1:2]), whole[1:2])
    if x.ndim == 3:
        whole = same_bytes_for_every_thread_count(lambda: F.local_response_norm(x, 5, 0.1))
        assert same_bytes(F.local_response_norm(x[1:2], 5, 0.1), whole[1:2])

        def gradient():
            t = fastnn.Tensor(x, requires_grad=True)
            F.local_response_norm(t, 5, 0.1).backward(x)
            return t.grad

        same_bytes_for_every_thread_count(gradient)


def test_strides_and_empty(isa, dtype, rng):
    x = normal(rng, (3, 5, 6), dtype)
    expected = F.normalize(x), F.local_response_norm(x, 3, 0.1)
    for name, variant in strided_variants(x).items():
        actual = F.normalize(variant), F.local_response_norm(variant, 3, 0.1)
        assert same_bytes(actual, expected), name
    for shape in ((0, 3, 2), (2, 0, 3), (2, 3, 0)):
        empty = np.zeros(shape, dtype)
        assert F.normalize(empty).shape == shape
        assert F.local_response_norm(empty, 3).shape == shape
    assert F.normalize(np.array(-2.0, dtype), dim=0) == -1


def test_rejects():
    x = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="input must have at least 3 dimensions"):
        F.local_response_norm(x[0], 2)
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        F.local_response_norm(x, 0)
    with pytest.raises(TypeError, match="alpha must be a number, got 'a'"):
        F.local_response_norm(x, 2, alpha="a")
    for p in (1.0, 2.0):
        for dim in (3, -4):
            with pytest.raises(ValueError, match=r"dim must be in -3\.\.2, got"):
                F.normalize(x, p, dim)
        with pytest.raises(ValueError, match="eps must be >= 0"):
            F.normalize(x, p, eps=-1)
        with pytest.raises(TypeError, match=r"input\.dtype must be float32 or float64"):
            F.normalize(x.astype(int), p)
        with pytest.raises(TypeError, match=r"dim(\[0\])? must be an int"):
            F.normalize(x, p, dim=1.5)
    with pytest.raises(ValueError, match="each dimension once"):
        F.normalize(x, dim=(0, -3))
    with pytest.raises(TypeError, match="p must be a number"):
        F.normalize(x, "a")
    for out, error in ((np.zeros(3), ValueError), (np.zeros(x.shape, np.float32), TypeError)):
        for p in (1.0, 2.0):
            with pytest.raises(error, match="out"):
                F.normalize(x, p, out=out)
    with pytest.raises(ValueError, match="out must not share memory"):
        F.normalize(x, out=x)


def test_layer(rng):
    x = normal(rng, (2, 6, 4, 4), np.float32)
    layer = nn.LocalResponseNorm(3, alpha=0.1)
    assert same_bytes(layer(x), F.local_response_norm(x, 3, 0.1))
    assert repr(layer) == "LocalResponseNorm(3, alpha=0.1, beta=0.75, k=1.0)"


def test_against_pytorch(rng, dtype):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x = normal(rng, (3, 7, 4, 5), dtype)
    for size in (1, 2, 5, 20):
        expected = f.local_response_norm(torch.from_numpy(x), size, 0.3, 0.75, 1.2).numpy()
        assert_close(F.local_response_norm(x, size, 0.3, 0.75, 1.2), expected, c=32)
    for p in (1.0, 2.0, 3.0, np.inf, 0.5):
        ours = fastnn.Tensor(x, requires_grad=True)
        theirs = torch.from_numpy(x).requires_grad_()
        y = F.normalize(ours, p, 1)
        expected = f.normalize(theirs, p, 1)
        assert_close(y.numpy(), expected.detach().numpy(), c=64)
        y.backward(x)
        expected.backward(torch.from_numpy(x))
        assert_close(ours.grad, theirs.grad.numpy(), c=256)
