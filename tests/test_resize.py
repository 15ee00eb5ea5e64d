"""pad, interpolate, pixel_shuffle and pixel_unshuffle."""

import numpy as np
import pytest
from helpers import (
    assert_bytes_depend_on_values_alone,
    assert_close,
    gradcheck,
    same_bytes,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import resize as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
SIZES = st.sampled_from([1, 2, 3, 4, 5, 8, 9, 16, 17, 33])
LINEAR = ("linear", "bilinear", "trilinear")


def normal(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@given(data=st.data(), seed=st.integers(0, 99), value=st.sampled_from([0.0, 1.5, np.nan, np.inf]))
def test_constant_pad(isa, dtype, data, seed, value):
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 7, 17, 40]), min_size=1, max_size=5))
    axes = data.draw(st.integers(0, len(shape)))
    pairs = [
        (data.draw(st.integers(-min(n, 3), 9)), data.draw(st.integers(0, 9)))
        for n in shape[::-1][:axes]
    ]
    amounts = tuple(n for pair in pairs for n in pair)
    x = normal(seed, shape, dtype)
    np.testing.assert_array_equal(
        F.pad(x, amounts, value=value), reference.pad(x, amounts, value=value)
    )


@DIMS
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@given(data=st.data(), seed=st.integers(0, 99))
def test_pad(dims, mode, isa, dtype, data, seed):
    shape = [2, 3] + [data.draw(SIZES) for _ in range(dims)]
    most = {"reflect": lambda n: n - 1, "circular": lambda n: 1 + n // 3}.get(mode, lambda n: 9)
    pairs = [
        [data.draw(st.integers(-((n - 1) // 2), most(n))) for _ in range(2)]
        for n in shape[: -dims - 1 : -1]
    ]
    amounts = tuple(n for pair in pairs for n in pair)
    x = normal(seed, shape, dtype)
    expected = reference.pad(x, amounts, mode)
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.pad(t, amounts, mode)
    np.testing.assert_array_equal(y.numpy(), expected)
    assert same_bytes(F.pad(x[0], amounts, mode), y.numpy()[0])

    # Linear: its gradient is the transposed map, <grad, f(x)> = <f'(grad), x>.
    grad = normal(seed + 1, expected.shape, dtype)
    y.backward(grad)
    left = (grad.astype(np.float64) * expected).sum()
    assert_close(dtype.type((t.grad.astype(np.float64) * x).sum()), left, expected.size)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad_gradient(mode, isa, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    gradcheck(lambda t: F.pad(t, (2, 3, 1, 2), mode), x)
    gradcheck(lambda t: F.pad(t, (2, 3), mode), x[0])


@DIMS
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "corners"])
@given(data=st.data(), seed=st.integers(0, 99))
def test_interpolate(dims, mode, isa, dtype, data, seed):
    # Sizes whose quotients are exact: elsewhere rounding decides what is nearest.
    choices = st.sampled_from([1, 2, 4, 8, 16, 32] if "nearest" in mode else [1, 2, 3, 7, 17, 33])
    shape = [2, 2] + [data.draw(choices) for _ in range(dims)]
    size = [data.draw(choices) for _ in range(dims)]
    x = normal(seed, shape, dtype)
    corners = mode == "corners"
    name = mode if "nearest" in mode else LINEAR[dims - 1]
    align = corners if "nearest" not in mode else None
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.interpolate(t, size, mode=name, align_corners=align)
    kind = mode if "nearest" in mode else "linear"
    expected = reference.interpolate(x.astype(np.float64), size, kind, corners)
    # The position, up to 33, is rounded.
    assert_close(y, expected, 33 * dims)

    grad = normal(seed + 1, expected.shape, dtype)
    y.backward(grad)
    left = (grad.astype(np.float64) * expected).sum()
    assert_close(dtype.type((t.grad.astype(np.float64) * x).sum()), left, 33 * dims * grad.size)


@DIMS
def test_interpolate_gradient(dims, isa, rng):
    x = rng.standard_normal((2, 1, 3, 4, 5)[: dims + 2])
    gradcheck(lambda t: F.interpolate(t, 7), x)
    gradcheck(lambda t: F.interpolate(t, 7, mode=LINEAR[dims - 1]), x)
    gradcheck(lambda t: F.interpolate(t, 2, mode=LINEAR[dims - 1], align_corners=True), x)


def test_interpolate_scale_factor(dtype):
    x = normal(0, (2, 3, 8, 5), dtype)
    assert same_bytes(F.interpolate(x, scale_factor=2), x.repeat(2, 2).repeat(2, 3))
    assert F.interpolate(x, scale_factor=(0.5, 3)).shape == (2, 3, 4, 15)
    for mode in ("nearest", "bilinear"):
        recomputed = F.interpolate(x, None, 1.3, mode, None, True)
        assert same_bytes(recomputed, F.interpolate(x, (10, 6), mode=mode))
    assert same_bytes(F.interpolate(x, (4, 5), mode="area"), F.adaptive_avg_pool2d(x, (4, 5)))


def test_interpolate_keeps_infinities_apart(isa, dtype):
    x = np.array([[[np.inf, 1, np.inf, np.nan]]], dtype)
    y = F.interpolate(x, 4, mode="linear")
    np.testing.assert_array_equal(y, x)
    y = F.interpolate(x, 8, mode="linear")[0, 0]
    assert y[0] == np.inf
    assert np.isnan(y[-1])


@given(
    seed=st.integers(0, 99),
    factor=st.integers(1, 4),
    lead=st.lists(st.integers(0, 3), max_size=2),
    plane=st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 3, 8, 15, 16, 17, 33])),
)
def test_pixel_shuffle(isa, dtype, seed, factor, lead, plane):
    x = normal(seed, (*lead, 2 * factor**2, *plane), dtype)
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.pixel_shuffle(t, factor)
    assert same_bytes(y, reference.pixel_shuffle(x, factor))
    back = F.pixel_unshuffle(y.numpy(), factor)
    assert same_bytes(back, reference.pixel_unshuffle(y.numpy(), factor))
    assert same_bytes(back, x)
    y.backward(y.numpy())
    assert same_bytes(t.grad, x)


CALLS = {
    "pad": lambda x: F.pad(x, (3, 2, 1, 1), value=2.0),
    "pad reflect": lambda x: F.pad(x, (3, 2, 1, 1), "reflect"),
    "interpolate": lambda x: F.interpolate(x, (17, 41)),
    "interpolate bilinear": lambda x: F.interpolate(x, (17, 41), mode="bilinear"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_threads_batches_and_strides(call, isa, dtype, rng):
    assert_bytes_depend_on_values_alone(call, rng.standard_normal((3, 16, 30, 34)).astype(dtype))


def test_out(dtype):
    x = normal(0, (1, 4, 4, 6), dtype)
    for f, args in (
        (F.pad, ((1, 1),)),
        (F.interpolate, ((5, 7),)),
        (F.pixel_shuffle, (2,)),
        (F.pixel_unshuffle, (2,)),
    ):
        expected = f(x, *args)
        out = np.empty_like(expected)
        assert f(x, *args, out=out) is out
        assert same_bytes(out, expected)
        with pytest.raises(ValueError, match=rf"{f.__name__}: out\.shape must be"):
            f(x, *args, out=np.empty(3, dtype))
        with pytest.raises(ValueError, match=f"{f.__name__}: out must be None while"):
            f(fastnn.Tensor(x, requires_grad=True), *args, out=out)


X = np.zeros((2, 3, 8, 9), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.pad(X, (1,)), ValueError, "pad: pad must hold a pair of ints"),
        (lambda: F.pad(X, (1,) * 10), ValueError, "input's 4 dimensions, got 10 ints"),
        (lambda: F.pad(X, 1), TypeError, "pad must be a tuple of ints, got 1"),
        (lambda: F.pad(X, (1, 1.5)), TypeError, r"pad\[1\] must be an int, got 1\.5"),
        (lambda: F.pad(X, (-5, -5)), ValueError, r"must leave something of .* 9, got \(-5, -5\)"),
        (lambda: F.pad(X[0], (9, 0, 0, 0), "reflect"), ValueError, "less than the dimension of 9"),
        (lambda: F.pad(X[0], (10, 0, 0, 0), "circular"), ValueError, "at most the dimension of 9"),
        (lambda: F.pad(X, (1, 1), "mirror"), ValueError, "mode must be .* got 'mirror'"),
        (lambda: F.pad(X, (1, 1), "reflect"), ValueError, "needs an input of 2 or 3 dimensions"),
        (lambda: F.pad(X, (1, 1, 1, 1), "reflect", 1.0), ValueError, "value must be None"),
        (lambda: F.pad(X.astype(int), (1, 1)), TypeError, "float32 or float64"),
        (lambda: F.pad(X, (2**62, 2**62)), ValueError, "between"),
        (lambda: F.pad(X, (1, 1), None), TypeError, "mode must be a str, got None"),
        (lambda: F.pad(X, (1, 1), value="a"), TypeError, "value must be a float, got 'a'"),
        (lambda: F.pad(None, (1, 1)), TypeError, "input must be a numpy.ndarray"),
        (lambda: F.interpolate(None, 2), TypeError, "input must be a numpy.ndarray"),
        (lambda: F.interpolate(X, 2, mode=[]), TypeError, "mode must be a str"),
        (lambda: F.interpolate(X), ValueError, "either size or scale_factor"),
        (lambda: F.interpolate(X, 2, 2), ValueError, "either size or scale_factor"),
        (lambda: F.interpolate(X, 0), ValueError, "size must be positive"),
        (lambda: F.interpolate(X, (2, 3, 4)), ValueError, "size must be an int or a tuple of 2"),
        (lambda: F.interpolate(X, "a"), TypeError, "size must be an int"),
        (lambda: F.interpolate(X, scale_factor=-1), ValueError, "positive float or 2 of them"),
        (lambda: F.interpolate(X, scale_factor="a"), TypeError, "scale_factor must be a float"),
        (lambda: F.interpolate(X, scale_factor=1e30), ValueError, "scale_factor is too large"),
        (lambda: F.interpolate(X, 2, mode="linear"), ValueError, "'bilinear', 'bicubic' for"),
        (lambda: F.interpolate(X[0], 2, mode="bicubic"), ValueError, "got 'bicubic'"),
        (lambda: F.interpolate(X, 2, align_corners=True), ValueError, "align_corners must be None"),
        (lambda: F.interpolate(X, 2, antialias=True), ValueError, "antialias needs mode"),
        (lambda: F.interpolate(X, 2, antialias="no"), TypeError, "antialias must be a bool"),
        (lambda: F.interpolate(X[0, 0], 2), ValueError, "input must have 3, 4 or 5 dimensions"),
        (lambda: F.interpolate(X[:, :, :0], 2), ValueError, "must not be empty"),
        (lambda: F.pixel_shuffle(X, 2), ValueError, "channels must be a multiple of 4, got 3"),
        (lambda: F.pixel_shuffle(X, 0), ValueError, "upscale_factor must be >= 1, got 0"),
        (lambda: F.pixel_shuffle(X, 1.5), TypeError, "upscale_factor must be an int, got 1.5"),
        (lambda: F.pixel_shuffle(X[0, 0], 2), ValueError, "at least 3 dimensions"),
        (lambda: F.pixel_unshuffle(X, 2), ValueError, "width must be a multiple of 2, got 9"),
        (lambda: F.pixel_unshuffle(X, 2**40), ValueError, r"at most 2\*\*20"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_layers(dtype):
    x = normal(0, (2, 4, 4, 6), dtype)
    assert same_bytes(nn.ConstantPad2d(1, 3.5)(x), F.pad(x, (1, 1, 1, 1), value=3.5))
    assert same_bytes(nn.ZeroPad2d((1, 2, 3, 4))(x), F.pad(x, (1, 2, 3, 4)))
    assert same_bytes(nn.ReflectionPad2d(2)(x), F.pad(x, (2, 2, 2, 2), "reflect"))
    assert same_bytes(nn.ReplicationPad1d(2)(x[0]), F.pad(x[0], (2, 2), "replicate"))
    assert same_bytes(nn.CircularPad3d(2)(x), F.pad(x, (2,) * 6, "circular"))
    bilinear = F.interpolate(x, None, 2, "bilinear", True)
    assert same_bytes(nn.UpsamplingBilinear2d(scale_factor=2)(x), bilinear)
    assert same_bytes(nn.PixelUnshuffle(2)(nn.PixelShuffle(2)(x)), x)
    assert repr(nn.ZeroPad2d(1)) == "ZeroPad2d((1, 1, 1, 1))"
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2, mode='nearest')"


def test_against_pytorch(dtype):
    torch = pytest.importorskip("torch")
    x = normal(0, (2, 3, 13, 19), dtype)
    t = torch.from_numpy(x)
    for mode in ("nearest", "nearest-exact", "bilinear", "area"):
        for size, factor in (((7, 40), None), (29, None), (None, 1.7), (None, (0.4, 2.0))):
            expected = torch.nn.functional.interpolate(t, size, factor, mode=mode).numpy()
            assert_close(F.interpolate(x, size, factor, mode), expected, 40)
    for mode in ("reflect", "replicate", "circular"):
        expected = torch.nn.functional.pad(t, (3, -2, -1, 5), mode=mode).numpy()
        np.testing.assert_array_equal(F.pad(x, (3, -2, -1, 5), mode), expected)


def test_pixel_shuffle_of_planes_of_nothing_takes_no_time():
    planes = np.lib.stride_tricks.as_strided(np.zeros(1), (2**40, 4, 0, 2), (0,) * 4)
    assert F.pixel_shuffle(planes, 2).shape == (2**40, 1, 0, 4)
    assert F.pixel_unshuffle(planes, 2).shape == (2**40, 16, 0, 1)
