"""quantized_linear and the layers and models made of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count, strided_variants
from hypothesis import given
from hypothesis import strategies as st
from reference import gemm as reference

import fastnn
import fastnn.functional as F
from fastnn import _core, nn

# Sizes that straddle rows of a tile (4, 10, 14), lanes and groups of columns (4 .. 32) and words.
rows = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15, 29])
columns = st.sampled_from([0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129])
depths = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 15, 31, 64, 257])


@pytest.fixture(params=[True, False], ids=["extensions", "plain"])
def extensions(request):
    """With the machine's dot-product instructions, then without."""
    _core.use_extensions(request.param)
    yield
    _core.use_extensions(True)


def draw(rng, m, n, k, dtype=np.float32):
    """x, int8 weights with their scales, bias."""
    q, scale = F.quantize_per_channel(rng.standard_normal((n, k)).astype(dtype))
    return rng.standard_normal((m, k)).astype(dtype), q, scale, rng.standard_normal(n).astype(dtype)


def whole_levels(rng, m, n, k):
    """Inputs whose scale is 1, so that nothing is rounded: integers from -100 to 155."""
    x = rng.integers(-100, 156, (m, k))
    x[:, :1], x[:, 1:2] = -100, 155
    return x, rng.integers(-128, 128, (n, k)).astype(np.int8)


@given(m=rows, n=columns, k=depths, seed=st.integers(0, 99))
def test_quantized_linear_shapes(isa, extensions, dtype, m, n, k, seed):
    x, q, scale, bias = draw(np.random.default_rng(seed), m, n, k, dtype)
    y = F.quantized_linear(x, q, scale, bias)
    exact = [a.astype(np.float64) for a in (x, q, scale, bias)]
    expected = reference.quantized_linear(*exact)
    # A level beside that of float64 where the two round a tie differently, and the rounding of the
    # level itself, eps(256): then the error of one scale for that element.
    slack = reference.quantize_rows(exact[0])[1] * np.abs(exact[1] * exact[2][:, None]).sum(1)
    assert y.shape == (m, n)
    assert y.dtype == dtype
    assert (np.abs(y - expected) <= slack * 1e-2 + 1e-5).all()


@given(m=rows, n=columns, k=st.sampled_from([2, 3, 4, 5, 31, 257]), seed=st.integers(0, 99))
def test_integers_are_exact(isa, extensions, m, n, k, seed):
    x, q = whole_levels(np.random.default_rng(seed), m, n, k)
    y = F.quantized_linear(x.astype(np.float64), q, np.ones(n))
    assert np.array_equal(y, x @ q.T.astype(np.int64))


def test_long_sums_do_not_overflow(isa, extensions, rng):
    # One int32 holds 65536 products of 255 and -128, not one block of words more.
    k = 3 * 65536 + 5
    x, q = np.full((2, k), 255.0), np.full((3, k), -128, np.int8)
    x[1] *= -1
    y = F.quantized_linear(x, q, np.ones(3))
    assert np.array_equal(y, np.repeat([[-32640.0 * k], [32640.0 * k]], 3, 1))


@pytest.mark.parametrize("shape", [(600, 40, 300), (3, 2100, 40), (40, 700, 1200), (1, 999, 2048)])
def test_same_bytes_on_every_isa_and_thread_count(dtype, shape, rng):
    m, n, k = shape
    arrays = draw(rng, m, n, k, dtype)
    before, results = _core.active_isa(), set()
    for name in _core.available_isas():
        for enabled in (False, True):
            _core.use_isa(name)
            _core.use_extensions(enabled)
            y = same_bytes_for_every_thread_count(lambda: F.quantized_linear(*arrays))
            results.add(y.tobytes())
    _core.use_isa(before)
    assert len(results) == 1


