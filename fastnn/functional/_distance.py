"""Similarity and distance of vectors, and the losses made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _core
from fastnn import _elementwise as elementwise
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import integer, number, recorded, refuse_out_while_recording
from fastnn.functional._pointwise_loss import (
    broadcast,
    check_reduction,
    operand,
    reduced,
    refuse_legacy,
    write,
)

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "pairwise_distance",
    "pdist",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def cosine_similarity(
    x1: ArrayLike, x2: ArrayLike, dim: int = 1, eps: float = 1e-8, *, out: Array | None = None
) -> Result:
    """Cosine of the angle between vectors: ``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))``.

    Parameters
    ----------
    x1, x2 : array or Tensor, shapes that broadcast, float32 or float64
    dim : int
        The vectors' dimension, of the common shape.
    eps : float
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, the common shape without `dim`

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not broadcast, or a dimension that is not there.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.cosine_similarity(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).round(6)
    array([0.707107])
    """
    if out is not None:
        refuse_out_while_recording("cosine_similarity", out, x1, x2)
    eps = number("cosine_similarity", "eps", eps)
    return _cosine("cosine_similarity", x1, x2, dim, eps, False, out)


def _cosine(
    op: str,
    x1: ArrayLike,
    x2: ArrayLike,
    dim: int,
    eps: float,
    add_eps: bool,
    out: Array | None = None,
) -> Result:
    a, b = operand(op, "x1", x1), operand(op, "x2", x2)
    shapes = a.shape, b.shape
    if a.shape != b.shape:
        a, b = broadcast(op, a, b)
    dim = integer(op, "dim", dim)
    if not -a.ndim <= dim < a.ndim:
        raise ValueError(f"{op}: dim must be in {-a.ndim}..{a.ndim - 1}, got {dim}")
    if dim % a.ndim != a.ndim - 1:
        a, b = np.moveaxis(a, dim, -1), np.moveaxis(b, dim, -1)
    keep = recorded(x1, x2)
    y, norms = _core.cosine_similarity_forward(a, b, eps, add_eps, keep, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        gradients = _core.cosine_similarity_backward(grad, a, b, eps, add_eps, y, norms, needs)
        return _like(gradients, shapes, dim)

    return record(y, (x1, x2), backward, name=op)


def _like(
    gradients: tuple[Array | None, ...], shapes: tuple[tuple[int, ...], ...], dim: int
) -> tuple[Array | None, ...]:
    """Gradients over the last axis brought back to the arguments' shapes."""
    return tuple(
        None if g is None else elementwise.unbroadcast(np.moveaxis(g, -1, dim), shape)
        for g, shape in zip(gradients, shapes)
    )


