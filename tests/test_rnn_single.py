"""A single sequence, whose input projections are computed while earlier steps run."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count

import fastnn
import fastnn.functional as F

# More steps than one chunk has on any instruction set, and chunks of unequal length.
STEPS = [3, 4, 5, 12, 13, 14, 15, 28, 29, 43]


def lstm(x, weights, **options):
    return F.lstm(x, None, *weights, **options)[0]


def peephole_lstm(x, weights, **options):
    hidden = weights[1].shape[1]
    projection, peephole = weights[1][: hidden // 2 + 1].copy(), weights[2][: 3 * hidden]
    narrow = weights[1][:, : hidden // 2 + 1]
    given = (None, weights[0], narrow, *weights[2:])
    return F.lstm(x, *given, w_hr=projection, peephole=peephole, **options)[0]


def gru(x, weights, **options):
    return F.gru(x, None, *weights, **options)[0]


def gru_reset_first(x, weights, **options):
    return F.gru(x, None, *weights, linear_before_reset=False, **options)[0]


def rnn(x, weights, **options):
    return F.rnn(x, None, *weights, **options)[0]


GATES = {lstm: 4, peephole_lstm: 4, gru: 3, gru_reset_first: 3, rnn: 1}


def make(rng, op, inputs, hidden, dtype):
    rows = GATES[op] * hidden
    shapes = [(rows, inputs), (rows, hidden), (rows,), (rows,)]
    bound = 1 / np.sqrt(inputs + hidden)
    return [rng.uniform(-bound, bound, s).astype(dtype) for s in shapes]


@pytest.mark.parametrize("op", GATES, ids=lambda op: op.__name__)
@pytest.mark.parametrize(
    ("inputs", "hidden"),
    [(1, 1), (0, 5), (3, 33), (40, 31), (530, 17), (7, 130), (1100, 40)],
)
def test_bytes_are_those_in_a_batch(isa, dtype, op, inputs, hidden, rng):
    weights = make(rng, op, inputs, hidden, dtype)
    for steps in STEPS:
        x = rng.standard_normal((steps, 2, inputs)).astype(dtype)
        batch = op(x, weights)
        assert op(x[:, :1], weights).tobytes() == batch[:, :1].tobytes()
        recorded = op(fastnn.Tensor(x[:, 1:], requires_grad=True), weights)
        assert recorded.numpy().tobytes() == batch[:, 1:].tobytes()


def test_only_one_sequence_left(isa, dtype, rng):
    weights = make(rng, lstm, 20, 40, dtype)
    x = rng.standard_normal((40, 3, 20)).astype(dtype)
    whole = lstm(x, weights, lengths=[40, 3, 0], reverse=True)
    alone = lstm(x[:, :1], weights, reverse=True)
    assert alone.tobytes() == whole[:, :1].tobytes()


@pytest.mark.parametrize("op", GATES, ids=lambda op: op.__name__)
def test_same_bytes_for_every_thread_count(isa, dtype, op, rng):
    weights = make(rng, op, 70, 300, dtype)
    x = rng.standard_normal((45, 1, 70)).astype(dtype)
    same_bytes_for_every_thread_count(lambda: op(x, weights))


@pytest.mark.parametrize("kind", [fastnn.nn.LSTM, fastnn.nn.GRU, fastnn.nn.RNN])
def test_layer_with_two_directions(isa, dtype, kind, rng):
    layer = kind(30, 260, bidirectional=True, dtype=dtype)
    x = rng.standard_normal((45, 2, 30)).astype(dtype)
    with fastnn.no_grad():
        batch = layer(x)[0]

        def alone():
            return layer(x[:, :1])[0]

        same_bytes_for_every_thread_count(alone)
        assert alone().tobytes() == batch[:, :1].tobytes()


@pytest.mark.parametrize("steps", [14, 15, 60])
def test_nan_reaches_later_steps_only(isa, steps, rng):
    weights = make(rng, gru, 8, 20, np.float32)
    x = rng.standard_normal((steps, 1, 8)).astype(np.float32)
    clean = gru(x, weights)
    x[steps // 2, 0, 3] = np.nan
    y = gru(x, weights)
    assert y[: steps // 2].tobytes() == clean[: steps // 2].tobytes()
    assert np.isnan(y[steps // 2 :]).all()


@pytest.mark.parametrize("op", GATES, ids=lambda op: op.__name__)
@pytest.mark.parametrize(("inputs", "hidden"), [(0, 5), (3, 33), (40, 31), (7, 130)])
def test_bytes_are_those_of_a_large_ragged_batch(isa, dtype, op, inputs, hidden, rng):
    """Steps of many rows, of few and of one are computed in three ways."""
    weights = make(rng, op, inputs, hidden, dtype)
    lengths = np.array([20, 3, 7, 20, 1, 0, 18, 7, 9, 2, 7, 12, 16, 4, 1, 19, 7])
    x = rng.standard_normal((20, lengths.size, inputs)).astype(dtype)
    batch = op(x, weights, lengths=lengths)
    for i, length in enumerate(lengths):
        alone = op(np.ascontiguousarray(x[:length, i : i + 1]), weights)
        assert alone.tobytes() == batch[:length, i : i + 1].tobytes()


@pytest.mark.parametrize("op", GATES, ids=lambda op: op.__name__)
@pytest.mark.parametrize(("inputs", "hidden"), [(0, 5), (1, 1), (40, 33), (300, 17), (1030, 40)])
def test_weights_of_a_single_step_may_stay_where_they_are(isa, dtype, op, inputs, hidden, rng):
    weights = make(rng, op, inputs, hidden, dtype)
    for batch in (1, 2, 5, 6, 7, 12, 13, 14, 15, 16):
        x = rng.standard_normal((2, batch, inputs)).astype(dtype)
        one = op(x[:1], weights)
        assert one.tobytes() == op(x, weights)[:1].tobytes()  # two steps pack
        alone = op(np.ascontiguousarray(x[:1].swapaxes(0, 1)), weights, batch_first=True)
        assert alone.tobytes() == one.tobytes()
        lengths = rng.integers(0, 2, batch)
        ragged = op(x[:1], weights, lengths=lengths, reverse=True)
        assert ragged.tobytes() == np.where(lengths[:, None] > 0, one, 0).astype(dtype).tobytes()


def gradients(op, x, weights, grad, **options):
    t = fastnn.Tensor(x, requires_grad=True)
    parameters = [fastnn.Tensor(w, requires_grad=True) for w in weights]
    op(t, parameters, **options).backward(grad)
    return t.grad, *(p.grad for p in parameters)


@pytest.mark.parametrize("op", [lstm, gru, rnn], ids=lambda op: op.__name__)
@pytest.mark.parametrize(("inputs", "hidden"), [(0, 5), (1, 1), (40, 33), (7, 130), (530, 17)])
def test_gradient_of_x_is_that_in_a_batch(isa, dtype, op, inputs, hidden, rng):
    weights = make(rng, op, inputs, hidden, dtype)
    for steps in STEPS:
        x = rng.standard_normal((steps, 2, inputs)).astype(dtype)
        grad = rng.standard_normal((steps, 2, hidden)).astype(dtype)
        batch = gradients(op, x, weights, grad)[0]
        for i in range(2):
            alone = gradients(op, x[:, i : i + 1], weights, grad[:, i : i + 1])[0]
            assert alone.tobytes() == batch[:, i : i + 1].tobytes()
        reverse = gradients(op, x[:, :1], weights, grad[:, :1], reverse=True)[0]
        turned = gradients(op, x[::-1, :1], weights, grad[::-1, :1])[0]
        assert reverse.tobytes() == turned[::-1].tobytes()


@pytest.mark.parametrize("op", [lstm, gru, rnn], ids=lambda op: op.__name__)
def test_same_gradients_for_every_thread_count(isa, dtype, op, rng):
    weights = make(rng, op, 70, 300, dtype)
    x = rng.standard_normal((45, 1, 70)).astype(dtype)
    grad = rng.standard_normal((45, 1, 300)).astype(dtype)
    same_bytes_for_every_thread_count(lambda: gradients(op, x, weights, grad))