@pytest.mark.parametrize("count", [2, 5, 14, 15, 40, 300])
def test_row_alone_has_the_bytes_of_its_batch(isa, extensions, count, rng):
    x, q, scale, bias = draw(rng, count, 77, 300)
    whole = F.quantized_linear(x, q, scale, bias)
    for i in (0, count // 2, count - 1):
        assert F.quantized_linear(x[i], q, scale, bias).tobytes() == whole[i].tobytes()


def test_levels_are_the_nearest(dtype, rng):
    # Each element is off by half a scale at most; its own range is what a row is scaled by.
    x = rng.standard_normal((50, 300)).astype(dtype) * 10.0 ** rng.integers(-20, 20, (50, 1))
    x = x.astype(dtype)
    y = F.quantized_linear(x, np.eye(300, dtype=np.int8), np.ones(300, dtype))
    scale = reference.quantize_rows(x.astype(np.float64))[1]
    # zero is rounded too, which moves the two ends of the range by up to half a scale more.
    inside = (x > x.min(1, keepdims=True)) & (x < x.max(1, keepdims=True))
    error = np.abs(y - x.astype(np.float64)) / scale
    assert (error[inside] <= 0.502).mean() > 0.99
    assert error.max() <= 1.01
    assert (
        F.quantized_linear(np.maximum(x, 0), np.eye(300, dtype="i1"), np.ones(300, dtype)) >= 0
    ).all()


def test_extreme_rows(isa, extensions, dtype):
    info = np.finfo(dtype)
    x = np.zeros((8, 40), dtype)
    x[1, 3], x[2, 3], x[3, 3] = np.nan, np.inf, -np.inf
    x[4, :2] = info.max / 2, -info.max  # their difference overflows
    x[5, 0] = info.tiny * 1000
    x[6, 0] = info.smallest_subnormal
    x[7] = 1
    q = np.zeros((33, 40), np.int8)
    q[:, 0] = 1
    q[:, 7] = 1
    y = F.quantized_linear(x, q, np.full(33, 0.01, dtype), np.ones(33, dtype))
    assert np.isnan(y[1:4]).all()
    assert (y[0] == 1).all()
    assert np.allclose(y[4] / info.max, 0.005, atol=0.00005)
    assert np.isfinite(y[5:]).all()
    assert np.allclose(y[7], 1.02, rtol=1e-6)
    subnormal = F.quantized_linear(x[6], np.eye(1, 40, dtype="i1"), np.ones(1, dtype))
    assert abs(subnormal[0]) <= info.tiny


def test_strides(rng):
    x, q, scale, bias = draw(rng, 9, 21, 37)
    y = F.quantized_linear(x, q, scale, bias)
    for name, left in strided_variants(x).items():
        assert F.quantized_linear(left, q, scale, bias).tobytes() == y.tobytes(), name
    for name, right in strided_variants(q).items():
        assert F.quantized_linear(x, right, scale, bias).tobytes() == y.tobytes(), name


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,)])
def test_leading_dimensions_and_out(leading, rng):
    _, q, scale, bias = draw(rng, 1, 4, 5)
    x = rng.standard_normal((*leading, 5)).astype(np.float32)
    out = np.full((*leading, 4), np.nan, np.float32)
    assert F.quantized_linear(x, q, scale, bias, out=out) is out
    assert out.tobytes() == F.quantized_linear(x, q, scale, bias).tobytes()


def arguments(**changes):
    arrays = {
        "input": np.ones((2, 3), "f4"),
        "weight": np.ones((4, 3), np.int8),
        "weight_scale": np.ones(4, "f4"),
        "bias": np.ones(4, "f4"),
    }
    return {**arrays, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": np.ones((2, 3), "i4")}, TypeError, "input.dtype must be float32 or float64"),
        ({"input": None}, TypeError, "input must be a numpy.ndarray"),
        ({"input": np.float32(1)}, ValueError, "input must have at least 1"),
        ({"input": np.ones((2, 4), "f4")}, ValueError, r"input.shape\[1\] must be 3"),
        ({"weight": np.ones((4, 3), "f4")}, TypeError, "weight must be .* of int8, got float32"),
        ({"weight": None}, TypeError, "weight must be .* of int8, got NoneType"),
        ({"weight": np.ones(3, "i1")}, ValueError, "weight must have 2 dimensions"),
        ({"weight_scale": np.ones(4)}, TypeError, "weight_scale.dtype must be float32"),
        ({"weight_scale": np.ones(3, "f4")}, ValueError, r"weight_scale.shape must be \(4,\)"),
        ({"bias": np.ones(3, "f4")}, ValueError, r"bias.shape must be \(4,\)"),
        ({"out": np.ones((2, 3), "f4")}, ValueError, r"out.shape must be \(2, 4\)"),
    ],
)
def test_errors_name_the_argument(changes, error, message):
    with pytest.raises(error, match=f"quantized_linear: {message}"):
        F.quantized_linear(**arguments(**changes))


