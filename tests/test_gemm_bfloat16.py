"""linear, matmul and nn.Linear on arrays of ml_dtypes.bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count, strided_variants
from hypothesis import given
from hypothesis import strategies as st
from reference import gemm as reference

import fastnn
import fastnn.functional as F
from fastnn import _core, nn

BF16 = np.dtype(ml_dtypes.bfloat16)
# Sizes that straddle rows of a tile (4, 10, 14), lanes and groups of columns (4 .. 32) and pairs.
rows = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15, 29])
columns = st.sampled_from([0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129])
depths = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 15, 31, 64, 257])
pairs = pytest.mark.parametrize(
    ("left", "right"),
    [(BF16, BF16), (np.float32, BF16), (BF16, np.float32)],
    ids=["bfloat16", "float32-bfloat16", "bfloat16-float32"],
)


@pytest.fixture(params=[True, False], ids=["extensions", "plain"])
def extensions(request):
    """With the machine's dot-product instructions, then without."""
    _core.use_extensions(request.param)
    yield
    _core.use_extensions(True)


def draw(rng, shape, dtype=BF16):
    return rng.standard_normal(shape).astype(dtype)


def rounded(a):
    """The numbers that are multiplied: a in bfloat16."""
    return a.astype(BF16).astype(np.float64)


def check_product(y, a, b, extra=0.0):
    """Each term is rounded once into a float32 sum; a bfloat16 result once more, to 8 bits."""
    a, b = rounded(a), rounded(b)
    expected = reference.matmul(a, b) + extra
    scale = np.abs(a) @ np.abs(b) + np.abs(extra)
    allowed = (a.shape[-1] + 2) * 2.0**-24 * scale
    if y.dtype == BF16:
        allowed = allowed + 2.0**-8 * (np.abs(expected) + allowed)
    assert y.shape == expected.shape
    assert (np.abs(y.astype(np.float64) - expected) <= allowed + 1e-35).all()


@pairs
@given(m=rows, n=columns, k=depths, seed=st.integers(0, 99))
def test_linear_shapes(isa, extensions, left, right, m, n, k, seed):
    rng = np.random.default_rng(seed)
    x, w, bias = draw(rng, (m, k), left), draw(rng, (n, k), right), draw(rng, n, "f4")
    y = F.linear(x, w, bias)
    assert y.dtype == (BF16 if left == right else np.float32)
    check_product(y, x, w.T, bias.astype(np.float64))
    packed = _core.linear_forward(x, _core.pack_linear(w.astype(BF16)), bias)
    # A float32 weight says that the result is wanted in float32; a pack remembers only bfloat16.
    assert np.array_equal(packed, y.astype(packed.dtype))


@pytest.mark.parametrize("shape", [(3, 40, 8191), (17, 33, 8192), (2, 70, 8194), (40, 9, 20001)])
def test_sums_go_on_across_blocks_of_depth(isa, extensions, shape, rng):
    m, n, k = shape
    a, b = draw(rng, (m, k), BF16 if m > 3 else np.float32), draw(rng, (k, n))
    y = F.matmul(a, b)
    check_product(y, a, b)
    # A prefix of the chain that is followed by zeros is that chain.
    a[:, 8190:] = 0
    assert F.matmul(a, b).tobytes() == F.matmul(a[:, :8190], b[:8190]).tobytes()


@pytest.mark.parametrize("shape", [(300, 300, 300), (5, 2100, 40), (900, 5, 400), (1, 999, 2048)])
def test_same_bytes_for_every_thread_count(isa, extensions, shape, rng):
    m, n, k = shape
    a, b = draw(rng, (m, k)), draw(rng, (k, n))
    same_bytes_for_every_thread_count(lambda: F.matmul(a, b).view(np.uint16))
    same_bytes_for_every_thread_count(lambda: F.linear(a.astype("f4"), b.T))


def test_fused_multiply_add_gives_the_same_bytes_on_every_isa(rng):
    a, b = draw(rng, (29, 9000)), draw(rng, (9000, 65))
    before, results = _core.active_isa(), set()
    for name in _core.available_isas():
        for enabled in (False, True):
            _core.use_isa(name)
            _core.use_extensions(enabled)
            if name != "generic":
                results.add(F.matmul(a, b.astype("f4")).tobytes())
    _core.use_isa(before)
    assert len(results) <= 1


