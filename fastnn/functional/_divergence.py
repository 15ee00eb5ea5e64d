"""Losses of distributions and of margins, element by element."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from fastnn import _core
from fastnn import _elementwise as elementwise
from fastnn.autograd import Array, ArrayLike, Result, TensorBase, array
from fastnn.functional._args import number
from fastnn.functional._pointwise_loss import (
    check_reduction,
    operand,
    pointwise,
    reduced,
    refuse_legacy,
)

__all__ = [
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "kl_div",
    "margin_ranking_loss",
    "poisson_nll_loss",
]

_KL_DIV = (_core.kl_div_forward, _core.kl_div_backward)
_HINGE = (_core.hinge_embedding_loss_forward, _core.hinge_embedding_loss_backward)
_RANKING = (_core.margin_ranking_loss_forward, _core.margin_ranking_loss_backward)
_POISSON = (_core.poisson_nll_loss_forward, _core.poisson_nll_loss_backward)
_GAUSSIAN = (_core.gaussian_nll_loss_forward, _core.gaussian_nll_loss_backward)


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Kullback-Leibler divergence ``target (log(target) - input)``, `input` being logarithms.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
        Log-probabilities.
    target : array or Tensor that broadcasts with the input
        Probabilities; 0 log 0 is 0.
    size_average, reduce : None
    reduction : {"mean", "batchmean", "none", "sum"}
        "batchmean" divides by ``input.shape[0]``, which is the divergence itself. "mean" divides
        by the number of elements and warns of it.
    log_target : bool
        Whether `target` holds logarithms too: ``exp(target) (target - input)``.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the arguments'

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> p, q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    >>> round(float(F.kl_div(np.log(q), p, reduction="batchmean")), 6)
    0.143841
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("kl_div", size_average, reduce)
    check_reduction("kl_div", reduction, ("mean", "batchmean", "none", "sum"))
    divisor = None
    if reduction == "mean":
        warnings.warn(
            "kl_div: reduction 'mean' divides by the number of elements; 'batchmean' gives the "
            "divergence",
            UserWarning,
            stacklevel=2,
        )
    elif reduction == "batchmean":
        x = operand("kl_div", "input", input)
        divisor = float(x.shape[0]) if x.ndim > 0 else 1.0
        reduction = "sum"
    return pointwise(
        "kl_div",
        _KL_DIV,
        input,
        target,
        reduction,
        flag=bool(log_target),
        divisor=divisor,
        out=out,
    )


def _labels(target: ArrayLike, x: Array) -> ArrayLike:
    """Integer labels in the input's dtype."""
    t = array(target)
    return t.astype(x.dtype) if t.dtype.kind in "iu" else target


def hinge_embedding_loss(
    input: ArrayLike,
    target: ArrayLike,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """``input`` where the target is 1, ``max(0, margin - input)`` where it is -1.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
        Distances.
    target : array that broadcasts with the input, of its dtype or integer
        1 (alike) or -1; a constant.
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the arguments'

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hinge_embedding_loss(np.array([0.25, 0.25]), np.array([1, -1]), reduction="none")
    array([0.25, 0.75])
    """
    op = "hinge_embedding_loss"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    margin = number(op, "margin", margin)
    labels = _labels(operand(op, "target", target), operand(op, "input", input))
    return pointwise(op, _HINGE, input, labels, reduction, parameter=margin, out=out)


def margin_ranking_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    margin: float = 0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """``max(0, margin - target (input1 - input2))``.

    Parameters
    ----------
    input1, input2 : array or Tensor, float32 or float64
    target : array of the inputs' dtype or integer
        1 where input1 should be the larger, -1 where input2 should. The three have the same
        number of dimensions and broadcast.
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the arguments'

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> a, b = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    >>> F.margin_ranking_loss(a, b, np.array([1, 1]), margin=0.5, reduction="none")
    array([1.5, 0. ])
    """
    op = "margin_ranking_loss"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    margin = number(op, "margin", margin)
    x1, x2 = operand(op, "input1", input1), operand(op, "input2", input2)
    t = operand(op, "target", target)
    if not x1.ndim == x2.ndim == t.ndim:
        raise ValueError(
            f"{op}: input1, input2 and target must have the same number of dimensions, got "
            f"shapes {x1.shape}, {x2.shape} and {t.shape}"
        )
    labels = _labels(target, x1)
    return pointwise(
        op, _RANKING, input1, labels, reduction, third=input2, parameter=margin, out=out
    )


def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    size_average: None = None,
    eps: float = 1e-8,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Negative log-likelihood of counts: ``exp(input) - target input``.

    Parameters
    ----------
    input : array or Tensor, float32 or float64
        Logarithm of the expected count, or the count itself if not `log_input`: the loss is then
        ``input - target log(input + eps)``.
    target : array or Tensor that broadcasts with the input
    log_input : bool
    full : bool
        Add Stirling's approximation of log(target!), for targets above 1.
    size_average : None
    eps : float
    reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the arguments'

    Raises
    ------
    ValueError
        For shapes that do not broadcast or a bad reduction.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.poisson_nll_loss(np.array([0.0]), np.array([2.0])))
    1.0
    """
    op = "poisson_nll_loss"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    eps = number(op, "eps", eps)
    loss = pointwise(
        op,
        _POISSON,
        input,
        target,
        reduction,
        parameter=eps,
        flag=bool(log_input),
        out=out,
    )
    if not full:
        return loss
    counts = array(target)
    above = np.where(counts > 1, counts, counts.dtype.type(1))
    stirling = above * np.log(above) - above + 0.5 * np.log(2 * math.pi * above)
    constant = np.where(counts > 1, stirling, 0).astype(counts.dtype)
    if reduction != "none":
        constant = reduced(
            np.broadcast_to(constant, np.broadcast_shapes(counts.shape, array(input).shape)),
            reduction,
        )
    if out is None:
        return elementwise.add(loss, constant)
    out += constant
    return out


def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Negative log-likelihood of normal variables: ``(log(var) + (input - target)^2 / var) / 2``.

    Parameters
    ----------
    input : array or Tensor, float32 or float64
        Expected values.
    target : array or Tensor that broadcasts with the input
    var : float, or array or Tensor of input's shape, or with one size 1, or without the last
        Variances, at least 0; smaller ones than `eps` count as `eps`.
    full : bool
        Add the constant ``log(2 pi) / 2``.
    eps : float
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, the arguments'

    Raises
    ------
    ValueError
        For shapes that do not fit, or a negative variance.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.gaussian_nll_loss(np.array([1.0]), np.array([3.0]), np.array([1.0])))
    2.0
    """
    op = "gaussian_nll_loss"
    eps = number(op, "eps", eps)
    x = operand(op, "input", input)
    if isinstance(var, (int, float)):
        var = np.full(x.shape, var, x.dtype)
    values = array(operand(op, "var", var))
    if values.size and values.min() < 0:
        raise ValueError(f"{op}: var must be >= 0, got {values.min()}")
    if values.shape != x.shape:
        if values.shape == x.shape[:-1]:
            tensor: Any = var if isinstance(var, TensorBase) else values
            var = tensor[..., None]
        elif values.ndim != x.ndim or [n for n, m in zip(values.shape, x.shape) if n != m] != [1]:
            raise ValueError(
                f"{op}: var.shape must be {x.shape} (input.shape), have one size 1, or lack the "
                f"last, got {values.shape}"
            )
    return pointwise(
        op,
        _GAUSSIAN,
        input,
        target,
        reduction,
        third=var,
        parameter=eps,
        flag=bool(full),
        out=out,
    )
