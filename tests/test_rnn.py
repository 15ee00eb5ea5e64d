"""LSTM, GRU and RNN against the step-by-step reference."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes_for_every_thread_count, strided_variants
from hypothesis import given
from hypothesis import strategies as st
from reference import rnn as reference

import fastnn
import fastnn.functional as F

CELLS = ["lstm", "gru", "tanh", "relu"]
GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
# Hidden sizes straddle lanes and groups of columns, batches the rows of a tile.
hiddens = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65])
batches = st.sampled_from([1, 2, 4, 5, 6, 13, 14, 15, 29])


def make(rng, cell, steps, batch, inputs, hidden, dtype, scale=0.5):
    """x (T, B, I), h0, c0, w_ih, w_hh, b_ih, b_hh."""
    gates = GATES[cell] * hidden
    shapes = [(steps, batch, inputs), (batch, hidden), (batch, hidden)]
    shapes += [(gates, inputs), (gates, hidden), (gates,), (gates,)]
    return [(scale * rng.standard_normal(s)).astype(dtype) for s in shapes]


def call(cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, **options):
    """Output, h_n and (LSTM) c_n as a flat tuple."""
    if cell == "lstm":
        hx = None if h0 is None else (h0, c0)
        y, (h, c) = F.lstm(x, hx, w_ih, w_hh, b_ih, b_hh, **options)
        return y, h, c
    if cell == "gru":
        return F.gru(x, h0, w_ih, w_hh, b_ih, b_hh, **options)
    return F.rnn(x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity=cell, **options)


def check(actual, arguments, cell, **options):
    arguments = [a.astype(np.float64) for a in arguments]
    expected = reference.rnn(cell, *arguments, **options)
    # Every step adds a product of length I + H to a state whose gain is of order one.
    steps, _, inputs = arguments[0].shape
    length = max(1, steps) * (inputs + arguments[4].shape[1] + 8)
    scale = max(1.0, float(np.abs(expected[0]).max(initial=0.0)))
    for a, e in zip(actual, expected):
        assert_close(a, e, length, scale=scale)


@pytest.mark.parametrize("cell", CELLS)
@given(hidden=hiddens, batch=batches, steps=st.integers(0, 4), inputs=st.sampled_from([1, 3, 33]))
def test_shapes(isa, dtype, cell, hidden, batch, steps, inputs):
    rng = np.random.default_rng(0)
    arguments = make(rng, cell, steps, batch, inputs, hidden, dtype, 1 / np.sqrt(hidden + inputs))
    check(call(cell, *arguments), arguments, cell)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, [3, 5, 0, 1, 5]])
def test_options(isa, dtype, cell, reverse, batch_first, lengths, rng):
    arguments = make(rng, cell, 5, 5, 3, 6, dtype)
    x = arguments[0].swapaxes(0, 1).copy() if batch_first else arguments[0]
    steps = None if lengths is None else np.array(lengths)
    actual = call(cell, x, *arguments[1:], reverse=reverse, batch_first=batch_first, lengths=steps)
    if batch_first:
        actual = (actual[0].swapaxes(0, 1), *actual[1:])
    check(actual, arguments, cell, reverse=reverse, lengths=lengths)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": np.array([2, 4, 0])}])
def test_gradients(isa, cell, options, rng):
    arguments = make(rng, cell, 4, 3, 2, 5, np.float64)
    if cell == "relu":
        # Keep clear of the kink, where central differences mean nothing.
        arguments[5] = np.abs(arguments[5]) + 3.0
    if cell != "lstm":
        arguments[2] = np.zeros(0, int)
    gradcheck(lambda *a: call(cell, *a, **options), *arguments)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("batch", "hidden"), [(2, 40), (16, 35), (300, 9)])
def test_gradients_over_tile_edges(isa, cell, batch, hidden, rng):
    arguments = make(rng, cell, 2, batch, 3, hidden, np.float64, 0.2)
    if cell == "relu":
        arguments[5] = np.abs(arguments[5]) + 3.0
    if cell != "lstm":
        arguments[2] = np.zeros(0, int)
    gradcheck(lambda *a: call(cell, *a), *arguments, max_elements=12)


@pytest.mark.parametrize("cell", CELLS)
def test_without_bias_and_state(cell, rng):
    arguments = make(rng, cell, 3, 2, 4, 5, np.float64)
    for i in (1, 2, 5, 6):
        arguments[i] = np.zeros_like(arguments[i])
    x, _, _, w_ih, w_hh, _, _ = arguments
    check(call(cell, x, None, None, w_ih, w_hh, None, None), arguments, cell)


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("inputs", [0, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_nothing(cell, inputs, batch, rng):
    arguments = make(rng, cell, 3, batch, inputs, 5, np.float64)
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in arguments]
    y = call(cell, *tensors)[0]
    check([y.numpy()], arguments, cell)
    y.sum().backward()
    used = [t for i, t in enumerate(tensors) if cell == "lstm" or i != 2]
    assert [t.grad.shape for t in used] == [t.shape for t in used]


def test_batch_past_all_memory():
    # No input memory at all, so that the output is what does not fit.
    x, w_ih, w_hh = np.empty((2**40, 64, 0)), np.ones((4, 0)), np.ones((4, 4))
    with pytest.raises(MemoryError):
        F.rnn(x, None, w_ih, w_hh)


@pytest.mark.parametrize("cell", CELLS)
def test_saving_for_the_gradient_changes_no_bit(isa, dtype, cell, rng):
    arguments = make(rng, cell, 6, 5, 7, 33, dtype)
    plain = call(cell, *arguments)
    recorded = call(cell, fastnn.Tensor(arguments[0], requires_grad=True), *arguments[1:])
    for a, b in zip(plain, recorded):
        assert a.tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("batch", "hidden"), [(1, 300), (3, 200), (50, 40)])
def test_same_bytes_for_every_thread_count(isa, dtype, cell, batch, hidden, rng):
    arguments = make(rng, cell, 4, batch, 5, hidden, dtype, 0.1)

    def train():
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arguments]
        y = call(cell, *tensors)[0]
        y.backward(np.ones(y.shape, dtype))
        return [y.numpy(), *(t.grad for t in tensors if t.grad is not None)]

    same_bytes_for_every_thread_count(train)
    same_bytes_for_every_thread_count(lambda: call(cell, *arguments))


@pytest.mark.parametrize("cell", CELLS)
def test_sequence_alone_has_the_bytes_of_its_batch(isa, dtype, cell, rng):
    arguments = make(rng, cell, 5, 20, 7, 40, dtype, 0.3)
    lengths = rng.integers(0, 6, 20)
    whole = call(cell, *arguments, lengths=lengths)
    for b in (0, 7, 19):
        x, h0, c0, *weights = arguments
        n = lengths[b]
        alone = call(cell, x[:n, b : b + 1], h0[b : b + 1], c0[b : b + 1], *weights)
        assert alone[0].tobytes() == whole[0][:n, b : b + 1].tobytes()
        for state, all_states in zip(alone[1:], whole[1:]):
            assert state.tobytes() == all_states[b : b + 1].tobytes()


def test_long_inference_in_chunks(isa, dtype, rng):
    # More steps than one chunk of input projections holds.
    arguments = make(rng, "lstm", 900, 2, 4, 300, dtype, 0.05)
    y, h, c = call("lstm", *arguments)
    half = call("lstm", arguments[0][:450], *arguments[1:])
    rest = call("lstm", arguments[0][450:], half[1], half[2], *arguments[3:])
    assert np.concatenate([half[0], rest[0]]).tobytes() == y.tobytes()
    assert rest[1].tobytes() == h.tobytes()
    assert rest[2].tobytes() == c.tobytes()


@pytest.mark.parametrize("cell", CELLS)
def test_unbatched_and_cells(cell, rng):
    arguments = make(rng, cell, 3, 1, 4, 5, np.float64)
    x, h0, c0, *weights = arguments
    batched = call(cell, *arguments)
    alone = call(cell, x[:, 0], h0[0], c0[0], *weights)
    np.testing.assert_array_equal(alone[0], batched[0][:, 0])
    np.testing.assert_array_equal(alone[1], batched[1][0])
    h, c = h0, c0
    for t in range(3):
        if cell == "lstm":
            h, c = F.lstm_cell(x[t], (h, c), *weights)
        elif cell == "gru":
            h = F.gru_cell(x[t], h, *weights)
        else:
            h = F.rnn_cell(x[t], h, *weights, nonlinearity=cell)
    np.testing.assert_array_equal(h, batched[1])
    one = x[0, 0]
    state = (h0[0], c0[0]) if cell == "lstm" else h0[0]
    function = {"lstm": F.lstm_cell, "gru": F.gru_cell}.get(cell, F.rnn_cell)
    step = function(one, state, *weights)
    assert (step[0] if cell == "lstm" else step).shape == (5,)


@pytest.mark.parametrize("cell", CELLS)
@given(hidden=hiddens, batch=batches, inputs=st.sampled_from([1, 3, 33]))
def test_cells(isa, dtype, cell, hidden, batch, inputs):
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(hidden + inputs)
    x, h0, c0, *weights = make(rng, cell, 1, batch, inputs, hidden, dtype, scale)
    name = cell + "_cell" if cell in ("lstm", "gru") else "rnn_cell"
    options = {} if cell in ("lstm", "gru") else {"nonlinearity": cell}
    state = (h0, c0) if cell == "lstm" else h0
    actual = getattr(F, name)(x[0], state, *weights, **options)
    doubles = [a.astype(np.float64) for a in (x[0], h0, c0, *weights)]
    state = tuple(doubles[1:3]) if cell == "lstm" else doubles[1]
    expected = getattr(reference, name)(doubles[0], state, *doubles[3:], **options)
    pairs = zip(actual, expected) if cell == "lstm" else [(actual, expected)]
    for a, e in pairs:
        assert_close(a, e, inputs + hidden + 8, scale=max(1.0, float(np.abs(e).max())))


@pytest.mark.parametrize("layers", [2**62, 2**40])
def test_more_layers_than_memory(layers):
    with pytest.raises((ValueError, MemoryError)):
        fastnn.nn.LSTM(4, 8, num_layers=layers)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_strides(cell, rng):
    arguments = make(rng, cell, 3, 4, 5, 6, np.float32)
    expected = call(cell, *arguments)[0].tobytes()
    for name, x in strided_variants(arguments[0]).items():
        assert call(cell, x, *arguments[1:])[0].tobytes() == expected, name


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_sequence(isa, cell, rng):
    arguments = make(rng, cell, 3, 4, 5, 6, np.float32)
    clean = call(cell, *arguments)[0]
    arguments[0][1, 2, 0] = np.nan
    y = call(cell, *arguments)[0]
    assert np.isnan(y[1:, 2]).all()
    rest = [0, 1, 3]
    assert y[:, rest].tobytes() == clean[:, rest].tobytes()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": np.ones((3, 2, 4, 1))}, ValueError, "input must have 3 dimensions"),
        ({"input": np.ones((3, 2, 5))}, ValueError, r"w_ih.shape must be \(20, 5\)"),
        ({"input": np.ones((3, 2, 4), "f4")}, TypeError, "w_ih.dtype must be float32"),
        ({"input": np.ones((3, 2, 4), int)}, TypeError, "input.dtype must be float32 or float64"),
        ({"w_hh": np.ones((20, 0))}, ValueError, "hidden_size"),
        ({"w_hh": np.ones((15, 5))}, ValueError, r"w_hh.shape must be \(20, 5\)"),
        ({"b_ih": np.ones(19)}, ValueError, r"b_ih.shape must be \(20,\)"),
        ({"hx": np.ones((2, 5))}, TypeError, "hx must be a pair"),
        ({"hx": (np.ones((3, 5)), np.ones((2, 5)))}, ValueError, r"h0.shape must be \(2, 5\)"),
        ({"lengths": np.array([1, 4])}, ValueError, r"lengths\[1\] must be in 0..3"),
        ({"lengths": np.array([1])}, ValueError, r"lengths.shape must be \(2,\)"),
        ({"lengths": np.array([1.0, 2.0])}, TypeError, "lengths.dtype must be an integer"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {
        "input": np.ones((3, 2, 4)),
        "hx": None,
        "w_ih": np.ones((20, 4)),
        "w_hh": np.ones((20, 5)),
    }
    with pytest.raises(error, match=message):
        F.lstm(**{**arguments, **change})


def test_unknown_nonlinearity():
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        F.rnn(np.ones((1, 1, 1)), None, np.ones((1, 1)), np.ones((1, 1)), nonlinearity="gelu")


@pytest.mark.parametrize("kind", [fastnn.nn.LSTM, fastnn.nn.GRU, fastnn.nn.RNN])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers_stack_the_function(kind, bidirectional, batch_first, rng):
    layer = kind(
        3, 5, num_layers=2, bidirectional=bidirectional, batch_first=batch_first, dtype=np.float64
    )
    cell = {fastnn.nn.LSTM: "lstm", fastnn.nn.GRU: "gru"}.get(kind, "tanh")
    state = layer.state_dict()
    directions = ["", "_reverse"][: 1 + bidirectional]
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert list(state) == [f"{n}_l{i}{d}" for i in range(2) for d in directions for n in names]
    x = rng.standard_normal((4, 2, 3))
    lengths = np.array([4, 2])
    value, finals = x, []
    for i in range(2):
        zero = np.zeros((2, 5))
        outputs = []
        for d in directions:
            weights = [state[f"{n}_l{i}{d}"] for n in names]
            y, h, _ = reference.rnn(
                cell, value, zero, zero, *weights, reverse=bool(d), lengths=lengths
            )
            outputs.append(y)
            finals.append(h)
        value = np.concatenate(outputs, axis=-1)
    with fastnn.no_grad():
        output, final = layer(x.swapaxes(0, 1) if batch_first else x, lengths=lengths)
    assert_close(output.swapaxes(0, 1) if batch_first else output, value, 40)
    assert_close(final[0] if cell == "lstm" else final, np.stack(finals), 40)


def test_layers_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    for name in ("LSTM", "GRU", "RNN"):
        options = {"num_layers": 2, "bidirectional": True}
        theirs = getattr(torch.nn, name)(6, 9, **options)
        ours = getattr(fastnn.nn, name)(6, 9, **options)
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        x = rng.standard_normal((7, 3, 6)).astype(np.float32)
        expected = theirs(torch.from_numpy(x))[0]
        actual = ours(x)[0]
        assert_close(actual.numpy(), expected.detach().numpy(), 30)
        expected.sum().backward()
        actual.sum().backward()
        for key, parameter in theirs.named_parameters():
            assert_close(ours.get_parameter(key).grad, parameter.grad.numpy(), 200, scale=10.0)


def test_layer_with_one_of_two_states(rng):
    layer = fastnn.nn.LSTM(3, 4)
    x = np.ones((2, 5, 3), np.float32)
    state = rng.standard_normal((1, 5, 4)).astype(np.float32)
    zero = np.zeros_like(state)
    with fastnn.no_grad():
        for given, full in (((None, state), (zero, state)), ((state, None), (state, zero))):
            assert np.array_equal(layer(x, given)[0], layer(x, full)[0])


def test_training_a_layer_changes_its_parameters(rng):
    layer = fastnn.nn.GRU(3, 4, num_layers=2)
    output, _ = layer(rng.standard_normal((5, 2, 3)).astype(np.float32))
    output.sum().backward()
    assert all(p.grad is not None and np.abs(p.grad).max() > 0 for p in layer.parameters())


@pytest.mark.parametrize("op", [F.lstm, F.gru, F.rnn, F.lstm_cell, F.gru_cell, F.rnn_cell])
def test_none_is_refused(op):
    with pytest.raises(TypeError, match=r"input must be .*, got None"):
        op(None, None, np.ones((4, 3)), np.ones((4, 1)))


@pytest.mark.parametrize("argument", ["reverse", "batch_first"])
def test_flags_must_be_bools(argument):
    with pytest.raises(TypeError, match=rf"gru: {argument} must be a bool, got 'no'"):
        F.gru(np.ones((5, 2, 3)), None, np.ones((12, 3)), np.ones((12, 4)), **{argument: "no"})
