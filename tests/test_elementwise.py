"""Activations: values, gradients, special numbers, layouts, in place, out=, errors."""

from __future__ import annotations

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
from reference import elementwise as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

# Operation, arguments after the input. Thresholds are exact in float32.
CASES = [
    ("relu", ()),
    ("relu6", ()),
    ("leaky_relu", ()),
    ("leaky_relu", (-0.25,)),
    ("threshold", (0.25, -1.5)),
    ("hardtanh", ()),
    ("hardtanh", (-0.5, 2.0)),
    ("hardsigmoid", ()),
    ("hardswish", ()),
    ("hardshrink", ()),
    ("softshrink", ()),
    ("softshrink", (1.25,)),
    ("softsign", ()),
    ("sigmoid", ()),
    ("logsigmoid", ()),
    ("tanh", ()),
    ("tanhshrink", ()),
    ("elu", ()),
    ("elu", (-0.7,)),
    ("celu", (0.6,)),
    ("selu", ()),
    ("softplus", ()),
    ("softplus", (2.5, 5.0)),
    ("silu", ()),
    ("mish", ()),
    ("gelu", ()),
    ("gelu", ("tanh",)),
    ("exp", ()),
    ("log", ()),
    ("sqrt", ()),
]
INPLACE = (
    *("relu", "relu6", "leaky_relu", "threshold", "hardtanh", "hardsigmoid", "hardswish"),
    *("elu", "celu", "selu", "silu", "mish"),
)
# Around every kink and tail, and no multiple of anything a branch compares with.
POINTS = np.linspace(-12.013, 12.17, 331)


def cases(test):
    names = [f"{op}{args}" if args else op for op, args in CASES]
    return pytest.mark.parametrize(("op", "args"), CASES, ids=names)(test)


def points(op, dtype=np.float64):
    return (np.abs(POINTS) if op in ("log", "sqrt") else POINTS).astype(dtype)


def expected(op, x, args):
    with np.errstate(all="ignore"):
        return getattr(reference, op)(np.asarray(x, np.float64), *args)


@cases
def test_values(isa, dtype, op, args):
    x = points(op, dtype)
    y = getattr(F, op)(x, *args)
    want = expected(op, x, args)
    assert type(y) is np.ndarray
    assert y.dtype == dtype
    assert_close(y, want, c=6, scale=np.abs(want) + np.abs(x) + 1e-30)


@cases
def test_special_numbers(isa, dtype, op, args):
    largest = np.finfo(dtype).max
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([np.nan, np.inf, -np.inf, largest, -largest, 0, -0.0, tiny, -tiny, 90, -90], dtype)
    with np.errstate(over="ignore"):
        want = expected(op, x, args).astype(dtype).astype(np.float64)
    for n in range(1, len(x) + 1):  # full vectors and masked tails
        y = getattr(F, op)(x[:n], *args)
        assert_close(y, want[:n], c=8, scale=np.abs(want[:n]) + float(tiny) / np.finfo(dtype).eps)
        y = getattr(F, op)(np.resize(x[:n], 64), *args)
        assert_close(
            y[:n], want[:n], c=8, scale=np.abs(want[:n]) + float(tiny) / np.finfo(dtype).eps
        )


def test_errors_of_gelu_in_float32(isa):
    """The bounds that kernels/elementwise/gelu.h states."""
    x = np.linspace(-8, 8, 200_001, dtype=np.float32)
    wide = x.astype(np.float64)
    error = np.abs(F.gelu(x) - expected("gelu", x, ()))
    assert (error <= 2 ** (-23.5 if isa == "generic" else -23.9) * np.abs(wide)).all()
    tail = (x > -5.6) & (x < 0)
    assert (error[tail] <= 2**-12 * np.abs(expected("gelu", x, ())[tail])).all()
    t = fastnn.Tensor(x, requires_grad=True)
    F.gelu(t).backward(np.ones_like(x))
    h = 1e-5
    slope = (expected("gelu", wide + h, ()) - expected("gelu", wide - h, ())) / (2 * h)
    assert (np.abs(t.grad - slope) <= 2**-22.8).all()