def test_quantize_per_channel(dtype, rng):
    w = (rng.standard_normal((6, 50)) * 10.0 ** rng.integers(-30, 30, (6, 1))).astype(dtype)
    w[2] = 0
    q, scale = F.quantize_per_channel(w)
    assert q.dtype == np.int8
    assert scale.dtype == dtype
    assert np.abs(q[[0, 1, 3, 4, 5]]).max(1).tolist() == [127] * 5
    assert scale[2] == 1
    exact_q, exact_scale = reference.quantize_per_channel(w.astype(np.float64))
    np.testing.assert_allclose(scale, exact_scale, rtol=1e-6)
    assert np.abs(q.astype(int) - exact_q).max() <= 1  # ties of the rounded quotient
    error = np.abs(q * scale[:, None].astype(np.float64) - w)
    assert (error <= 0.5001 * scale[:, None]).all()
    assert F.quantize_per_channel(w[:0])[0].shape == (0, 50)
    assert F.quantize_per_channel(w[:, :0])[1].tolist() == [1] * 6
    for bad in (np.nan, np.inf):
        w[0, 0] = bad
        with pytest.raises(ValueError, match="weight must be finite"):
            F.quantize_per_channel(w)
    for wrong in (np.ones((2, 2), int), np.ones((2, 2), np.float16), None):
        with pytest.raises(TypeError, match="weight must be an array of float32 or float64"):
            F.quantize_per_channel(wrong)
    with pytest.raises(ValueError, match="at least 1 dimension"):
        F.quantize_per_channel(np.float64(1) * np.ones(()))


def model_of(*sizes, dtype=np.float32):
    fastnn.manual_seed(3)
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_quantize_dynamic(dtype, rng, tmp_path):
    model = model_of(40, 64, 10, dtype=dtype)
    x = rng.standard_normal((30, 40)).astype(dtype)
    with fastnn.no_grad():
        exact = model(x)
    quantized = nn.quantize_dynamic(model.eval())
    assert [type(m).__name__ for m in quantized] == ["QuantizedLinear", "ReLU", "QuantizedLinear"]
    assert isinstance(model[0], nn.Linear)  # a copy was converted
    assert not quantized[0].training
    y = quantized(x)
    assert type(y) is np.ndarray
    assert y.dtype == dtype
    report = nn.quantization_report(model, quantized, x)
    assert list(report.weight_errors) == ["0", "2"]
    assert 0 < max(report.weight_errors.values()) < 0.01
    assert report.output_error == pytest.approx(
        np.linalg.norm(y.astype("f8") - exact) / np.linalg.norm(exact.astype("f8"))
    )
    assert report.output_error < 0.02
    assert report.largest_difference == pytest.approx(np.abs(y.astype("f8") - exact).max())
    assert str(report).startswith("0: 0.")
    assert nn.quantization_report(model, quantized).output_error is None
    # It has a state of its own, which travels.
    state = quantized.state_dict()
    assert {k: v.dtype for k, v in state.items() if k.startswith("0.")} == {
        "0.weight": np.int8,
        "0.weight_scale": dtype,
        "0.bias": dtype,
    }
    fastnn.save(quantized, tmp_path / "int8.safetensors")
    twin = nn.quantize_dynamic(model_of(40, 64, 10, dtype=dtype))
    twin[0].weight.data = np.zeros_like(twin[0].weight.data)
    fastnn.load(tmp_path / "int8.safetensors", twin)
    assert twin(x).tobytes() == y.tobytes() == copy.deepcopy(quantized)(x).tobytes()


def test_what_is_quantized_can_be_chosen():
    class Own(nn.Linear):
        """A subclass may compute something else."""

    model = nn.ModuleDict({"a": model_of(3, 4, 5), "b": nn.Linear(3, 4), "c": Own(3, 4)})
    kinds = lambda m: {k: type(v).__name__ for k, v in m.named_modules() if hasattr(v, "weight")}  # noqa: E731
    quantized = "QuantizedLinear"
    every = kinds(nn.quantize_dynamic(model))
    assert every == {"a.0": quantized, "a.2": quantized, "b": quantized, "c": "Own"}
    some = kinds(nn.quantize_dynamic(model, ["a"]))
    assert some == {"a.0": quantized, "a.2": quantized, "b": "Linear", "c": "Own"}
    assert kinds(nn.quantize_dynamic(model, {"b"}))["a.0"] == "Linear"
    assert kinds(nn.quantize_dynamic(model, {nn.Sequential})) == some
    assert type(nn.quantize_dynamic(model["b"])).__name__ == quantized
    shared = nn.Sequential(model["b"], model["b"])
    twins = nn.quantize_dynamic(shared)
    assert twins[0] is twins[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: nn.quantize_dynamic(np.ones(3)), TypeError, "model must be a Module"),
        (lambda m: nn.quantize_dynamic(m, dtype="int4"), ValueError, "dtype must be 'int8' or"),
        (lambda m: nn.quantize_dynamic(m, {"x"}), ValueError, "has no module 'x'"),
        (lambda m: nn.quantize_dynamic(m, "0"), TypeError, "modules must be a set"),
        (lambda m: nn.quantize_dynamic(m, [3]), TypeError, "modules must hold names and types"),
        (lambda m: nn.quantize_dynamic(m, {"1"}), ValueError, "no Linear or recurrent layer among"),
        (lambda m: nn.quantization_report(m, m), ValueError, "has no quantised layer"),
        (
            lambda m: nn.quantization_report(nn.ReLU(), nn.quantize_dynamic(m)),
            ValueError,
            "model has no Linear called '0'",
        ),
    ],
)
def test_errors_of_models(call, error, message):
    with pytest.raises(error, match=message):
        call(model_of(3, 4, 5))


