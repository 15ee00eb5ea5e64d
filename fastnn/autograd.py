"""Reverse-mode automatic differentiation: the tape and its engine.

Every differentiable operation is an ordinary function on arrays that ends in
:func:`record`:

>>> import numpy as np
>>> from fastnn.tensor import Tensor
>>> def square(input):
...     x = array(input)
...     return record(x * x, (input,), lambda grad, needs: (2 * x * grad,), name="square")
>>> square(np.array([3.0]))
array([9.])
>>> t = Tensor(np.array([3.0]), requires_grad=True)
>>> square(t).backward()
>>> t.grad
array([6.])

``record(out, inputs, backward, name="operation", bfloat16=False)`` returns `out` itself unless
gradients are being recorded and an input is a Tensor with ``requires_grad``; then a Tensor (of a
tuple, each floating-point array becomes one).

out : ndarray or tuple of ndarray
    The result(s), already computed.
inputs : tuple
    The operation's arguments as the user gave them (Tensor, ndarray, None, ...).
backward : callable
    ``backward(grad, needs)`` returns one gradient or None for each input. `grad` has the shape
    and dtype of `out`; for a tuple it is a tuple in which an unused output has None. `needs` has
    one bool for each input. It may return `grad` itself or a view of it, but must not write into
    it.
name : str
    The operation's name in error messages.
bfloat16 : bool
    Whether `backward` also takes gradients of bfloat16.

``array(value)`` is the ndarray behind a value: a Tensor gives its array, an ndarray itself, None
stays None, anything else is ``np.asarray(value)``.

Ownership goes one way only: an output holds its node, a node holds the nodes (or
leaves) it came from. There is no reference cycle, so dropping the last output frees
the whole graph at once, without the garbage collector.

What an operation saved for its gradient is not copied: writing into such an array
between the forward and the backward pass makes the gradient wrong, and no check is
made. Gradients of gradients are not recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np
from numpy import ndarray

from fastnn import _core
from fastnn._core import array, check_like, is_grad_enabled, record, set_grad_enabled

__all__ = [
    "Array",
    "ArrayLike",
    "Backward",
    "Gradients",
    "Result",
    "TensorBase",
    "array",
    "enable_grad",
    "is_grad_enabled",
    "no_grad",
    "record",
]

Array = ndarray[Any, Any]

Backward = Callable[[Any, "tuple[bool, ...]"], Any]

ArrayLike = Any
"""What an operation takes: a Tensor, an ndarray, or what ``np.asarray`` takes."""

Result = Any
"""A Tensor while gradients are recorded and an input requires them, else an ndarray."""

Gradients = tuple["Array | None", ...]
"""What a backward returns: a gradient, or None, for each input."""

_F = TypeVar("_F", bound=Callable[..., Any])


class _GradMode:
    """Context manager and decorator that switches recording on or off."""

    __slots__ = ("_previous", "_recording")

    def __init__(self, recording: bool) -> None:
        self._recording = recording
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(set_grad_enabled(self._recording))

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        set_grad_enabled(self._previous.pop())

    def __call__(self, function: _F) -> _F:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & 0x2A0:
            raise TypeError(
                "no_grad / enable_grad: cannot decorate a generator or a coroutine; "
                "use `with` inside it"
            )
        recording = self._recording

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(recording):
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


@overload
def no_grad(function: None = None) -> _GradMode: ...
@overload
def no_grad(function: _F) -> _F: ...
def no_grad(function: Any = None) -> Any:
    """Do not record: inside, every operation returns plain arrays.

    A context manager (``with no_grad():``) and a decorator (``@no_grad`` or
    ``@no_grad()``). It holds for the current thread.

    Examples
    --------
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.ones(2), requires_grad=True)
    >>> with no_grad():
    ...     type(x + 1)
    <class 'numpy.ndarray'>
    """
    context = _GradMode(False)
    return context if function is None else context(function)


@overload
def enable_grad(function: None = None) -> _GradMode: ...
@overload
def enable_grad(function: _F) -> _F: ...
def enable_grad(function: Any = None) -> Any:
    """Record again inside a ``no_grad`` block; used like :func:`no_grad`."""
    context = _GradMode(True)
    return context if function is None else context(function)


class TensorBase(_core.TapeTensor):
    """An array on the tape, with its gradient."""

    __slots__ = ()
    _data: Array
    _grad: Array | None
    _node: Any
    _requires_grad: bool

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._data = as_data(data, requires_grad)
        self._requires_grad = bool(requires_grad)

    @property
    def data(self) -> Array:
        """The array itself, not a copy. Assigning replaces it."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        data = as_data(value, self._requires_grad)
        same = data.shape == self._data.shape and data.dtype == self._data.dtype
        if self._node is not None and not same:
            raise ValueError(
                f"Tensor: data of a computed tensor must stay {self._data.dtype} of shape "
                f"{self._data.shape}, got {data.dtype} of shape {data.shape}"
            )
        self.drop_packs()
        self._data = data
        if not same:
            self._grad = None

    @property
    def grad(self) -> Array | None:
        """The accumulated gradient of a leaf, an ndarray like `data`, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = array(value)
            check_like(value, self._data, "Tensor: grad")
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None and not value:
            raise RuntimeError(
                "Tensor: requires_grad of a computed tensor cannot be switched off; use detach()"
            )
        if value:
            as_data(self._data, True)
        self._requires_grad = bool(value)

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that was given, False for one that was computed."""
        return self._node is None

    def drop_packs(self) -> None:
        """Drop what was derived from `data`; called before `data` may change."""

    def zero_grad(self) -> None:
        """Forget the accumulated gradient (set it to None)."""
        self._grad = None

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it came from.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient with respect to this tensor, of its shape and dtype. May be
            left out for a tensor with one element, where it is 1.
        retain_graph : bool
            Keep the graph for another ``backward``. Otherwise it is freed on the way,
            also when an operation fails.

        Raises
        ------
        RuntimeError
            If nothing was recorded, or the graph was used before.
        TypeError, ValueError
            If `gradient` has another dtype or shape than this tensor.
        """
        if not self._requires_grad:
            raise RuntimeError("backward: this tensor does not require gradients")
        gradient = _start_gradient(self._data, gradient)
        _core.backward_pass(self, gradient, retain_graph)


def as_data(value: Any, requires_grad: bool) -> Array:
    """Return `value` as an array that a Tensor may hold, without a copy if possible."""
    data: Array = array(np.asarray(value) if value is None else value)
    dtype = data.dtype
    if dtype.char not in "fd" and dtype.kind not in "iub" and dtype.name != "bfloat16":
        raise TypeError(
            "Tensor: data must be float32, float64, bfloat16, integer or bool, "
            f"got {data.dtype}; convert it with .astype(np.float32)"
        )
    if requires_grad and dtype.kind != "f" and dtype.name != "bfloat16":
        raise TypeError(
            f"Tensor: requires_grad needs float32, float64 or bfloat16 data, got {data.dtype}; "
            "convert it with .astype(np.float32)"
        )
    return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))


def _start_gradient(data: Array, gradient: Any) -> Array:
    if gradient is None:
        if data.size != 1:
            raise ValueError(
                "backward: gradient can be left out only for a tensor with one "
                f"element, got shape {data.shape}"
            )
        return np.ones_like(data)
    if not isinstance(gradient, (ndarray, np.generic, TensorBase)):
        gradient = np.asarray(gradient, dtype=data.dtype)
    gradient = array(gradient)
    check_like(gradient, data, "backward: gradient")
    return gradient  # type: ignore[no-any-return]
