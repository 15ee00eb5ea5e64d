"""Recurrent layers: one layer, one direction, all time steps in one call.

The input projections of all steps are one matrix product; each step is one product with the
recurrent weights, packed once, and the cell fused behind it. Sequences of different lengths need no
packing: padded steps are not computed, and the reverse direction starts at each sequence's end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, TensorBase, array, record
from fastnn.functional._args import flag, recorded, refuse_none

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn", "rnn_cell"]


def lstm(
    input: ArrayLike,
    hx: tuple[ArrayLike, ArrayLike] | None,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
) -> tuple[Result, tuple[Result, Result]]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997, with forget gates).

    With i, f, g, o the four row blocks of ``W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``::

        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : (h_0, c_0), each of shape (B, H), or (H,) for an unbatched input; None for zeros
    w_ih : array or Tensor, shape (4 H, I)
    w_hh : array or Tensor, shape (4 H, H)
    b_ih, b_hh : array or Tensor, shape (4 H,), optional
    reverse : bool
        Run from each sequence's last step to its first.
    batch_first : bool
    lengths : array of int, shape (B,), optional
        Steps of each sequence, in 0..T. Output past a sequence's end is zero, and its final state
        is that of its own last step.

    Returns
    -------
    output : shape (T, B, H), (B, T, H) or (T, H)
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
    h0, c0 = (None, None) if hx is None else _pair_of_states("lstm", hx)
    weights = (w_ih, w_hh, b_ih, b_hh)
    y, h, c = _run("lstm", "lstm", input, h0, c0, weights, reverse, batch_first, lengths)
    return y, (h, c)


def gru(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
    *,
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
) -> tuple[Result, Result]:
    """Gated recurrent unit (Cho et al., 2014), with the reset gate behind the product::

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h_t = (1 - z) * n + z * h_{t-1}

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : array or Tensor, shape (B, H), or (H,) for an unbatched input; None for zeros
    w_ih : array or Tensor, shape (3 H, I)
    w_hh : array or Tensor, shape (3 H, H)
    b_ih, b_hh : array or Tensor, shape (3 H,), optional
    reverse, batch_first, lengths
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
    weights = (w_ih, w_hh, b_ih, b_hh)
    y, h, _ = _run("gru", "gru", input, hx, None, weights, reverse, batch_first, lengths)
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
    reverse, batch_first, lengths
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
    weights = (w_ih, w_hh, b_ih, b_hh)
    y, h, _ = _run("rnn", nonlinearity, input, hx, None, weights, reverse, batch_first, lengths)
    return y, h


def lstm_cell(
    input: ArrayLike,
    hx: tuple[ArrayLike, ArrayLike] | None,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
) -> tuple[Result, Result]:
    """One step of :func:`lstm`.

    Parameters
    ----------
    input : array or Tensor, shape (B, I) or (I,)
    hx : (h, c), each of shape (B, H) or (H,); None for zeros
    w_ih, w_hh, b_ih, b_hh
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
    h0, c0 = (None, None) if hx is None else _pair_of_states("lstm_cell", hx)
    _, h, c = _one_step("lstm_cell", "lstm", input, h0, c0, (w_ih, w_hh, b_ih, b_hh))
    return h, c


def gru_cell(
    input: ArrayLike,
    hx: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike = None,
    b_hh: ArrayLike = None,
) -> Result:
    """One step of :func:`gru`.

    Parameters
    ----------
    input : array or Tensor, shape (B, I) or (I,)
    hx : array or Tensor, shape (B, H) or (H,); None for zeros
    w_ih, w_hh, b_ih, b_hh
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
    return _one_step("gru_cell", "gru", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[1]


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
    return _one_step("rnn_cell", nonlinearity, input, hx, None, (w_ih, w_hh, b_ih, b_hh))[1]


def _pair_of_states(op: str, hx: Any) -> tuple[Any, Any]:
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"{op}: hx must be a pair (h_0, c_0) or None, got {type(hx).__name__}")
    return hx[0], hx[1]


def _lengthen(value: Any, axis: int) -> Any:
    """Insert an axis of length 1; Tensors stay Tensors."""
    if value is None:
        return None
    return value.unsqueeze(axis) if isinstance(value, TensorBase) else np.expand_dims(value, axis)  # type: ignore[attr-defined]


