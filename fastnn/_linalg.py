"""Products and norms with NumPy's names, for Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _elementwise as E
from fastnn import _reduce as R
from fastnn import _shape as S
from fastnn import _ufuncs as U
from fastnn._einsum import LETTERS, einsum
from fastnn.autograd import Array, array


def dot(a: Any, b: Any) -> Any:
    """``np.dot``: the last axis of `a` with the last but one of `b`."""
    rank_a, rank_b = np.ndim(array(a)), np.ndim(array(b))
    if rank_a == 0 or rank_b == 0:
        return E.multiply(a, b)
    if rank_b <= 2:
        return E.matmul(a, b)
    return tensordot(a, b, (-1, -2))


def inner(a: Any, b: Any) -> Any:
    """``np.inner``: the last axes with each other."""
    if np.ndim(array(a)) == 0 or np.ndim(array(b)) == 0:
        return E.multiply(a, b)
    return tensordot(a, b, (-1, -1))


def outer(a: Any, b: Any) -> Any:
    """``np.outer``: every element with every other."""
    return E.multiply(S.reshape(a, (-1, 1)), S.reshape(b, (1, -1)))


def vdot(a: Any, b: Any) -> Any:
    """``np.vdot``: the sum of the products of all elements."""
    return E.matmul(S.reshape(a, (-1,)), S.reshape(b, (-1,)))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """``np.tensordot``: sum over `axes`, a number of them or a pair of lists."""
    rank_a, rank_b = np.ndim(array(a)), np.ndim(array(b))
    if isinstance(axes, int):
        pairs = list(zip(range(rank_a - axes, rank_a), range(axes)))
    else:
        first, second = (np.atleast_1d(part).tolist() for part in axes)
        if len(first) != len(second):
            raise ValueError(f"tensordot: axes must be pairs, got {axes}")
        pairs = [(i % rank_a, j % rank_b) for i, j in zip(first, second)]
    letters_a, letters_b = list(LETTERS[:rank_a]), list(LETTERS[rank_a : rank_a + rank_b])
    for i, j in pairs:
        if array(a).shape[i] != array(b).shape[j]:
            raise ValueError(
                f"tensordot: axis {i} of a and {j} of b must have one size, "
                f"got {array(a).shape} and {array(b).shape}"
            )
        letters_b[j] = letters_a[i]
    summed = {letters_a[i] for i, _ in pairs}
    rest = "".join(letter for letter in letters_a + letters_b if letter not in summed)
    return einsum(f"{''.join(letters_a)},{''.join(letters_b)}->{rest}", a, b)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """``np.trace``: the sum of a diagonal."""
    from fastnn._rearrange import mover

    return R.sum(mover(np.diagonal)(a, offset, axis1, axis2), -1, False)


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """``np.linalg.norm`` of vectors, or of all elements: `ord` None, 1, 2 or infinity.

    The gradient of a 2-norm that is 0 is 0.

    Raises
    ------
    TypeError
        For another `ord`, or a norm of matrices other than Frobenius'.
    """
    matrix = (np.ndim(array(a)) if axis is None else np.size(axis)) > 1
    if ord is None or (ord == "fro" and matrix) or (ord == 2 and not matrix):
        return _two_norm(a, axis, keepdims)
    if matrix or ord not in (1, np.inf):
        raise TypeError(
            f"np.linalg.norm: ord {ord!r} is not recorded; use None, or for vectors 1, 2 or np.inf"
        )
    sizes = U.absolute(a)
    return R.sum(sizes, axis, keepdims) if ord == 1 else R.extremum(sizes, axis, keepdims, "max")


def _two_norm(a: Any, axis: Any, keepdims: bool) -> Any:
    x = array(a)
    out = np.asarray(np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)))

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        scale = np.divide(grad, out, out=np.zeros_like(out), where=out != 0)
        return (x * R.spread(scale, x, axis),)

    return E.result(out, (a,), backward, "norm")


def cumprod(a: Any, axis: int | None = None) -> Any:
    """``np.cumprod``; its gradient is exact where elements are zero, too."""
    x = array(a)
    out = np.asarray(x.cumprod(axis=axis, dtype=x.dtype))

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        along = 0 if axis is None else axis
        factors = np.moveaxis(x.reshape(out.shape), along, 0)
        after = np.moveaxis(grad, along, 0).copy()
        for i in range(len(factors) - 2, -1, -1):
            after[i] += factors[i + 1] * after[i + 1]
        after[1:] *= np.moveaxis(out, along, 0)[:-1]
        return (np.moveaxis(after, 0, along).reshape(x.shape),)

    return E.result(out, (a,), backward, "cumprod")
