"""NumPy's functions that move, repeat or drop elements, for Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _shape as S
from fastnn._elementwise import result
from fastnn.autograd import Array, array

# Modes of np.pad whose border repeats elements, or is constant.
_PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap", "empty")


# What leads a gradient back, where that is another move: it takes the same arguments.
_BACK: dict[Any, Callable[..., Any]] = {
    np.copy: lambda grad: grad,
    np.atleast_1d: lambda grad: grad,
    np.atleast_2d: lambda grad: grad,
    np.atleast_3d: lambda grad: grad,
    np.flip: np.flip,
    np.fliplr: np.fliplr,
    np.flipud: np.flipud,
    np.moveaxis: lambda grad, source, destination: np.moveaxis(grad, destination, source),
    np.roll: lambda grad, shift, axis=None: np.roll(grad, np.negative(shift), axis),
}


def moved(name: str, a: Any, move: Callable[[Array], Any], trace: Any = None) -> Any:
    """Record ``move(a)``; `trace`, the same move unless given, leaves zeros where no element is."""
    x = array(a)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        # The move itself tells where each element went: number 0 is none of them.
        source = (trace or move)(np.arange(1, x.size + 1).reshape(x.shape))
        total = np.bincount(np.ravel(source), np.ravel(grad), x.size + 1)[1:]
        return (total.reshape(x.shape).astype(grad.dtype, copy=False),)

    return result(move(x), (a,), backward, name)


def mover(function: Any) -> Callable[..., Any]:
    """Return the recorded twin of a NumPy function that only moves elements."""

    def twin(a: Any, *args: Any, **kwargs: Any) -> Any:
        plain = [array(argument) for argument in args]
        options = {name: array(argument) for name, argument in kwargs.items()}
        back = _BACK.get(function)
        if back is None:
            return moved(function.__name__, a, lambda x: function(x, *plain, **options))
        x = array(a)
        return result(
            function(x, *plain, **options),
            (a,),
            lambda grad, needs: (np.reshape(back(grad, *plain, **options), x.shape),),
            function.__name__,
        )

    return twin


def cutter(function: Any, axis_of: Callable[..., int]) -> Callable[..., Any]:
    """Return the recorded twin of a NumPy function that cuts an array into parts.

    `axis_of` takes the number of dimensions and the arguments after the second.
    """

    def twin(a: Any, where: Any, *args: Any, **kwargs: Any) -> list[Any]:
        x = array(a)
        parts = function(x, where, *args, **kwargs)
        return list(S.cut(a, parts, axis_of(x.ndim, *args, **kwargs)))

    return twin


def joiner(function: Any, least: Callable[..., Any], axis: int) -> Callable[..., Any]:
    """Return the recorded twin of np.vstack and its like: `least` dimensions, then `axis`."""

    def twin(tensors: Any) -> Any:
        S.one_dtype(function.__name__, tensors)
        tensors = [moved(function.__name__, t, least) for t in tensors]
        return S.concatenate(tensors, min(axis, array(tensors[0]).ndim - 1))

    return twin


def column(x: Array) -> Array:
    """Stand a vector up."""
    return x[:, None] if x.ndim == 1 else np.atleast_2d(x)


def pad(a: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    """``np.pad``, with a border that is constant or repeats elements.

    Raises
    ------
    TypeError
        For another mode.
    """
    if mode not in _PAD_MODES or options.get("reflect_type") == "odd":
        raise TypeError(
            f"np.pad: mode {mode!r} is not recorded; use one of {', '.join(_PAD_MODES)}"
        )
    constant = mode in ("constant", "empty")

    def trace(index: Array) -> Array:
        return np.pad(index, pad_width) if constant else np.pad(index, pad_width, mode, **options)

    return moved("pad", a, lambda x: np.pad(x, pad_width, mode, **options), trace)


def sort(a: Any, axis: int | None = -1, kind: Any = None) -> Any:
    """Sorted along an axis, as ``np.sort``; an element's gradient follows it."""
    if axis is None:
        a, axis = S.reshape(a, (-1,)), 0
    order = np.argsort(array(a), axis, kind)
    return moved("sort", a, lambda x: np.take_along_axis(x, order, axis))


def append(a: Any, values: Any, axis: int | None = None) -> Any:
    """``np.append``."""
    if axis is None:
        return S.concatenate([S.reshape(a, (-1,)), S.reshape(values, (-1,))])
    return S.concatenate([a, values], axis)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """``np.diff``: each element less the one before it, `n` times."""
    for _ in range(n):
        size = array(a).shape[axis]
        later, earlier = (
            S.index(a, _along(array(a).ndim, axis, part))
            for part in (slice(1, None), slice(0, max(size - 1, 0)))
        )
        a = later - earlier
    return a


def _along(ndim: int, axis: int, part: slice) -> tuple[slice, ...]:
    key = [slice(None)] * ndim
    key[axis] = part
    return tuple(key)
