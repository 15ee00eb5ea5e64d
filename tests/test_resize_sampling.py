"""interpolate (bicubic, antialias), grid_sample, affine_grid and channel_shuffle."""

import numpy as np
import pytest
from helpers import (
    assert_bytes_depend_on_values_alone,
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import resize as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

SIZES = st.sampled_from([1, 2, 3, 4, 7, 15, 16, 17, 33])
MODES = [("bilinear", 2), ("nearest", 2), ("bicubic", 2), ("bilinear", 3), ("nearest", 3)]


def normal(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_transposed(x, y, t, seed):
    """A linear map's gradient is the transposed map, <grad, f(x)> = <f'(grad), x>."""
    grad = normal(seed, y.shape, x.dtype)
    y.backward(grad)
    left = (grad.astype(np.float64) * y.numpy()).sum()
    assert_close(x.dtype.type((t.grad.astype(np.float64) * x).sum()), left, 33 * y.numpy().size)


@pytest.mark.parametrize("align_corners", [False, True])
@given(plane=st.tuples(SIZES, SIZES), size=st.tuples(SIZES, SIZES), seed=st.integers(0, 99))
def test_bicubic(align_corners, isa, dtype, plane, size, seed):
    x = normal(seed, (2, 2, *plane), dtype)
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.interpolate(t, size, mode="bicubic", align_corners=align_corners)
    matrices = [reference.cubic_matrix(n, o, align_corners) for n, o in zip(plane, size)]
    # The position, up to 33, is rounded.
    assert_close(y, reference.resample(x.astype(np.float64), matrices), 66)
    assert_transposed(x, y, t, seed)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@given(plane=st.tuples(SIZES, SIZES), size=st.tuples(SIZES, SIZES), seed=st.integers(0, 99))
def test_antialias(kind, isa, dtype, plane, size, seed):
    x = normal(seed, (2, 2, *plane), dtype)
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.interpolate(t, size, mode=f"bi{kind}", antialias=True)
    matrices = [reference.antialias_matrix(n, o, kind) for n, o in zip(plane, size)]
    assert_close(y, reference.resample(x.astype(np.float64), matrices), 66)
    assert_transposed(x, y, t, seed)


def test_resampling_gradient(isa, rng):
    x = rng.standard_normal((1, 2, 4, 5))
    gradcheck(lambda t: F.interpolate(t, (3, 9), mode="bicubic"), x)
    gradcheck(lambda t: F.interpolate(t, (3, 2), mode="bicubic", antialias=True), x)
    gradcheck(lambda t: F.interpolate(t, (7, 2), mode="bilinear", antialias=True), x)


def test_resampling_keeps_infinities_apart(isa, dtype):
    x = np.zeros((1, 1, 8, 8), dtype)
    x[..., 0] = np.inf
    y = F.interpolate(x, (4, 4), mode="bilinear", antialias=True)
    assert (y[..., 0] == np.inf).all()
    assert not y[..., 2:].any()


@pytest.mark.parametrize(("mode", "dims"), MODES)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@given(data=st.data(), seed=st.integers(0, 99), align_corners=st.booleans())
def test_grid_sample(mode, dims, padding, isa, dtype, data, seed, align_corners):
    size = [data.draw(st.integers(1, 6)) for _ in range(dims)]
    points = [data.draw(st.sampled_from([1, 2, 5])) for _ in range(dims - 1)]
    points.append(data.draw(st.sampled_from([1, 3, 17])))
    x = normal(seed, (2, 3, *size), dtype)
    grid = np.random.default_rng(seed).uniform(-1.6, 1.6, (2, *points, dims)).astype(dtype)
    y = F.grid_sample(x, grid, mode, padding, align_corners)
    expected = reference.grid_sample(x, grid.astype(np.float64), mode, padding, align_corners)
    if mode == "nearest" and dtype == np.float32:  # rounding may decide
        assert (np.abs(y - expected) < 1e-6).mean() > 0.9
        return
    # A position is rounded by eps * (its size + 1), and steep by 3 an element (cubic).
    assert_close(y, expected, 600, scale=np.abs(x).max())
    t = fastnn.Tensor(x, requires_grad=True)
    assert_transposed(x, F.grid_sample(t, grid, mode, padding, align_corners), t, seed)
    assert same_bytes(F.grid_sample(x[1:], grid[1:], mode, padding, align_corners)[0], y[1])


@pytest.mark.parametrize(("mode", "dims"), [m for m in MODES if m[0] != "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_gradient(mode, dims, padding, isa):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 2, 4, 5, 3)[: dims + 2])
    grid = rng.uniform(-1.4, 1.4, (1, *(2, 3, 2)[:dims], dims))
    # Cubic taps are clipped one by one, where the slope by the coordinate jumps.
    grid = grid * 0.2 if mode == "bicubic" else grid
    gradcheck(lambda t, g: F.grid_sample(t, g, mode, padding, False), x, grid)
    gradcheck(lambda t, g: F.grid_sample(t, g, mode, padding, True), x, grid)


def test_grid_sample_far_outside(isa, dtype):
    x = np.ones((1, 1, 3, 4), dtype)
    grid = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 5], dtype).repeat(2).reshape(1, 1, 6, 2)
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            t = fastnn.Tensor(grid, requires_grad=True)
            y = F.grid_sample(x, t, mode, padding)
            y.sum().backward()
            # As in PyTorch: NaN for what is no number, unless a nearest or clipped place takes it.
            lost = mode == "bicubic" or (mode, padding) == ("bilinear", "zeros")
            assert np.isnan(y.numpy()[..., :3]).all() == lost
            seen = y.numpy()[..., 3:] if lost else y.numpy()
            assert np.isin(seen.round(3), [0, 1]).all()
            assert t.grad.shape == grid.shape


@pytest.mark.parametrize("dims", [2, 3])
@given(data=st.data(), seed=st.integers(0, 99), align_corners=st.booleans())
def test_affine_grid(dims, dtype, data, seed, align_corners):
    size = (2, 3, *(data.draw(st.integers(1, 9)) for _ in range(dims)))
    theta = normal(seed, (2, dims, dims + 1), dtype)
    expected = reference.affine_grid(theta.astype(np.float64), size, align_corners)
    assert_close(F.affine_grid(theta, size, align_corners), expected, 8)


def test_affine_grid_identity(dtype, rng):
    x = rng.standard_normal((2, 3, 5, 7)).astype(dtype)
    theta = np.broadcast_to(np.eye(2, 3, dtype=dtype), (2, 2, 3))
    for align in (False, True):
        y = F.grid_sample(x, F.affine_grid(theta, x.shape, align), align_corners=align)
        assert_close(y, x, 40)
    gradcheck(lambda t: F.affine_grid(t, (2, 1, 3, 4)), rng.standard_normal((2, 2, 3)))


@given(
    seed=st.integers(0, 99),
    groups=st.integers(1, 4),
    channels=st.integers(0, 5),
    rest=st.lists(st.sampled_from([0, 1, 3, 17]), min_size=1, max_size=3),
)
def test_channel_shuffle(isa, dtype, seed, groups, channels, rest):
    x = normal(seed, (2, groups * channels, *rest), dtype)
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.channel_shuffle(t, groups)
    assert same_bytes(y, reference.channel_shuffle(x, groups))
    assert same_bytes(nn.ChannelShuffle(groups)(x), y)
    y.backward(y.numpy())
    assert same_bytes(t.grad, x)


CALLS = {
    "bicubic": lambda x: F.interpolate(x, (17, 41), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, (17, 41), mode="bilinear", antialias=True),
    "grid_sample": lambda x: F.grid_sample(x, grids(x)),
    "grid_sample bicubic": lambda x: F.grid_sample(x, grids(x), "bicubic", "reflection"),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 4),
}


def grids(x):
    theta = np.array([[[0.8, 0.3, 0.1], [-0.3, 0.9, 0]]], x.dtype).repeat(len(x), 0)
    return F.affine_grid(theta, x.shape)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_threads_batches_and_strides(call, isa, dtype, rng):
    assert_bytes_depend_on_values_alone(call, rng.standard_normal((3, 16, 30, 34)).astype(dtype))


def test_grid_gradient_is_the_same_for_every_thread_count(isa, dtype, rng):
    x = rng.standard_normal((2, 8, 30, 34)).astype(dtype)
    grid = rng.uniform(-1.2, 1.2, (2, 20, 30, 2)).astype(dtype)

    def gradients():
        t, g = fastnn.Tensor(x, requires_grad=True), fastnn.Tensor(grid, requires_grad=True)
        F.grid_sample(t, g).sum().backward()
        return t.grad, g.grad

    same_bytes_for_every_thread_count(gradients)


def test_out(dtype, rng):
    x = rng.standard_normal((2, 4, 6, 8)).astype(dtype)
    grid = rng.uniform(-1, 1, (2, 3, 5, 2)).astype(dtype)
    for f, args, options in (
        (F.interpolate, ((5, 7),), {"mode": "bicubic"}),
        (F.interpolate, ((7, 3),), {"mode": "bicubic", "antialias": True}),
        (F.grid_sample, (grid,), {}),
        (F.channel_shuffle, (2,), {}),
    ):
        expected = f(x, *args, **options)
        out = np.empty_like(expected)
        assert f(x, *args, **options, out=out) is out
        assert same_bytes(out, expected)
        with pytest.raises(ValueError, match=rf"{f.__name__}: out\.shape must be"):
            f(x, *args, **options, out=np.empty(3, dtype))
        with pytest.raises(ValueError, match=f"{f.__name__}: out must be None while"):
            f(fastnn.Tensor(x, requires_grad=True), *args, **options, out=out)


X = np.zeros((2, 3, 8, 9), np.float32)
GRID = np.zeros((2, 4, 5, 2), np.float32)
SPACE = np.zeros((1, 4, 5, 2, 3), np.float32)
THETA = np.zeros((2, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.grid_sample(X[0], GRID), ValueError, "input must have 4 or 5 dimensions"),
        (lambda: F.grid_sample(X, GRID[0]), ValueError, "grid must have 4 dimensions"),
        (lambda: F.grid_sample(X, GRID[:1]), ValueError, r"grid\.shape\[0\] must be 2"),
        (lambda: F.grid_sample(X, GRID[..., :1]), ValueError, r"grid\.shape\[3\] must be 2"),
        (lambda: F.grid_sample(X[:, :, :0], GRID), ValueError, "must not be empty in its spatial"),
        (
            lambda: F.grid_sample(X, GRID.astype(np.float64)),
            TypeError,
            "grid.dtype must be float32",
        ),
        (lambda: F.grid_sample(X, GRID, "linear"), ValueError, "mode must be .* got 'linear'"),
        (lambda: F.grid_sample(X[None], SPACE, "bicubic"), ValueError, "mode must be .*bicubic"),
        (lambda: F.grid_sample(X, GRID, None), TypeError, "mode must be a str, got None"),
        (lambda: F.grid_sample(X, GRID, padding_mode="wrap"), ValueError, "padding_mode must be"),
        (lambda: F.grid_sample(X, GRID, align_corners="a"), TypeError, "must be a bool"),
        (lambda: F.grid_sample(None, GRID), TypeError, "input must be a numpy.ndarray"),
        (lambda: F.grid_sample(X, None), TypeError, "grid must be a numpy.ndarray"),
        (lambda: F.affine_grid(THETA, 4), ValueError, "size must be a tuple of 4 or 5 ints"),
        (lambda: F.affine_grid(THETA, (2, 1, 4)), ValueError, "a tuple of 4 or 5 ints"),
        (lambda: F.affine_grid(THETA, (2, 1, 4, 1.5)), TypeError, r"size\[3\] must be an int"),
        (lambda: F.affine_grid(THETA, (3, 1, 4, 4)), ValueError, r"theta must have shape"),
        (lambda: F.affine_grid(THETA, (2, 1, 4, 0)), ValueError, "positive ints"),
        (lambda: F.affine_grid(THETA.astype(int), (2, 1, 4, 4)), TypeError, "float32 or float64"),
        (lambda: F.affine_grid(None, (2, 1, 4, 4)), TypeError, "theta must be a numpy.ndarray"),
        (lambda: F.channel_shuffle(X, 2), ValueError, r"multiple of groups \(2\), got 3"),
        (lambda: F.channel_shuffle(X, 0), ValueError, "groups must be >= 1, got 0"),
        (lambda: F.channel_shuffle(X, 1.5), TypeError, "groups must be an int, got 1.5"),
        (lambda: F.channel_shuffle(X[0, 0], 1), ValueError, "at least 3 dimensions"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, 9, 13))
    for mode in ("bilinear", "bicubic"):
        for antialias in (False, True):
            for size, factor in (((5, 20), None), ((17, 4), None), (None, (0.37, 2.5))):
                arguments = (size, factor, mode, None, None, antialias)
                expected = torch.nn.functional.interpolate(torch.from_numpy(x), *arguments)
                assert_close(F.interpolate(x, *arguments), expected.numpy(), 100)
    grid = rng.uniform(-1.6, 1.6, (2, 4, 6, 2))
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            inputs = [torch.tensor(a, requires_grad=True) for a in (x, grid)]
            expected = torch.nn.functional.grid_sample(*inputs, mode, padding, False)
            expected.sum().backward()
            ours = [fastnn.Tensor(a, requires_grad=True) for a in (x, grid)]
            y = F.grid_sample(*ours, mode, padding, False)
            y.sum().backward()
            assert_close(y, expected.detach().numpy(), 100)
            for mine, theirs in zip(ours, inputs):
                assert_close(mine.grad, theirs.grad.numpy(), 1000)
