"""Parameter: a Tensor that a module trains, and the home of its packed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastnn.autograd import Array
from fastnn.tensor import Tensor

_T = TypeVar("_T")


class Parameter(Tensor):
    """A Tensor that a Module registers when it is assigned as an attribute.

    Parameters
    ----------
    data : array_like
        float32 or float64. A parameter owns its memory, in C order: a view of another
        array is copied, a C-contiguous array that owns its data is kept.
    requires_grad : bool
        Whether it is trained.

    Notes
    -----
    A layer may keep what it derives from the weights (a packed matrix, transformed
    filters) with :meth:`pack`. As long as such a form lives, ``data`` is read-only, so
    that it cannot become stale unnoticed: writing into the array is NumPy's "assignment
    destination is read-only" error. :meth:`drop_packs` drops the forms and lifts the
    flag; the optimizers, ``load_state_dict``, the initialisers, assigning ``data`` and
    recording a gradient call it. A view of ``data`` that was taken before keeps NumPy's
    own flag and is not guarded.

    Examples
    --------
    >>> weight = Parameter(np.ones((2, 3)))
    >>> weight.pack("transposed", lambda data: data.T.copy()).shape
    (3, 2)
    >>> weight.data.flags.writeable
    False
    >>> weight.drop_packs()
    >>> weight.data.flags.writeable
    True
    """

    __slots__ = ("_packs",)
    _packs: dict[Any, Any] | None

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(
                f"Parameter: requires_grad needs float32 or float64 data, got {self._data.dtype}; "
                "convert it with .astype(np.float32)"
            )
        self._packs = None
        self._data = _owned(self._data)

    @property
    def data(self) -> Array:
        """The array itself, not a copy. Assigning replaces it and drops the packs."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self._data = _owned(self._data)

    def pack(self, key: Any, build: Callable[[Array], _T]) -> _T:
        """Return what ``build(data)`` returned, calling it only if it is not kept yet.

        Parameters
        ----------
        key : hashable
            Names this form of the weights; equal keys mean equal `build`.
        build : callable
            Derives the form from the array. The result must not share its memory.
        """
        packs = self._packs
        kept = None if packs is None else packs.get(key)
        if kept is not None:
            return kept  # type: ignore[no-any-return]
        packed = build(self._data)
        if packs is None:
            packs = self._packs = {}
        packs[key] = packed
        self._data.flags.writeable = False
        return packed

    def drop_packs(self) -> None:
        """Drop every kept form and make ``data`` writable again."""
        if self._packs is not None:
            self._packs = None
            self._data.flags.writeable = True

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def empty(layer: str, shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Return a parameter that is yet to be filled; errors name the layer.

    Raises
    ------
    TypeError, ValueError
        If the dtype is neither float32 nor float64 (None is float32), or the shape is negative or
        overflows.
    """
    try:
        wanted = np.dtype(np.float32 if dtype is None else dtype)
    except (TypeError, ValueError, DeprecationWarning):
        wanted = None
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"{layer}: dtype must be float32 or float64, got {dtype!r}")
    try:
        return Parameter(np.empty(shape, wanted))
    except ValueError:
        raise ValueError(f"{layer}: there is no parameter of shape {shape}") from None


def _owned(data: Array) -> Array:
    flags = data.flags
    keep = flags.owndata and flags.writeable and flags.c_contiguous
    return data if keep else np.array(data, order="C")
