"""Softmax, its logarithm and logsumexp, over any dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import _core, random
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import (
    check_out,
    flag,
    integers,
    number,
    refuse_none,
    refuse_out_while_recording,
)

__all__ = ["gumbel_softmax", "log_softmax", "logsumexp", "softmax", "softmin"]


def softmax(
    input: ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    r"""Exponentials that sum to one along a dimension.

    .. math:: y_i = \exp(x_i - \max x) \,/\, \sum_j \exp(x_j - \max x)

    A slice that holds NaN or +inf, or nothing but -inf, is NaN throughout. The order of the sum
    depends on the length of the slice alone.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    dim : int
        The dimension to normalise; negative counts from the end. It has to be given.
    _stacklevel : int
        Not used; in PyTorch's signature.
    dtype : numpy dtype, optional
        float32 or float64; input is converted first, from any real dtype.
    out : array, optional
        Where to write the result: contiguous, not overlapping input. Not while a gradient is
        being recorded.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        If input is not float32 or float64 (and dtype is not given), or dim is not an int.
    ValueError
        If dim is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softmax(np.array([[0.0, 0.0], [0.0, -np.inf]]), dim=1)
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    x = array(input)
    if dim is None or dtype is not None or out is not None:
        x = _prepare("softmax", x, dim, dtype, out, input)
    y = _core.softmax_forward(x, dim, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_like(_core.softmax_backward(grad, y, dim), input),)

    return record(y, (input,), backward, name="softmax")


