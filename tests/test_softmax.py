"""softmax, log_softmax, softmin, logsumexp."""

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
from reference import softmax as reference

import fastnn
import fastnn.functional as F
from fastnn import _core, nn

FORWARD = ["softmax", "log_softmax", "softmin", "logsumexp"]

# One vector of 2 to 16 lanes, four of them (the unrolled loops, and a tile of columns).
LENGTHS = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200])
SIZES = st.one_of(st.integers(1, 5), LENGTHS)
# A block of a long row is 16 KiB: 4096 floats, 2048 doubles.
LONG = [2047, 2048, 2049, 4095, 4096, 4097, 9001]


def normal(rng, shape, dtype, scale=3.0):
    return (rng.standard_normal(shape) * scale).astype(dtype)


def compare(op, x, axis):
    expected = getattr(reference, op)(x.astype(np.float64), axis)
    # The argument of exp is rounded, which counts for as much as it is large.
    spread = float(np.ptp(x)) if x.size else 1.0
    assert_close(getattr(F, op)(x, axis), expected, c=8 * (1 + spread / 8))


def compare_backward(op, x, grad, axis):
    y64 = getattr(reference, op)(x.astype(np.float64), axis)
    y, g64 = getattr(F, op)(x, axis), grad.astype(np.float64)
    saved = (x.astype(np.float64),) if op == "logsumexp" else (y64,)
    expected = getattr(reference, f"{op}_backward")(g64, *saved, axis)
    args = (grad, x, y, axis) if op == "logsumexp" else (grad, y, axis)
    actual = getattr(_core, f"{op}_backward")(*args)
    scale = max(1.0, float(np.abs(g64).max())) * (1 if op == "logsumexp" else x.shape[axis] ** 0.5)
    assert_close(actual, expected, c=8 * (1 + float(np.ptp(x)) / 8), scale=scale)


@pytest.mark.parametrize("op", FORWARD)
@given(shape=st.tuples(SIZES, SIZES), seed=st.integers(0, 99))
def test_last_dimension(op, isa, dtype, shape, seed):
    compare(op, normal(np.random.default_rng(seed), shape, dtype), 1)


@pytest.mark.parametrize("op", FORWARD)
@given(shape=st.tuples(st.integers(1, 3), SIZES, SIZES), seed=st.integers(0, 99))
def test_other_dimensions(op, isa, dtype, shape, seed):
    compare(op, normal(np.random.default_rng(seed), shape, dtype), 1)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1])
@given(shape=st.tuples(SIZES, SIZES), seed=st.integers(0, 99))
def test_backward(op, axis, isa, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    x = normal(rng, shape, dtype)
    y = getattr(F, op)(x, axis)
    compare_backward(op, x, normal(rng, y.shape, dtype), axis)


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("length", LONG)
def test_long_rows(op, isa, dtype, rng, length):
    compare(op, normal(rng, (2, length), dtype), 1)
    compare(op, normal(rng, (length, 3), dtype), 0)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("shape", [(2, 9001), (2, 70001)])
def test_long_rows_backward(op, isa, dtype, rng, shape):
    x = normal(rng, shape, dtype)
    y = getattr(F, op)(x, 1)
    compare_backward(op, x, normal(rng, y.shape, dtype), 1)


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
def test_every_axis(op, dtype, rng, axis):
    x = normal(rng, (3, 5, 4), dtype)
    compare(op, x, axis)


@pytest.mark.parametrize("op", FORWARD)
def test_strides(op, isa, dtype, rng):
    x = normal(rng, (5, 7, 6), dtype)
    for axis in (1, 2):
        expected = getattr(F, op)(x, axis)
        for name, variant in strided_variants(x).items():
            assert same_bytes(getattr(F, op)(variant, axis), expected), name


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3)])
def test_empty(op, dtype, shape):
    for axis in range(len(shape)):
        assert getattr(F, op)(np.zeros(shape, dtype), axis).shape == shape


def test_empty_logsumexp(isa, dtype):
    assert same_bytes(F.logsumexp(np.zeros((2, 0, 3), dtype), 1), np.full((2, 3), -np.inf, dtype))
    assert F.logsumexp(np.zeros((0, 3), dtype), 1).shape == (0,)
    assert F.logsumexp(np.zeros((2, 0, 3), dtype), (0, 1)).shape == (3,)