def _one_step(
    op: str, cell: str, input: Any, h0: Any, c0: Any, weights: tuple[Any, ...]
) -> tuple[Any, Any, Any]:
    refuse_none(op, input=input)
    rank = array(input).ndim
    if rank not in (1, 2):
        raise ValueError(f"{op}: input must have 1 or 2 dimensions, got shape {array(input).shape}")
    if rank == 1:
        y, h, c = _one_step(
            op, cell, _lengthen(input, 0), _lengthen(h0, 0), _lengthen(c0, 0), weights
        )
        return y[0], h[0], c if c is None else c[0]
    return _run(op, cell, _lengthen(input, 0), h0, c0, weights, False, False, None)


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
) -> tuple[Any, Any, Any]:
    """Run one layer; returns (output, h_n, c_n), the last None unless an LSTM."""
    x = array(input)
    if x is None:
        refuse_none(op, input=x)
    reverse, batch_first = flag(op, "reverse", reverse), flag(op, "batch_first", batch_first)
    if x.ndim == 2:
        if lengths is not None:
            raise ValueError(f"{op}: lengths must be None for an unbatched input")
        y, h, c = _run(
            op,
            cell,
            _lengthen(input, 1),
            _lengthen(h0, 0),
            _lengthen(c0, 0),
            weights,
            reverse,
            False,
            None,
        )
        return y[:, 0], h[0], c if c is None else c[0]
    inputs = (input, h0, c0, *weights)
    h_in, c_in = array(h0), array(c0)
    w_ih, w_hh, b_ih, b_hh = map(array, weights)
    steps = array(lengths)
    save = recorded(*inputs)
    y, h_n, c_n, gates, cells, packed = _core.rnn_forward(
        op, cell, x, h_in, c_in, w_ih, w_hh, b_ih, b_hh, reverse, batch_first, steps, save
    )
    lstm = cell == "lstm"
    if not save:
        return y, h_n, c_n if lstm else None

    def backward(grads: Any, needs: tuple[bool, ...]) -> Gradients:
        d = gates.copy()  # the kernel works in place, and the graph may be kept
        grad_h0, grad_c0, h_prev = _core.rnn_backward(
            cell, w_hh, h_in, c_in, y, *_full(grads, lstm), d, cells, reverse, batch_first, steps
        )
        from_x, from_h = _split_gates(cell, d, w_hh.shape[1])
        rows = x.reshape(x.shape[0] * x.shape[1], x.shape[2])
        grad_x = grad_w_ih = grad_w_hh = grad_b_ih = grad_b_hh = None
        if needs[0]:
            grad_x = np.zeros_like(rows)
            grad_x[packed] = _core.matmul_forward(from_x, w_ih)
            grad_x = grad_x.reshape(x.shape)
        if needs[3]:
            grad_w_ih = _core.matmul_forward(from_x.T, rows[packed])
        if needs[4]:
            grad_w_hh = np.concatenate([_core.matmul_forward(g.T, h_prev) for g in from_h])
        if needs[5] or needs[6]:
            sums = _core.column_sum_forward(d)
            width = w_ih.shape[0]
            grad_b_ih = sums[:width]
            grad_b_hh = _hidden_bias(cell, sums, w_hh.shape[1])
        return (
            grad_x,
            grad_h0 if needs[1] else None,
            grad_c0 if needs[2] else None,
            grad_w_ih,
            grad_w_hh,
            grad_b_ih if needs[5] else None,
            grad_b_hh if needs[6] else None,
        )

    outputs = (y, h_n, c_n) if lstm else (y, h_n)
    results = record(outputs, inputs, backward, name=op)
    return results[0], results[1], results[2] if lstm else None


def _full(grads: Any, lstm: bool) -> tuple[Any, Any, Any]:
    return (grads[0], grads[1], grads[2] if lstm else None)


def _split_gates(cell: str, d: Array, hidden: int) -> tuple[Array, list[Array]]:
    """Gradients with respect to the input projection, and by row blocks of W_hh.

    The two differ for the GRU, whose n gate scales the recurrent product: its columns are
    r, z, n (input side), n (recurrent side).
    """
    if cell != "gru":
        return d, [d]
    return d[:, : 3 * hidden], [d[:, : 2 * hidden], d[:, 3 * hidden :]]


def _hidden_bias(cell: str, sums: Array, hidden: int) -> Array:
    if cell != "gru":
        return sums
    return np.concatenate([sums[: 2 * hidden], sums[3 * hidden :]])
