"""Recurrent layers and cells with int8 and bfloat16 weights."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count
from reference.rnn import sigmoid

import fastnn
import fastnn.functional as F
from fastnn import nn

KINDS = {
    "lstm": lambda *sizes, **options: nn.LSTM(*sizes, **options),
    "peephole": lambda *sizes, **options: nn.LSTM(*sizes, peephole=True, **options),
    "projection": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=7, **options),
    "gru": lambda *sizes, **options: nn.GRU(*sizes, **options),
    "reset first": lambda *sizes, **options: nn.GRU(*sizes, linear_before_reset=False, **options),
    "tanh": lambda *sizes, **options: nn.RNN(*sizes, **options),
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
CELLS = [nn.LSTMCell, nn.GRUCell, nn.RNNCell]


@pytest.fixture(params=["int8", "bfloat16"])
def reduced(request):
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return request.param


def exact(layer, name):
    """A matrix of a quantised layer as numbers."""
    weight = getattr(layer, name).data
    if weight.dtype == np.int8:
        return weight.astype(np.float64) * getattr(layer, name + "_scale").data[:, None]
    return weight.astype(np.float64)


def rounded(x, dtype):
    """What a row becomes on its way into a product."""
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16

        return x.astype(np.float32).astype(bfloat16).astype(np.float64)
    least, greatest = np.minimum(x.min(-1), 0), np.maximum(x.max(-1), 0)
    scale = np.maximum((greatest - least) / 255, np.finfo(np.float32).tiny)[..., None]
    zero = np.rint(-least[..., None] / scale)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale


def expected(layer, kind, x, dtype):
    """The outputs (T, B, P), a step at a time in NumPy."""
    w_ih, w_hh = exact(layer, "weight_ih_l0"), exact(layer, "weight_hh_l0")
    b_ih, b_hh = layer.bias_ih_l0.data, layer.bias_hh_l0.data
    peephole = getattr(layer, "weight_peephole_l0", None)
    p = np.zeros((3, layer.hidden_size)) if peephole is None else np.split(peephole.data, 3)
    h, c = np.zeros((x.shape[1], w_hh.shape[1])), np.zeros((x.shape[1], layer.hidden_size))
    outputs = []
    for x_t in x:
        from_x, from_h = rounded(x_t, dtype) @ w_ih.T + b_ih, rounded(h, dtype) @ w_hh.T + b_hh
        if kind in ("lstm", "peephole", "projection"):
            i, f, g, o = np.split(from_x + from_h, 4, axis=1)
            c = sigmoid(f + p[1] * c) * c + sigmoid(i + p[0] * c) * np.tanh(g)
            h = sigmoid(o + p[2] * c) * np.tanh(c)
            if kind == "projection":
                h = rounded(h, dtype) @ exact(layer, "weight_hr_l0").T
        elif kind in ("gru", "reset first"):
            (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(a, 3, axis=1) for a in (from_x, from_h))
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            if kind == "reset first":
                w_n, b_n = np.split(w_hh, 3)[2], np.split(b_hh, 3)[2]
                n = np.tanh(x_n + rounded(r * h, dtype) @ w_n.T + b_n)
            else:
                n = np.tanh(x_n + r * h_n)
            h = (1 - z) * n + z * h
        else:
            pre = from_x + from_h
            h = np.tanh(pre) if kind == "tanh" else np.maximum(pre, 0)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(1, 1, 8), (3, 33, 31), (15, 70, 65)])
def test_values(isa, reduced, kind, batch, inputs, hidden, rng):
    fastnn.manual_seed(1)
    layer = nn.quantize_dynamic(KINDS[kind](inputs, hidden), dtype=reduced)
    x = rng.standard_normal((6, batch, inputs)).astype(np.float32)
    y = layer(x)[0]
    assert type(y) is np.ndarray
    # A rounding difference may change a level of h, 1/255 of its range, in a product.
    tolerance = 4 / 255 * np.abs(exact(layer, "weight_hh_l0")).max()
    np.testing.assert_allclose(y, expected(layer, kind, x, reduced), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_close_to_the_exact_layer(reduced, kind, rng):
    fastnn.manual_seed(2)
    layer = KINDS[kind](40, 50, num_layers=2, bidirectional=True)
    x = rng.standard_normal((9, 4, 40)).astype(np.float32)
    report = nn.quantization_report(layer, nn.quantize_dynamic(layer, dtype=reduced), x)
    assert report.output_error < 0.03
    assert "weight_hh_l1_reverse" in report.weight_errors
    assert max(report.weight_errors.values()) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_alone_has_the_bytes_of_its_batch(isa, reduced, kind, rng):
    layer = nn.quantize_dynamic(KINDS[kind](20, 40, bidirectional=True), dtype=reduced)
    x = rng.standard_normal((8, 20, 20)).astype(np.float32)
    lengths = rng.integers(0, 9, 20)
    y, final = layer(x, lengths=lengths)
    for b in (0, 9, 19):
        alone, end = layer(x[: lengths[b], b : b + 1])
        assert alone.tobytes() == y[: lengths[b], b : b + 1].tobytes()
        assert not y[lengths[b] :, b].any()
        pairs = zip(final, end) if isinstance(final, tuple) else [(final, end)]
        for whole, part in pairs:
            assert np.ascontiguousarray(whole[:, b : b + 1]).tobytes() == part.tobytes()


@pytest.mark.parametrize("kind", ["projection", "gru", "reset first"])
def test_same_bytes_for_every_thread_count(reduced, kind, rng):
    layer = nn.quantize_dynamic(KINDS[kind](100, 300, bidirectional=True), dtype=reduced)
    x = rng.standard_normal((70, 4, 100)).astype(np.float32)
    same_bytes_for_every_thread_count(lambda: layer(x)[0])


def test_views_and_batch_first(reduced, rng):
    layer = nn.quantize_dynamic(nn.LSTM(6, 20, batch_first=True), dtype=reduced)
    x = rng.standard_normal((5, 9, 12)).astype(np.float32)[:, ::-1, ::2]
    y = layer(x)[0]
    assert layer(np.ascontiguousarray(x))[0].tobytes() == y.tobytes()
    assert layer(x[2])[0].tobytes() == y[2].tobytes()  # unbatched


@pytest.mark.parametrize("cell", CELLS)
def test_cells(isa, reduced, cell, rng):
    fastnn.manual_seed(3)
    step = cell(12, 33)
    quantized = nn.quantize_dynamic(step, dtype=reduced)
    x = rng.standard_normal((4, 12)).astype(np.float32)
    state = rng.uniform(-1, 1, (4, 33)).astype(np.float32)
    hx = (state, state) if cell is nn.LSTMCell else state
    with fastnn.no_grad():
        wanted, given = step(x, hx), quantized(x, hx)
    if cell is not nn.LSTMCell:
        wanted, given = (wanted,), (given,)
    for a, b in zip(wanted, given):
        assert np.abs(a - b).max() < 0.03
        assert a.tobytes() != b.tobytes()
    assert f"dtype={reduced}" in repr(quantized)


def test_state_dict_and_the_original(reduced, rng, tmp_path):
    layer = nn.LSTM(5, 17, num_layers=2)
    x = rng.standard_normal((3, 2, 5)).astype(np.float32)
    before = layer(x)[0]
    twin = nn.quantize_dynamic(layer, dtype=reduced)
    other = nn.quantize_dynamic(nn.LSTM(5, 17, num_layers=2), dtype=reduced)
    assert other(x)[0].tobytes() != twin(x)[0].tobytes()
    other.load_state_dict(twin.state_dict())
    assert other(x)[0].tobytes() == twin(x)[0].tobytes()
    assert np.array_equal(np.asarray(layer(x)[0]), np.asarray(before))
    assert nn.quantize_dynamic(nn.Sequential(nn.Linear(5, 5), layer), dtype=reduced) is not None


def test_float64_with_int8(rng):
    layer = nn.LSTM(5, 17, dtype=np.float64)
    x = rng.standard_normal((3, 2, 5))
    y = nn.quantize_dynamic(layer)(x)[0]
    assert y.dtype == np.float64
    assert np.abs(y - layer(x)[0].numpy()).max() < 0.02


def test_errors(rng):
    layer = nn.quantize_dynamic(nn.LSTM(5, 17))
    with pytest.raises(RuntimeError, match="LSTM: has no gradient; use"):
        layer(fastnn.Tensor(np.ones((3, 2, 5), np.float32), requires_grad=True))
    with pytest.raises(ValueError, match=r"LSTM: input.shape\[-1\] must be 5"):
        layer(np.ones((3, 2, 6), np.float32))
    with pytest.raises(TypeError, match="LSTM"):
        layer(np.ones((3, 2, 5)))
    bad = nn.GRU(2, 3)
    bad.weight_hh_l0.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        nn.quantize_dynamic(bad)
    model = nn.Sequential()
    model.a = nn.quantize_dynamic(nn.GRU(2, 3))
    with pytest.raises(ValueError, match="model has no GRU called 'a'"):
        nn.quantization_report(nn.Sequential(), model)
    pytest.importorskip("ml_dtypes")
    with pytest.raises(TypeError, match="a LSTM with bfloat16 weights takes float32"):
        nn.quantize_dynamic(nn.LSTM(2, 3, dtype=np.float64), dtype="bfloat16")


def test_nan_stays_in_its_sequence(isa, reduced, rng):
    layer = nn.quantize_dynamic(nn.GRU(5, 20), dtype=reduced)
    x = rng.standard_normal((6, 3, 5)).astype(np.float32)
    clean = layer(x)[0]
    x[2, 1, 0] = np.nan
    y = layer(x)[0]
    assert y[:, [0, 2]].tobytes() == clean[:, [0, 2]].tobytes()
    assert y[:2, 1].tobytes() == clean[:2, 1].tobytes()
    assert np.isnan(y[2:, 1]).all()


def test_functions_take_no_reduced_weights():
    with pytest.raises(TypeError, match=r"w_ih.dtype must be float32 or float64|like the other"):
        F.rnn(np.ones((2, 1, 3), np.float32), None, np.ones((4, 3), np.int8), np.ones((4, 4)))