def test_scalar(dtype):
    x = np.array(2.0, dtype)
    assert F.softmax(x, 0) == 1
    assert F.log_softmax(x, -1) == 0
    assert F.logsumexp(x, 0) == 2
    assert F.logsumexp(x, 0).shape == ()


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("length", [1, 2, 5, 16, 17, 100, 5000])
@pytest.mark.parametrize("position", [0, -1])
def test_special_values(op, isa, dtype, length, position):
    """As PyTorch: NaN and +inf spoil their slice, -inf only where nothing else is there."""
    inf = np.inf
    for special in ([np.nan], [inf], [-inf], [inf, -inf], [np.nan, inf], [-inf] * length):
        row = np.zeros(length, dtype)
        row[: len(special)] = special[:length]
        row = np.roll(row, position)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = getattr(reference, op)(row.astype(np.float64), 0)
        for x, axis in ((row[None], 1), (np.stack([row, row], 1), 0)):
            y = getattr(F, op)(x, axis)
            ys = y if axis == 1 else np.moveaxis(y, 0, -1)
            for actual in ys:
                assert_close(actual, expected, c=8)


def test_a_spoiled_row_spoils_no_other(isa, dtype, rng):
    x = normal(rng, (3, 40), dtype)
    clean = F.softmax(x, 1)
    x[1, 7] = np.nan
    y = F.softmax(x, 1)
    assert np.isnan(y[1]).all()
    assert same_bytes(y[[0, 2]], clean[[0, 2]])


def test_a_block_of_minus_infinity(isa, dtype, rng):
    """Long rows go block by block; a block may be masked out wholly."""
    x = normal(rng, (1, 10000), dtype)
    for masked in (slice(0, 5000), slice(5000, None), slice(4000, 9000)):
        y = x.copy()
        y[:, masked] = -np.inf
        kept = np.delete(y, np.r_[masked], axis=1) if masked.stop else y[:, :5000]
        probabilities = F.softmax(y, 1)
        assert (probabilities[:, masked] == 0).all()
        assert_close(probabilities.sum(1), np.ones(1), 16)
        assert_close(F.logsumexp(y, 1), reference.logsumexp(kept.astype(np.float64), 1), c=8)


@pytest.mark.parametrize("axis", [0, 1])
def test_large_values(isa, dtype, axis):
    large = np.array([[1e30, 1e30], [-1e30, 1e30], [88.9, 89.5]], dtype)
    x = large if axis == 1 else np.ascontiguousarray(large.T)
    for op in FORWARD:
        expected = getattr(reference, op)(x.astype(np.float64), axis)
        assert_close(getattr(F, op)(x, axis), expected, c=8)


def test_shares_sum_to_one(isa, dtype, rng):
    for length in (10, 1000, 50257):
        y = F.softmax(normal(rng, (2, length), dtype), 1)
        assert_close(y.sum(1, dtype=np.float64).astype(dtype), np.ones(2), 4)


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("shape", [(300, 197), (2, 100_001), (3, 70, 130), (2, 2000, 40)])
def test_threads(op, isa, rng, shape):
    x = normal(rng, shape, np.float32)
    same_bytes_for_every_thread_count(lambda: getattr(F, op)(x, 1))


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("shape", [(300, 197), (2, 100_001), (3, 70, 130)])
def test_threads_backward(op, isa, rng, shape):
    x = normal(rng, shape, np.float32)
    weight = normal(rng, getattr(F, op)(x, 1).shape, np.float32)

    def gradient():
        t = fastnn.Tensor(x, requires_grad=True)
        getattr(F, op)(t, 1).backward(weight)
        return t.grad

    same_bytes_for_every_thread_count(gradient)


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("shape", [(40, 33), (17, 20001), (40, 33, 37), (3, 33, 64)])
def test_batch_invariance(op, isa, dtype, rng, shape):
    x = normal(rng, shape, dtype)
    whole = getattr(F, op)(x, 1)
    for i in (0, len(x) - 1):
        assert same_bytes(getattr(F, op)(x[i : i + 1], 1), whole[i : i + 1])
    if len(shape) == 3:
        # So is a column, in whichever lane it stands.
        for columns in (slice(5, 9), slice(30, 33)):
            assert same_bytes(getattr(F, op)(x[:, :, columns], 1), whole[..., columns])


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("shape", [(2, 3), (3, 9), (2, 3, 5)])
def test_gradients(op, isa, rng, shape):
    x = rng.standard_normal(shape)
    for axis in range(len(shape)):
        gradcheck(lambda t, axis=axis: getattr(F, op)(t, axis), x)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [(0, 1), (2, 0), (-1, -2), (0, 1, 2), (1,), [1, 2]])