def log_softmax(
    input: ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    r"""Compute the logarithm of :func:`softmax`, accurate where that is near 0 or underflows.

    .. math:: y_i = (x_i - \max x) - \log \sum_j \exp(x_j - \max x)

    Parameters, result, errors and infinities are those of :func:`softmax`.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    dim : int
    _stacklevel : int
    dtype : numpy dtype, optional
    out : array, optional

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError, ValueError
        As :func:`softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.log_softmax(np.array([0.0, 1000.0]), dim=0)
    array([-1000.,     0.])
    """
    x = array(input)
    if dim is None or dtype is not None or out is not None:
        x = _prepare("log_softmax", x, dim, dtype, out, input)
    y = _core.log_softmax_forward(x, dim, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_like(_core.log_softmax_backward(grad, y, dim), input),)

    return record(y, (input,), backward, name="log_softmax")


def softmin(
    input: ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    """Compute ``softmax(-input, dim)``: the smallest element gets the largest share.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    dim : int
    _stacklevel : int
    dtype : numpy dtype, optional
    out : array, optional

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError, ValueError
        As :func:`softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softmin(np.array([1.0, np.inf, 1.0]), dim=0)
    array([0.5, 0. , 0.5])
    """
    x = array(input)
    if dim is None or dtype is not None or out is not None:
        x = _prepare("softmin", x, dim, dtype, out, input)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        if out is not None and np.may_share_memory(out, x):
            raise ValueError("softmin: out must not share memory with an input")
        x = np.negative(x)
    y = _core.softmax_forward(x, dim, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        grad_x = _core.softmax_backward(grad, y, dim)
        return (_like(np.negative(grad_x, out=grad_x), input),)

    return record(y, (input,), backward, name="softmin")


def gumbel_softmax(
    logits: ArrayLike,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    out: Array | None = None,
) -> Result:
    """Draw from a relaxed categorical distribution: ``softmax((logits + g) / tau, dim)``.

    g is noise of the Gumbel distribution, with which the largest element is class k with the
    probability ``softmax(logits)[k]``.

    Parameters
    ----------
    logits : array or Tensor, float32 or float64
    tau : float > 0
        Temperature: near 0 the result is nearly one-hot.
    hard : bool
        Return the one-hot vectors of the largest elements; their gradient is that of the soft ones.
    eps : float
        Not used; in PyTorch's signature.
    dim : int
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor of logits' shape

    Raises
    ------
    TypeError
        If logits is not float32 or float64, or an argument is no number.
    ValueError
        If dim is out of range or tau is not positive.

    Notes
    -----
    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.gumbel_softmax(np.array([[0.0, 1000.0]]), hard=True)
    array([[0., 1.]])
    """
    op = "gumbel_softmax"
    x, hard = array(logits), flag(op, "hard", hard)
    refuse_none(op, logits=x)
    if x.dtype.char not in "fd":
        raise TypeError(f"{op}: logits.dtype must be float32 or float64, got {x.dtype}")
    tau = number(op, "tau", tau)
    if not tau > 0:
        raise ValueError(f"{op}: tau must be > 0, got {tau}")
    refuse_out_while_recording(op, out, logits)
    if out is not None:
        check_out(op, out, x.shape, x.dtype, x)
    z = random.generator().standard_exponential(x.shape, dtype=x.dtype)
    np.log(np.maximum(z, np.finfo(x.dtype).tiny, out=z), out=z)
    np.subtract(x, z, out=z)
    z *= x.dtype.type(1 / tau)
    y = _core.softmax_forward(z, dim, None if hard else out)
    result = y
    if hard:
        result = np.empty_like(y) if out is None else out
        result[...] = 0
        np.put_along_axis(result, y.argmax(dim, keepdims=True), 1, dim)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        grad_x = _core.softmax_backward(grad, y, dim)
        grad_x *= grad_x.dtype.type(1 / tau)
        return (grad_x,)

    return record(result, (logits,), backward, name=op)


def logsumexp(
    input: ArrayLike,
    dim: int | tuple[int, ...],
    keepdim: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    r"""Logarithm of the sum of exponentials along one or more dimensions.

    .. math:: y = \max x + \log \sum_j \exp(x_j - \max x)

    It is -inf for an empty slice and one of nothing but -inf, inf where the slice holds +inf.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    dim : int or tuple of int
        What to reduce; negative counts from the end.
    keepdim : bool
        Whether the reduced dimensions stay, with length 1.
    out : array, optional
        Where to write the result. Not while a gradient is being recorded.

    Returns
    -------
    array or Tensor

    Raises
    ------
    TypeError
        If input is not float32 or float64, or dim is no int or tuple of ints.
    ValueError
        If dim is empty, out of range or names a dimension twice.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.logsumexp(np.array([[1000.0, 1000.0], [-np.inf, 3.0]]), dim=1)
    array([1000.69314718,    3.        ])
    """
    x = array(input)
    if out is not None:
        refuse_out_while_recording("logsumexp", out, input)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if isinstance(dim, (tuple, list)) and x is not None:
        axes = _axes("logsumexp", dim, x.ndim)
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        shape = tuple(x.shape[i] for i in kept)
        full = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        # The reduced dimensions become one, the last; copied if they lie apart.
        length = math.prod(x.shape[i] for i in axes)
        columns = x.transpose(*kept, *axes).reshape(*shape, length)
        y = _core.logsumexp_forward(columns, -1, False, None)
        result = y.reshape(full) if keepdim else y
        if out is not None:
            result = _copy_into(out, result)

        def backward_tuple(grad: Array, needs: tuple[bool, ...]) -> Gradients:
            grad_x = _core.logsumexp_backward(grad.reshape(shape), columns, y, -1)
            moved = grad_x.reshape(shape + tuple(x.shape[i] for i in axes))
            return (moved.transpose(np.argsort(kept + axes)),)

        return record(result, (input,), backward_tuple, name="logsumexp")
    y = _core.logsumexp_forward(x, dim, flag("logsumexp", "keepdim", keepdim), out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.logsumexp_backward(grad, x, y, dim),)

    return record(y, (input,), backward, name="logsumexp")


def _prepare(op: str, x: Array, dim: Any, dtype: Any, out: Any, input: Any) -> Array:
    if dim is None:
        raise TypeError(f"{op}: dim must be an int, got None")
    refuse_out_while_recording(op, out, input)
    if dtype is None:
        return x
    try:
        wanted = np.dtype(dtype)
    except Exception:  # numpy raises many kinds
        raise TypeError(f"{op}: dtype must be float32 or float64, got {dtype!r}") from None
    if wanted.char not in "fd":
        raise TypeError(f"{op}: dtype must be float32 or float64, got {wanted}")
    refuse_none(op, input=x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op}: input.dtype must be a real number type, got {x.dtype}")
    return x.astype(wanted, copy=False)


def _like(grad: Array, input: Any) -> Array:
    """Return the gradient in input's dtype, which ``dtype=`` may have changed."""
    return grad.astype(array(input).dtype, copy=False)


def _axes(op: str, dim: Any, rank: int) -> tuple[int, ...]:
    axes = integers(op, "dim", dim)
    if not axes:
        raise ValueError(f"{op}: dim must name at least one dimension, got {dim!r}")
    for d in axes:
        if not -rank <= d < rank:
            raise ValueError(f"{op}: dim must be in {-rank}..{rank - 1}, got {d}")
    axes = tuple(d % rank for d in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: dim must name each dimension once, got {dim!r}")
    return axes


def _copy_into(out: Any, result: Array) -> Array:
    if not isinstance(out, np.ndarray) or out.dtype != result.dtype:
        raise TypeError(f"logsumexp: out must be a numpy.ndarray of {result.dtype}")
    if out.shape != result.shape:
        raise ValueError(f"logsumexp: out.shape must be {result.shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("logsumexp: out must be writable, got a read-only array")
    np.copyto(out, result)
    return out