@cases
def test_gradient(isa, op, args):
    gradcheck(lambda x: getattr(F, op)(x, *args), points(op)[::3])


@cases
def test_gradient_in_float32(isa, op, args):
    x = points(op, np.float32)
    step = 1e-6
    below, above = (expected(op, x.astype(np.float64) + d, args) for d in (-step, step))
    slope = (above - below) / (2 * step)
    upstream = np.random.default_rng(0).normal(size=x.size).astype(np.float32)
    t = fastnn.Tensor(x, requires_grad=True)
    getattr(F, op)(t, *args).backward(upstream)
    assert_close(t.grad, slope * upstream, c=16, scale=np.abs(slope * upstream) + 1)


@cases
def test_gradient_far_out(isa, dtype, op, args):
    """Where the slope has reached its limit, nothing may overflow on the way to it."""
    x = np.array([-1e30, -1e5, 1e5, 1e30], dtype)
    if op in ("exp", "log", "sqrt"):
        return
    t = fastnn.Tensor(x, requires_grad=True)
    getattr(F, op)(t, *args).backward(np.ones_like(x))
    assert np.isfinite(t.grad).all()
    step = np.array([1e20, 1.0, 1.0, 1e20])
    wide = x.astype(np.float64)
    slope = (expected(op, wide + step, args) - expected(op, wide - step, args)) / (2 * step)
    np.testing.assert_allclose(t.grad, slope, rtol=1e-5, atol=1e-5)


@cases
def test_gradient_at_kinks_is_that_of_pytorch(op, args):
    torch = pytest.importorskip("torch")
    if not hasattr(torch.nn.functional, op):
        return
    values = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0])
    args = {"approximate": args[0]} if op == "gelu" and args else args
    keywords = args if isinstance(args, dict) else {}
    positional = () if keywords else args
    theirs = torch.tensor(values, requires_grad=True)
    getattr(torch.nn.functional, op)(theirs, *positional, **keywords).sum().backward()
    ours = fastnn.Tensor(values, requires_grad=True)
    getattr(F, op)(ours, *positional, **keywords).sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-6, atol=1e-6)


@given(
    n=st.sampled_from([0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 257]),
    start=st.integers(0, 17),
)
def test_position_does_not_matter(isa, dtype, n, start):
    x = np.random.default_rng(n).normal(0, 4, n + start).astype(dtype)[start:]
    for op in ("relu", "silu", "gelu", "tanh", "softplus"):
        f = getattr(F, op)
        whole = f(x)
        assert same_bytes(whole, np.array([f(x[i : i + 1])[0] for i in range(n)], dtype))


@pytest.mark.parametrize("op", ["relu", "gelu"])
def test_layouts(isa, dtype, op):
    x = np.random.default_rng(1).normal(0, 4, (5, 3, 17)).astype(dtype)
    want = getattr(F, op)(x)
    for name, view in strided_variants(x).items():
        assert same_bytes(getattr(F, op)(view), want), name
        t = fastnn.Tensor(view, requires_grad=True)
        getattr(F, op)(t).backward(np.ones_like(x))
        assert t.grad.shape == x.shape
    assert getattr(F, op)(x[0, 0, 0]).shape == ()
    assert getattr(F, op)(x[:, :0]).shape == (5, 0, 17)


@pytest.mark.parametrize("op", ["relu", "gelu", "mish"])
def test_threads(isa, dtype, op):
    x = np.random.default_rng(2).normal(0, 4, 100_003).astype(dtype)
    same_bytes_for_every_thread_count(lambda: getattr(F, op)(x))

    def gradient():
        t = fastnn.Tensor(x, requires_grad=True)
        getattr(F, op)(t).backward(x)
        return t.grad

    same_bytes_for_every_thread_count(gradient)


