"""Operations of Tensor that move or select elements: forward beside backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from fastnn._elementwise import pair, result, unbroadcast
from fastnn.autograd import Array, TensorBase, array
from fastnn.functional._args import integer, natural


def ints(name: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    """Return ``f(2, 3)`` and ``f((2, 3))`` alike as ``(2, 3)``."""
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = tuple(values[0])
    for value in values:
        if not hasattr(value, "__index__") or np.ndim(value) > 0:
            raise TypeError(f"{name}: needs integers, got {type(value).__name__}")
    return tuple(value.__index__() for value in values)


def checked_axis(name: str, what: str, axis: Any, ndim: int) -> int:
    """Return an axis as an int in -ndim .. ndim - 1."""
    checked = integer(name, what, axis)
    if not -ndim <= checked < ndim:
        raise ValueError(f"{name}: {what} must be in [{-ndim}, {ndim - 1}], got {axis}")
    return checked


def reshape(a: Any, shape: tuple[int, ...]) -> Any:
    x = array(a)
    return result(x.reshape(shape), (a,), lambda grad, needs: (grad.reshape(x.shape),), "reshape")


def transpose(a: Any, axes: tuple[int, ...]) -> Any:
    """Permute the axes; no axes reverse them."""
    x = array(a)
    if axes and len(axes) != x.ndim:
        raise ValueError(
            f"transpose: needs all {x.ndim} axes in their new order, got {axes}; "
            "swapaxes exchanges two"
        )
    out = np.transpose(x, axes or None)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        inverse = np.argsort([axis % x.ndim for axis in axes]) if axes else None
        return (np.transpose(grad, inverse),)

    return result(out, (a,), backward, "transpose")


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return result(
        array(a).swapaxes(axis1, axis2),
        (a,),
        lambda grad, needs: (grad.swapaxes(axis1, axis2),),
        "swapaxes",
    )


def squeeze(a: Any, axis: Any) -> Any:
    x = array(a)
    return result(
        np.squeeze(x, axis),
        (a,),
        lambda grad, needs: (grad.reshape(x.shape),),
        "squeeze",
    )


def expand_dims(a: Any, axis: Any) -> Any:
    x = array(a)
    return result(
        np.expand_dims(x, axis),
        (a,),
        lambda grad, needs: (grad.reshape(x.shape),),
        "expand_dims",
    )


def flatten(a: Any, start_dim: int, end_dim: int) -> Any:
    """Join the axes from `start_dim` to `end_dim` (inclusive) into one."""
    shape = array(a).shape
    ndim = max(len(shape), 1)
    for name, dim in (("start_dim", start_dim), ("end_dim", end_dim)):
        if not -ndim <= dim < ndim:
            raise ValueError(f"flatten: {name} must be in [{-ndim}, {ndim - 1}], got {dim}")
    start, end = start_dim % ndim, end_dim % ndim
    if start > end:
        raise ValueError(
            f"flatten: start_dim must not come after end_dim, got {start_dim} and {end_dim}"
        )
    joined = 1
    for size in shape[start : end + 1]:
        joined *= size
    return reshape(a, (*shape[:start], joined, *shape[end + 1 :]))


def broadcast_to(a: Any, shape: tuple[int, ...]) -> Any:
    x = array(a)
    return result(
        np.broadcast_to(x, shape),
        (a,),
        lambda grad, needs: (unbroadcast(grad, x.shape),),
        "broadcast_to",
    )


def index(a: Any, key: Any) -> Any:
    """``a[key]`` with NumPy's rules; an element picked twice gets both gradients."""
    x = array(a)
    parts = tuple(map(_plain, key)) if isinstance(key, tuple) else (_plain(key),)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        full = np.zeros(x.shape, dtype=grad.dtype)
        if any(isinstance(part, ndarray) and part.dtype.kind in "iu" for part in parts):
            np.add.at(full, parts, grad)
        else:
            full[parts] = grad
        return (full,)

    return result(x[parts], (a,), backward, "index")


def _plain(part: Any) -> Any:
    if isinstance(part, TensorBase):
        return part._data
    if not isinstance(part, (list, range)):
        return part
    return np.asarray(part) if len(part) else np.empty(0, dtype=np.intp)


def one_dtype(name: str, tensors: Sequence[Any]) -> list[Array]:
    """Return the arrays of a list or tuple of tensors, which must not be empty."""
    if isinstance(tensors, (ndarray, TensorBase)) or not isinstance(tensors, Sequence):
        raise TypeError(f"{name}: tensors must be a list or tuple, got {type(tensors).__name__}")
    if not tensors:
        raise ValueError(f"{name}: tensors must not be empty")
    arrays = [np.asarray(array(t)) for t in tensors]
    for other in arrays[1:]:
        pair(name, arrays[0], other)
    return arrays


