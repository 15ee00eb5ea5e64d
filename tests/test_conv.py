"""conv1d, conv2d, conv3d and their transposes against plain NumPy; the layers."""

from __future__ import annotations

import numpy as np
import pytest
from conv_checks import (
    CONV,
    CONV_TRANSPOSE,
    all_results,
    check_forward_and_backward,
    normal,
)
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import conv as reference

import fastnn
import fastnn.functional as F
from fastnn import _core


@st.composite
def problems(draw, dims, largest=20):
    """Shapes of a convolution whose kernel fits, and the reference's arguments."""

    def per_dim(strategy):
        return tuple(draw(strategy) for _ in range(dims))

    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = per_dim(st.integers(1, 4))
    dilation = per_dim(st.integers(1, 3))
    padding = per_dim(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    sizes = tuple(
        max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, largest if i == dims - 1 else 6))
        for i, (k, d, p) in enumerate(zip(kernel, dilation, padding))
    )
    return {
        "x_shape": (draw(st.integers(1, 3)), groups * draw(st.integers(1, 5)), *sizes),
        "out": groups * draw(st.sampled_from([1, 2, 7, 13, 15])),
        "kernel": kernel,
        "stride": per_dim(st.integers(1, 3)),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "seed": draw(st.integers(0, 2**16)),
    }


@given(problem=problems(1, 70))
def test_conv1d(problem, isa, dtype):
    check_forward_and_backward(problem, dtype)


@given(problem=problems(2, 40))
def test_conv2d(problem, isa, dtype):
    check_forward_and_backward(problem, dtype)


