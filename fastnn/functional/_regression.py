"""Losses of regression: how far numbers are from numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array
from fastnn.functional._args import number
from fastnn.functional._pointwise_loss import (
    operand,
    pointwise,
    refuse_legacy,
    warn_of_broadcasting,
)

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]

_MSE = (_core.mse_loss_forward, _core.mse_loss_backward)
_L1 = (_core.l1_loss_forward, _core.l1_loss_backward)
_SMOOTH_L1 = (_core.smooth_l1_loss_forward, _core.smooth_l1_loss_backward)
_HUBER = (_core.huber_loss_forward, _core.huber_loss_backward)


def _regression(
    op: str,
    kernels: tuple[Any, Any],
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    *,
    parameter: float = 0.0,
    weight: ArrayLike = None,
    divide_by_weights: bool = False,
    out: Array | None = None,
) -> Result:
    x, t, w = operand(op, "input", input), operand(op, "target", target), array(weight)
    if x.shape != t.shape:
        warn_of_broadcasting(op, x, t)
    divisor = None
    if w is not None:
        if w.shape != x.shape:
            raise ValueError(f"{op}: weight.shape must be {x.shape} (input.shape), got {w.shape}")
        shape = np.broadcast_shapes(x.shape, t.shape)
        w = np.broadcast_to(w, shape)
        if divide_by_weights and reduction == "mean":
            divisor = float(np.sum(array(weight), dtype=np.float64))
    return pointwise(
        op,
        kernels,
        input,
        target,
        reduction,
        weight=w,
        parameter=parameter,
        divisor=divisor,
        out=out,
    )


def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Result:
    """Squared error ``weight (input - target)^2``.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    target : array or Tensor of input's shape
        Another shape broadcasts, with a warning.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
        With a weight, the mean divides by the sum of the weights.
    weight : array of input's shape, optional
        A constant.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, input's

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("mse_loss", size_average, reduce)
    return _regression(
        "mse_loss",
        _MSE,
        input,
        target,
        reduction,
        weight=weight,
        divide_by_weights=True,
        out=out,
    )


def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Result:
    """Absolute error ``weight |input - target|``; its gradient at 0 is 0.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    target : array or Tensor of input's shape
        Another shape broadcasts, with a warning.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
        With a weight, the mean divides by the sum of the weights.
    weight : array of input's shape, optional
        A constant.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, input's

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.l1_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    1.0
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("l1_loss", size_average, reduce)
    return _regression(
        "l1_loss",
        _L1,
        input,
        target,
        reduction,
        weight=weight,
        divide_by_weights=True,
        out=out,
    )


def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    out: Array | None = None,
) -> Result:
    """With d = input - target: ``d^2 / (2 beta)`` where |d| < beta, else ``|d| - beta / 2``.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    target : array or Tensor of input's shape
        Another shape broadcasts, with a warning.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    beta : float >= 0
        Where the square meets the line; 0 gives :func:`l1_loss`.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, input's

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit or a negative beta.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.smooth_l1_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    array([0.125, 2.5  ])
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("smooth_l1_loss", size_average, reduce)
    beta = number("smooth_l1_loss", "beta", beta)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be >= 0, got {beta}")
    return _regression(
        "smooth_l1_loss", _SMOOTH_L1, input, target, reduction, parameter=beta, out=out
    )


def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Result:
    """With d = input - target: ``d^2 / 2`` where |d| <= delta, else ``delta (|d| - delta / 2)``.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    target : array or Tensor of input's shape
        Another shape broadcasts, with a warning.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements, with a weight too.
    delta : float > 0
        Where the square meets the line.
    weight : array of input's shape, optional
        A constant.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, input's

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit or a delta that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none", delta=2.0)
    array([0.125, 4.   ])
    """
    delta = number("huber_loss", "delta", delta)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be > 0, got {delta}")
    return _regression(
        "huber_loss", _HUBER, input, target, reduction, parameter=delta, weight=weight, out=out
    )
