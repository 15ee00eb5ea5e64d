"""PyTorch's names for what Tensor has under NumPy's."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _elementwise as E
from fastnn import _linalg as L
from fastnn import _reduce as R
from fastnn import _shape as S
from fastnn import _ufuncs as U
from fastnn._core import check_like, follow
from fastnn._operators import Operators
from fastnn._rearrange import moved, mover
from fastnn.autograd import Array, Result, array, enable_grad, record
from fastnn.functional._args import flag, integer, natural

if TYPE_CHECKING:
    from typing import TypeVar

    _T = TypeVar("_T", bound="TorchNames")


def on_cpu(name: str, target: Any) -> bool:
    """Whether `target` names the one device that there is, instead of a dtype.

    Raises
    ------
    ValueError
        If it names another device.
    """
    if not isinstance(target, str) or target.split(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
        return False
    if target != "cpu":
        raise ValueError(f"{name}: fastnn computes on the CPU, got {target!r}")
    return True


class TorchNames(Operators):
    """Methods of ``torch.Tensor`` for porting code.

    Plain arrays, which operations return while nothing is recorded, do not have them: code for both
    uses NumPy's names or ``fastnn.functional``.
    """

    __slots__ = ()

    # Attributes and conversions

    def dim(self) -> int:
        return self._data.ndim

    def numel(self) -> int:
        return self._data.size

    def is_contiguous(self) -> bool:
        return self._data.flags.c_contiguous

    def clone(self) -> Result:
        """Return the same values in memory of their own; recorded."""
        return mover(np.copy)(self)

    def contiguous(self) -> Result:
        """Return the tensor; operations take any strides."""
        return self

    def cpu(self) -> Result:
        """Return the tensor, which is there already."""
        return self

    def to(self, target: Any) -> Result:
        """Convert to a dtype; "cpu", where the tensor is, changes nothing."""
        return self if on_cpu("to", target) else E.astype(self, target)

    def float(self) -> Result:
        return E.astype(self, np.float32)

    def double(self) -> Result:
        return E.astype(self, np.float64)

    def long(self) -> Array:
        return self._data.astype(np.int64)

    def type_as(self, other: Any) -> Result:
        return E.astype(self, array(other).dtype)

    def requires_grad_(self: _T, requires_grad: bool = True) -> _T:
        """Set `requires_grad`; return self."""
        self.requires_grad = flag("requires_grad_", "requires_grad", requires_grad)
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of a computed tensor in ``.grad``, of what is computed from here on."""
        kept = weakref.ref(self)

        def keep(grad: Array) -> None:
            tensor = kept()
            if tensor is not None:
                tensor._grad = grad.copy()

        if self._node is not None or not self._requires_grad:
            self._hook("retain_grad", keep)

    def register_hook(self, hook: Callable[[Array], Any]) -> None:
        """Call ``hook(gradient)`` in ``backward``, for what is computed from here on.

        What it returns, unless that is None, replaces the gradient. The array must not be changed.

        Raises
        ------
        RuntimeError
            If the tensor was not computed: its gradient is in ``.grad`` after ``backward``.
        """
        self._hook("register_hook", hook)

    def _hook(self, name: str, hook: Callable[[Array], Any]) -> None:
        if self._node is None:
            raise RuntimeError(f"{name}: needs a tensor that was computed and requires gradients")
        data = self._data

        def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array]:
            changed = array(hook(grad))
            if changed is None:
                return (grad,)
            check_like(changed, data, f"{name}: what the hook returns")
            return (changed,)

        with enable_grad():
            follow(self, record(data, (self,), backward, name=name))

    # Shapes and elements

    def t(self) -> Result:
        """Transpose a matrix; vectors stay."""
        if self._data.ndim > 2:
            raise ValueError(f"t: needs at most 2 dimensions, got shape {self._data.shape}")
        return S.transpose(self, ())

    def expand(self, *sizes: Any) -> Result:
        """Broadcast to `sizes`; -1 keeps a size."""
        wanted = S.ints("expand", sizes)
        own = (-1,) * (len(wanted) - self._data.ndim) + self._data.shape
        return S.broadcast_to(self, tuple(o if n == -1 else n for n, o in zip(wanted, own)))

    def expand_as(self, other: Any) -> Result:
        return S.broadcast_to(self, array(other).shape)

    def view_as(self, other: Any) -> Result:
        return S.reshape(self, array(other).shape)

    def reshape_as(self, other: Any) -> Result:
        return S.reshape(self, array(other).shape)

    def movedim(self, source: Any, destination: Any) -> Result:
        return mover(np.moveaxis)(self, source, destination)

    def tile(self, *dims: Any) -> Result:
        """Repeat the whole tensor along each axis (PyTorch's ``repeat``)."""
        return mover(np.tile)(self, S.ints("tile", dims))

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Result:
        return mover(np.repeat)(self, repeats, dim)

    def flip(self, *dims: Any) -> Result:
        return mover(np.flip)(self, S.ints("flip", dims))

    def roll(self, shifts: Any, dims: Any = None) -> Result:
        return mover(np.roll)(self, shifts, dims)

    def tril(self, diagonal: int = 0) -> Result:
        return mover(np.tril)(self, diagonal)

    def triu(self, diagonal: int = 0) -> Result:
        return mover(np.triu)(self, diagonal)

    def unbind(self, dim: int = 0) -> tuple[Result, ...]:
        """Return the slices along an axis."""
        dim, size = self._axis("unbind", dim)
        return tuple(self._cut(dim, i) for i in range(size))

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Result, ...]:
        """Cut into at most `chunks` parts, all of one size but the last."""
        chunks = natural("chunk", "chunks", chunks, 1)
        dim, size = self._axis("chunk", dim)
        step = max(-(-size // chunks), 1)
        starts = range(0, max(size, 1), step)
        return tuple(self._cut(dim, slice(start, start + step)) for start in starts)

    def select(self, dim: int, index: int) -> Result:
        return self._cut(self._axis("select", dim)[0], integer("select", "index", index))

    def narrow(self, dim: int, start: int, length: int) -> Result:
        dim, size = self._axis("narrow", dim)
        start = integer("narrow", "start", start)
        length = natural("narrow", "length", length)
        start += size if start < 0 else 0
        if not 0 <= start <= size - length:
            raise ValueError(
                f"narrow: start and length must fit into {size}, got {start} and {length}"
            )
        return self._cut(dim, slice(start, start + length))

    def index_select(self, dim: int, index: Any) -> Result:
        return mover(np.take)(self, array(index), self._axis("index_select", dim)[0])

    def gather(self, dim: int, index: Any) -> Result:
        """``np.take_along_axis``: `index` has the shape of the result."""
        dim, _ = self._axis("gather", dim)
        index = array(index)
        if index.ndim != self._data.ndim:
            raise ValueError(
                f"gather: index must have {self._data.ndim} dimensions, got shape {index.shape}"
            )
        # PyTorch lets its other sizes be smaller.
        sizes = zip(index.shape, self._data.shape)
        part = tuple(
            slice(None) if i == dim else slice(min(n, m)) for i, (n, m) in enumerate(sizes)
        )
        return moved("gather", self, lambda x: np.take_along_axis(x[part], index, dim))

    def masked_fill(self, mask: Any, value: Any) -> Result:
        """Put `value` where `mask` is true."""
        return E.where(array(mask), value, self)

    def _axis(self, name: str, dim: Any) -> tuple[int, int]:
        """Return a valid axis and its length."""
        dim = S.checked_axis(name, "dim", dim, self._data.ndim)
        return dim % self._data.ndim, self._data.shape[dim]

    def _cut(self, dim: int, part: Any) -> Result:
        return S.index(self, (slice(None),) * dim + (part,))

    # Arithmetic

    def add(self, other: Any, *, alpha: Any = 1) -> Result:
        return E.add(self, other if alpha == 1 else E.multiply(other, alpha))

    def sub(self, other: Any, *, alpha: Any = 1) -> Result:
        return E.subtract(self, other if alpha == 1 else E.multiply(other, alpha))

    def mul(self, other: Any) -> Result:
        return E.multiply(self, other)

    def div(self, other: Any) -> Result:
        return E.divide(self, other)

    def neg(self) -> Result:
        return U.negative(self)

    def square(self) -> Result:
        return U.square(self)

    def reciprocal(self) -> Result:
        return E.divide(1, self)

    def rsqrt(self) -> Result:
        return E.divide(1, U.sqrt(self))

    def mm(self, mat2: Any) -> Result:
        return E.matmul(self, mat2)

    def bmm(self, mat2: Any) -> Result:
        return E.matmul(self, mat2)

    def clamp(self, min: Any = None, max: Any = None) -> Result:
        return E.clip(self, min, max)

    def relu(self) -> Result:
        from fastnn import functional

        return functional.relu(self)

    def sigmoid(self) -> Result:
        from fastnn import functional

        return functional.sigmoid(self)

    def softmax(self, dim: int) -> Result:
        from fastnn import functional

        return functional.softmax(self, dim)

    def log_softmax(self, dim: int) -> Result:
        from fastnn import functional

        return functional.log_softmax(self, dim)

    def logsumexp(self, dim: int, keepdim: bool = False) -> Result:
        from fastnn import functional

        return functional.logsumexp(self, dim, keepdim)

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Result:
        """The 2-norm (`p` 2 or "fro"), 1-norm or infinity-norm of the elements along `dim`."""
        a = S.reshape(self, (-1,)) if dim is None else self
        return L.norm(a, None if p in (2, "fro") else p, dim, keepdim and dim is not None)

    def amax(self, dim: Any = None, keepdim: bool = False) -> Result:
        return R.extremum(self, *R.options("amax", None, dim, False, keepdim), "max")

    def amin(self, dim: Any = None, keepdim: bool = False) -> Result:
        return R.extremum(self, *R.options("amin", None, dim, False, keepdim), "min")

    # In place: for tensors that were given, while no gradient is recorded for them

    def copy_(self: _T, source: Any) -> _T:
        """Write `source`, broadcast, into the tensor; return self."""
        self._writable("copy_")[...] = array(source)
        return self

    def fill_(self: _T, value: Any) -> _T:
        self._writable("fill_")[...] = array(value)
        return self

    def zero_(self: _T) -> _T:
        self._writable("zero_")[...] = 0
        return self

    def add_(self: _T, other: Any, *, alpha: Any = 1) -> _T:
        other = other if alpha == 1 else E.multiply(array(other), alpha)
        return self._changed("add_", np.add, other)

    def sub_(self: _T, other: Any, *, alpha: Any = 1) -> _T:
        other = other if alpha == 1 else E.multiply(array(other), alpha)
        return self._changed("sub_", np.subtract, other)

    def mul_(self: _T, other: Any) -> _T:
        return self._changed("mul_", np.multiply, other)

    def div_(self: _T, other: Any) -> _T:
        return self._changed("div_", np.divide, other)

    def clamp_(self: _T, min: Any = None, max: Any = None) -> _T:
        self._writable("clamp_")[...] = E.clip(self._data, min, max)
        return self

    def lerp_(self: _T, end: Any, weight: Any) -> _T:
        """Move towards `end` by a share `weight`: a running mean of weights."""
        step = E.multiply(E.subtract(array(end), self._data), weight)
        return self._changed("lerp_", np.add, step)
