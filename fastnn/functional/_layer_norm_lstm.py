"""The LSTM with layer normalisation, put together from other operations, a step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _elementwise as E
from fastnn.autograd import ArrayLike, Result, array
from fastnn.functional._args import flag, refuse_none
from fastnn.functional._recurrent import lengthen, pair_of_states
from fastnn.functional.elementwise import sigmoid, tanh
from fastnn.functional.gemm import linear
from fastnn.functional.norm import layer_norm
from fastnn.tensor import stack


def layer_norm_lstm(
    input: ArrayLike,
    hx: tuple[ArrayLike, ArrayLike] | None,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    bias: ArrayLike = None,
    norm_ih: tuple[ArrayLike, ArrayLike] = (None, None),
    norm_hh: tuple[ArrayLike, ArrayLike] = (None, None),
    norm_c: tuple[ArrayLike, ArrayLike] = (None, None),
    *,
    eps: float = 1e-5,
    reverse: bool = False,
    batch_first: bool = False,
    lengths: ArrayLike = None,
) -> tuple[Result, tuple[Result, Result]]:
    """LSTM with layer normalisation (Ba, Kiros and Hinton, 2016).

    With LN the normalisation over a row of units, and i, f, g, o the four blocks of
    ``LN(W_ih x_t) + LN(W_hh h_{t-1}) + b``::

        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(LN(c_t))

    The input projections of all steps are one product; the steps themselves are separate calls, so
    that this costs more a step than :func:`lstm`.

    Parameters
    ----------
    input : array or Tensor, shape (T, B, I), (B, T, I) with batch_first, or (T, I)
        float32 or float64.
    hx : (h_0, c_0), each of shape (B, H), or (H,) for an unbatched input; None for zeros
    w_ih, w_hh : array or Tensor, shape (4 H, I) and (4 H, H)
    bias : array or Tensor, shape (4 H,), optional
    norm_ih, norm_hh, norm_c : (weight, bias)
        Of the three normalisations, of shapes (4 H,), (4 H,) and (H,); None for 1 and 0.
    eps : float
        Added to every variance.
    reverse, batch_first, lengths
        As in :func:`lstm`.

    Returns
    -------
    output : shape (T, B, H), (B, T, H) or (T, H)
    (h_n, c_n) : each of shape (B, H) or (H,)

    Raises
    ------
    TypeError, ValueError
        For dtypes and shapes that do not fit, or lengths outside 0..T.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x, w_ih, w_hh = np.ones((5, 2, 3)), np.ones((16, 3)), np.ones((16, 4))
    >>> output, (h, c) = F.layer_norm_lstm(x, None, w_ih, w_hh)
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 4))
    """
    op = "layer_norm_lstm"
    refuse_none(op, input=input, w_ih=w_ih, w_hh=w_hh)
    x = array(input)
    reverse, batch_first = flag(op, "reverse", reverse), flag(op, "batch_first", batch_first)
    h, c = pair_of_states(op, hx)
    if x.ndim == 2:
        if lengths is not None:
            raise ValueError(f"{op}: lengths must be None for an unbatched input")
        y, states = layer_norm_lstm(
            lengthen(input, 1),
            (lengthen(h, 0), lengthen(c, 0)),
            w_ih,
            w_hh,
            bias,
            norm_ih,
            norm_hh,
            norm_c,
            eps=eps,
            reverse=reverse,
        )
        return y[:, 0], (states[0][0], states[1][0])
    if x.ndim != 3:
        raise ValueError(f"{op}: input must have 2 or 3 dimensions, got shape {x.shape}")
    batch, steps = x.shape[:2] if batch_first else x.shape[1::-1]
    wide, hidden = _check_shapes(op, array(w_ih), array(w_hh), x.shape[2])
    zero = np.zeros((batch, hidden), x.dtype)
    h, c = (zero if state is None else state for state in (h, c))
    for name, state in (("h_0", h), ("c_0", c)):
        if array(state).shape != zero.shape:
            raise ValueError(f"{op}: {name}.shape must be {zero.shape}, got {array(state).shape}")
    ends = _ends(op, lengths, batch, steps)
    projected = layer_norm(linear(input, w_ih), (wide,), *norm_ih, eps)
    if bias is not None:
        projected = E.add(projected, bias)
    outputs: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        gates = E.add(
            projected[:, t] if batch_first else projected[t],
            layer_norm(linear(h, w_hh), (wide,), *norm_hh, eps),
        )
        i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
        new_c = E.add(E.multiply(sigmoid(f), c), E.multiply(sigmoid(i), tanh(g)))
        normed = layer_norm(new_c, (hidden,), *norm_c, eps)
        new_h = E.multiply(sigmoid(o), tanh(normed))
        if ends is None:
            h, c, outputs[t] = new_h, new_c, new_h
        else:
            running = (ends > t)[:, None]
            h, c = E.where(running, new_h, h), E.where(running, new_c, c)
            outputs[t] = E.where(running, new_h, zero)
    axis = 1 if batch_first else 0
    y = stack(outputs, axis) if steps > 0 else np.zeros((*x.shape[:2], hidden), x.dtype)
    return y, (h, c)


def _check_shapes(op: str, w_ih: Any, w_hh: Any, inputs: int) -> tuple[int, int]:
    """Return (4 H, H)."""
    hidden = w_hh.shape[-1] if w_hh.ndim == 2 else 0
    if hidden < 1 or w_hh.shape[0] != 4 * hidden:
        raise ValueError(
            f"{op}: w_hh.shape must be (4 * hidden_size, hidden_size), got {w_hh.shape}"
        )
    if w_ih.shape != (4 * hidden, inputs):
        raise ValueError(
            f"{op}: w_ih.shape must be {(4 * hidden, inputs)} (4 * hidden_size, input size), "
            f"got {w_ih.shape}"
        )
    return 4 * hidden, hidden


def _ends(op: str, lengths: ArrayLike, batch: int, steps: int) -> Any:
    """The sequences' lengths, or None if all are as long as the batch."""
    if lengths is None:
        return None
    ends = np.asarray(array(lengths))
    if ends.dtype.kind not in "iu":
        raise TypeError(f"{op}: lengths.dtype must be an integer type, got {ends.dtype}")
    if ends.shape != (batch,):
        raise ValueError(f"{op}: lengths.shape must be ({batch},) (batch size), got {ends.shape}")
    if batch > 0 and (ends.min() < 0 or ends.max() > steps):
        raise ValueError(f"{op}: lengths must be in 0..{steps} (time steps), got {ends}")
    return ends
