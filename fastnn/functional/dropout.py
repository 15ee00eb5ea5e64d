"""Dropout and its relatives, forward and backward.

Whether an element is dropped depends on its position alone: a counter-based generator
(Philox4x32-10: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011) turns the seed of
:func:`fastnn.manual_seed`, the number of the call and the element's index into the decision. The
mask is therefore the same for every number of threads, instruction set and dtype, and the backward
pass computes it again instead of keeping it.

Common to all:

input : array or Tensor, float32 or float64
p : float
    The probability of being dropped, in 0..1. With 0 nothing changes and with 1 all becomes 0.
training : bool
    If false, `input` itself comes back.
inplace : bool
    Write into `input`, a plain ndarray, and return it. Not while a gradient is being recorded.
out : array, optional
    Where to write the result instead. Not while a gradient is being recorded.

TypeError
    If input is not float32 or float64, or p is not a number.
ValueError
    If p is not in 0..1, or input has the wrong number of dimensions.
"""

from __future__ import annotations

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import check_destination, number, recorded, refuse_none
from fastnn.random import next_philox_key

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

# What SELU tends to for very negative inputs: -scale * alpha.
_SELU_LIMIT = -1.7580993408473766


def dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Zero each element with probability `p` and multiply the others by ``1 / (1 - p)``.

    Source: Srivastava et al., Dropout, 2014. For the arguments see the module.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> import fastnn.functional as F
    >>> fastnn.manual_seed(1)
    >>> y = F.dropout(np.ones(1000), 0.25)
    >>> sorted({round(float(v), 4) for v in y})
    [0.0, 1.3333]
    >>> F.dropout(np.ones(3), training=False)
    array([1., 1., 1.])
    """
    return _dropout("dropout", input, p, training, inplace, out, None)


def dropout1d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Dropout of whole channels of (N, C, L) or (C, L); see :func:`dropout`."""
    rank = _rank("dropout1d", input, (2, 3))
    return _dropout("dropout1d", input, p, training, inplace, out, rank - 1)


def dropout2d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Dropout of whole channels of (N, C, H, W); see :func:`dropout`.

    As in PyTorch, three dimensions mean (N, C, L).
    """
    _rank("dropout2d", input, (3, 4))
    return _dropout("dropout2d", input, p, training, inplace, out, 2)


def dropout3d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W); see :func:`dropout`."""
    rank = _rank("dropout3d", input, (4, 5))
    return _dropout("dropout3d", input, p, training, inplace, out, rank - 3)


def alpha_dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Set elements to SELU's negative limit, then scale and shift all to mean 0 and variance 1.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017. For the arguments see the
    module.
    """
    return _dropout("alpha_dropout", input, p, training, inplace, out, None, alpha=True)


def feature_alpha_dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Alpha dropout of whole channels of (N, C, ...); see :func:`alpha_dropout`."""
    op = "feature_alpha_dropout"
    _rank(op, input, None)
    return _dropout(op, input, p, training, inplace, out, 2, alpha=True)


def _rank(op: str, input: ArrayLike, allowed: tuple[int, int] | None) -> int:
    refuse_none(op, input=input)
    shape = array(input).shape
    rank = len(shape)
    if allowed is None:
        if rank < 2:
            raise ValueError(f"{op}: input must have at least 2 dimensions, got shape {shape}")
    elif rank not in allowed:
        low, high = allowed
        raise ValueError(f"{op}: input must have {low} or {high} dimensions, got shape {shape}")
    return rank


def _dropout(
    op: str,
    input: ArrayLike,
    p: float,
    training: bool,
    inplace: bool,
    out: Array | None,
    axes: int | None,
    alpha: bool = False,
) -> Result:
    """Drop along the first `axes` axes (None: all), the others going together."""
    p = number(op, "p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be in 0..1, got {p}")
    if inplace or out is not None:
        inplace = check_destination(op, input, inplace, out)
    if not training:
        p = 0.0
    x = array(input)
    if p == 0 and out is None:
        return input if recorded(input) else x
    if axes is None:
        refuse_none(op, input=x)
        axes = x.ndim
    # -0 as a shift leaves the sign of a zero alone.
    scale, shift, dropped = 1.0, -0.0, 0.0
    if 0 < p < 1 and not alpha:
        scale = 1 / (1 - p)
    elif 0 < p < 1:
        scale = ((1 - p) * (1 + p * _SELU_LIMIT**2)) ** -0.5
        shift = -scale * p * _SELU_LIMIT
        dropped = scale * _SELU_LIMIT + shift
    seed, stream = next_philox_key()
    y = _core.dropout_forward(op, x, axes, seed, stream, p, scale, shift, dropped, out, inplace)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (_core.dropout_forward(op, grad, axes, seed, stream, p, scale, -0.0, 0.0),)

    return record(y, (input,), backward, name=op)
