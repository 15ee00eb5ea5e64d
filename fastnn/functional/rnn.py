"""Recurrent layers: one layer, one direction, all time steps in one call.

The input projections of all steps are one matrix product; each step is one product with the
recurrent weights, packed once, and the cell fused behind it. Sequences of different lengths need no
packing: padded steps are not computed, and the reverse direction starts at each sequence's end.

Memory of training
------------------
With N the steps of all sequences together (T B without ``lengths``), H the hidden size, P the width
of the output, a call that records gradients keeps, besides its arguments and its output,
``N R H`` values, where R is 5 for an LSTM (four gates and the cell), 4 for a GRU (3 with
``linear_before_reset=False``) and 1 for an RNN. With ``checkpoint_every=k`` it keeps the states at
every k-th step, ``T / k * B (P + H)`` values (without the H unless an LSTM), and computes the rest
again in the backward pass, ``k B R H`` values at a time: least memory near ``k = sqrt(T)``, for one
more forward pass.
"""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn.autograd import ArrayLike, Result, array
from fastnn.functional._args import flag, recorded, refuse_none
from fastnn.functional._layer_norm_lstm import layer_norm_lstm
from fastnn.functional._recurrent import layer, lengthen, pair_of_states

__all__ = ["gru", "gru_cell", "layer_norm_lstm", "lstm", "lstm_cell", "rnn", "rnn_cell"]


def lstm(
    input: ArrayLike,
    hx: tuple[ArrayLike, ArrayLike] | None,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    w_hr: ArrayLike = None,
    peephole: ArrayLike = None,
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
    checkpoint_every: int | None = None,
) -> tuple[Result, tuple[Result, Result]]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997, with forget gates).

    With i, f, g, o the four row blocks of ``W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``::

        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    With peepholes (Gers and Schmidhuber, 2000) i and f see ``p_i * c_{t-1}`` and ``p_f * c_{t-1}``
    too, and o sees ``p_o * c_t``. With a projection (Sak et al., 2014) h_t is ``W_hr`` times the
    above, P wide instead of H.

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : (h_0, c_0), each of shape (B, H), or (H,) for an unbatched input; None for zeros
        h_0 is P wide with a projection.
    w_ih : array or Tensor, shape (4 H, I)
    w_hh : array or Tensor, shape (4 H, H), or (4 H, P) with a projection
    b_ih, b_hh : array or Tensor, shape (4 H,), optional
    w_hr : array or Tensor, shape (P, H), optional
        The projection.
    peephole : array or Tensor, shape (3 H,), optional
        Peephole weights of i, f and o.
    reverse : bool
        Run from each sequence's last step to its first.
    batch_first : bool
    lengths : array of int, shape (B,), optional
        Steps of each sequence, in 0..T. Output past a sequence's end is zero, and its final state
        is that of its own last step.
    checkpoint_every : int, optional
        Keep only every k-th state for the gradient and compute the rest again: see above.

    Returns
    -------
    output : shape (T, B, H), (B, T, H) or (T, H); P instead of H with a projection
    (h_n, c_n) : each of shape (B, H) or (H,)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, or lengths outside 0..T.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x, w_ih, w_hh = np.ones((5, 2, 3)), np.ones((16, 3)), np.ones((16, 4))
    >>> output, (h, c) = F.lstm(x, None, w_ih, w_hh)
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 4))
    """
    h0, c0 = pair_of_states("lstm", hx)
    weights = (w_ih, w_hh, b_ih, b_hh, w_hr, peephole)
    y, h, c = _run(
        "lstm", "lstm", input, h0, c0, weights, reverse, batch_first, lengths, checkpoint_every
    )
    return y, (h, c)


def gru(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    linear_before_reset: bool = True,
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
    checkpoint_every: int | None = None,
) -> tuple[Result, Result]:
    """Gated recurrent unit (Cho et al., 2014)::

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h_t = (1 - z) * n + z * h_{t-1}

    This is the form of cuDNN and PyTorch. With ``linear_before_reset=False``, the published form
    and the default of ONNX, the reset gate comes before the product::

        n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : array or Tensor, shape (B, H), or (H,) for an unbatched input; None for zeros
    w_ih : array or Tensor, shape (3 H, I)
    w_hh : array or Tensor, shape (3 H, H)
    b_ih, b_hh : array or Tensor, shape (3 H,), optional
    linear_before_reset : bool
    reverse, batch_first, lengths, checkpoint_every
        As in :func:`lstm`.

    Returns
    -------
    output : shape (T, B, H), (B, T, H) or (T, H)
    h_n : shape (B, H) or (H,)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, or lengths outside 0..T.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> output, h = F.gru(np.ones((5, 2, 3)), None, np.ones((12, 3)), np.ones((12, 4)))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 4))
    """
    cell = "gru" if flag("gru", "linear_before_reset", linear_before_reset) else "gru_reset_first"
    weights = (w_ih, w_hh, b_ih, b_hh, None, None)
    y, h, _ = _run(
        "gru", cell, input, hx, None, weights, reverse, batch_first, lengths, checkpoint_every
    )
    return y, h


def rnn(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
    checkpoint_every: int | None = None,
) -> tuple[Result, Result]:
    """Elman network (1990): ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : array or Tensor, shape (B, H), or (H,) for an unbatched input; None for zeros
    w_ih : array or Tensor, shape (H, I)
    w_hh : array or Tensor, shape (H, H)
    b_ih, b_hh : array or Tensor, shape (H,), optional
    nonlinearity : {"tanh", "relu"}
    reverse, batch_first, lengths, checkpoint_every
        As in :func:`lstm`.

    Returns
    -------
    output : shape (T, B, H), (B, T, H) or (T, H)
    h_n : shape (B, H) or (H,)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, lengths outside 0..T, or another nonlinearity.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> output, h = F.rnn(np.ones((5, 2, 3)), None, np.ones((4, 3)), np.ones((4, 4)))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 4))
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    weights = (w_ih, w_hh, b_ih, b_hh, None, None)
    y, h, _ = _run(
        "rnn",
        nonlinearity,
        input,
        hx,
        None,
        weights,
        reverse,
        batch_first,
        lengths,
        checkpoint_every,
    )
    return y, h