@pytest.mark.parametrize("count", [2, 5, 14, 15, 40, 300])
def test_row_alone_has_the_bytes_of_its_batch(isa, extensions, count, rng):
    x, w, bias = draw(rng, (count, 301)), draw(rng, (77, 301)), draw(rng, 77, "f4")
    whole = F.linear(x, w, bias)
    for i in (0, count // 2, count - 1):
        assert F.linear(x[i], w, bias).tobytes() == whole[i].tobytes()
        again = _core.matmul_forward(x[i : i + 1], np.ascontiguousarray(w.T), bias)
        assert again.tobytes() == whole[i].tobytes()


@pairs
def test_strides(isa, left, right, rng):
    a, b = draw(rng, (19, 37), left), draw(rng, (37, 33), right)
    expected = F.matmul(a, b).tobytes()
    for left_name, x in strided_variants(a).items():
        for right_name, y in strided_variants(b).items():
            assert F.matmul(x, y).tobytes() == expected, (left_name, right_name)
    for name, x in strided_variants(a).items():
        assert F.linear(x, b.T).tobytes() == expected, name


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((2, 3, 4, 5), (5, 6)), ((2, 1, 4, 5), (1, 3, 5, 6)), ((5,), (5, 6)), ((3, 4, 5), (5,))],
)
def test_broadcasting(shape_a, shape_b, rng):
    a, b = draw(rng, shape_a), draw(rng, shape_b)
    y = F.matmul(a, b)
    expected = np.matmul(rounded(a), rounded(b))
    assert np.shape(y) == expected.shape
    assert np.allclose(np.asarray(y, np.float64), expected, rtol=0.01, atol=0.05)
    assert F.matmul(np.empty((0, 3, 4), BF16), np.empty((4, 2), BF16)).shape == (0, 3, 2)


def test_float32_is_rounded_to_the_nearest(isa, extensions, rng):
    # Ties, one bit either side of them, both signs, overflow to infinity, and the largest NaN.
    high = rng.integers(0x0080, 0x7F80, 4000).astype(np.uint32) << 16
    low = rng.choice(np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32), 4000)
    x = (high | low | (rng.integers(0, 2, 4000).astype(np.uint32) << 31)).view(np.float32)
    y = F.linear(x[:, None], np.ones((1, 1), BF16))[:, 0]
    assert y.tobytes() == x.astype(BF16).astype(np.float32).tobytes()
    nans = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(F.linear(nans[:, None], np.ones((1, 1), BF16))).all()
    result = F.linear(np.full((1, 4), 3e38, BF16), np.ones((1, 4), BF16))
    assert np.isposinf(result.astype("f4")).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_specials_stay_in_their_row(isa, extensions, value, rng):
    a, b = draw(rng, (20, 31)), draw(rng, (31, 40))
    clean = F.matmul(a, b)
    a[3, 7] = value
    y = F.matmul(a, b)
    assert not np.isfinite(y[3].astype("f4")).any()
    rest = np.arange(20) != 3
    assert y[rest].tobytes() == clean[rest].tobytes()


@pairs
def test_epilogue(isa, left, right, rng):
    x, w, bias = draw(rng, (15, 30), left), draw(rng, (33, 30), right), draw(rng, 33, "f4")
    plain = F.linear(x.astype("f4"), w.astype(BF16)).astype(np.float64)
    residual = draw(rng, (15, 33), BF16 if left == right else np.float32)
    y = F.linear(x, w, bias, scale=0.5, residual=residual, activation="relu")
    expected = np.maximum(0.5 * plain + bias + residual.astype(np.float64), 0)
    assert np.allclose(y.astype(np.float64), expected, rtol=2.0**-8, atol=1e-5)
    narrow = F.linear(x, w, bias.astype(BF16))
    assert np.array_equal(narrow, F.linear(x, w, bias.astype(BF16).astype("f4")))


def test_vector_weight_leading_dimensions_and_out(rng):
    x, w = draw(rng, (2, 3, 5)), draw(rng, (4, 5))
    y = F.linear(x, w)
    assert y.shape == (2, 3, 4)
    assert F.linear(x, w[0]).tobytes() == np.ascontiguousarray(y[..., 0]).tobytes()
    assert F.linear(x[0, 0], w).tobytes() == y[0, 0].tobytes()
    assert F.linear(x[:0], w).shape == (0, 3, 4)
    out = np.empty((2, 3, 4), BF16)
    assert F.linear(x, w, out=out) is out
    assert out.tobytes() == y.tobytes()
    wide = np.empty((2, 3, 4), np.float32)
    assert F.linear(x.astype("f4"), w, out=wide) is wide


