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
from fastnn import _shape as S
from fastnn._einsum import einsum
from fastnn.autograd import TensorBase, is_grad_enabled


def _method(name: str) -> Callable[..., Any]:
    """Call the Tensor's method; its arguments are NumPy's for the function of this name."""
    return lambda tensor, *args, **kwargs: getattr(tensor, name)(*args, **kwargs)


UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: E.add,
    np.subtract: E.subtract,
    np.multiply: E.multiply,
    np.divide: E.divide,
    np.power: E.power,
    np.matmul: E.matmul,
    np.maximum: E.maximum,
    np.minimum: E.minimum,
    np.negative: E.negative,
    np.square: lambda a: E.multiply(a, a),
    np.reciprocal: lambda a: E.divide(1, a),
    np.absolute: E.absolute,
    np.exp: E.exp,
    np.expm1: E.expm1,
    np.log: E.log,
    np.log1p: E.log1p,
    np.sqrt: E.sqrt,
    np.sin: E.sin,
    np.cos: E.cos,
    np.tanh: E.tanh,
}

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: S.concatenate,
    np.stack: S.stack,
    np.split: S.split,
    np.where: E.where,
    np.clip: E.clip,
    np.broadcast_to: S.broadcast_to,
    np.expand_dims: S.expand_dims,
    np.swapaxes: S.swapaxes,
    np.reshape: _method("reshape"),
    np.transpose: _method("transpose"),
    np.squeeze: _method("squeeze"),
    np.einsum: einsum,
    np.ravel: _method("ravel"),
    np.cumsum: _method("cumsum"),
    **{
        getattr(np, name): _method(name)
        for name in ("sum", "prod", "mean", "max", "min", "var", "std")
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
