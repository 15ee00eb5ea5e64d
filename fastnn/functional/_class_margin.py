"""Losses of scores of classes that should keep a margin: one right class, or several."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, record
from fastnn.functional._args import number, refuse_out_while_recording
from fastnn.functional._pointwise_loss import (
    check_reduction,
    operand,
    pointwise,
    reduced,
    refuse_legacy,
    same_shape,
    write,
)

__all__ = [
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
]

_SOFT_MARGIN = (_core.soft_margin_loss_forward, _core.soft_margin_loss_backward)


def _begin(
    op: str,
    input: ArrayLike,
    target: ArrayLike,
    legacy: tuple[Any, Any],
    reduction: str,
    out: Array | None,
) -> tuple[Array, Array]:
    """Check what the four have in common; return the arrays."""
    if out is not None:
        refuse_out_while_recording(op, out, input)
    if legacy != (None, None):
        refuse_legacy(op, *legacy)
    check_reduction(op, reduction)
    x, t = operand(op, "input", input), operand(op, "target", target)
    if x.dtype.char not in "fd":
        raise TypeError(
            f"{op}: input.dtype must be float32 or float64, got {x.dtype} "
            "(convert with input.astype(numpy.float32))"
        )
    return x, t


def _class_weight(op: str, weight: ArrayLike, x: Array) -> Array | None:
    """Return one weight a class of x (..., C)."""
    if weight is None:
        return None
    w = operand(op, "weight", weight)
    if w.dtype != x.dtype:
        raise TypeError(f"{op}: weight.dtype must be {x.dtype} like input's, got {w.dtype}")
    if w.shape != x.shape[-1:]:
        raise ValueError(f"{op}: weight.shape must be {x.shape[-1:]} (classes), got {w.shape}")
    return w


def _rows(op: str, x: Array) -> Array:
    """Return scores of shape (C,) or (N, C) as (N, C), which must have classes."""
    if x.ndim not in (1, 2) or x.shape[-1] == 0:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,) with C > 0, got {x.shape}")
    return x.reshape(-1, x.shape[-1])


def _labels(op: str, t: Array, shape: tuple[int, ...], least: int, classes: int) -> Array:
    """Return integer labels in [least, classes), checked, as int64."""
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: target.dtype must be an integer type, got {t.dtype}")
    if t.shape != shape:
        raise ValueError(f"{op}: target.shape must be {shape}, got {t.shape}")
    if t.size and not (t.min() >= least and t.max() < classes):
        raise ValueError(f"{op}: target must be in [{least}, {classes})")
    return t.astype(np.int64)


def multi_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Hinge loss of classes: ``sum over j != y of w[y] max(0, margin - x[y] + x[j])^p / C``.

    Parameters
    ----------
    input : array or Tensor, shape (N, C) or (C,), float32 or float64
        Scores x of the C classes.
    target : array of ints, shape (N,) or ()
        The right class y of each row.
    p : {1, 2}
    margin : float
    weight : array, shape (C,), optional
        What a row of each class counts.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
        "mean" divides by N.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, target's

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes, labels or a p that do not suit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.multi_margin_loss(np.array([[1.0, 0.5, -2.0]]), np.array([0]))) * 6
    1.0
    """
    op = "multi_margin_loss"
    x, t = _begin(op, input, target, (size_average, reduce), reduction, out)
    margin = number(op, "margin", margin)
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    rows = _rows(op, x)
    labels = _labels(op, t, x.shape[:-1], 0, rows.shape[1]).reshape(-1, 1)
    w = _class_weight(op, weight, x)
    scale = np.full(labels.shape, 1 / rows.shape[1], x.dtype)
    if w is not None:
        scale *= w[labels]
    excess = np.maximum(rows - np.take_along_axis(rows, labels, 1) + x.dtype.type(margin), 0)
    np.put_along_axis(excess, labels, 0, 1)
    values = ((excess if p == 1 else excess * excess) * scale).sum(1)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        slope = (excess > 0) if p == 1 else 2 * excess
        share: Array = slope * (scale * grad.reshape(-1, 1))
        np.put_along_axis(share, labels, -share.sum(1, keepdims=True), 1)
        return (share.reshape(x.shape),)

    losses = record(values.reshape(x.shape[:-1]), (input,), backward, name=op)
    return write(op, reduced(losses, reduction), out, input, target)