def test_logsumexp_over_several(rng, dtype, dim, keepdim):
    x = normal(rng, (3, 4, 5), dtype)
    with np.errstate(all="ignore"):
        expected = np.log(np.exp(x.astype(np.float64)).sum(tuple(dim), keepdims=keepdim))
    assert_close(F.logsumexp(x, dim, keepdim), expected, 8)
    out = np.empty(expected.shape, dtype)
    assert F.logsumexp(x, dim, keepdim, out=out) is out
    assert_close(out, expected, 8)
    gradcheck(lambda t: F.logsumexp(t, dim, keepdim), x)


def test_dtype_argument():
    for op in ("softmax", "log_softmax", "softmin"):
        f = getattr(F, op)
        x = np.array([[1, 2, 3]])
        y = f(x, 1, dtype=np.float32)
        assert y.dtype == np.float32
        assert same_bytes(y, f(x.astype(np.float32), 1))
        assert f(x.astype(np.float16), 1, dtype="float64").dtype == np.float64
        t = fastnn.Tensor(x.astype(np.float32), requires_grad=True)
        f(t, 1, dtype=np.float64).sum().backward()
        assert t.grad.dtype == np.float32


@pytest.mark.parametrize("op", FORWARD)
def test_out(op, dtype, rng):
    x = normal(rng, (4, 5), dtype)
    expected = getattr(F, op)(x, 0)
    out = np.empty_like(expected)
    assert getattr(F, op)(x, 0, out=out) is out
    assert same_bytes(out, expected)
    with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
        getattr(F, op)(fastnn.Tensor(x, requires_grad=True), 0, out=out)
    with pytest.raises(ValueError, match=r"out\.shape must be"):
        getattr(F, op)(x, 0, out=np.empty(7, dtype))
    read_only = out.copy()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        getattr(F, op)(x, 0, out=read_only)


@pytest.mark.parametrize("op", FORWARD)
def test_rejects(op):
    f = getattr(F, op)
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"input\.dtype must be float32 or float64, got int64"):
        f(np.zeros((2, 3), np.int64), 0)
    with pytest.raises(TypeError, match=r"input\.dtype must be float32 or float64, got float16"):
        f(np.zeros((2, 3), np.float16), 0)
    for dim in (2, -3, 10**30):
        with pytest.raises(ValueError, match=r"dim must be in -2\.\.1, got"):
            f(x, dim)
    for dim in (1.0, "a", True, None):
        with pytest.raises(TypeError, match="dim must be an int, got"):
            f(x, dim)
    with pytest.raises(TypeError, match="input must be"):
        f(None, 0)
    if op == "softmax":
        with pytest.raises(ValueError, match="out must not share memory"):
            f(x, 0, out=x)
        with pytest.raises(TypeError, match="dtype must be float32 or float64, got int32"):
            f(x, 0, dtype=np.int32)
    if op == "logsumexp":
        with pytest.raises(ValueError, match="each dimension once"):
            f(x, (0, -2))
        with pytest.raises(ValueError, match="at least one"):
            f(x, ())
        with pytest.raises(TypeError, match="input must be"):
            f(None, (0, 1))


def test_backward_rejects():
    g, y = np.zeros((2, 3)), np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"output\.shape must be \(2, 3\)"):
        _core.softmax_backward(g, y, 0)
    with pytest.raises(TypeError, match=r"output\.dtype must be float64"):
        _core.log_softmax_backward(g, g.astype(np.float32), 0)
    with pytest.raises(ValueError, match="output must have 2 elements"):
        _core.logsumexp_backward(np.zeros(3), g, np.zeros(3), 1)


