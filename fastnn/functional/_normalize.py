"""Division by a norm along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import integers, number, refuse_out_while_recording

__all__ = ["normalize"]


def normalize(
    input: ArrayLike,
    p: float = 2.0,
    dim: int | tuple[int, ...] = 1,
    eps: float = 1e-12,
    out: Array | None = None,
) -> Result:
    r"""Divide by the p-norm along a dimension.

    .. math:: y = x \,/\, \max(\lVert x \rVert_p, \epsilon)

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    p : float
        The order of the norm. The Euclidean norm over one dimension, the default, is the quick one;
        others are left to NumPy.
    dim : int or tuple of int
    eps : float
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64.
    ValueError
        If dim is out of range, or eps negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    x = array(input)
    p = number("normalize", "p", p)
    if out is not None:
        refuse_out_while_recording("normalize", out, input)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if p != 2 or isinstance(dim, (tuple, list)):
        return _normalize_by_any_norm(input, p, dim, eps, out)
    y, norms = _core.normalize_forward(x, dim, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.normalize_backward(grad, y, norms, dim, eps),)

    return record(y, (input,), backward, name="normalize")


def _normalize_by_any_norm(input: ArrayLike, p: float, dim: Any, eps: float, out: Any) -> Result:
    x = array(input)
    # The checks of the arguments are the kernel's, on an array without elements.
    probe = np.empty((0,) * x.ndim, x.dtype) if isinstance(x, np.ndarray) else x
    axes = integers("normalize", "dim", _sequence(dim))
    for axis in axes or (0,):
        _core.normalize_forward(probe, axis, eps)
    if len({axis % max(1, x.ndim) for axis in axes}) != len(axes):
        raise ValueError(f"normalize: dim must name each dimension once, got {dim!r}")
    if x.ndim == 0:
        axes = ()
    size = np.abs(x)
    with np.errstate(divide="ignore", over="ignore"):
        if p == 0:
            norm = (x != 0).sum(axes, keepdims=True, dtype=x.dtype)
        elif np.isinf(p):
            norm = (size.max if p > 0 else size.min)(axes, keepdims=True)
        else:
            norm = (size**p).sum(axes, keepdims=True) ** (1 / p)
    norm = np.asarray(norm, x.dtype)
    divisor = np.maximum(norm, x.dtype.type(eps))
    if out is not None and (not isinstance(out, np.ndarray) or out.dtype != x.dtype):
        raise TypeError(f"normalize: out must be a numpy.ndarray of {x.dtype}")
    if out is not None and out.shape != x.shape:
        raise ValueError(f"normalize: out.shape must be {x.shape}, got {out.shape}")
    with np.errstate(invalid="ignore"):  # inf / inf is NaN, silently as in the kernel
        y = np.divide(x, divisor, out=out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        along = (grad * y).sum(axes, keepdims=True) * (norm >= eps)
        with np.errstate(divide="ignore", invalid="ignore"):
            if p == 0:
                slope = np.zeros_like(x)
            elif np.isinf(p):
                extreme = size == norm
                slope = np.sign(x) * extreme / extreme.sum(axes, keepdims=True, dtype=x.dtype)
            else:
                slope = np.where(x == 0, 0, np.sign(x) * (size / norm) ** (p - 1))
        return (((grad - along * slope) / divisor).astype(x.dtype, copy=False),)

    return record(y, (input,), backward, name="normalize")


def _sequence(dim: Any) -> Any:
    return dim if isinstance(dim, (tuple, list)) else (dim,)