@pytest.mark.parametrize("op", INPLACE)
def test_inplace(dtype, op):
    args = (0.25, -1.5) if op == "threshold" else ()
    x = np.random.default_rng(3).normal(0, 4, (6, 7)).astype(dtype)
    want = getattr(F, op)(x, *args)
    for name, view in strided_variants(x).items():
        assert getattr(F, op)(view, *args, inplace=True) is view, name
        assert same_bytes(np.ascontiguousarray(view), want), name


def test_inplace_errors():
    x = np.ones(3)
    x.flags.writeable = False
    with pytest.raises(ValueError, match=r"relu: input must be writable for inplace=True"):
        F.relu(x, inplace=True)
    with pytest.raises(ValueError, match=r"relu: out and inplace=True cannot both be given"):
        F.relu(np.ones(3), inplace=True, out=np.ones(3))
    with pytest.raises(TypeError, match=r"relu: inplace must be False unless input is a numpy"):
        F.relu([1.0], inplace=True)


def test_inplace_leaves_a_tensor_alone():
    """Models written with inplace=True train: the tape keeps what it saved."""
    t = fastnn.Tensor(np.array([-1.0, 2.0]), requires_grad=True)
    layer = fastnn.nn.ReLU(inplace=True)
    layer(t * 1.0).sum().backward()
    np.testing.assert_array_equal(t.data, [-1.0, 2.0])
    np.testing.assert_array_equal(t.grad, [0.0, 1.0])


def test_out(dtype):
    x = np.random.default_rng(4).normal(size=(3, 19)).astype(dtype)
    around = np.full(3 * 19 + 40, 7, dtype)
    for start in range(20):
        out = around[start : start + x.size].reshape(x.shape)
        assert F.gelu(x, out=out) is out
        assert same_bytes(out.copy(), F.gelu(x))
        assert (np.delete(around, np.s_[start : start + x.size]) == 7).all()
        around[:] = 7


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.ones(4), ValueError, r"out\.shape must be \(3,\), got \(4,\)"),
        (np.ones(3, np.float32), TypeError, "out must be a numpy.ndarray of float64, got float32"),
        (np.ones(6)[::2], ValueError, "out must be C-contiguous"),
        (np.broadcast_to(1.0, 3), ValueError, "out must be writable"),
        ([1.0, 2.0, 3.0], TypeError, "out must be a numpy.ndarray of float64, got list"),
    ],
)
def test_out_errors(out, error, message):
    with pytest.raises(error, match=f"silu: {message}"):
        F.silu(np.ones(3), out=out)


def test_out_must_be_apart_and_not_recorded():
    x = np.ones(5)
    with pytest.raises(ValueError, match="silu: out must not share memory with an input"):
        F.silu(x[:4], out=x[1:])
    with pytest.raises(ValueError, match="silu: out must be None while gradients are recorded"):
        F.silu(fastnn.Tensor(x, requires_grad=True), out=np.ones(5))


def test_bad_arguments():
    x = np.ones(3)
    for bad in (np.ones(3, np.float16), np.ones(3, int), np.ones(3, ">f8"), np.array(["a"])):
        with pytest.raises(TypeError, match=r"mish: input\.dtype must be float32 or float64, got"):
            F.mish(bad)
    with pytest.raises(TypeError, match=r"relu: input must be a numpy\.ndarray"):
        F.relu(None)
    with pytest.raises(TypeError, match=r"leaky_relu: negative_slope must be a number, got '0\.1'"):
        F.leaky_relu(x, "0.1")
    with pytest.raises(TypeError, match="softplus: threshold must be a number, got None"):
        F.softplus(x, 1, None)
    with pytest.raises(TypeError, match="hardtanh: min_val must be a number, got 'a'"):
        F.hardtanh(x, "a")
    with pytest.raises(ValueError, match="hardtanh: min_val must be <= max_val, got 2 and 1"):
        F.hardtanh(x, 2, 1)
    with pytest.raises(ValueError, match="softshrink: lambd must be >= 0, got -1"):
        F.softshrink(x, -1)
    with pytest.raises(ValueError, match="celu: alpha must not be 0"):
        F.celu(x, 0)
    with pytest.raises(ValueError, match="gelu: approximate must be 'none' or 'tanh', got 'erf'"):
        F.gelu(x, "erf")