def test_layers(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    for layer, op in (
        (nn.Softmax, "softmax"),
        (nn.LogSoftmax, "log_softmax"),
        (nn.Softmin, "softmin"),
    ):
        assert same_bytes(layer(dim=2)(x), getattr(F, op)(x, 2))
        assert repr(layer(dim=2)).startswith(f"{layer.__name__}(dim=2)")
    assert same_bytes(nn.Softmax2d()(x), F.softmax(x, 1))
    assert same_bytes(nn.Softmax2d()(x[0]), F.softmax(x[0], 0))
    with pytest.raises(ValueError, match="Softmax2d: input must have 3 or 4 dimensions"):
        nn.Softmax2d()(x[0, 0])


def test_against_pytorch(rng, dtype):
    torch = pytest.importorskip("torch")
    x = normal(rng, (5, 40, 7), dtype)
    x[0, 3] = -np.inf
    x[1, :, 2] = -np.inf
    x[2, 5, 1] = np.inf
    x[3, 5, 1] = np.nan
    t = torch.from_numpy(x)
    for axis in range(3):
        for op in ("softmax", "log_softmax", "softmin"):
            expected = getattr(torch.nn.functional, op)(t, axis).numpy()
            assert_close(getattr(F, op)(x, axis), expected, 16)
        assert_close(F.logsumexp(x, axis), torch.logsumexp(t, axis).numpy(), 16)


@pytest.mark.parametrize("dtype", ["no such type", 3, (1,), np.ones(2), int])
def test_dtype_must_be_floating_point(dtype):
    with pytest.raises(TypeError, match=r"^softmax: dtype must be float32 or float64"):
        F.softmax(np.ones(3), 0, dtype=dtype)


def test_logsumexp_over_a_tuple_refuses_a_read_only_out():
    out = np.zeros(())
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"logsumexp: out must be writable"):
        F.logsumexp(np.ones((2, 2)), (0, 1), out=out)


@pytest.mark.parametrize("dim", [0, -1])
def test_gumbel_softmax(dtype, dim):
    """Against the formula with the same noise, and drawn as often as softmax says."""
    logits = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype)
    fastnn.manual_seed(3)
    soft = F.gumbel_softmax(logits, 0.5, dim=dim)
    fastnn.manual_seed(3)
    noise = fastnn.random.generator().standard_exponential(logits.shape, dtype=dtype)
    want = reference.gumbel_softmax(logits, np.exp(-noise.astype(np.float64)), 0.5, dim)
    np.testing.assert_allclose(soft, want, rtol=1e-4, atol=1e-6)
    fastnn.manual_seed(3)
    hard = F.gumbel_softmax(logits, 0.5, hard=True, dim=dim)
    np.testing.assert_array_equal(hard, soft == soft.max(dim, keepdims=True))

    many = np.broadcast_to(np.log(np.array([0.2, 0.5, 0.3], dtype)), (20_000, 3))
    drawn = F.gumbel_softmax(many, hard=True).mean(0)
    np.testing.assert_allclose(drawn, [0.2, 0.5, 0.3], atol=0.02)


def test_gradient_and_errors_of_gumbel_softmax():
    logits = np.random.default_rng(0).normal(size=(3, 4))

    def draw(x, **options):
        fastnn.manual_seed(1)
        return F.gumbel_softmax(x, 0.7, **options)

    gradcheck(draw, logits)
    weight = np.arange(12.0).reshape(3, 4)
    gradients = []
    for hard in (False, True):
        t = fastnn.Tensor(logits, requires_grad=True)
        (draw(t, hard=hard) * weight).sum().backward()
        gradients.append(t.grad)
    np.testing.assert_array_equal(*gradients)
    for bad, error in (
        ({"tau": 0}, ValueError),
        ({"tau": "a"}, TypeError),
        ({"dim": 2}, ValueError),
    ):
        with pytest.raises(error, match=r"dim|tau"):
            F.gumbel_softmax(logits, **bad)
    with pytest.raises(TypeError, match="logits"):
        F.gumbel_softmax(np.arange(3))
