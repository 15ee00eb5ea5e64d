"""Tensor: a NumPy array with reverse-mode automatic differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn import _elementwise as E
from fastnn import _linalg as L
from fastnn import _numpy_protocol as protocol
from fastnn import _reduce as R
from fastnn import _shape as S
from fastnn import _ufuncs as U
from fastnn._core import set_result_type
from fastnn._einsum import einsum
from fastnn._elementwise import clip, maximum, minimum, where
from fastnn._rearrange import mover
from fastnn._shape import concatenate, split, stack
from fastnn._torch_names import TorchNames
from fastnn.autograd import (
    Array,
    Result,
    enable_grad,
    is_grad_enabled,
    no_grad,
)
from fastnn.functional._args import integer

__all__ = [
    "Tensor",
    "clip",
    "concatenate",
    "einsum",
    "enable_grad",
    "is_grad_enabled",
    "maximum",
    "minimum",
    "no_grad",
    "split",
    "stack",
    "where",
]


class Tensor(TorchNames):
    """An array whose operations can be differentiated.

    Parameters
    ----------
    data : array_like
        float32, float64 or bfloat16; integers and bool only without gradients. An ndarray is
        kept, not copied; anything else becomes ``np.asarray(data)``.
    requires_grad : bool
        Whether ``backward`` shall compute the gradient with respect to this tensor.

    Raises
    ------
    TypeError
        If the dtype is another one, or not floating point with `requires_grad`.

    Notes
    -----
    An operation returns a Tensor exactly when gradients are being recorded and an input
    requires them; otherwise it returns a plain ndarray. Methods therefore have NumPy's
    meaning and defaults where NumPy has the name (``transpose``, ``var``, ...), so that
    code that uses those runs alike on both; PyTorch's other names (``permute``,
    ``unsqueeze``, ``dim=``, ``keepdim=``) exist on Tensor only. docs/porting.md has them side by
    side.

    NumPy's functions take Tensors: those with a recorded twin (``np.exp``,
    ``np.concatenate``, ``np.where``, ...) keep the gradient; where one would be lost it is a
    TypeError.

    Arrays are shared, not copied: writing into ``data`` (or a view of it) after it was
    used makes the gradients of that use wrong; no check is made.

    Two floating-point dtypes never mix (TypeError); a Python or NumPy scalar takes the
    tensor's dtype.

    Examples
    --------
    >>> x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self._data.dtype:
            if copy is False:
                raise ValueError("Tensor: a conversion needs a copy, got copy=False")
            return self._data.astype(dtype)
        return self._data.copy() if copy else self._data

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return protocol.call_ufunc(ufunc, method, args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        twin = protocol.FUNCTIONS.get(function)
        return protocol.call(function, function.__name__, twin, args, kwargs)

    def __reduce__(self) -> Any:
        if self._node is not None:
            raise RuntimeError("Tensor: a computed tensor cannot be copied; use detach()")
        return _rebuild, (type(self), self._data, self._requires_grad, self._grad)

    def __repr__(self) -> str:
        text = np.array2string(self._data, separator=", ", prefix="Tensor(")
        dtype = "" if self._data.dtype == np.float64 else f", dtype={self._data.dtype}"
        grad = ", requires_grad=True" if self._requires_grad else ""
        return f"Tensor({text}{dtype}{grad})"

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self._data)))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.item(), digits)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    @property
    def itemsize(self) -> int:
        return self._data.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(self._data.strides)

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def T(self) -> Result:
        return S.transpose(self, ())

    @property
    def mT(self) -> Result:
        """The last two axes exchanged."""
        return S.swapaxes(self, -2, -1)

    def numpy(self) -> Array:
        """Return the array itself, without its history."""
        return self._data

    def item(self) -> Any:
        """Return the only element as a Python number."""
        return self._data.item()

    def tolist(self) -> Any:
        return self._data.tolist()

    def detach(self) -> Tensor:
        """Return a Tensor of the same array that requires no gradient."""
        return Tensor(self._data)

    def astype(self, dtype: Any) -> Result:
        return E.astype(self, dtype)

    def __getitem__(self, key: Any) -> Result:
        return S.index(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "Tensor: item assignment is not recorded; write into tensor.data, or use where"
        )

    def abs(self) -> Result:
        return U.absolute(self)

    def exp(self) -> Result:
        return U.exp(self)

    def expm1(self) -> Result:
        return U.expm1(self)

    def log(self) -> Result:
        return U.log(self)

    def log1p(self) -> Result:
        return U.log1p(self)

    def sqrt(self) -> Result:
        return U.sqrt(self)

    def sin(self) -> Result:
        return U.sin(self)

    def cos(self) -> Result:
        return U.cos(self)

    def tanh(self) -> Result:
        return U.tanh(self)

    def round(self, decimals: int = 0) -> Result:
        return U.round(self, decimals)

    def copy(self) -> Result:
        """Return the same values in memory of their own."""
        return mover(np.copy)(self)

    def dot(self, other: Any) -> Result:
        return L.dot(self, other)

    def pow(self, exponent: Any) -> Result:
        return E.power(self, exponent)

    def matmul(self, other: Any) -> Result:
        return E.matmul(self, other)

    def clip(self, min: Any = None, max: Any = None) -> Result:
        return clip(self, min, max)

    def reshape(self, *shape: Any) -> Result:
        return S.reshape(self, S.ints("reshape", shape))

    def view(self, *shape: Any) -> Result:
        """PyTorch's name for :meth:`reshape` (it copies if it must)."""
        return S.reshape(self, S.ints("view", shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Result:
        start_dim = integer("flatten", "start_dim", start_dim)
        return S.flatten(self, start_dim, integer("flatten", "end_dim", end_dim))

    def ravel(self) -> Result:
        return S.reshape(self, (-1,))

    def transpose(self, *axes: Any) -> Result:
        """Permute the axes, reversing them if none are given (NumPy's meaning)."""
        return S.transpose(self, S.ints("transpose", axes))

    def permute(self, *dims: Any) -> Result:
        return S.transpose(self, S.ints("permute", dims))

    def swapaxes(self, axis1: int, axis2: int) -> Result:
        """Exchange two axes (PyTorch's ``transpose(dim0, dim1)``)."""
        return S.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None, *, dim: Any = None) -> Result:
        return S.squeeze(self, R.options("squeeze", axis, dim, False, False)[0])

    def unsqueeze(self, dim: int) -> Result:
        return S.expand_dims(self, integer("unsqueeze", "dim", dim))

    def expand_dims(self, axis: Any) -> Result:
        return S.expand_dims(self, axis)

    def broadcast_to(self, *shape: Any) -> Result:
        return S.broadcast_to(self, S.ints("broadcast_to", shape))

    def repeat(self, repeats: Any, axis: int | None = None) -> Result:
        """Repeat each element (NumPy's meaning; PyTorch's ``repeat`` is :meth:`tile`)."""
        return mover(np.repeat)(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None) -> Result:
        return mover(np.take)(self, indices, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Result:
        return mover(np.diagonal)(self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Result:
        return L.trace(self, offset, axis1, axis2)

    def split(self, indices_or_sections: Any, axis: int = 0) -> tuple[Result, ...]:
        return split(self, indices_or_sections, axis)

    def sum(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Result:
        return R.sum(self, *R.options("sum", axis, dim, keepdims, keepdim))

    def mean(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Result:
        return R.mean(self, *R.options("mean", axis, dim, keepdims, keepdim))

    def max(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Result:
        """Largest values (values only, also with `dim`); ties share the gradient."""
        return R.extremum(self, *R.options("max", axis, dim, keepdims, keepdim), "max")

    def min(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Result:
        """Smallest values (values only, also with `dim`); ties share the gradient."""
        return R.extremum(self, *R.options("min", axis, dim, keepdims, keepdim), "min")

    def var(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        ddof: float = 0,
        dim: Any = None,
        keepdim: bool = False,
        correction: float | None = None,
    ) -> Result:
        """Variance with divisor ``n - ddof``; ddof is 0 as in NumPy (1 in PyTorch).

        `correction` is another name for it.
        """
        ddof = ddof if correction is None else correction
        return R.var(self, *R.options("var", axis, dim, keepdims, keepdim), ddof)

    def std(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        ddof: float = 0,
        dim: Any = None,
        keepdim: bool = False,
        correction: float | None = None,
    ) -> Result:
        """Square root of :meth:`var`."""
        ddof = ddof if correction is None else correction
        return R.std(self, *R.options("std", axis, dim, keepdims, keepdim), ddof)

    def prod(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Result:
        return R.prod(self, *R.options("prod", axis, dim, keepdims, keepdim))

    def cumsum(self, axis: Any = None, *, dim: Any = None) -> Result:
        axis = R.options("cumsum", axis, dim, False, False)[0]
        if isinstance(axis, tuple):
            raise TypeError(f"cumsum: axis must be an int or None, got {axis}")
        return R.cumsum(self, axis)

    def cumprod(self, axis: Any = None, *, dim: Any = None) -> Result:
        return L.cumprod(self, R.options("cumprod", axis, dim, False, False)[0])

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self._data.any(axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self._data.all(axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, *, dim: Any = None) -> Any:
        return self._data.argmax(R.options("argmax", axis, dim, False, False)[0])

    def argmin(self, axis: Any = None, *, dim: Any = None) -> Any:
        return self._data.argmin(R.options("argmin", axis, dim, False, False)[0])

    def argsort(self, axis: Any = -1) -> Array:
        return self._data.argsort(axis)

    def nonzero(self) -> tuple[Array, ...]:
        return self._data.nonzero()


def _rebuild(cls: type[Tensor], data: Array, requires_grad: bool, grad: Array | None) -> Tensor:
    tensor = cls(data, requires_grad=requires_grad)
    tensor._grad = grad
    return tensor


set_result_type(Tensor)
