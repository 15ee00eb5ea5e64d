"""layer_norm_lstm against the step-by-step reference."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes_for_every_thread_count
from reference import rnn as reference

import fastnn
import fastnn.functional as F


def make(rng, steps, batch, inputs, hidden, dtype):
    """x, h0, c0, w_ih, w_hh, bias, and weight and bias of the three normalisations."""
    wide = 4 * hidden
    shapes = [(steps, batch, inputs), (batch, hidden), (batch, hidden)]
    shapes += [(wide, inputs), (wide, hidden), (wide,)]
    shapes += [(wide,)] * 4 + [(hidden,)] * 2
    return [(0.5 * rng.standard_normal(s)).astype(dtype) for s in shapes]


def call(x, h0, c0, w_ih, w_hh, bias, *norms, **options):
    pairs = [tuple(norms[i : i + 2]) for i in (0, 2, 4)]
    y, (h, c) = F.layer_norm_lstm(x, (h0, c0), w_ih, w_hh, bias, *pairs, **options)
    return y, h, c


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (3, 1, 7, 17), (2, 5, 1, 2), (0, 2, 3, 4)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_values(isa, dtype, shape, reverse, ragged, rng):
    arguments = make(rng, *shape, dtype)
    options = {"reverse": reverse}
    if ragged:
        options["lengths"] = rng.integers(0, shape[0] + 1, shape[1])
    expected = reference.layer_norm_lstm(*(a.astype(np.float64) for a in arguments), **options)
    # A normalisation multiplies rounding errors by the reciprocal of its deviation.
    for a, e in zip(call(*arguments, **options), expected):
        assert_close(a, e, 100 * (1 + shape[0]) * (shape[2] + 4 * shape[3]))


@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": np.array([2, 3, 0])}])
def test_gradients(options, rng):
    arguments = make(rng, 3, 3, 2, 4, np.float64)
    gradcheck(lambda *a: call(*a, **options), *arguments, max_elements=10)


def test_same_bytes_for_every_thread_count(dtype, rng):
    arguments = make(rng, 3, 20, 30, 40, dtype)
    same_bytes_for_every_thread_count(lambda: call(*arguments))


def test_layer(rng):
    layer = fastnn.nn.LayerNormLSTM(3, 4, batch_first=True, dtype=np.float64)
    x = rng.standard_normal((2, 5, 3))
    output, (h, _) = layer(x, lengths=np.array([5, 2]))
    zero = np.zeros((2, 4))
    norms = [a for norm in (layer.norm_ih, layer.norm_hh, layer.norm_c) for a in norm.parameters()]
    weights = [layer.weight_ih, layer.weight_hh, layer.bias, *norms]
    expected = reference.layer_norm_lstm(
        x.swapaxes(0, 1), zero, zero, *(p.data for p in weights), lengths=[5, 2]
    )
    assert_close(output.numpy().swapaxes(0, 1), expected[0], 1000)
    assert_close(h.numpy(), expected[1], 1000)
    output.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert repr(layer).startswith("LayerNormLSTM(\n  3, 4, batch_first=True")


@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched(batch_first, rng):
    layer = fastnn.nn.LayerNormLSTM(3, 4, batch_first=batch_first, dtype=np.float64)
    x, h, c = rng.standard_normal((5, 3)), rng.standard_normal(4), rng.standard_normal(4)
    batched = layer(x[None] if batch_first else x[:, None], (h[None], c[None]))
    output, states = layer(x, (h, c))
    assert np.array_equal(output.numpy(), batched[0].numpy().reshape(5, 4))
    for one, many in zip(states, batched[1]):
        assert np.array_equal(one.numpy(), many.numpy()[0])
    assert layer(x)[0].shape == (5, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": np.ones(3)}, ValueError, "input must have 2 or 3 dimensions"),
        ({"input": np.ones((3, 4)), "lengths": [1]}, ValueError, "lengths must be None"),
        ({"input": None}, TypeError, "input must be .*, got None"),
        ({"w_hh": np.ones((15, 5))}, ValueError, "w_hh.shape must be"),
        ({"w_ih": np.ones((20, 3))}, ValueError, r"w_ih.shape must be \(20, 4\)"),
        ({"hx": (np.ones((1, 5)), None)}, ValueError, r"h_0.shape must be \(2, 5\)"),
        ({"hx": np.ones((2, 5))}, TypeError, "hx must be a pair"),
        ({"lengths": [4, 1]}, ValueError, r"lengths must be in 0\.\.3"),
        ({"lengths": [1]}, ValueError, r"lengths.shape must be \(2,\)"),
        ({"lengths": [1.0, 1.0]}, TypeError, "lengths.dtype must be an integer"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"input": np.ones((3, 2, 4)), "hx": None}
    arguments.update(w_ih=np.ones((20, 4)), w_hh=np.ones((20, 5)))
    with pytest.raises(error, match=message):
        F.layer_norm_lstm(**{**arguments, **change})
