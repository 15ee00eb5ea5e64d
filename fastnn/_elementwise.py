"""Element-wise operations of Tensor: each forward beside its backward, in NumPy.

All broadcast as NumPy does; a gradient is summed back to its input's shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from fastnn import _core
from fastnn.autograd import Array, TensorBase, array, record

SCALARS = (bool, int, float, np.bool_, np.integer, np.floating)
OPERANDS = (TensorBase, ndarray, *SCALARS)


def result(out: Any, inputs: tuple[Any, ...], backward: Any, name: str) -> Any:
    """Record `out`, which NumPy may have turned from a 0-d array into a scalar."""
    return record(np.asarray(out), inputs, backward, name=name)


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` over the axes along which an input of `shape` was repeated."""
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, size in enumerate(shape)
        if size == 1 and grad.shape[extra + axis] != 1
    )
    return total(grad, axes, keepdims=True).reshape(shape)


def total(x: Array, axis: Any, keepdims: bool, mean: bool = False) -> Array:
    """Sum over axes (None for all, an int or a tuple of them), or their mean."""
    if x.dtype.char in "fd" and x.flags.c_contiguous:
        return _core.axis_sum(x, axis, keepdims, mean)  # type: ignore[no-any-return]
    reduce: Any = np.mean if mean else np.sum
    return np.asarray(reduce(x, axis=axis, keepdims=keepdims))