# prelu

PRELU_SHAPES = [(1,), (7, 1), (5, 3), (40, 17), (2100, 33), (4, 3, 5), (3, 2, 7, 9), (2, 4, 0)]


@pytest.mark.parametrize("shape", [*PRELU_SHAPES, (0, 3), ()], ids=str)
@pytest.mark.parametrize("shared", [False, True])
def test_prelu(isa, dtype, shape, shared):
    rng = np.random.default_rng(5)
    x = rng.normal(size=shape).astype(dtype)
    channels = 1 if shared or len(shape) < 2 else shape[1]
    weight = rng.normal(size=channels).astype(dtype)
    want = reference.prelu(x.astype(np.float64), weight.astype(np.float64))
    assert_close(F.prelu(x, weight), want)

    upstream = rng.normal(size=shape).astype(dtype)
    tx, tw = (fastnn.Tensor(a, requires_grad=True) for a in (x, weight))
    F.prelu(tx, tw).backward(upstream)
    one = np.ones(channels)
    slope = reference.prelu(np.where(x > 0, 1.0, -1.0), -weight.astype(np.float64))
    assert_close(tx.grad, slope * upstream)
    terms = np.where(x > 0, 0, x.astype(np.float64) * upstream)
    axes = None if channels == 1 else tuple(i for i in range(x.ndim) if i != 1)
    want = terms.sum(axes).reshape(one.shape)
    assert_close(tw.grad, want, max(1, x.size // channels), c=1, scale=np.abs(terms).max(initial=0))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (6,)], ids=str)
def test_prelu_gradient(isa, shape):
    rng = np.random.default_rng(6)
    for channels in {1, shape[1] if len(shape) > 1 else 1}:
        gradcheck(F.prelu, rng.normal(size=shape), rng.normal(size=channels))


@pytest.mark.parametrize("shape", [(70_001,), (400, 257), (5, 7, 3001)], ids=str)
def test_prelu_threads(isa, dtype, shape):
    rng = np.random.default_rng(7)
    x = rng.normal(size=shape).astype(dtype)
    weight = rng.normal(size=shape[1:2] or 1).astype(dtype)

    def gradients():
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, weight)]
        F.prelu(*tensors).backward(x[::-1])
        return [t.grad for t in tensors]

    same_bytes_for_every_thread_count(gradients)
    same_bytes_for_every_thread_count(lambda: F.prelu(x, weight))


def test_prelu_layouts_and_errors():
    x = np.random.default_rng(8).normal(size=(5, 3, 4))
    weight = np.array([0.5, -1.0, 2.0])
    for name, view in strided_variants(x).items():
        assert same_bytes(F.prelu(view, weight[::-1]), F.prelu(x, weight[::-1].copy())), name
    with pytest.raises(ValueError, match=r"prelu: weight\.shape\[0\] must be 3 .*, got 4"):
        F.prelu(x, np.ones(4))
    with pytest.raises(ValueError, match=r"prelu: weight must have at most 1 dimension"):
        F.prelu(x, np.ones((3, 1)))
    with pytest.raises(TypeError, match=r"prelu: weight\.dtype must be float64"):
        F.prelu(x, weight.astype(np.float32))