def ones(*shape, dtype=BF16):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.linear(ones(2, 3), ones(4, 3, dtype="f8")), TypeError, "linear: weight must be"),
        (lambda: F.linear(ones(2, 3, dtype="f8"), ones(4, 3)), TypeError, "linear: input must be"),
        (lambda: F.linear(ones(2, 3), None), TypeError, "linear: weight must be .* got NoneType"),
        (lambda: F.linear(ones(2, 3), ones(4, 2)), ValueError, r"input.shape\[1\] must be 2"),
        (lambda: F.linear(ones(2, 3), ones(4, 3), ones(3)), ValueError, r"bias.shape must be \(4"),
        (lambda: F.linear(ones(2, 3), ones(4, 3), ones(4, dtype=int)), TypeError, "bias must be"),
        (lambda: F.linear(ones(), ones(4, 3)), ValueError, "input must have at least 1"),
        (lambda: F.linear(ones(2, 3), ones(1, 4, 3)), ValueError, "weight must have 2"),
        (lambda: F.linear(ones(2, 3), ones(4, 3), out=ones(2, 5)), ValueError, "out.shape must"),
        (
            lambda: F.linear(ones(2, 3), ones(4, 3), out=ones(2, 4, dtype="f4")),
            TypeError,
            "out must be a numpy.ndarray of bfloat16",
        ),
        (
            lambda: F.linear(ones(2, 3), ones(4, 3, dtype="f4"), out=ones(2, 4)),
            TypeError,
            "out must be a numpy.ndarray of float32, got bfloat16",
        ),
        (lambda: F.matmul(ones(2, 3), ones(3, 2, dtype="f8")), TypeError, "matmul: other must be"),
        (lambda: F.matmul(ones(2, 3), ones(2, 3)), ValueError, r"other.shape\[0\] must be 3"),
        (lambda: F.matmul(ones(2, 3, dtype="i4"), ones(3, 2)), TypeError, "matmul: input"),
        (lambda: _core.pack_linear(ones(3)), ValueError, "weight must have 2"),
        (lambda: F.relu(ones(3)), TypeError, "must be float32 or float64, got bfloat16"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_out_must_not_be_an_input(rng):
    x = draw(rng, (4, 4))
    with pytest.raises(ValueError, match="out must not share memory"):
        F.linear(x, draw(rng, (4, 4)), out=x)


def test_linear_layer(rng, tmp_path):
    fastnn.manual_seed(1)
    model = nn.Sequential(nn.Linear(40, 33), nn.ReLU(), nn.Linear(33, 5))
    x = draw(rng, (30, 40), "f4")
    reduced = nn.quantize_dynamic(model, dtype="bfloat16")
    assert model[0].weight.dtype == np.float32
    assert reduced[0].weight.data.dtype == BF16
    assert not any(p.requires_grad for p in reduced.parameters())
    assert repr(reduced[0]).endswith("bias=True, dtype=bfloat16)")
    with fastnn.no_grad():
        y, exact = reduced(x), model(x)
    assert y.dtype == np.float32
    assert reduced(x).tobytes() == y.tobytes()  # without no_grad, and so without a pack
    report = nn.quantization_report(model, reduced, x)
    assert 0 < max(report.weight_errors.values()) < 2.0**-9
    assert report.output_error < 0.01
    assert np.linalg.norm(y - exact) <= 0.01 * np.linalg.norm(exact)
    with pytest.raises(ValueError, match="read-only"):
        reduced[0].weight.data[0, 0] = 1
    fastnn.save(reduced, tmp_path / "bf16.safetensors")
    twin = nn.quantize_dynamic(
        nn.Sequential(nn.Linear(40, 33), nn.ReLU(), nn.Linear(33, 5)), dtype="bfloat16"
    )
    fastnn.load(tmp_path / "bf16.safetensors", twin)
    with fastnn.no_grad():
        assert twin(x).tobytes() == y.tobytes()
        back = twin.float()
        assert np.allclose(back(x), y, rtol=0.02, atol=0.02)
    with pytest.raises(TypeError, match=r"float64 layer; convert the model with \.float\(\)"):
        nn.quantize_dynamic(nn.Linear(2, 3, dtype=np.float64), dtype="bfloat16")


def test_gradients_pass_through_frozen_weights(rng):
    layer = nn.quantize_dynamic(nn.Linear(6, 4), dtype="bfloat16")
    x = fastnn.Tensor(draw(rng, (3, 6), "f4"), requires_grad=True)
    grad = draw(rng, (3, 4), "f4")
    layer(x).backward(grad)
    check_product(x.grad, grad, layer.weight.data)
    bias = fastnn.Tensor(np.ones(4, np.float32), requires_grad=True)
    with pytest.raises(TypeError, match="a bfloat16 result has no gradient"):
        F.linear(draw(rng, (3, 6)), layer.weight, bias)
    with pytest.raises(TypeError, match="requires_grad needs float32 or float64"):
        nn.Parameter(layer.weight.data)


def test_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="needs the package ml_dtypes"):
        nn.quantize_dynamic(nn.Linear(2, 3), dtype="bfloat16")
