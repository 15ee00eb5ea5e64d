"""What NumPy's own functions do with a Tensor: NEP 13 (ufuncs) and NEP 18 (functions).

A function with a recorded twin calls it, so ``np.exp(t)`` and ``np.concatenate([s, t])`` keep
their gradients. Any other is computed on the arrays if nothing can be lost by it: when no gradient
is being recorded, or when the result is not floating point (``np.argsort``, ``np.isnan``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _elementwise as E
from fastnn import _linalg as linalg
from fastnn import _rearrange as rearrange
from fastnn import _shape as S
from fastnn import _ufuncs as U
from fastnn._einsum import einsum
from fastnn.autograd import TensorBase, is_grad_enabled


def _method(name: str) -> Callable[..., Any]:
    """Call the Tensor's method; its arguments are NumPy's for the function of this name."""
    return lambda tensor, *args, **kwargs: getattr(tensor, name)(*args, **kwargs)


UFUNCS: dict[Any, Callable[..., Any]] = {
    **U.UNARY,
    np.add: E.add,
    np.subtract: E.subtract,
    np.multiply: E.multiply,
    np.divide: E.divide,
    np.remainder: E.remainder,
    np.floor_divide: E.floor_divide,
    np.power: E.power,
    np.matmul: E.matmul,
    np.maximum: E.maximum,
    np.minimum: E.minimum,
    np.arctan2: E.arctan2,
    np.logaddexp: E.logaddexp,
    np.reciprocal: lambda a: E.divide(1, a),
}

_MOVERS = (
    *(np.copy, np.moveaxis, np.rollaxis, np.flip, np.fliplr, np.flipud, np.roll, np.rot90),
    *(np.tile, np.repeat, np.take, np.take_along_axis, np.delete),
    *(np.diag, np.diagonal, np.tril, np.triu, np.atleast_1d, np.atleast_2d, np.atleast_3d),
)

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{function: rearrange.mover(function) for function in _MOVERS},
    np.split: rearrange.cutter(np.split, lambda ndim, axis=0: axis),
    np.array_split: rearrange.cutter(np.array_split, lambda ndim, axis=0: axis),
    np.hsplit: rearrange.cutter(np.hsplit, lambda ndim: min(1, ndim - 1)),
    np.vsplit: rearrange.cutter(np.vsplit, lambda ndim: 0),
    np.dsplit: rearrange.cutter(np.dsplit, lambda ndim: 2),
    np.concatenate: S.concatenate,
    np.stack: S.stack,
    np.vstack: rearrange.joiner(np.vstack, np.atleast_2d, 0),
    np.hstack: rearrange.joiner(np.hstack, np.atleast_1d, 1),
    np.dstack: rearrange.joiner(np.dstack, np.atleast_3d, 2),
    np.column_stack: rearrange.joiner(np.column_stack, rearrange.column, 1),
    np.append: rearrange.append,
    np.diff: rearrange.diff,
    np.pad: rearrange.pad,
    np.sort: rearrange.sort,
    np.where: E.where,
    np.clip: E.clip,
    np.round: U.round,
    np.broadcast_to: S.broadcast_to,
    np.expand_dims: S.expand_dims,
    np.swapaxes: S.swapaxes,
    np.einsum: einsum,
    np.dot: linalg.dot,
    np.inner: linalg.inner,
    np.outer: linalg.outer,
    np.vdot: linalg.vdot,
    np.tensordot: linalg.tensordot,
    np.trace: linalg.trace,
    np.cumprod: linalg.cumprod,
    np.linalg.norm: linalg.norm,
    np.amax: _method("max"),
    np.amin: _method("min"),
    **{
        getattr(np, name): _method(name)
        for name in (
            *("reshape", "transpose", "squeeze", "ravel", "cumsum"),
            *("sum", "prod", "mean", "max", "min", "var", "std"),
        )
    },
}


# Results that do not depend on the elements: no gradient can be lost.
CONSTANT = (np.empty_like, np.full_like, np.ones_like, np.zeros_like)


def call(function: Any, name: str, twin: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call the recorded `twin` of a NumPy function, or the function on the arrays."""
    if twin is not None and not any(k in kwargs for k in ("out", "where", "dtype")):
        return twin(*args, **kwargs)
    recorded = is_grad_enabled() and _requires_grad((args, kwargs))
    lost = TypeError(
        f"np.{name}: this use is not recorded, and its gradient would be lost; use an operation of "
        "Tensor or of fastnn.functional, or .numpy() if no gradient is wanted"
    )
    if recorded and "out" in kwargs:
        raise lost
    result = function(*_arrays(args), **_arrays(kwargs))
    results = result if isinstance(result, (tuple, list)) else (result,)
    if (
        recorded
        and function not in CONSTANT
        and any(np.asarray(r).dtype.kind == "f" for r in results)
    ):
        raise lost
    return result


def call_ufunc(ufunc: Any, method: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """``Tensor.__array_ufunc__``; `method` is "__call__", "reduce", "accumulate", ..."""
    if method == "__call__":
        return call(ufunc, ufunc.__name__, UFUNCS.get(ufunc), args, kwargs)
    return call(getattr(ufunc, method), f"{ufunc.__name__}.{method}", None, args, kwargs)


def _arrays(value: Any) -> Any:
    """Return `value` with every Tensor in it, however deep, replaced by its array."""
    if isinstance(value, TensorBase):
        return value._data
    if isinstance(value, (tuple, list)):
        return type(value)(_arrays(v) for v in value)
    if isinstance(value, dict):
        return {k: _arrays(v) for k, v in value.items()}
    return value


def _requires_grad(value: Any) -> bool:
    if isinstance(value, TensorBase):
        return value._requires_grad
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return False
    return any(map(_requires_grad, value))
