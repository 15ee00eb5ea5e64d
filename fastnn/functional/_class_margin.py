"""Losses of scores of classes that should keep a margin: one right class, or several."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import number, refuse_out_while_recording
from fastnn.functional._pointwise_loss import (
    check_reduction,
    operand,
    pointwise,
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
_MULTILABEL_SOFT_MARGIN = (
    _core.multilabel_soft_margin_loss_forward,
    _core.multilabel_soft_margin_loss_backward,
)


def _target_like(op: str, input: ArrayLike, target: ArrayLike) -> ArrayLike:
    """Return the target, which has the input's shape, in the input's dtype."""
    x, t = operand(op, "input", input), operand(op, "target", target)
    same_shape(op, x, t)
    return target if t.dtype == x.dtype or x.dtype.char not in "fd" else t.astype(x.dtype)


def _hinge(
    op: str,
    kernels: tuple[Any, Any],
    input: ArrayLike,
    target: ArrayLike,
    options: tuple[Array | None, int, float],
    legacy: tuple[None, None],
    reduction: str,
    out: Array | None,
) -> Result:
    """Compute and record a loss with options (weight, p, margin)."""
    if legacy != (None, None):
        refuse_legacy(op, *legacy)
    x, t = operand(op, "input", input), operand(op, "target", target)
    if out is not None:
        refuse_out_while_recording(op, out, input)
    forward_kernel, backward_kernel = kernels
    y = forward_kernel(x, t, *options, reduction, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (backward_kernel(grad, x, t, *options, reduction == "mean"),)

    return record(y, (input,), backward, name=op)


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
    target : array of ints, shape (N,), or () or (1,) for one row
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
    margin = number(op, "margin", margin)
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    kernels = (_core.multi_margin_loss_forward, _core.multi_margin_loss_backward)
    options = (array(weight), p, margin)
    return _hinge(op, kernels, input, target, options, (size_average, reduce), reduction, out)


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
    kernels = (_core.multilabel_margin_loss_forward, _core.multilabel_margin_loss_backward)
    options = (None, 1, 1.0)
    return _hinge(op, kernels, input, target, options, (size_average, reduce), reduction, out)


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
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    signs = _target_like(op, input, target)
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
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    check_reduction(op, reduction)
    x, right = operand(op, "input", input), _target_like(op, input, target)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{op}: input must have shape (..., C) with C > 0, got {x.shape}")
    w = array(weight)
    if w is not None:
        if w.shape != x.shape[-1:]:
            raise ValueError(f"{op}: weight.shape must be {x.shape[-1:]} (classes), got {w.shape}")
        w = np.broadcast_to(w, x.shape)
    kernels = _MULTILABEL_SOFT_MARGIN
    if reduction != "none":
        divisor = float(x.size if reduction == "mean" else x.shape[-1])
        return pointwise(op, kernels, input, right, "sum", weight=w, divisor=divisor, out=out)
    if out is not None:
        refuse_out_while_recording(op, out, input)
    losses: Any = pointwise(op, kernels, input, right, "none", weight=w)
    return write(op, losses.mean(-1), out, input, target)
