"""Projections, peepholes, the two GRUs, checkpoints, packed sequences, kept packs."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st
from reference import rnn as reference

import fastnn
import fastnn.functional as F
from fastnn.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpad_sequence,
)

VARIANTS = ["projection", "peephole", "projection and peephole", "reset first"]
CELL = {variant: "gru" if variant == "reset first" else "lstm" for variant in VARIANTS}


def make(rng, variant, steps, batch, inputs, hidden, dtype, scale=0.5):
    """x, h0, c0, w_ih, w_hh, b_ih, b_hh, and (LSTM) w_hr and peephole or None."""
    output = (hidden + 1) // 2 if "projection" in variant else hidden
    rows = (3 if variant == "reset first" else 4) * hidden
    shapes = [(steps, batch, inputs), (batch, output), (batch, hidden)]
    shapes += [(rows, inputs), (rows, output), (rows,), (rows,)]
    shapes.append((output, hidden) if "projection" in variant else None)
    shapes.append((3 * hidden,) if "peephole" in variant else None)
    return [None if s is None else (scale * rng.standard_normal(s)).astype(dtype) for s in shapes]


def call(variant, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, **options):
    if variant == "reset first":
        return F.gru(x, h0, w_ih, w_hh, b_ih, b_hh, linear_before_reset=False, **options)
    y, (h, c) = F.lstm(x, (h0, c0), w_ih, w_hh, b_ih, b_hh, w_hr=w_hr, peephole=peephole, **options)
    return y, h, c


def expected(variant, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, **options):
    as_double = [
        None if a is None else np.asarray(a, np.float64)
        for a in (x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, peephole)
    ]
    if variant == "reset first":
        return reference.rnn("gru", *as_double[:7], linear_before_reset=False, **options)
    extra = {"w_hr": as_double[7], "peephole": as_double[8]}
    return reference.rnn("lstm", *as_double[:7], **extra, **options)


def check(actual, variant, arguments, **options):
    steps, _, inputs = arguments[0].shape
    length = max(1, steps) * (inputs + 2 * arguments[4].shape[1] + 8)
    wanted = expected(variant, *arguments, **options)
    scale = max(1.0, float(np.abs(wanted[0]).max(initial=0.0)))
    for a, e in zip(actual, wanted):
        assert_close(a, e, length, scale=scale)


@pytest.mark.parametrize("variant", VARIANTS)
@given(
    hidden=st.sampled_from([1, 2, 3, 8, 15, 16, 17, 32, 33, 65]),
    batch=st.sampled_from([1, 2, 5, 14, 15]),
    steps=st.integers(0, 4),
    inputs=st.sampled_from([1, 3, 33]),
)
def test_shapes(isa, dtype, variant, hidden, batch, steps, inputs):
    scale = 1 / np.sqrt(hidden + inputs)
    arguments = make(np.random.default_rng(0), variant, steps, batch, inputs, hidden, dtype, scale)
    check(call(variant, *arguments), variant, arguments)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths(isa, dtype, variant, reverse, rng):
    arguments = make(rng, variant, 5, 5, 3, 6, dtype)
    options = {"reverse": reverse, "lengths": np.array([3, 5, 0, 1, 5])}
    check(call(variant, *arguments, **options), variant, arguments, **options)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": np.array([2, 4, 0])}])
def test_gradients(isa, variant, options, rng):
    arguments = make(rng, variant, 4, 3, 2, 5, np.float64)
    kept = [
        i for i, a in enumerate(arguments) if a is not None and (i != 2 or CELL[variant] == "lstm")
    ]

    def function(*given):
        full = list(arguments)
        for i, a in zip(kept, given):
            full[i] = a
        return call(variant, *full, **options)

    gradcheck(function, *(arguments[i] for i in kept))


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bytes_for_every_thread_count(isa, dtype, variant, rng):
    for batch, hidden in [(2, 260), (50, 40)]:
        arguments = make(rng, variant, 4, batch, 5, hidden, dtype, 0.1)

        def train(arguments=arguments):
            tensors = [
                None if a is None else fastnn.Tensor(a, requires_grad=True) for a in arguments
            ]
            y = call(variant, *tensors)[0]
            y.backward(np.ones(y.shape, dtype))
            return [y.numpy(), *(t.grad for t in tensors if t is not None and t.grad is not None)]

        same_bytes_for_every_thread_count(train)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sequence_alone_has_the_bytes_of_its_batch(isa, dtype, variant, rng):
    arguments = make(rng, variant, 5, 20, 7, 40, dtype, 0.3)
    whole = call(variant, *arguments)
    for b in (0, 7, 19):
        x, h0, c0, *weights = arguments
        alone = call(variant, x[:, b : b + 1], h0[b : b + 1], c0[b : b + 1], *weights)
        assert alone[0].tobytes() == whole[0][:, b : b + 1].tobytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_chunks_of_steps(isa, variant, rng):
    # More packed rows than the backward pass takes at a time.
    arguments = make(rng, variant, 30, 40, 2, 260, np.float32, 0.05)
    lengths = rng.integers(15, 31, 40)
    tensors = [None if a is None else fastnn.Tensor(a, requires_grad=True) for a in arguments]
    y = call(variant, *tensors, lengths=lengths)[0]
    y.backward(np.ones(y.shape, np.float32))
    doubles = [
        None if a is None else fastnn.Tensor(a.astype(np.float64), requires_grad=True)
        for a in arguments
    ]
    wanted = call(variant, *doubles, lengths=lengths)[0]
    wanted.backward(np.ones(y.shape))
    for t, d in zip(tensors, doubles):
        if t is not None and t.grad is not None:
            assert_close(t.grad, d.grad, 30 * 40 * 10, scale=float(np.abs(d.grad).max()))


# Checkpoints


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("every", [1, 3, 7, 100])
@pytest.mark.parametrize("batch_first", [False, True])
def test_checkpoints_change_no_output_and_no_gradient(kind, every, batch_first, rng):
    def train(checkpoint_every):
        options = {"bidirectional": True, "batch_first": batch_first, "dtype": np.float64}
        fastnn.manual_seed(0)
        layer = getattr(fastnn.nn, kind)(3, 5, 2, checkpoint_every=checkpoint_every, **options)
        t = fastnn.Tensor(x, requires_grad=True)
        output, state = layer(t, lengths=lengths)
        final = state[0] if kind == "LSTM" else state
        (output.sum() + (final * final).sum()).backward()
        return [output.numpy(), final.numpy(), t.grad, *(p.grad for p in layer.parameters())]

    x = rng.standard_normal((4, 7, 3) if batch_first else (7, 4, 3))
    lengths = np.array([7, 2, 0, 5])
    for a, b in zip(train(every), train(None)):
        assert_close(a, b, 100, scale=max(1.0, float(np.abs(b).max())))


def test_checkpoint_every_must_be_positive():
    with pytest.raises(ValueError, match="gru: checkpoint_every must be >= 1, got 0"):
        F.gru(np.ones((5, 2, 3)), None, np.ones((12, 3)), np.ones((12, 4)), checkpoint_every=0)


# Layers


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"batch_first": True}])
@pytest.mark.parametrize("proj_size", [0, 3])
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_lstm_against_pytorch(options, proj_size, rng):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.LSTM(6, 9, 2, proj_size=proj_size, **options)
    ours = fastnn.nn.LSTM(6, 9, 2, proj_size=proj_size, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = rng.standard_normal((7, 3, 6)).astype(np.float32)
    expected_y, (expected_h, expected_c) = theirs(torch.from_numpy(x))
    y, (h, c) = ours(x)
    for a, e in ((y, expected_y), (h, expected_h), (c, expected_c)):
        assert_close(a.numpy(), e.detach().numpy(), 30)
    expected_y.sum().backward()
    y.sum().backward()
    for key, parameter in theirs.named_parameters():
        assert_close(ours.get_parameter(key).grad, parameter.grad.numpy(), 200, scale=10.0)


def test_layer_options(rng):
    x = rng.standard_normal((4, 2, 3))
    lstm = fastnn.nn.LSTM(3, 5, peephole=True, proj_size=2, dtype=np.float64)
    gru = fastnn.nn.GRU(3, 5, linear_before_reset=False, dtype=np.float64)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    for layer, variant in ((lstm, "projection and peephole"), (gru, "reset first")):
        state = layer.state_dict()
        extra = [state.get("weight_hr_l0"), state.get("weight_peephole_l0")]
        weights = [*(state[n] for n in names), *extra]
        start = [np.zeros((2, weights[1].shape[1])), np.zeros((2, 5))]
        with fastnn.no_grad():
            output, _ = layer(x)
        check([output], variant, [x, *start, *weights])
    assert repr(lstm) == "LSTM(3, 5, proj_size=2, peephole=True)"
    assert repr(gru) == "GRU(3, 5, linear_before_reset=False)"


@pytest.mark.parametrize("proj_size", [-1, 5])
def test_proj_size_must_be_less_than_hidden_size(proj_size):
    with pytest.raises(ValueError, match=r"LSTM: proj_size must be in 0\.\.4"):
        fastnn.nn.LSTM(3, 5, proj_size=proj_size)


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize(
    ("input", "error", "message"),
    [
        (None, TypeError, "GRU: input must be a numpy.ndarray or fastnn.Tensor, got None"),
        (np.ones(3), ValueError, "GRU: input must have 2 or 3 dimensions"),
        (np.ones((5, 2, 4)), ValueError, r"GRU: input.shape\[-1\] must be 3 \(input_size\), got 4"),
    ],
)
def test_layers_name_their_input(recording, input, error, message):
    layer = fastnn.nn.GRU(3, 4, dtype=np.float64)
    context = fastnn.enable_grad() if recording else fastnn.no_grad()
    with context, pytest.raises(error, match=message):
        layer(input)


@pytest.mark.parametrize(
    ("layer", "cell"),
    [
        (
            fastnn.nn.LSTM(3, 5, peephole=True, dtype=np.float64),
            fastnn.nn.LSTMCell(3, 5, peephole=True, dtype=np.float64),
        ),
        (
            fastnn.nn.GRU(3, 5, linear_before_reset=False, dtype=np.float64),
            fastnn.nn.GRUCell(3, 5, linear_before_reset=False, dtype=np.float64),
        ),
    ],
    ids=["peephole", "reset first"],
)
@pytest.mark.parametrize("recording", [False, True])
def test_variants_of_cells_step_like_their_layers(layer, cell, recording, rng):
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x, state = rng.standard_normal((6, 2, 3)), None
    with fastnn.enable_grad() if recording else fastnn.no_grad():
        expected = np.asarray(layer(x)[0])
        for t in range(6):
            state = cell(x[t], state)
            h = state[0] if isinstance(state, tuple) else state
            assert np.asarray(h).tobytes() == expected[t].tobytes()
    assert ("peephole=True" in repr(cell)) or ("linear_before_reset=False" in repr(cell))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: fastnn.nn.LSTM(3, 4, batch_first="x"), TypeError, "batch_first must be a bool"),
        (lambda: fastnn.nn.LSTM(3, 4, peephole="x"), TypeError, "peephole must be a bool"),
        (lambda: fastnn.nn.LSTMCell(3, 4, peephole="x"), TypeError, "peephole must be a bool"),
        (
            lambda: fastnn.nn.GRU(3, 4, linear_before_reset="x"),
            TypeError,
            "GRU: linear_before_reset must be a bool",
        ),
        (
            lambda: fastnn.nn.GRUCell(3, 4, linear_before_reset="x"),
            TypeError,
            "GRUCell: linear_before_reset must be a bool",
        ),
        (
            lambda: fastnn.nn.RNN(3, 4, checkpoint_every=0),
            ValueError,
            "RNN: checkpoint_every must be >= 1, got 0",
        ),
        (
            lambda: fastnn.nn.RNN(3, 4, checkpoint_every=1.5),
            TypeError,
            "RNN: checkpoint_every must be an int",
        ),
    ],
)
def test_layers_check_their_options(build, error, message):
    with pytest.raises(error, match=message):
        build()


def layers():
    options = {"num_layers": 2, "bidirectional": True, "dtype": np.float64}
    yield fastnn.nn.LSTM(3, 5, proj_size=2, **options)
    yield fastnn.nn.GRU(3, 5, **options)
    yield fastnn.nn.RNN(3, 5, nonlinearity="relu", **options)
    yield fastnn.nn.LSTMCell(3, 5, dtype=np.float64)
    yield fastnn.nn.LSTMCell(3, 5, dtype=np.float64, peephole=True)
    yield fastnn.nn.GRUCell(3, 5, dtype=np.float64)
    yield fastnn.nn.GRUCell(3, 5, dtype=np.float64, linear_before_reset=False)
    yield fastnn.nn.RNNCell(3, 5, dtype=np.float64)


def result(layer, x):
    cell = isinstance(layer, (fastnn.nn.LSTMCell, fastnn.nn.GRUCell, fastnn.nn.RNNCell))
    out = layer(x[0] if cell else x)
    return np.asarray(out[0] if isinstance(out, tuple) else out)


@pytest.mark.parametrize("layer", list(layers()), ids=lambda layer: type(layer).__name__)
def test_kept_packs_are_never_stale(isa, layer, rng):
    x = rng.standard_normal((4, 2, 3))
    for change in ("nothing", "step", "load", "data"):
        if change == "step":
            result_with_grad = layer(x[0] if "Cell" in type(layer).__name__ else x)[0]
            result_with_grad.sum().backward()
            fastnn.optim.SGD(layer.parameters(), lr=0.1).step()
        elif change == "load":
            layer.load_state_dict({k: v + 0.1 for k, v in layer.state_dict().items()})
        elif change == "data":
            for parameter in layer.parameters():
                parameter.data = parameter.data * 0.9
        with fastnn.no_grad():
            first, again = result(layer, x), result(layer, x)
            weights = [
                p for n, p in layer.named_parameters() if n.startswith(("weight_ih", "weight_hh"))
            ]
            assert not any(p.data.flags.writeable for p in weights)
        assert first.tobytes() == again.tobytes()
        assert (
            first.tobytes() == result(layer, x).tobytes()
        )  # recorded, from the weights themselves


def test_pack_of_another_isa_is_refused():
    isas = fastnn._core.available_isas()
    if len(isas) < 2:
        pytest.skip("one instruction set")
    before = fastnn._core.active_isa()
    packed = fastnn._core.pack_recurrent(np.ones((4, 4)), 1)
    fastnn._core.use_isa(next(isa for isa in isas if isa != before))
    try:
        with pytest.raises(ValueError, match="w_hh was packed for another"):
            fastnn._core.rnn_forward(
                "rnn", "tanh", np.ones((1, 1, 3)), None, None,
                ((np.ones((4, 3)), packed, None, None, None, None),), False, False, None, False,
            )  # fmt: skip
    finally:
        fastnn._core.use_isa(before)


def test_two_directions_on_several_threads(isa, dtype, rng):
    layer = fastnn.nn.LSTM(40, 70, bidirectional=True, dtype=dtype)
    x = rng.standard_normal((30, 3, 40)).astype(dtype)

    def run():
        with fastnn.no_grad():
            return layer(x, lengths=np.array([30, 7, 12]))[0]

    same_bytes_for_every_thread_count(run)


# Packed sequences


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    batch_first=st.booleans(),
    extra=st.integers(0, 2),
)
def test_packing_is_undone_by_padding(lengths, batch_first, extra):
    rng = np.random.default_rng(0)
    time = max(lengths) + extra
    x = rng.standard_normal((time, len(lengths), 2))
    x[np.arange(time)[:, None] >= np.array(lengths)] = 0
    given_x = x.swapaxes(0, 1) if batch_first else x
    packed = pack_padded_sequence(given_x, lengths, batch_first, enforce_sorted=False)
    assert len(packed.data) == sum(lengths)
    padded, found = pad_packed_sequence(packed, batch_first, total_length=time)
    assert list(found) == lengths
    np.testing.assert_array_equal(padded, given_x)


def test_packing_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    utils = torch.nn.utils.rnn
    x, lengths = rng.standard_normal((6, 4, 3)), [2, 6, 1, 6]
    theirs = utils.pack_padded_sequence(torch.from_numpy(x), lengths, enforce_sorted=False)
    ours = pack_padded_sequence(x, lengths, enforce_sorted=False)
    for a, e in zip(ours, theirs):
        np.testing.assert_array_equal(a, e.numpy())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("sorted_lengths", [False, True])
def test_layers_take_and_return_packed_sequences(kind, sorted_lengths, rng):
    layer = getattr(fastnn.nn, kind)(3, 5, 2, bidirectional=True, dtype=np.float64)
    x = rng.standard_normal((6, 4, 3))
    lengths = np.array([6, 4, 4, 1] if sorted_lengths else [2, 6, 1, 6])
    h0 = rng.standard_normal((4, 4, 5))
    hx = (h0, h0) if kind == "LSTM" else h0
    with fastnn.no_grad():
        output, state = layer(x, hx, lengths=lengths)
        packed = pack_padded_sequence(x, lengths, enforce_sorted=sorted_lengths)
        packed_output, packed_state = layer(packed, hx)
    assert isinstance(packed_output, PackedSequence)
    np.testing.assert_array_equal(pad_packed_sequence(packed_output)[0], output)
    np.testing.assert_array_equal(packed_state, state)
    t = fastnn.Tensor(x, requires_grad=True)
    recorded, _ = layer(pack_padded_sequence(t, lengths, enforce_sorted=sorted_lengths), hx)
    recorded.data.sum().backward()
    assert t.grad.shape == x.shape
    assert not t.grad[lengths.min() :, lengths.argmin()].any()


def test_lists_of_sequences():
    sequences = [np.array([[1.0]]), np.array([[2.0], [3.0]])]
    padded = pad_sequence(sequences, batch_first=True, padding_value=-1.0)
    lengths = [len(sequence) for sequence in sequences]
    for batch_first in (True, False):
        left = pad_sequence(sequences, batch_first, -1.0, padding_side="left")
        left = left if batch_first else left.swapaxes(0, 1)
        for row, sequence in zip(left, sequences):
            np.testing.assert_array_equal(row[len(row) - len(sequence) :], sequence)
            assert (row[: len(row) - len(sequence)] == -1).all()
        both = pad_sequence(sequences, batch_first)
        for back, sequence in zip(unpad_sequence(both, lengths, batch_first), sequences):
            np.testing.assert_array_equal(back, sequence)
    with pytest.raises(ValueError, match="padding_side must be 'right' or 'left', got 'top'"):
        pad_sequence(sequences, padding_side="top")
    np.testing.assert_array_equal(padded[..., 0], [[1, -1], [2, 3]])
    packed = pack_sequence(sequences, enforce_sorted=False)
    np.testing.assert_array_equal(packed.data[:, 0], [2, 1, 3])
    with pytest.raises(ValueError, match="pack_sequence: lengths must not rise"):
        pack_sequence(sequences)
    with pytest.raises(ValueError, match="sequences must not be empty"):
        pad_sequence([])


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 2], ValueError, "lengths must not rise"),
        ([2, 0], ValueError, "lengths must be in 1..3"),
        ([4, 1], ValueError, "lengths must be in 1..3"),
        ([1], ValueError, r"lengths.shape must be \(2,\)"),
        ([1.0, 1.0], TypeError, "lengths.dtype must be an integer"),
    ],
)
def test_packing_errors(lengths, error, message):
    with pytest.raises(error, match=message):
        pack_padded_sequence(np.ones((3, 2, 1)), lengths)


def test_padding_errors():
    with pytest.raises(TypeError, match="sequence must be a PackedSequence, got ndarray"):
        pad_packed_sequence(np.ones(3))
    packed = pack_padded_sequence(np.ones((3, 2, 1)), [3, 1])
    with pytest.raises(ValueError, match="total_length must be at least 3"):
        pad_packed_sequence(packed, total_length=2)
    with pytest.raises(ValueError, match="a PackedSequence has its own lengths"):
        fastnn.nn.RNN(1, 2)(packed, lengths=[1, 1])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("w_hr", np.ones((3, 5)), r"w_hr.shape must be \(5, 5\)"),
        ("w_hr", np.ones((5, 0)), "hidden_size"),
        ("w_hr", np.ones(5), "w_hr must have 2 dimensions"),
        ("peephole", np.ones(14), r"peephole.shape must be \(15,\)"),
    ],
)
def test_errors_name_the_argument(name, value, message):
    with pytest.raises(ValueError, match=message):
        F.lstm(np.ones((3, 2, 4)), None, np.ones((20, 4)), np.ones((20, 5)), **{name: value})


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
@pytest.mark.parametrize("change", ["data", "parameter", "in place"])
def test_a_single_change_is_seen(name, change, rng):
    layer = fastnn.nn.GRU(3, 5, dtype=np.float64)
    x = rng.standard_normal((4, 2, 3))
    with fastnn.no_grad():
        before = layer(x)[0]
        new = getattr(layer, name).data + 0.5
        if change == "data":
            getattr(layer, name).data = new
        elif change == "parameter":
            setattr(layer, name, fastnn.nn.Parameter(new))
        else:
            getattr(layer, name).drop_packs()
            getattr(layer, name).data[...] = new
        after = layer(x)[0]
    assert not np.array_equal(before, after)
    assert after.tobytes() == layer(x)[0].numpy().tobytes()  # recorded, from the weights
