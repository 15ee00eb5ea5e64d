"""Losses: how far a prediction is from its target, each element or reduced to one number.

``reduction`` is "none" (a loss for each element or position), "mean" or "sum". A sum is made of
parts that depend on the shape alone, so it has the same bits for every number of threads. The old
PyTorch arguments ``size_average`` and ``reduce`` keep their places but must be None.
"""

from __future__ import annotations

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import integer, number, recorded, refuse_out_while_recording
from fastnn.functional._class_margin import (
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from fastnn.functional._ctc import ctc_loss
from fastnn.functional._distance import (
    cosine_embedding_loss,
    cosine_similarity,
    pairwise_distance,
    pdist,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from fastnn.functional._divergence import (
    gaussian_nll_loss,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    poisson_nll_loss,
)
from fastnn.functional._pointwise_loss import (
    operand,
    pointwise,
    refuse_legacy,
    same_shape,
)
from fastnn.functional._regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "pairwise_distance",
    "pdist",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

_BCE = (_core.binary_cross_entropy_forward, _core.binary_cross_entropy_backward)
_BCE_LOGITS = (
    _core.binary_cross_entropy_with_logits_forward,
    _core.binary_cross_entropy_with_logits_backward,
)


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    out: Array | None = None,
) -> Result:
    """Cross-entropy of a softmax over the classes, from logits.

    For a class index t: ``-weight[t] * log_softmax(input)[t]``. For class probabilities p:
    ``-sum_c weight[c] * p[c] * log_softmax(input)[c]``. The logits are read once; the gradient
    ``softmax - target`` needs one more read and one write.

    Parameters
    ----------
    input : array or Tensor, shape (C,), (N, C) or (N, C, d1, ...), float32 or float64
        Logits.
    target : integer array of input's shape without C, or array or Tensor of input's shape
        Class indices in 0..C-1 or `ignore_index`; or class probabilities.
    weight : array, shape (C,), optional
        Importance of each class; a constant.
    size_average, reduce : None
    ignore_index : int
        Positions with this index count nothing, even if their logits are NaN.
    reduction : {"mean", "none", "sum"}
        The mean divides by the sum of the weights of the targets that count (class indices;
        NaN where none counts) or by the number of positions (probabilities).
    label_smoothing : float in [0, 1]
        The target is mixed with this share of the uniform distribution (Szegedy et al. 2016,
        arXiv:1512.00567).
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (), or input's shape without C for ``reduction="none"``

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, a class index out of range, or a bad option.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.cross_entropy(np.zeros((2, 4)), np.array([1, 3])))  # log(4)
    1.3862943611198906
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("cross_entropy", size_average, reduce)
    x, t, w = array(input), array(target), array(weight)
    ignore_index = integer("cross_entropy", "ignore_index", ignore_index)
    smoothing = number("cross_entropy", "label_smoothing", label_smoothing)
    if out is not None:
        refuse_out_while_recording("cross_entropy", out, input, target)
    y, statistics, divisor = _core.cross_entropy_forward(
        x, t, w, ignore_index, reduction, smoothing, recorded(input, target), out
    )

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        scale = divisor if reduction == "mean" else 1.0
        gradients: tuple[Array | None, ...] = _core.cross_entropy_backward(
            grad, x, t, w, ignore_index, smoothing, statistics, scale, needs
        )
        return gradients

    return record(y, (input, target), backward, name="cross_entropy")


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Negative log-likelihood: ``-weight[t] * input[t]`` at the target class t of each position.

    Parameters
    ----------
    input : array or Tensor, shape (C,), (N, C) or (N, C, d1, ...), float32 or float64
        Log-probabilities.
    target : integer array of input's shape without C
        Class indices in 0..C-1 or `ignore_index`.
    weight : array, shape (C,), optional
        Importance of each class; a constant.
    size_average, reduce : None
    ignore_index : int
        Positions with this index count nothing.
    reduction : {"mean", "none", "sum"}
        The mean divides by the sum of the weights of the targets that count; NaN where none does.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (), or input's shape without C for ``reduction="none"``

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit or a class index out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> float(F.nll_loss(np.log([[0.25, 0.75]]), np.array([0])))
    1.3862943611198906
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("nll_loss", size_average, reduce)
    x, t, w = array(input), array(target), array(weight)
    ignore_index = integer("nll_loss", "ignore_index", ignore_index)
    if out is not None:
        refuse_out_while_recording("nll_loss", out, input)
    y, divisor = _core.nll_loss_forward(x, t, w, ignore_index, reduction, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        scale = divisor if reduction == "mean" else 1.0
        return (_core.nll_loss_backward(grad, x, t, w, ignore_index, scale),)

    return record(y, (input,), backward, name="nll_loss")


def _weight_like(op: str, name: str, weight: ArrayLike, shape: tuple[int, ...]) -> Array | None:
    """`weight` broadcast to the input's shape."""
    w = array(weight)
    if w is None or w.shape == shape:
        return w  # type: ignore[no-any-return]
    try:
        return np.broadcast_to(w, shape)
    except ValueError:
        raise ValueError(
            f"{op}: {name}.shape must broadcast to {shape} (input.shape), got {w.shape}"
        ) from None


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """Cross-entropy of probabilities: ``-w (t log x + (1 - t) log(1 - x))``.

    Logarithms are at least -100, so a loss is finite, and x (1 - x) in the gradient is at least
    1e-12, as in PyTorch. From logits, use :func:`binary_cross_entropy_with_logits`.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
        Probabilities in [0, 1], or NaN.
    target : array or Tensor of input's shape
        Usually 0 or 1.
    weight : array, optional
        Broadcasts to input's shape; a constant.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
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
        For shapes that do not fit, or an input outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.binary_cross_entropy(np.array([0.5, 1.0]), np.array([1.0, 0.0]), reduction="none")
    array([  0.69314718, 100.        ])
    """
    op = "binary_cross_entropy"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    x, t = operand(op, "input", input), operand(op, "target", target)
    same_shape(op, x, t)
    w = None if weight is None else _weight_like(op, "weight", weight, x.shape)
    return pointwise(op, _BCE, input, target, reduction, weight=w, out=out)


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Result:
    """Binary cross-entropy of ``sigmoid(input)``, without its overflow.

    ``w ((1 - t) x + (1 + (p - 1) t) log(1 + exp(-x)))`` with w = weight and p = pos_weight.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
        Logits.
    target : array or Tensor of input's shape
        Usually 0 or 1.
    weight : array, optional
        Broadcasts to input's shape; a constant.
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    pos_weight : array or Tensor, optional
        Multiplies the loss of positive targets; broadcasts to input's shape.
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
    >>> float(F.binary_cross_entropy_with_logits(np.array([0.0]), np.array([1.0])))  # log(2)
    0.6931471805599453
    """
    op = "binary_cross_entropy_with_logits"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    x, t = operand(op, "input", input), operand(op, "target", target)
    same_shape(op, x, t)
    w = None if weight is None else _weight_like(op, "weight", weight, x.shape)
    if pos_weight is not None:
        _weight_like(op, "pos_weight", pos_weight, x.shape)
    return pointwise(op, _BCE_LOGITS, input, target, reduction, weight=w, third=pos_weight, out=out)