def lstm_cell(
    input: ArrayLike,
    hx: tuple[ArrayLike, ArrayLike] | None,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    peephole: ArrayLike = None,
) -> tuple[Result, Result]:
    """One step of :func:`lstm`.

    Parameters
    ----------
    input : array or Tensor, shape (B, I) or (I,)
    hx : (h, c), each of shape (B, H) or (H,); None for zeros
    w_ih, w_hh, b_ih, b_hh, peephole
        As in :func:`lstm`.

    Returns
    -------
    (h, c) : each of shape (B, H) or (H,)

    Raises
    ------
    TypeError, ValueError
        As in :func:`lstm`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> h, c = F.lstm_cell(np.ones((2, 3)), None, np.ones((16, 3)), np.ones((16, 4)))
    >>> h.shape
    (2, 4)
    """
    h0, c0 = pair_of_states("lstm_cell", hx)
    weights = (w_ih, w_hh, b_ih, b_hh, None, peephole)
    h, c = _one_step("lstm_cell", "lstm", input, h0, c0, weights)
    return h, c


def gru_cell(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    linear_before_reset: bool = True,
) -> Result:
    """One step of :func:`gru`.

    Parameters
    ----------
    input : array or Tensor, shape (B, I) or (I,)
    hx : array or Tensor, shape (B, H) or (H,); None for zeros
    w_ih, w_hh, b_ih, b_hh, linear_before_reset
        As in :func:`gru`.

    Returns
    -------
    h : shape (B, H) or (H,)

    Raises
    ------
    TypeError, ValueError
        As in :func:`gru`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.gru_cell(np.ones((2, 3)), None, np.ones((12, 3)), np.ones((12, 4))).shape
    (2, 4)
    """
    flagged = flag("gru_cell", "linear_before_reset", linear_before_reset)
    cell = "gru" if flagged else "gru_reset_first"
    return _one_step("gru_cell", cell, input, hx, None, (w_ih, w_hh, b_ih, b_hh, None, None))[0]


def rnn_cell(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    nonlinearity: str = "tanh",
) -> Result:
    """One step of :func:`rnn`.

    Parameters
    ----------
    input : array or Tensor, shape (B, I) or (I,)
    hx : array or Tensor, shape (B, H) or (H,); None for zeros
    w_ih, w_hh, b_ih, b_hh, nonlinearity
        As in :func:`rnn`.

    Returns
    -------
    h : shape (B, H) or (H,)

    Raises
    ------
    TypeError, ValueError
        As in :func:`rnn`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.rnn_cell(np.ones((2, 3)), None, np.ones((4, 3)), np.ones((4, 4))).shape
    (2, 4)
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn_cell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    weights = (w_ih, w_hh, b_ih, b_hh, None, None)
    return _one_step("rnn_cell", nonlinearity, input, hx, None, weights)[0]


def _one_step(
    op: str, cell: str, input: Any, h0: Any, c0: Any, weights: tuple[Any, ...]
) -> tuple[Any, Any]:
    """Return (h, c), c None unless an LSTM."""
    refuse_none(op, input=input)
    if not recorded(input, h0, c0, *weights):
        arrays = tuple(map(array, weights))
        h, c = _core.rnn_step(op, cell, array(input), array(h0), array(c0), arrays)
        return h, c
    shape = array(input).shape
    if len(shape) not in (1, 2):
        raise ValueError(f"{op}: input must have 1 or 2 dimensions, got shape {shape}")
    if len(shape) == 1:
        input, h0, c0 = (lengthen(value, 0) for value in (input, h0, c0))
    states = lengthen(h0, 0), lengthen(c0, 0)
    _, h, c = layer(op, cell, lengthen(input, 0), *states, (weights,), False, False, None, None)
    last = (0, 0) if len(shape) == 1 else 0
    return h[last], None if c is None else c[last]


def _run(
    op: str,
    cell: str,
    input: Any,
    h0: Any,
    c0: Any,
    weights: tuple[Any, ...],
    reverse: bool,
    batch_first: bool,
    lengths: Any,
    checkpoint_every: int | None,
) -> tuple[Any, Any, Any]:
    """Run one direction; returns (output, h_n, c_n), the last None unless an LSTM."""
    if input is None:
        refuse_none(op, input=input)
    reverse, batch_first = flag(op, "reverse", reverse), flag(op, "batch_first", batch_first)
    single = array(input).ndim == 2
    if single:
        if lengths is not None:
            raise ValueError(f"{op}: lengths must be None for an unbatched input")
        input, batch_first = lengthen(input, 1), False
        h0, c0 = lengthen(h0, 0), lengthen(c0, 0)
    states = lengthen(h0, 0), lengthen(c0, 0)
    y, h, c = layer(
        op, cell, input, *states, (weights,), reverse, batch_first, lengths, checkpoint_every
    )
    last = (0, 0) if single else 0
    return y[:, 0] if single else y, h[last], None if c is None else c[last]
