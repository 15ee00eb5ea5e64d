"""Normalising the arguments that every family shares; messages name the operation."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from numpy import bool_, may_share_memory, ndarray

from fastnn.autograd import TensorBase, is_grad_enabled

_LIMIT = 2**63


def integer(op: str, name: str, value: Any) -> int:
    """Return `value` as an int; bool and everything that is not an integer is refused.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or not within int64.
    """
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{op}: {name} must be an int, got {value!r}") from None
    if not -_LIMIT <= value < _LIMIT:
        raise ValueError(f"{op}: {name} must fit into int64, got {value}")
    return int(value)


def integers(op: str, name: str, values: Iterable[Any]) -> tuple[int, ...]:
    """Return ints as a tuple; as :func:`integer`, whose message names the element."""
    return tuple(
        [
            v if type(v) is int and -_LIMIT <= v < _LIMIT else integer(op, f"{name}[{i}]", v)
            for i, v in enumerate(values)
        ]
    )


def natural(op: str, name: str, value: Any, least: int = 0) -> int:
    """Return an int of at least `least`; as :func:`integer`, with ValueError below."""
    result = integer(op, name, value)
    if result < least:
        raise ValueError(f"{op}: {name} must be >= {least}, got {value}")
    return result


def probability(op: str, name: str, value: Any) -> float:
    """Return a number in [0, 1] as a float; as :func:`number`, with ValueError outside."""
    result = number(op, name, value)
    if not 0 <= result <= 1:
        raise ValueError(f"{op}: {name} must be in [0, 1], got {value}")
    return result


def number(op: str, name: str, value: Any) -> float:
    """Return a Python or NumPy number as a float.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or too large for a float.
    """
    if type(value) is float:
        return value
    try:
        if isinstance(value, (str, bytes, bytearray)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}") from None
    except OverflowError:
        raise ValueError(f"{op}: {name} must fit into a float, got {value}") from None


def flag(op: str, name: str, value: Any) -> bool:
    """Return a bool, which an int or a NumPy bool may stand for.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if value is True or value is False:
        return value
    if isinstance(value, (int, bool_)):
        return bool(value)
    raise TypeError(f"{op}: {name} must be a bool, got {value!r}")


def refuse_none(op: str, **values: Any) -> None:
    """Raise TypeError for the first of the arrays that is None."""
    for name, value in values.items():
        if value is None:
            raise TypeError(f"{op}: {name} must be a numpy.ndarray or fastnn.Tensor, got None")


def ntuple(op: str, name: str, value: Any, n: int) -> tuple[int, ...]:
    """Return `n` ints from one int (repeated) or a sequence of `n` (a sequence of 1 repeats).

    Raises
    ------
    TypeError, ValueError
        If `value` is neither, or an element is not within int64.
    """
    if type(value) is int:
        return (integer(op, name, value),) * n
    if isinstance(value, (tuple, list)):
        values = integers(op, name, value)
        if len(values) == 1:
            return values * n
        if len(values) == n:
            return values
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        return (integer(op, name, value),) * n
    else:
        raise TypeError(f"{op}: {name} must be an int or a tuple of {n} ints, got {value!r}")
    raise ValueError(f"{op}: {name} must be an int or a tuple of {n} ints, got {value!r}")


def naturals(op: str, name: str, value: Any, n: int, least: int = 0) -> tuple[int, ...]:
    """`ntuple`, with ValueError for an element below `least`."""
    values = ntuple(op, name, value, n)
    if min(values) < least:
        raise ValueError(f"{op}: {name} must be >= {least}, got {value!r}")
    return values


def pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """`ntuple` of two."""
    first, second = ntuple(op, name, value, 2)
    return first, second


def recorded(*inputs: Any) -> bool:
    """Return whether a gradient is being recorded for one of the inputs."""
    for value in inputs:
        if isinstance(value, TensorBase) and value.requires_grad:
            return is_grad_enabled()
    return False


def refuse_out_while_recording(op: str, out: Any, *inputs: Any) -> None:
    """Raise ValueError if `out` is given while a gradient is being recorded for an input."""
    if out is not None and recorded(*inputs):
        raise ValueError(
            f"{op}: out must be None while gradients are recorded; use fastnn.no_grad()"
        )


def check_out(op: str, out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any) -> None:
    """Raise unless `out` may take a result that is not written by a binding.

    Raises
    ------
    TypeError, ValueError
        If it is not an array of the result's shape and dtype, or overlaps one of the arrays
        `inputs` (None is skipped).
    """
    if not isinstance(out, ndarray) or out.dtype != dtype:
        got = out.dtype if isinstance(out, ndarray) else type(out).__name__
        raise TypeError(f"{op}: out must be a numpy.ndarray of {dtype}, got {got}")
    if out.shape != shape:
        raise ValueError(f"{op}: out.shape must be {shape}, got {out.shape}")
    if not out.flags.carray:
        raise ValueError(f"{op}: out must be writable, C-contiguous and aligned")
    if any(value is not None and may_share_memory(out, value) for value in inputs):
        raise ValueError(f"{op}: out must not share memory with an input")


def check_destination(op: str, input: Any, inplace: bool, out: Any) -> bool:
    """Return whether to write into `input`; refuse `out` while recording.

    A Tensor is never written into: what the tape saved must stay, so `inplace` is a permission
    that is not used.

    Raises
    ------
    TypeError
        If `inplace` is true for something that is neither an ndarray nor a Tensor.
    ValueError
        If `out` is given while a gradient is being recorded.
    """
    inplace = flag(op, "inplace", inplace)
    if inplace and not isinstance(input, (ndarray, TensorBase)):
        raise TypeError(
            f"{op}: inplace must be False unless input is a numpy.ndarray or a Tensor, "
            f"got a {type(input).__name__}"
        )
    refuse_out_while_recording(op, out, input)
    return inplace and isinstance(input, ndarray)


def check_spatial_rank(op: str, shape: tuple[int, ...], dims: int) -> None:
    """Raise unless `shape` is (C, *spatial) or (N, C, *spatial) with `dims` spatial dimensions."""
    if len(shape) not in (dims + 1, dims + 2):
        raise ValueError(
            f"{op}: input must have {dims + 2} dimensions, or {dims + 1} without a batch, "
            f"got shape {shape}"
        )
