"""The operators of Tensor."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastnn import _elementwise as E
from fastnn import _ufuncs as U
from fastnn.autograd import Array, Result, TensorBase, array
from fastnn.functional._args import recorded

_T = TypeVar("_T", bound="Operators")


class Operators(TensorBase):
    """Arithmetic, comparison and assignment of Tensor with arrays and numbers.

    ``t += x`` and its like write into a tensor that was given, as NumPy and PyTorch do: into a
    parameter, say, under ``no_grad``. A computed tensor is replaced by a new, recorded one.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)

    def __add__(self, other: Any) -> Result:
        return E.add(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __radd__(self, other: Any) -> Result:
        return E.add(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __sub__(self, other: Any) -> Result:
        return E.subtract(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rsub__(self, other: Any) -> Result:
        return E.subtract(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __mul__(self, other: Any) -> Result:
        return E.multiply(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rmul__(self, other: Any) -> Result:
        return E.multiply(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __truediv__(self, other: Any) -> Result:
        return E.divide(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rtruediv__(self, other: Any) -> Result:
        return E.divide(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __pow__(self, other: Any) -> Result:
        return E.power(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rpow__(self, other: Any) -> Result:
        return E.power(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __matmul__(self, other: Any) -> Result:
        return E.matmul(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rmatmul__(self, other: Any) -> Result:
        return E.matmul(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __mod__(self, other: Any) -> Result:
        return E.remainder(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rmod__(self, other: Any) -> Result:
        return E.remainder(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __floordiv__(self, other: Any) -> Result:
        return E.floor_divide(self, other) if isinstance(other, E.OPERANDS) else NotImplemented

    def __rfloordiv__(self, other: Any) -> Result:
        return E.floor_divide(other, self) if isinstance(other, E.OPERANDS) else NotImplemented

    def __iadd__(self, other: Any) -> Result:
        return self._assign("+=", E.add, np.add, other)

    def __isub__(self, other: Any) -> Result:
        return self._assign("-=", E.subtract, np.subtract, other)

    def __imul__(self, other: Any) -> Result:
        return self._assign("*=", E.multiply, np.multiply, other)

    def __itruediv__(self, other: Any) -> Result:
        return self._assign("/=", E.divide, np.divide, other)

    def _assign(self, sign: str, operation: Any, ufunc: Any, other: Any) -> Result:
        """Write into a given tensor, unless that has to be recorded; a computed one is replaced."""
        if not isinstance(other, E.OPERANDS):
            return NotImplemented
        if self._node is not None or (recorded(other) and not self._requires_grad):
            return operation(self, other)
        return self._changed(sign, ufunc, other)

    def _changed(self: _T, name: str, ufunc: Any, other: Any) -> _T:
        data = self._writable(name)
        x, y = E.pair(name, data, other)
        ufunc(x, y, out=data, casting="same_kind")
        return self

    def _writable(self, name: str) -> Array:
        """Return the array of a tensor that may be changed in place, its packs dropped.

        Raises
        ------
        RuntimeError
            If gradients are recorded for it, or it was computed.
        """
        if self._node is not None:
            raise RuntimeError(f"{name}: a computed tensor cannot be changed in place")
        if recorded(self):
            raise RuntimeError(
                f"{name}: a tensor that requires gradients cannot be changed in place while they "
                "are recorded; use fastnn.no_grad()"
            )
        self.drop_packs()
        return self._data

    def __neg__(self) -> Result:
        return U.negative(self)

    def __pos__(self) -> Result:
        return U.positive(self)

    def __abs__(self) -> Result:
        return U.absolute(self)

    def __eq__(self, other: Any) -> Any:
        return self._data == array(other)

    def __ne__(self, other: Any) -> Any:
        return self._data != array(other)

    def __lt__(self, other: Any) -> Any:
        return self._data < array(other)

    def __le__(self, other: Any) -> Any:
        return self._data <= array(other)

    def __gt__(self, other: Any) -> Any:
        return self._data > array(other)

    def __ge__(self, other: Any) -> Any:
        return self._data >= array(other)