# glu


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((2,), 0), ((6, 34), -1), ((6, 5), 0), ((3, 4, 7), 1), ((2, 0), 1), ((0, 4), 1)],
)
def test_glu(isa, dtype, shape, dim):
    x = np.random.default_rng(9).normal(0, 3, shape).astype(dtype)
    assert_close(F.glu(x, dim), reference.glu(x.astype(np.float64), dim))
    gradcheck(lambda a: F.glu(a, dim), x)


@pytest.mark.parametrize(("shape", "dim"), [((2, 70_000), 0), ((300, 514), 1)])
def test_glu_threads(isa, dtype, shape, dim):
    x = np.random.default_rng(10).normal(0, 3, shape).astype(dtype)

    def both():
        t = fastnn.Tensor(x, requires_grad=True)
        y = F.glu(t, dim)
        y.backward(np.ones_like(y.numpy()))
        return y, t.grad

    y, _ = same_bytes_for_every_thread_count(both)
    assert_close(y.numpy(), reference.glu(x.astype(np.float64), dim))


def test_glu_errors():
    with pytest.raises(ValueError, match=r"glu: input\.shape\[1\] must be even, got 3"):
        F.glu(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"glu: dim must be in -2\.\.1, got 2"):
        F.glu(np.ones((2, 4)), 2)
    with pytest.raises(TypeError, match=r"glu: dim must be an int, got 'a'"):
        F.glu(np.ones((2, 4)), "a")
    with pytest.raises(ValueError, match=r"glu: input must have at least 1 dimensions"):
        F.glu(np.float32(2.0))


# Layers

LAYERS = [
    (fastnn.nn.ReLU(), "relu", (), "ReLU()"),
    (fastnn.nn.ReLU6(), "relu6", (), "ReLU6()"),
    (fastnn.nn.LeakyReLU(0.2), "leaky_relu", (0.2,), "LeakyReLU(negative_slope=0.2)"),
    (fastnn.nn.ELU(0.3), "elu", (0.3,), "ELU(alpha=0.3)"),
    (fastnn.nn.SELU(), "selu", (), "SELU()"),
    (fastnn.nn.CELU(0.3), "celu", (0.3,), "CELU(alpha=0.3)"),
    (fastnn.nn.GELU("tanh"), "gelu", ("tanh",), "GELU(approximate='tanh')"),
    (fastnn.nn.SiLU(), "silu", (), "SiLU()"),
    (fastnn.nn.Mish(), "mish", (), "Mish()"),
    (fastnn.nn.Softplus(2, 3), "softplus", (2, 3), "Softplus(beta=2, threshold=3)"),
    (fastnn.nn.Softsign(), "softsign", (), "Softsign()"),
    (fastnn.nn.Tanh(), "tanh", (), "Tanh()"),
    (fastnn.nn.Sigmoid(), "sigmoid", (), "Sigmoid()"),
    (fastnn.nn.LogSigmoid(), "logsigmoid", (), "LogSigmoid()"),
    (fastnn.nn.Hardswish(), "hardswish", (), "Hardswish()"),
    (fastnn.nn.Hardsigmoid(), "hardsigmoid", (), "Hardsigmoid()"),
    (fastnn.nn.Hardtanh(-2, 1), "hardtanh", (-2, 1), "Hardtanh(min_val=-2, max_val=1)"),
    (fastnn.nn.Hardshrink(), "hardshrink", (), "Hardshrink(0.5)"),
    (fastnn.nn.Softshrink(0.25), "softshrink", (0.25,), "Softshrink(0.25)"),
    (fastnn.nn.Tanhshrink(), "tanhshrink", (), "Tanhshrink()"),
    (fastnn.nn.Threshold(0.1, 20), "threshold", (0.1, 20), "Threshold(threshold=0.1, value=20)"),
    (fastnn.nn.GLU(), "glu", (), "GLU(dim=-1)"),
]


@pytest.mark.parametrize(("layer", "op", "args", "text"), LAYERS, ids=lambda v: str(v))
def test_layers(layer, op, args, text):
    x = np.linspace(-5, 5, 40).reshape(4, 10)
    assert same_bytes(layer(x), getattr(F, op)(x, *args))
    assert repr(layer) == text
    assert list(layer.parameters()) == []