def test_quantized_layers_are_not_trained(rng):
    layer = nn.quantize_dynamic(nn.Linear(4, 3))
    x = rng.standard_normal((2, 4)).astype("f4")
    assert not any(p.requires_grad for p in layer.parameters())
    with pytest.raises(RuntimeError, match="quantized_linear: has no gradient; use"):
        layer(fastnn.Tensor(x, requires_grad=True))
    with fastnn.no_grad():
        layer(fastnn.Tensor(x, requires_grad=True))
    with pytest.raises(TypeError, match="requires_grad needs float32"):
        layer.requires_grad_()


def test_packed_weight_is_never_stale(rng):
    layer = nn.quantize_dynamic(nn.Linear(4, 3, bias=False))
    x = rng.standard_normal((2, 4)).astype("f4")
    layer(x)
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.data[0, 0] = 1
    layer.load_state_dict({"weight": np.eye(3, 4, dtype="i1"), "weight_scale": np.ones(3)})
    scale = reference.quantize_rows(x.astype("f8"))[1]
    assert (np.abs(layer(x) - x[:, :3]) <= scale).all()
    with pytest.raises(ValueError, match=r"input.shape\[0\] must be 4"):
        layer(x[0, :3])
    assert layer.double()(x.astype("f8")).dtype == np.float64
    assert layer.weight.data.dtype == np.int8


def test_a_pack_belongs_to_one_isa(rng):
    x, q, scale, _ = draw(rng, 2, 3, 4)
    isas = _core.available_isas()
    if len(isas) < 2:
        pytest.skip("one instruction set only")
    before = _core.active_isa()
    packed = _core.pack_quantized_linear(q)
    try:
        _core.use_isa(next(name for name in isas if name != before))
        with pytest.raises(ValueError, match="packed for another FASTNN_ISA"):
            _core.quantized_linear_forward(x, packed, scale)
    finally:
        _core.use_isa(before)


@pytest.mark.filterwarnings("ignore")  # PyTorch moves its quantisation elsewhere, and says so
def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    layer = nn.Linear(64, 48)
    x = rng.standard_normal((20, 64)).astype("f4")
    theirs = torch.nn.Sequential(torch.nn.Linear(64, 48))
    theirs[0].load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    twin = torch.ao.quantization.quantize_dynamic(theirs, {torch.nn.Linear}, torch.qint8)
    with torch.inference_mode():
        exact, rounded = theirs(torch.from_numpy(x)).numpy(), twin(torch.from_numpy(x)).numpy()
    ours = nn.quantize_dynamic(layer)(x)
    assert np.linalg.norm(ours - exact) <= np.linalg.norm(rounded - exact)
    assert np.linalg.norm(ours - exact) <= 0.01 * np.linalg.norm(exact)


def test_epilogue(isa, dtype, rng):
    model = model_of(30, 33, dtype=dtype)
    layer = nn.quantize_dynamic(model[0])
    x = rng.standard_normal((15, 30)).astype(dtype)
    residual = rng.standard_normal((15, 33)).astype(dtype)
    with fastnn.no_grad():
        plain = layer(x)
        fused = nn.Sequential(layer, nn.GELU())(x)
        block = nn.Fused(layer, nn.ReLU())(x, residual)
    assert fused.tobytes() == F.gelu(plain).tobytes()
    assert block.tobytes() == F.relu(plain + residual).tobytes()
    with pytest.raises(ValueError, match=r"residual.shape must be \(15, 33\)"):
        fastnn.no_grad()(nn.Fused(layer, nn.ReLU()))(x, residual[:3])