def _check_joined(name: str, arrays: list[Array], axis: int | None) -> None:
    """Raise unless all shapes agree, but for `axis`."""
    first = arrays[0].shape
    for position, x in enumerate(arrays):
        fits = len(x.shape) == len(first) and all(
            n == m for i, (n, m) in enumerate(zip(x.shape, first)) if i != axis
        )
        if not fits:
            rest = "" if axis is None else f", except for axis {axis}"
            raise ValueError(
                f"{name}: tensors[{position}] must have the shape of tensors[0]{rest}, {first}, "
                f"got {x.shape}"
            )


def concatenate(tensors: Sequence[Any], axis: int | None = 0, *, dim: int | None = None) -> Any:
    """Join tensors or arrays along an axis that they have.

    Parameters
    ----------
    tensors : list or tuple of Tensor or ndarray
        Equal in dtype and, except along `axis`, in shape.
    axis, dim : int
        The axis; `dim` is another name for it. None joins all elements, as in NumPy.

    Raises
    ------
    TypeError
        If the dtypes differ.
    ValueError
        If the shapes differ elsewhere, `tensors` is empty, or there is no such axis.

    Examples
    --------
    >>> concatenate([np.zeros((2, 1)), np.ones((2, 2))], axis=1)
    array([[0., 1., 1.],
           [0., 1., 1.]])
    """
    axis = axis if dim is None else dim
    if axis is None:
        tensors, axis = [reshape(t, (-1,)) for t in tensors], 0
    arrays = one_dtype("concatenate", tensors)
    if arrays[0].ndim == 0:
        raise ValueError("concatenate: tensors[0] must have at least 1 dimension, got shape ()")
    axis = checked_axis("concatenate", "axis", axis, arrays[0].ndim)
    _check_joined("concatenate", arrays, axis % arrays[0].ndim)
    out = np.concatenate(arrays, axis=axis)
    stops = np.cumsum([x.shape[axis] for x in arrays])[:-1]
    return result(
        out,
        tuple(tensors),
        lambda grad, needs: tuple(np.split(grad, stops, axis=axis)),
        "concatenate",
    )


def stack(tensors: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Any:
    """Join tensors or arrays of one shape along a new axis.

    Raises
    ------
    TypeError
        If the dtypes differ.
    ValueError
        If the shapes differ, `tensors` is empty, or there is no such axis.

    Examples
    --------
    >>> stack([np.zeros(2), np.ones(2)])
    array([[0., 0.],
           [1., 1.]])
    """
    arrays = one_dtype("stack", tensors)
    axis = checked_axis("stack", "axis", axis if dim is None else dim, arrays[0].ndim + 1)
    _check_joined("stack", arrays, None)
    return result(
        np.stack(arrays, axis=axis),
        tuple(tensors),
        lambda grad, needs: tuple(np.moveaxis(grad, axis, 0)),
        "stack",
    )


def split(
    tensor: Any, indices_or_sections: Any, axis: int = 0, *, dim: int | None = None
) -> tuple[Any, ...]:
    """Cut a tensor into parts, as ``numpy.split`` does.

    Parameters
    ----------
    tensor : Tensor or ndarray
    indices_or_sections : int or sequence of int
        The number of equal parts, or the positions to cut at. (This is NumPy's meaning;
        ``torch.split`` takes the size of a part.)
    axis, dim : int
        The axis; `dim` is another name for it.

    Raises
    ------
    ValueError
        If the axis cannot be cut into equal parts, or there is no such axis.

    Examples
    --------
    >>> split(np.arange(4.0), 2)
    (array([0., 1.]), array([2., 3.]))
    """
    x = np.asarray(array(tensor))
    axis = checked_axis("split", "axis", axis if dim is None else dim, x.ndim)
    name = "indices_or_sections"
    if np.ndim(array(indices_or_sections)) == 0:
        sections = natural("split", name, indices_or_sections, 1)
        if x.shape[axis] % sections != 0:
            raise ValueError(
                f"split: {name} must divide {x.shape[axis]} (axis {axis} of {x.shape}), "
                f"got {sections}"
            )
        parts = np.split(x, sections, axis=axis)
    else:
        indices = [integer("split", name, i) for i in array(indices_or_sections)]
        parts = np.split(x, indices, axis=axis)
    return cut(tensor, parts, axis)


def cut(tensor: Any, parts: Sequence[Array], axis: int) -> tuple[Any, ...]:
    """Cut a tensor along an axis where its array was cut into `parts`."""
    bounds = [0, *np.cumsum([part.shape[axis] for part in parts]).tolist()]
    keys = []
    for start, stop in zip(bounds, bounds[1:]):
        key = [slice(None)] * parts[0].ndim
        key[axis] = slice(start, stop)
        keys.append(tuple(key))
    return tuple(index(tensor, key) for key in keys)