@given(problem=problems(3, 12))
def test_conv3d(problem, isa, dtype):
    check_forward_and_backward(problem, dtype)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@given(
    sizes=st.tuples(st.integers(4, 9), st.integers(4, 40)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    seed=st.integers(0, 100),
)
def test_padding_modes(mode, isa, sizes, stride, padding, seed):
    problem = {
        "x_shape": (2, 2, *sizes),
        "out": 3,
        "kernel": (3, 2),
        "stride": stride,
        "padding": padding,
        "dilation": (1, 2),
        "groups": 1,
        "seed": seed,
    }
    check_forward_and_backward(problem, np.float32, mode)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_gradients(mode, rng):
    x, w, b = normal(rng, 2, 4, 5, 6), normal(rng, 6, 2, 3, 2), normal(rng, 6)

    def f(x, w, b):
        return F.conv2d(x, w, b, (2, 1), ((1, 2), (2, 0)), (1, 2), 2, padding_mode=mode)

    gradcheck(f, x, w, b)


@given(problem=problems(2, 20), data=st.data())
def test_conv_transpose2d(problem, isa, dtype, data):
    check_transposed(problem, dtype, data)


@given(problem=problems(1, 40), data=st.data())
def test_conv_transpose1d(problem, isa, dtype, data):
    check_transposed(problem, dtype, data)


@given(problem=problems(3, 8), data=st.data())
def test_conv_transpose3d(problem, dtype, data):
    check_transposed(problem, dtype, data)


def check_transposed(problem, dtype, data):
    dims = len(problem["kernel"])
    rng = np.random.default_rng(problem["seed"])
    groups, stride, dilation = problem["groups"], problem["stride"], problem["dilation"]
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    x = normal(rng, *problem["x_shape"], dtype=dtype)
    w_shape = (x.shape[1], problem["out"] // groups, *problem["kernel"])
    w, b = normal(rng, *w_shape, dtype=dtype), normal(rng, problem["out"], dtype=dtype)
    padding = tuple(
        p if sum(p) < (n - 1) * s + d * (k - 1) + 1 else (0, 0)
        for p, n, s, d, k in zip(
            problem["padding"], x.shape[2:], stride, dilation, problem["kernel"]
        )
    )
    y = CONV_TRANSPOSE[dims](x, w, b, stride, padding, extra, groups, dilation)
    expected = reference.conv_transpose(x, w, b, stride, padding, extra, dilation, groups)
    assert_close(y, expected, w.size // w.shape[1], scale=10.0)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_transposed_gradients(extra, rng):
    x, w, b = normal(rng, 2, 4, 4, 3), normal(rng, 4, 3, 3, 2), normal(rng, 6)

    def f(x, w, b):
        return F.conv_transpose2d(x, w, b, (2, 1), (1, 0), (min(extra, 1), extra), 2, (1, 3))

    gradcheck(f, x, w, b)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 6, 7])
def test_same(stride, size, rng):
    x, w = normal(rng, 1, 2, size, size + 1), normal(rng, 3, 2, 3, 4)
    y = F.conv2d(x, w, stride=stride, padding="same")
    assert y.shape[2:] == (-(-size // stride), -(-(size + 1) // stride))
    pairs = []
    for n, k in zip(x.shape[2:], w.shape[2:]):
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pairs.append((total // 2, total - total // 2))
    assert same_bytes(y, F.conv2d(x, w, stride=stride, padding=pairs))
    wide = normal(rng, 1, 2, 5, 6)
    assert same_bytes(F.conv2d(wide, w, padding="valid"), F.conv2d(wide, w))


@pytest.mark.parametrize("stride", [1, 2])
def test_threads_to_the_byte(stride, rng):
    x, w = normal(rng, 3, 20, 30, 31, dtype=np.float32), normal(rng, 33, 20, 3, 3, dtype=np.float32)
    b = normal(rng, 33, dtype=np.float32)
    grad = normal(rng, *F.conv2d(x, w, b, stride, 1).shape, dtype=np.float32)
    same_bytes_for_every_thread_count(lambda: all_results(x, w, b, grad, stride=stride, padding=1))


NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [3, 20])
def test_layers_pad_like_numpy(mode, dims, stride, channels, rng):
    """'same' and unequal padding of every layer, in all modes, are a convolution of np.pad."""
    x = normal(rng, 2, channels, *(8, 9, 7)[:dims])
    pairs = ((1, 2), (0, 1), (2, 0))[:dims]
    for padding in ("same", pairs):
        layer = getattr(fastnn.nn, f"Conv{dims}d")(
            channels, 18, 4, stride, padding, padding_mode=mode, dtype=np.float64
        )
        before_after = pairs
        if padding == "same":
            totals = [max((-(-n // stride) - 1) * stride + 4 - n, 0) for n in x.shape[2:]]
            before_after = tuple((t // 2, t - t // 2) for t in totals)
        padded = np.pad(x, ((0, 0), (0, 0), *before_after), NUMPY_MODES[mode])
        expected = CONV[dims](padded, layer.weight.data, layer.bias.data, stride)
        with fastnn.no_grad():
            assert_close(layer(x), expected, channels * 4**dims)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(20, 33, 3), (3, 8, 5), (16, 16, 1)])
def test_an_image_alone(stride, shape, rng):
    channels, out, kernel = shape
    x = normal(rng, 5, channels, 18, 19, dtype=np.float32)
    w = normal(rng, out, channels, kernel, kernel, dtype=np.float32)
    b = normal(rng, out, dtype=np.float32)
    y = F.conv2d(x, w, b, stride, kernel // 2)
    grad = normal(rng, *y.shape, dtype=np.float32)
    whole = all_results(x, w, b, grad, stride=stride, padding=kernel // 2)
    for i in range(5):
        alone = all_results(x[i : i + 1], w, b, grad[i : i + 1], stride=stride, padding=kernel // 2)
        assert same_bytes([alone[0], alone[1]], [whole[0][i : i + 1], whole[1][i : i + 1]])
        assert same_bytes(F.conv2d(x[i], w, b, stride, kernel // 2), y[i])


def test_any_layout(rng):
    x, w = normal(rng, 2, 3, 6, 7), normal(rng, 4, 3, 3, 3)
    expected = F.conv2d(x, w)
    for name, view in strided_variants(x).items():
        assert same_bytes(F.conv2d(view, w), expected), name
    for name, view in strided_variants(w).items():
        assert same_bytes(F.conv2d(x, view), expected), name


def test_nothing_outside_is_read(isa, dtype, rng):
    """NaN around the arrays, in memory, must not come in through a mask or a padding."""
    for width in (1, 5, 16, 17, 33):
        x = strided_variants(normal(rng, 3, 4, width, dtype=dtype))["offset"]
        inner = np.ascontiguousarray(x)
        buffer = np.full(inner.size + 128, np.nan, dtype)
        buffer[64:-64] = inner.ravel()
        x = buffer[64:-64].reshape(inner.shape)
        w = normal(rng, 2, 3, 3, 3, dtype=dtype)
        for stride in (1, 2, 3):
            assert np.isfinite(F.conv2d(x, w, None, stride, 1)).all()


def test_nan_stays_where_it_is(isa, rng):
    x, w = normal(rng, 1, 2, 9, 40), normal(rng, 3, 2, 3, 3)
    x[0, 1, 4, 20] = np.nan
    bad = np.isnan(F.conv2d(x, w, padding=1)[0])
    assert bad[:, 3:6, 19:22].all()
    assert bad.sum() == 3 * 9


@pytest.mark.parametrize(
    ("x_shape", "w_shape"),
    [((0, 2, 5, 5), (3, 2, 3, 3)), ((2, 0, 5, 5), (3, 0, 3, 3)), ((2, 2, 5, 5), (0, 2, 3, 3))],
)
def test_empty(x_shape, w_shape):
    x, w, b = np.ones(x_shape), np.ones(w_shape), np.full(w_shape[0], 7.0)
    y = F.conv2d(x, w, b)
    assert y.shape == (x_shape[0], w_shape[0], 3, 3)
    if x_shape[1] == 0:
        assert (y == 7).all()
    results = all_results(x, w, b, np.ones_like(y))
    assert [r.shape for r in results] == [y.shape, x_shape, w_shape, b.shape]
    assert all((r == 0).all() for r in results[1:3])


def test_out(rng):
    x, w = normal(rng, 2, 3, 6, 6), normal(rng, 4, 3, 3, 3)
    out = np.full((2, 4, 4, 4), np.nan)
    assert F.conv2d(x, w, out=out) is out
    assert same_bytes(out, F.conv2d(x, w))
    with pytest.raises(ValueError, match="out must not share memory"):
        F.conv2d(x, np.ones((3, 3, 1, 1)), out=x)
    with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
        F.conv2d(x, fastnn.Tensor(w, requires_grad=True), out=out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        F.conv2d(x, w, out=out)


X, W = np.ones((2, 4, 6, 6)), np.ones((6, 4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": None}, TypeError, "input must be a numpy.ndarray"),
        ({"input": X.astype(np.float16)}, TypeError, "input.dtype must be float32 or float64"),
        ({"input": X.astype(np.float32)}, TypeError, "weight.dtype must be float32"),
        ({"input": X[0, 0]}, ValueError, "input must have 4 dimensions, or 3 without a batch"),
        ({"weight": W[0]}, ValueError, "weight must have 4 dimensions"),
        ({"weight": W[:, :3]}, ValueError, r"weight.shape\[1\] must be 4 \(in_channels / groups\)"),
        ({"weight": W[..., :0]}, ValueError, "kernel of at least one element"),
        ({"weight": np.ones((6, 4, 7, 3))}, ValueError, "more than the padded input of 6"),
        ({"dilation": 3}, ValueError, "spans 7 elements"),
        ({"bias": np.ones(5)}, ValueError, r"bias.shape must be \(6,\)"),
        ({"stride": 0}, ValueError, "stride must be in 1.."),
        ({"stride": -1}, ValueError, "stride must be in 1.."),
        ({"stride": 2**70}, ValueError, "stride must be in 1.."),
        ({"stride": True}, TypeError, "stride must be an int or a tuple of 2 ints, got True"),
        ({"stride": 1.0}, TypeError, "stride must be an int or a tuple of 2 ints"),
        ({"stride": "a"}, TypeError, "stride must be an int or a tuple of 2 ints, got 'a'"),
        ({"stride": (1, 2, 3)}, ValueError, "stride must be an int or a tuple of 2 ints"),
        ({"dilation": 0}, ValueError, "dilation must be in 1.."),
        ({"padding": -1}, ValueError, "padding must be in 0.."),
        ({"padding": "full"}, ValueError, "padding must be 'valid', 'same'"),
        ({"padding": ((1, 2), 3)}, TypeError, "padding must be"),
        ({"groups": 0}, ValueError, "groups must be >= 1"),
        ({"groups": 3}, ValueError, r"input.shape\[1\] must be divisible by groups = 3"),
        ({"groups": 1.0}, TypeError, "groups must be an int"),
        ({"padding_mode": "edge"}, ValueError, "padding_mode must be"),
        ({"padding": 6, "padding_mode": "reflect"}, ValueError, "padding of 6 is too large"),
        ({"padding": 7, "padding_mode": "circular"}, ValueError, "padding of 7 is too large"),
        ({"padding": 2**31 - 1}, ValueError, "too many elements"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match="conv2d: .*" + message):
        F.conv2d(**{"input": X, "weight": W, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": W}, ValueError, r"weight.shape\[0\] must be 4 \(in_channels\)"),
        ({"output_padding": 2, "stride": 2}, ValueError, "output_padding must be smaller"),
        ({"padding": 9}, ValueError, "padding leaves no output"),
        ({"padding": "same"}, TypeError, "padding must be a number"),
        ({"stride": 0}, ValueError, "stride must be in 1.."),
        ({"bias": np.ones(4)}, ValueError, r"bias.shape must be \(6,\)"),
    ],
)
def test_transposed_errors(arguments, error, message):
    with pytest.raises(error, match="conv_transpose2d: .*" + message):
        F.conv_transpose2d(**{"input": X, "weight": np.ones((4, 6, 3, 3)), **arguments})


@given(problem=problems(2, 20))
def test_unfold_and_fold(problem, isa, dtype):
    x = normal(np.random.default_rng(problem["seed"]), *problem["x_shape"], dtype=dtype)
    common = (problem["kernel"], problem["dilation"], problem["padding"], problem["stride"])
    columns = F.unfold(x, *common)
    expected = reference.unfold(x, *common)
    assert same_bytes(columns, expected.astype(dtype))
    folded = F.fold(columns, x.shape[2:], *common)
    assert_close(folded, reference.fold(expected, x.shape[2:], *common), 64)
    assert same_bytes(F.fold(columns[0], x.shape[2:], *common), folded[0])


def test_fold_gradients(rng):
    gradcheck(lambda x: F.unfold(x, (2, 3), 1, (1, 2), (2, 1)), normal(rng, 2, 3, 5, 6))
    gradcheck(lambda x: F.fold(x, (5, 6), (2, 3), 2, 1, 1), normal(rng, 2, 12, 20))
    with pytest.raises(ValueError, match=r"fold: input\.shape must be"):
        F.fold(np.ones((12, 21)), (5, 6), (2, 3), 2, 1, 1)
    with pytest.raises(ValueError, match=r"fold: input.shape\[0\] must be divisible by 6"):
        F.fold(np.ones((13, 20)), (5, 6), (2, 3), 2, 1, 1)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_layers(dims, rng):
    layer = getattr(fastnn.nn, f"Conv{dims}d")(4, 6, 3, 2, 1, 1, 2, dtype=np.float64)
    x = normal(rng, 2, 4, *[7] * dims)
    assert layer.weight.shape == (6, 2, *[3] * dims)
    expected = CONV[dims](x, layer.weight.data, layer.bias.data, 2, 1, 1, 2)
    assert same_bytes(layer(x), expected)
    up = getattr(fastnn.nn, f"ConvTranspose{dims}d")(4, 6, 3, 2, 1, 1, 2, dtype=np.float64)
    assert up.weight.shape == (4, 3, *[3] * dims)
    expected = CONV_TRANSPOSE[dims](x, up.weight.data, up.bias.data, 2, 1, 1, 2)
    assert same_bytes(up(x), expected)
    assert same_bytes(up(x, output_size=expected.shape), expected)
    with pytest.raises(ValueError, match=r"output_size must be in 13\.\.14, got 15"):
        up(x, output_size=[15] * dims)


def test_epilogue_errors():
    def call(activation=None, residual=None):
        return _core.conv3d_forward(
            2, X, W, None, 1, 0, 1, 1, "zeros", None, None, activation, residual
        )

    assert call(("relu",)).min() >= 0
    for activation, error, message in [
        ("relu", TypeError, "activation must be None or a tuple"),
        ((), TypeError, "activation must be None or a tuple"),
        (("rely",), ValueError, "activation must be one of those"),
        (("relu", 1.0), ValueError, "activation relu must have 0 parameters, got 1"),
        (("leaky_relu", "a"), TypeError, "negative_slope"),
    ]:
        with pytest.raises(error, match="conv2d: .*" + message):
            call(activation)
    with pytest.raises(ValueError, match=r"residual.shape must be \(2, 6, 4, 4\)"):
        call(None, X)


def test_layer_arguments(rng):
    layer = fastnn.nn.Conv2d(3, 5, (3, 2), padding=((1, 0), (2, 1)), padding_mode="reflect")
    assert repr(layer) == (
        "Conv2d(3, 5, kernel_size=(3, 2), stride=(1, 1), padding=((1, 0), (2, 1)), "
        "padding_mode=reflect)"
    )
    bound = 1 / np.sqrt(18)
    assert np.abs(layer.weight.data).max() <= bound
    assert fastnn.nn.Conv2d(3, 5, 3, bias=False).bias is None
    for arguments, error in [
        ({"groups": 2}, ValueError),
        ({"groups": 0}, ValueError),
        ({"kernel_size": 0}, ValueError),
        ({"kernel_size": 2.5}, TypeError),
        ({"padding": "full"}, ValueError),
        ({"padding_mode": "edge"}, ValueError),
    ]:
        with pytest.raises(error, match="Conv2d: "):
            fastnn.nn.Conv2d(**{"in_channels": 3, "out_channels": 6, "kernel_size": 3, **arguments})


def test_separable(rng):
    layer = fastnn.nn.SeparableConv2d(3, 5, 3, padding="same", depth_multiplier=2, dtype=np.float64)
    x = normal(rng, 2, 3, 6, 7)
    middle = F.conv2d(x, layer.depthwise.weight.data, padding=1, groups=3)
    expected = F.conv2d(middle, layer.pointwise.weight.data, layer.pointwise.bias.data)
    assert same_bytes(layer(x), expected)


def test_torch_agrees(rng):
    torch = pytest.importorskip("torch")
    x, w, b = normal(rng, 2, 6, 9, 8), normal(rng, 4, 3, 3, 2), normal(rng, 4)
    settings = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    expected = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, w, b)), **settings)
    assert_close(F.conv2d(x, w, b, **settings), expected.numpy(), 100)


def test_kernels_are_named():
    assert ("conv", "conv3d_forward") in _core.kernel_names()


def test_padding_mode_must_be_a_string():
    with pytest.raises(TypeError, match=r"conv1d: padding_mode must be a str, got 3"):
        F.conv1d(np.ones((1, 1, 3)), np.ones((1, 1, 1)), padding_mode=3)
