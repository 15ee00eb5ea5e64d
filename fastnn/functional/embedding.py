"""Looking up rows of a table, forward and backward.

The gradients are dense and deterministic: every row of the table is summed by one thread in the
order of the positions, whatever the number of threads. Ids outside the table are a ValueError
before anything is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, TensorBase, array, record
from fastnn.functional._args import (
    check_out,
    flag,
    integer,
    number,
    refuse_none,
    refuse_out_while_recording,
)

__all__ = ["embedding", "embedding_bag", "one_hot"]


def embedding(
    input: ArrayLike,
    weight: ArrayLike,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Look up rows of a table: ``weight[input]``.

    Parameters
    ----------
    input : array of any integer type and any shape
        The rows' numbers.
    weight : array or Tensor, shape (vocabulary, dim), float32 or float64
    padding_idx : int, optional
        This row gets no gradient. May count from the end.
    max_norm : float, optional
        Before the look-up, the rows that are used and whose norm exceeds it are scaled down to it,
        in `weight` itself.
    norm_type : float
        The p of that p-norm.
    scale_grad_by_freq : bool
        Divide a row's gradient by the number of times that it occurs in `input`.
    sparse : bool
        Must be False: gradients are dense.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (*input.shape, dim)

    Raises
    ------
    TypeError
        If input holds no integers, or weight is not float32 or float64.
    ValueError
        If an id is not a row of weight, or an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.embedding(np.array([2, 0]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    array([[4., 5.],
           [0., 1.]])
    """
    ids, table = array(input), array(weight)
    vocabulary, padding = _check("embedding", table, padding_idx, sparse)
    scale_grad_by_freq = flag("embedding", "scale_grad_by_freq", scale_grad_by_freq)
    if out is not None:
        refuse_out_while_recording("embedding", out, weight)
    if max_norm is not None:
        _limit_norms("embedding", ids, weight, max_norm, norm_type)
    y = _core.embedding_forward(ids, table, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return None, _core.embedding_backward(grad, ids, vocabulary, padding, scale_grad_by_freq)

    return record(y, (input, weight), backward, name="embedding")


def embedding_bag(
    input: ArrayLike,
    weight: ArrayLike,
    offsets: ArrayLike = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: ArrayLike = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Sums, means or maxima of the rows that each bag of ids names.

    Parameters
    ----------
    input : array of any integer type
        Shape (bags, n), a bag a row, or (n,) with `offsets`.
    weight : array or Tensor, shape (vocabulary, dim), float32 or float64
    offsets : array of integers, shape (bags,) or (bags + 1,)
        Where in `input` each bag begins; only for a one-dimensional input.
    max_norm, norm_type, scale_grad_by_freq, sparse : see :func:`embedding`
    mode : {"mean", "sum", "max"}
    per_sample_weights : array or Tensor, of input's shape, optional
        What each row is multiplied by; for the mode "sum" only.
    include_last_offset : bool
        Whether the last of `offsets` says where the last bag ends.
    padding_idx : int, optional
        This id counts as not there.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (bags, dim); zero for an empty bag

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        If an id is not a row of weight, shapes do not fit, or an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> table = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> F.embedding_bag(np.array([0, 2, 1]), table, np.array([0, 2]), mode="sum")
    array([[4., 6.],
           [2., 3.]])
    """
    op = "embedding_bag"
    ids, table, factors = array(input), array(weight), array(per_sample_weights)
    refuse_none(op, input=ids)
    _, padding = _check(op, table, padding_idx, sparse)
    scale_grad_by_freq = flag(op, "scale_grad_by_freq", scale_grad_by_freq)
    include_last_offset = flag(op, "include_last_offset", include_last_offset)
    if not isinstance(mode, str):
        raise TypeError(f"{op}: mode must be a str, got {mode!r}")
    if scale_grad_by_freq and mode == "max":
        raise ValueError(f"{op}: scale_grad_by_freq must be False for the mode 'max'")
    if factors is not None and factors.shape != ids.shape:
        raise ValueError(
            f"{op}: per_sample_weights.shape must be {ids.shape} (input.shape), got {factors.shape}"
        )
    refuse_out_while_recording(op, out, weight, per_sample_weights)
    ids, starts, last = _flat_bags(op, ids, array(offsets), include_last_offset)
    flat = None if factors is None else factors.reshape(-1)
    if max_norm is not None:
        _limit_norms(op, ids, weight, max_norm, norm_type)
    bags = (starts, flat, mode, last, padding)
    y = _core.embedding_bag_forward(ids, table, *bags, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        grad_weight = grad_factors = None
        if needs[1] and mode == "max":
            grad_weight = _core.embedding_bag_backward_max(grad, ids, table, starts, last, padding)
        elif needs[1]:
            grad_weight = _core.embedding_bag_backward(grad, ids, table, *bags, scale_grad_by_freq)
        if needs[2]:
            found = _core.embedding_bag_backward_factors(grad, ids, table, starts, last, padding)
            grad_factors = found.reshape(factors.shape)
        return None, grad_weight, grad_factors

    return record(y, (input, weight, per_sample_weights), backward, name=op)


def one_hot(tensor: ArrayLike, num_classes: int = -1, *, out: Array | None = None) -> Array:
    """Vectors with a one at the place of a class and zeros elsewhere.

    Parameters
    ----------
    tensor : array of any integer type and any shape
        The classes, from 0.
    num_classes : int
        How many there are; -1 means one more than the largest.
    out : array of int64, optional
        Where to write the result.

    Returns
    -------
    array of int64, shape (*tensor.shape, num_classes)

    Raises
    ------
    TypeError
        If tensor holds no integers.
    ValueError
        If a class is not in ``0..num_classes - 1``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.one_hot(np.array([1, 0]), 3)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    classes = np.asarray(array(tensor))
    if classes.dtype.kind not in "iu":
        raise TypeError(f"one_hot: tensor.dtype must be an integer type, got {classes.dtype}")
    count = integer("one_hot", "num_classes", num_classes)
    if count >= 2**60:
        raise ValueError(f"one_hot: num_classes of {count} gives too many elements")
    if count == -1 and classes.size == 0:
        raise ValueError("one_hot: num_classes must be given for an empty tensor")
    if count < 1 and count != -1:
        raise ValueError(f"one_hot: num_classes must be positive or -1, got {count}")
    if count == -1:
        count = int(classes.max()) + 1
    if classes.size and (classes.min() < 0 or classes.max() >= count):
        bad = classes.min() if classes.min() < 0 else classes.max()
        raise ValueError(f"one_hot: tensor must hold classes in 0..{count - 1}, got {bad}")
    shape = (*classes.shape, count)
    if out is None:
        out = np.empty(shape, np.int64)
    else:
        check_out("one_hot", out, shape, np.dtype(np.int64), classes)
    np.equal(classes[..., None], np.arange(count), out=out, casting="unsafe")
    return out


def _check(op: str, table: Array, padding_idx: int | None, sparse: bool) -> tuple[int, int]:
    """Return the number of rows and the padding row, -1 for none."""
    if flag(op, "sparse", sparse):
        raise ValueError(f"{op}: sparse must be False: gradients are dense")
    if table is None or table.ndim != 2:
        shape = None if table is None else table.shape
        raise ValueError(f"{op}: weight must have 2 dimensions, got shape {shape}")
    rows = table.shape[0]
    if padding_idx is None:
        return rows, -1
    padding = integer(op, "padding_idx", padding_idx)
    if not -rows <= padding < rows:
        raise ValueError(
            f"{op}: padding_idx must be in {-rows}..{rows - 1} (weight has {rows} rows), "
            f"got {padding}"
        )
    return rows, padding % rows


def _flat_bags(op: str, ids: Array, offsets: Any, last: bool) -> tuple[Array, Array, bool]:
    """Return one-dimensional ids, offsets, and whether these include the end."""
    if ids.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{op}: offsets must be None for a two-dimensional input")
        return ids.reshape(-1), np.arange(ids.shape[0]) * ids.shape[1], False
    if ids.ndim != 1:
        raise ValueError(f"{op}: input must have 1 or 2 dimensions, got shape {ids.shape}")
    if offsets is None:
        raise ValueError(f"{op}: offsets must be given for a one-dimensional input")
    return ids, offsets, last


def _limit_norms(op: str, ids: Array, weight: ArrayLike, max_norm: float, norm_type: float) -> None:
    """Scale down, in `weight` itself, the rows in use whose norm exceeds `max_norm`."""
    if ids is None or ids.dtype.kind not in "iu" or array(weight).dtype.char not in "fd":
        return  # the look-up says what is wrong
    limit, power = number(op, "max_norm", max_norm), number(op, "norm_type", norm_type)
    if isinstance(weight, TensorBase):
        weight.drop_packs()
    table = array(weight)
    if not table.flags.writeable:
        raise ValueError(f"{op}: weight must be writable for max_norm, got a read-only array")
    rows = np.unique(ids)
    if rows.size == 0 or rows[0] < 0 or rows[-1] >= len(table):
        return  # the look-up says what is wrong
    norms = np.linalg.norm(table[rows], ord=power, axis=1)
    long = norms > limit
    table[rows[long]] *= (limit / (norms[long] + 1e-7)).astype(table.dtype)[:, None]