@pytest.mark.parametrize(
    "name", ["ReLU", "ReLU6", "LeakyReLU", "Hardswish", "SELU", "SiLU", "Mish", "ELU", "CELU"]
)
def test_inplace_layers(name):
    x = np.linspace(-5, 5, 9)
    layer = getattr(fastnn.nn, name)(inplace=True)
    want = getattr(fastnn.nn, name)()(x)
    assert layer(x) is x
    assert same_bytes(x, want)
    assert "inplace=True" in repr(layer)


def test_prelu_layer():
    layer = fastnn.nn.PReLU(3, 0.5)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {"weight": (3,)}
    x = np.linspace(-5, 5, 12, dtype=np.float32).reshape(4, 3)
    assert same_bytes(layer(x).numpy(), np.where(x > 0, x, x / 2))
    with pytest.raises(ValueError, match="Hardtanh: max_val must be larger than min_val"):
        fastnn.nn.Hardtanh(1, 1)


def test_rrelu(isa, dtype, rng):
    x = rng.standard_normal((3, 1000)).astype(dtype)
    assert_close(F.rrelu(x, 0.25, 0.5), reference.rrelu(x.astype(np.float64), 0.375), 1)
    fastnn.manual_seed(1)
    y = F.rrelu(x, 0.25, 0.5, training=True)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[x > 0], x[x > 0])
    slopes = y[x < 0] / x[x < 0]
    assert 0.249 < slopes.min() < 0.26
    assert 0.49 < slopes.max() < 0.501
    assert abs(slopes.mean() - 0.375) < 0.01
    spread = np.ones_like(x)
    spread[x < 0] = slopes
    assert_close(y, reference.rrelu(x.astype(np.float64), spread.astype(np.float64)), 2)
    fastnn.manual_seed(1)
    t = fastnn.Tensor(x, requires_grad=True)
    again = F.rrelu(t, 0.25, 0.5, training=True)
    np.testing.assert_array_equal(again.numpy(), y)
    grad = rng.standard_normal(x.shape).astype(dtype)
    again.backward(grad)
    np.testing.assert_allclose(t.grad, grad * np.where(x > 0, 1, y / x), rtol=1e-5)
    out = np.empty_like(x)
    fastnn.manual_seed(1)
    assert F.rrelu(x, 0.25, 0.5, True, out=out) is out
    np.testing.assert_array_equal(out, y)
    fastnn.manual_seed(1)
    copy = x.copy()
    assert F.rrelu(copy, 0.25, 0.5, True, True) is copy
    np.testing.assert_array_equal(copy, y)
    layer = nn.RReLU(0.25, 0.5)
    np.testing.assert_array_equal(layer.eval()(x), F.leaky_relu(x, 0.375))
    assert np.isnan(F.rrelu(np.full(3, np.nan, dtype), training=True)).all()
    with pytest.raises(ValueError, match="rrelu: lower must be at most upper"):
        F.rrelu(x, 2, 1)
    with pytest.raises(TypeError, match=r"input\.dtype must be"):
        F.rrelu(x.astype(int), training=True)


def test_results_larger_than_the_caches(isa):
    """They pass the caches by: from any alignment, in place too, with the same bytes."""
    n = fastnn._core.cache_sizes()[2] // 4 + 5
    x = np.linspace(-3, 3, n + 1, dtype=np.float32)[1:]
    expected = np.concatenate([F.relu(part) for part in np.array_split(x, 64)])
    for shift in (0, 1, 7):
        out = np.empty(n + 16, np.float32)[shift : shift + n]
        assert F.relu(x, out=out) is out
        np.testing.assert_array_equal(out, expected)
    assert F.relu(x, inplace=True) is x
    np.testing.assert_array_equal(x, expected)