def pair(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return both operands as arrays of one dtype.

    A scalar takes the dtype of a floating-point array, and so does a bool array.

    Raises
    ------
    TypeError
        If the dtypes differ otherwise.
    """
    if a is None or b is None:
        raise TypeError(f"{name}: both operands must be arrays or numbers, got None")
    if isinstance(b, SCALARS):
        x = np.asarray(array(a))
        return x, x.dtype.type(b) if x.dtype.kind == "f" else b
    if isinstance(a, SCALARS):
        y = np.asarray(array(b))
        return y.dtype.type(a) if y.dtype.kind == "f" else a, y
    x, y = array(a), array(b)
    if x.dtype == y.dtype:
        return x, y
    if x.dtype.kind == "b":
        return x.astype(y.dtype), y
    if y.dtype.kind == "b":
        return x, y.astype(x.dtype)
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        wanted = x.dtype if x.dtype.kind == "f" else y.dtype
        raise TypeError(
            f"{name}: both operands must have one dtype, got {x.dtype} and {y.dtype}; "
            f"convert one with .astype(np.{wanted})"
        )
    return x, y


def add(a: Any, b: Any) -> Any:
    x, y = pair("add", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            unbroadcast(grad, x.shape) if needs[0] else None,
            unbroadcast(grad, y.shape) if needs[1] else None,
        )

    return result(x + y, (a, b), backward, "add")


def subtract(a: Any, b: Any) -> Any:
    x, y = pair("subtract", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            unbroadcast(grad, x.shape) if needs[0] else None,
            -unbroadcast(grad, y.shape) if needs[1] else None,
        )

    return result(x - y, (a, b), backward, "subtract")


def multiply(a: Any, b: Any) -> Any:
    x, y = pair("multiply", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            unbroadcast(grad * y, x.shape) if needs[0] else None,
            unbroadcast(grad * x, y.shape) if needs[1] else None,
        )

    return result(x * y, (a, b), backward, "multiply")


def divide(a: Any, b: Any) -> Any:
    x, y = pair("divide", a, b)
    out = x / y

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        quotient = grad / y
        return (
            unbroadcast(quotient, x.shape) if needs[0] else None,
            -unbroadcast(quotient * out, y.shape) if needs[1] else None,
        )

    return result(out, (a, b), backward, "divide")


def power(a: Any, b: Any) -> Any:
    """a ** b. Where b is 0 the gradient of a is 0; where a is 0, that of b >= 0 is 0."""
    x, y = pair("power", a, b)
    out = x**y

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        grad_a = grad_b = None
        if needs[0]:
            zero = np.equal(y, 0)
            slope = np.where(zero, out.dtype.type(0), y * x ** np.where(zero, y, y - 1))
            grad_a = unbroadcast(grad * slope, x.shape)
        if needs[1]:
            flat = np.equal(x, 0) & np.greater_equal(y, 0)
            slope = np.where(flat, out.dtype.type(0), out * np.log(np.where(flat, 1, x)))
            grad_b = unbroadcast(grad * slope.astype(out.dtype, copy=False), y.shape)
        return grad_a, grad_b

    return result(out, (a, b), backward, "power")


def remainder(a: Any, b: Any) -> Any:
    """a - floor(a / b) * b, with the sign of b; the quotient is constant where it is smooth."""
    x, y = pair("remainder", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            unbroadcast(grad, x.shape) if needs[0] else None,
            unbroadcast(-grad * np.floor_divide(x, y), y.shape) if needs[1] else None,
        )

    return result(np.remainder(x, y), (a, b), backward, "remainder")


def floor_divide(a: Any, b: Any) -> Any:
    """floor(a / b); the gradient is 0."""
    x, y = pair("floor_divide", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            np.zeros(x.shape, grad.dtype) if needs[0] else None,
            np.zeros(y.shape, grad.dtype) if needs[1] else None,
        )

    return result(np.floor_divide(x, y), (a, b), backward, "floor_divide")


def arctan2(a: Any, b: Any) -> Any:
    """The angle of the point (b, a)."""
    x, y = pair("arctan2", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        share = grad / (x * x + y * y)
        return (
            unbroadcast(share * y, x.shape) if needs[0] else None,
            unbroadcast(-share * x, y.shape) if needs[1] else None,
        )

    return result(np.arctan2(x, y), (a, b), backward, "arctan2")


def logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)) without overflow."""
    x, y = pair("logaddexp", a, b)
    out = np.logaddexp(x, y)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (
            unbroadcast(grad * np.exp(x - out), x.shape) if needs[0] else None,
            unbroadcast(grad * np.exp(y - out), y.shape) if needs[1] else None,
        )

    return result(out, (a, b), backward, "logaddexp")


def clip(a: Any, min: Any = None, max: Any = None) -> Any:
    """Limit `a` to ``[min, max]`` (numbers or None); the gradient outside is 0.

    Raises
    ------
    TypeError
        If a bound is not a number.
    ValueError
        If both bounds are None.
    """
    x = array(a)
    if min is None and max is None:
        raise ValueError("clip: min or max must be given, got None for both")
    for name, bound in (("min", min), ("max", max)):
        if bound is not None and not isinstance(bound, SCALARS):
            raise TypeError(f"clip: {name} must be a number, got {type(bound).__name__}")

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        inside = np.ones(x.shape, dtype=bool)
        if min is not None:
            inside &= ~(x < min)
        if max is not None:
            inside &= ~(x > max)
        return (grad * inside,)

    kind = x.dtype.type if x.dtype.kind == "f" else (lambda bound: bound)
    low = None if min is None else kind(min)
    high = None if max is None else kind(max)
    return result(np.clip(x, low, high), (a,), backward, "clip")


def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where `condition` is true, else `b`; broadcasts all three.

    Examples
    --------
    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    mask = np.asarray(array(condition), dtype=bool)
    x, y = pair("where", a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        zero = grad.dtype.type(0)
        return (
            unbroadcast(np.where(mask, grad, zero), x.shape) if needs[0] else None,
            unbroadcast(np.where(mask, zero, grad), y.shape) if needs[1] else None,
        )

    return result(np.where(mask, x, y), (a, b), backward, "where")


def maximum(a: Any, b: Any) -> Any:
    """The larger of two elements, broadcast; NaN wins, and equal elements share the gradient.

    Examples
    --------
    >>> maximum(np.array([1.0, 5.0]), 3.0)
    array([3., 5.])
    """
    return _extremum("maximum", np.maximum, a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two elements, broadcast; NaN wins, and equal elements share the gradient.

    Examples
    --------
    >>> minimum(np.array([1.0, 5.0]), 3.0)
    array([1., 3.])
    """
    return _extremum("minimum", np.minimum, a, b)


def _extremum(name: str, select: Any, a: Any, b: Any) -> Any:
    x, y = pair(name, a, b)
    out = select(x, y)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        from_x, from_y = (x == out) | (x != x), (y == out) | (y != y)
        share = grad / (from_x.astype(grad.dtype) + from_y)
        return (
            unbroadcast(share * from_x, x.shape) if needs[0] else None,
            unbroadcast(share * from_y, y.shape) if needs[1] else None,
        )

    return result(out, (a, b), backward, name)


def matmul(a: Any, b: Any) -> Any:
    """Matrix product with NumPy's rules for vectors and stacks of matrices."""
    x, y = pair("matmul", a, b)
    if x.dtype.kind != "f":
        return np.matmul(x, y)
    from fastnn.functional import matmul as product

    return product(_recordable(a, x), _recordable(b, y))


def _recordable(operand: Any, value: Any) -> Any:
    return operand if isinstance(operand, TensorBase) and operand.requires_grad else value


def astype(a: Any, dtype: Any) -> Any:
    """Convert the dtype; the gradient is converted back."""
    x = array(a)
    out = x.astype(dtype, copy=False)
    if out.dtype.char not in "fd" and out.dtype.kind not in "iub" and out.dtype.name != "bfloat16":
        raise TypeError(
            f"astype: dtype must be float32, float64, bfloat16, integer or bool, got {out.dtype}"
        )
    return record(out, (a,), lambda grad, needs: (grad.astype(x.dtype),), "astype", bfloat16=True)