def multilabel_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Hinge loss of several right classes.

    The sum over right classes y and wrong ones i of ``max(0, 1 - x[y] + x[i]) / C``.

    Parameters
    ----------
    input : array or Tensor, shape (N, C) or (C,), float32 or float64
        Scores x of the C classes.
    target : array of ints, the input's shape
        The right classes of each row, up to the first -1.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
        "mean" divides by N.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, (N,) or ()

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes or labels that do not suit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.array([[0.1, 0.2, 0.4, 0.8]])
    >>> round(float(F.multilabel_margin_loss(x, np.array([[3, 0, -1, 1]]))), 6)
    0.85
    """
    op = "multilabel_margin_loss"
    x, t = _begin(op, input, target, (size_average, reduce), reduction, out)
    rows = _rows(op, x)
    classes = rows.shape[1]
    labels = _labels(op, t, x.shape, -1, classes).reshape(rows.shape)
    used = np.logical_and.accumulate(labels >= 0, axis=1)
    wrong = np.ones(rows.shape, bool)
    row, column = np.nonzero(used)
    wrong[row, labels[row, column]] = False

    def excess_of(column: int) -> tuple[Array, Array]:
        """Each wrong class's excess over the right class in a column of the target."""
        at = np.where(used[:, column], labels[:, column], 0)[:, None]
        excess = np.maximum(rows - np.take_along_axis(rows, at, 1) + x.dtype.type(1), 0)
        return at, np.where(wrong & used[:, column : column + 1], excess, 0)

    longest = int(used.sum(1).max(initial=0))
    values = np.zeros(len(rows), x.dtype)
    for k in range(longest):
        values += excess_of(k)[1].sum(1)
    values /= classes

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        share = np.zeros(rows.shape, x.dtype)
        for k in range(longest):
            at, excess = excess_of(k)
            over = (excess > 0).astype(x.dtype)
            share += over
            held = np.take_along_axis(share, at, 1)
            np.put_along_axis(share, at, held - over.sum(1, keepdims=True), 1)
        return ((share * (grad.reshape(-1, 1) / classes)).reshape(x.shape),)

    losses = record(values.reshape(x.shape[:-1]), (input,), backward, name=op)
    return write(op, reduced(losses, reduction), out, input, target)


def soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Logistic loss of two classes: ``log(1 + exp(-target input))``.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    target : array, the input's shape, of any number type
        1 or -1.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the input's

    Raises
    ------
    TypeError, ValueError
        For dtypes or shapes that do not suit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> round(float(F.soft_margin_loss(np.array([1.0, 2.0]), np.array([1, -1]))), 6)
    1.220095
    """
    op = "soft_margin_loss"
    x, t = _begin(op, input, target, (size_average, reduce), reduction, out)
    same_shape(op, x, t)
    signs = target if t.dtype == x.dtype else t.astype(x.dtype)
    return pointwise(op, _SOFT_MARGIN, input, signs, reduction, out=out)


def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Logistic loss of each class, y or not: the mean over C of ``log(1 + exp(-x)) + (1 - y) x``.

    Parameters
    ----------
    input : array or Tensor, shape (..., C), float32 or float64
        Scores x of the C classes.
    target : array, the input's shape, of any number type
        1 for the right classes y, 0 for the others.
    weight : array, shape (C,), optional
        What each class counts.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the input's without C

    Raises
    ------
    TypeError, ValueError
        For dtypes or shapes that do not suit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x, y = np.array([[1.0, -2.0]]), np.array([[1, 0]])
    >>> round(float(F.multilabel_soft_margin_loss(x, y)), 6)
    0.220095
    """
    op = "multilabel_soft_margin_loss"
    x, t = _begin(op, input, target, (size_average, reduce), reduction, out)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{op}: input must have shape (..., C) with C > 0, got {x.shape}")
    same_shape(op, x, t)
    w = _class_weight(op, weight, x)
    scale = x.dtype.type(1 / x.shape[-1]) * (x.dtype.type(1) if w is None else w)
    right = t.astype(x.dtype)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    values = np.logaddexp(zero, -x) + (one - right) * x

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        slope = np.exp(-np.logaddexp(zero, -x)) - right
        return (np.asarray(slope * scale * grad[..., None]),)

    losses = record(np.asarray((values * scale).sum(-1)), (input,), backward, name=op)
    return write(op, reduced(losses, reduction), out, input, target)
