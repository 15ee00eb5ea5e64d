"""Reductions of Tensor: forward beside backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._elementwise import result, total
from fastnn._ufuncs import sqrt
from fastnn.autograd import Array, array
from fastnn.functional._args import integer


def options(name: str, axis: Any, dim: Any, keepdims: bool, keepdim: bool) -> tuple[Any, bool]:
    """Join NumPy's and PyTorch's spellings of the axis and of keeping it."""
    if axis is not None and dim is not None:
        raise TypeError(f"{name}: give axis or dim, not both")
    axis = axis if dim is None else dim
    if axis is None:
        return None, keepdims or keepdim
    if isinstance(axis, (tuple, list)):
        return tuple(integer(name, "axis", a) for a in axis), keepdims or keepdim
    return integer(name, "axis", axis), keepdims or keepdim


def _axes(x: Array, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % x.ndim for a in axes)


def _count(x: Array, axis: Any) -> int:
    count = 1
    for a in _axes(x, axis):
        count *= x.shape[a]
    return count


def spread(reduced: Any, x: Array, axis: Any) -> Array:
    """Give a reduced array its axes back with length 1, ready to broadcast over x."""
    axes = _axes(x, axis)
    return np.reshape(reduced, [1 if a in axes else n for a, n in enumerate(x.shape)])


def sum(a: Any, axis: Any, keepdims: bool) -> Any:
    x = array(a)
    return result(
        total(x, axis, keepdims),
        (a,),
        lambda grad, needs: (np.broadcast_to(spread(grad, x, axis), x.shape),),
        "sum",
    )


def mean(a: Any, axis: Any, keepdims: bool) -> Any:
    x = array(a)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        share = spread(grad / grad.dtype.type(max(_count(x, axis), 1)), x, axis)
        return (np.broadcast_to(share, x.shape),)

    return result(total(x, axis, keepdims, mean=True), (a,), backward, "mean")


def extremum(a: Any, axis: Any, keepdims: bool, name: str) -> Any:
    """Maximum or minimum (`name` is "max" or "min"); ties share the gradient equally.

    NaN wins, as in NumPy, and then takes the gradient.
    """
    x = array(a)
    out = getattr(x, name)(axis=axis, keepdims=keepdims)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        hit = (x == spread(out, x, axis)) | (x != x)
        count = hit.sum(axis=_axes(x, axis), keepdims=True).astype(grad.dtype)
        return (hit * (spread(grad, x, axis) / count),)

    return result(out, (a,), backward, name)


def var(a: Any, axis: Any, keepdims: bool, ddof: float) -> Any:
    """Mean squared deviation, with divisor ``n - ddof``."""
    x = array(a)
    count = _count(x, axis) - ddof

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        axes = _axes(x, axis)
        deviation = x - x.mean(axis=axes, keepdims=True)
        scale = grad.dtype.type(2 / count if count > 0 else np.nan)
        return (spread(grad, x, axis) * (scale * deviation),)

    return result(x.var(axis=axis, keepdims=keepdims, ddof=ddof), (a,), backward, "var")


def std(a: Any, axis: Any, keepdims: bool, ddof: float) -> Any:
    """Square root of the variance."""
    return sqrt(var(a, axis, keepdims, ddof))


def prod(a: Any, axis: Any, keepdims: bool) -> Any:
    """Product; a gradient is the product of the other elements, also where some are zero."""
    x = array(a)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        axes = _axes(x, axis)
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        rows = x.transpose(kept + axes).reshape(*(x.shape[i] for i in kept), -1)
        others = np.ones_like(rows)
        others[..., 1:] = np.cumprod(rows[..., :-1], axis=-1)
        others[..., :-1] *= np.cumprod(rows[..., :0:-1], axis=-1)[..., ::-1]
        moved = others.reshape([x.shape[i] for i in kept + axes])
        return (spread(grad, x, axis) * moved.transpose(np.argsort(kept + axes)),)

    return result(x.prod(axis=axis, keepdims=keepdims), (a,), backward, "prod")


def cumsum(a: Any, axis: int | None) -> Any:
    """Running sum along an axis, or of all elements in C order."""
    x = array(a)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        along = 0 if axis is None else axis
        back = np.flip(np.cumsum(np.flip(grad, along), axis=along), along)
        return (back.reshape(x.shape),)

    return result(x.cumsum(axis=axis, dtype=x.dtype), (a,), backward, "cumsum")