def pairwise_distance(
    x1: ArrayLike,
    x2: ArrayLike,
    p: float = 2.0,
    eps: float = 1e-6,
    keepdim: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """p-norm of ``x1 - x2 + eps`` over the last dimension.

    Parameters
    ----------
    x1, x2 : array or Tensor, shapes that broadcast, float32 or float64
    p : float >= 0
        ``math.inf`` for the largest magnitude; 0 counts what is not zero.
    eps : float
    keepdim : bool
        Whether the last dimension stays, with size 1.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, the common shape without its last dimension

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not broadcast, or a negative p.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.pairwise_distance(np.array([[3.0, 4.0]]), np.zeros((1, 2)), eps=0.0)
    array([5.])
    """
    if out is not None:
        refuse_out_while_recording("pairwise_distance", out, x1, x2)
    op = "pairwise_distance"
    p, eps = number(op, "p", p), number(op, "eps", eps)
    if not p >= 0:
        raise ValueError(f"{op}: p must be >= 0, got {p}")
    a, b = operand(op, "x1", x1), operand(op, "x2", x2)
    shapes = a.shape, b.shape
    if a.shape != b.shape:
        a, b = broadcast(op, a, b)
    y = _core.pairwise_distance_forward(a, b, p, eps, bool(keepdim), out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        rows = a.shape[:-1]
        gradients = _core.pairwise_distance_backward(
            grad.reshape(rows), a, b, p, eps, y.reshape(rows), needs
        )
        return _like(gradients, shapes, -1)

    return record(y, (x1, x2), backward, name=op)


def pdist(input: ArrayLike, p: float = 2.0, *, out: Array | None = None) -> Result:
    """p-norm of the difference of every pair of rows, (0, 1), (0, 2), ... (1, 2), ...

    Parameters
    ----------
    input : array or Tensor, shape (N, D), float32 or float64
    p : float >= 0
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N (N - 1) / 2,)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64.
    ValueError
        For another number of dimensions, or a negative p.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.pdist(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]]))
    array([5., 3., 4.])
    """
    x = operand("pdist", "input", input)
    if x.ndim != 2:
        raise ValueError(f"pdist: input must have 2 dimensions, got shape {x.shape}")
    refuse_out_while_recording("pdist", out, input)
    if out is not None and np.may_share_memory(out, x):
        raise ValueError("pdist: out must not share memory with an input")
    first, second = np.triu_indices(len(x), 1)
    rows: Any = input if hasattr(input, "requires_grad") else x
    return pairwise_distance(rows[first], rows[second], p, 0.0, out=out)


def cosine_embedding_loss(
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
    """With c the cosine of two vectors: ``1 - c`` for target 1, ``max(0, c - margin)`` for -1.

    Parameters
    ----------
    input1, input2 : array or Tensor, shape (N, D) or (D,), float32 or float64
    target : array, shape (N,) or (), of any number type
        1 or -1.
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, target's

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
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> F.cosine_embedding_loss(x, x, np.array([1, -1]), margin=0.5, reduction="none").round(6)
    array([0. , 0.5])
    """
    if out is not None:
        refuse_out_while_recording("cosine_embedding_loss", out, input1, input2)
    op = "cosine_embedding_loss"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    check_reduction(op, reduction)
    margin = number(op, "margin", margin)
    t = operand(op, "target", target)
    a, b = operand(op, "input1", input1), operand(op, "input2", input2)
    if t.ndim > 1 or a.ndim != t.ndim + 1 or b.ndim != t.ndim + 1:
        raise ValueError(
            f"{op}: target must have shape (N,) and the inputs (N, D), or () and (D,), got "
            f"{t.shape}, {a.shape} and {b.shape}"
        )
    if t.ndim == 1 and t.shape[0] != np.broadcast_shapes(a.shape[:1], b.shape[:1])[0]:
        raise ValueError(
            f"{op}: target.shape must be {a.shape[:1]} (input1.shape[0]), got {t.shape}"
        )
    cosine = _cosine(op, input1, input2, t.ndim, 1e-12, True)
    c = array(cosine)
    far = c - c.dtype.type(margin)
    zero = c.dtype.type(0)
    values = np.where(t == 1, 1 - c, zero) + np.where(t == -1, np.maximum(zero, far), zero)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        away = np.where((t == -1) & (far >= 0), grad, zero)
        return (np.asarray(away - np.where(t == 1, grad, zero)),)

    losses = record(np.asarray(values, c.dtype), (cosine,), backward, name=op)
    return write(op, reduced(losses, reduction), out, input1, input2, target)


def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Result:
    """``max(0, margin + d(anchor, positive) - d(anchor, negative))``.

    Parameters
    ----------
    anchor, positive, negative : array or Tensor, shape (N, D) or (D,), float32 or float64
    margin : float > 0
    p, eps : float
        Of :func:`pairwise_distance`, which is d.
    swap : bool
        Use d(positive, negative) where it is less than d(anchor, negative) (Balntas et al.,
        "Learning shallow convolutional feature descriptors with triplet losses", 2016).
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape () or, for ``reduction="none"``, (N,)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, or a margin that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.5]])
    >>> round(float(F.triplet_margin_loss(a, p, n)), 5)
    0.5
    """
    if out is not None:
        refuse_out_while_recording("triplet_margin_loss", out, anchor, positive, negative)
    op = "triplet_margin_loss"
    if size_average is not None or reduce is not None:
        refuse_legacy(op, size_average, reduce)
    p, eps = number(op, "p", p), number(op, "eps", eps)
    return _triplet(
        op,
        anchor,
        positive,
        negative,
        lambda a, b: pairwise_distance(a, b, p, eps),
        number(op, "margin", margin),
        swap,
        reduction,
        out,
    )


def triplet_margin_with_distance_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
    out: Array | None = None,
) -> Result:
    """:func:`triplet_margin_loss` with a distance of one's own.

    Parameters
    ----------
    anchor, positive, negative : array or Tensor of the same rank
    distance_function : callable, optional
        Maps two of them to distances; :func:`pairwise_distance` by default.
    margin : float > 0
    swap : bool
    reduction : {"mean", "none", "sum"}
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor

    Raises
    ------
    ValueError
        For ranks that differ, or a margin that is not positive.
    """
    if out is not None:
        refuse_out_while_recording(
            "triplet_margin_with_distance_loss", out, anchor, positive, negative
        )
    op = "triplet_margin_with_distance_loss"
    distance = pairwise_distance if distance_function is None else distance_function
    margin = number(op, "margin", margin)
    return _triplet(op, anchor, positive, negative, distance, margin, swap, reduction, out)


def _triplet(
    op: str,
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    distance: Callable[[Any, Any], Any],
    margin: float,
    swap: bool,
    reduction: str,
    out: Array | None,
) -> Result:
    check_reduction(op, reduction)
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"{op}: margin must be > 0, got {margin}")
    names = ("anchor", "positive", "negative")
    values = (anchor, positive, negative)
    shapes = [operand(op, name, value).shape for name, value in zip(names, values)]
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(
            f"{op}: anchor, positive and negative must have the same number of dimensions, got "
            f"shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        other = distance(positive, negative)
        far = elementwise.where(array(other) < array(far), other, far)
    losses = elementwise.add(elementwise.subtract(near, far), margin)
    result = reduced(elementwise.clip(losses, min=0), reduction)
    return write(op, result, out, anchor, positive, negative)
