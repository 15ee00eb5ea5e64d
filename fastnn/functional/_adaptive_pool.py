"""Pooling to an output of a given size, over one, two or three spatial dimensions."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import flag, recorded, refuse_out_while_recording
from fastnn.functional._max_pool import (
    KEEP_FOR_BACKWARD,
    KEEP_INDICES,
    KEEP_NOTHING,
    refuse_out_of_two,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]

Size = Any  # an int or a tuple of ints


def _adaptive_avg_pool(dims: int, input: ArrayLike, output_size: Size, out: Array | None) -> Result:
    x = array(input)
    if out is not None:
        refuse_out_while_recording(f"adaptive_avg_pool{dims}d", out, input)
    y = _core.adaptive_avg_pool3d_forward(x, dims, output_size, out)
    if not recorded(input):
        return y
    shape = x.shape

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.adaptive_avg_pool3d_backward(grad, shape, dims),)

    return record(y, (input,), backward, name=f"adaptive_avg_pool{dims}d")


def adaptive_avg_pool1d(input: ArrayLike, output_size: Size, *, out: Array | None = None) -> Result:
    """Mean of windows that divide the last dimension; see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    output_size : int
    out : array, optional

    Returns
    -------
    array or Tensor, shape (N, C, output_size) or (C, output_size)

    Raises
    ------
    TypeError, ValueError
        As for :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_avg_pool1d(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    array([[2., 4.]])
    """
    return _adaptive_avg_pool(1, input, output_size, out)


def adaptive_avg_pool2d(input: ArrayLike, output_size: Size, *, out: Array | None = None) -> Result:
    """Mean of windows that divide the plane: output o of n covers ``[floor(o size / n),
    ceil((o + 1) size / n))``.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    output_size : int or None, or a tuple of two of them
        None keeps the input's size.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or output_size is not an int.
    ValueError
        If input has another rank or an empty plane, or output_size is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[6.5, 8.5]]]])
    """
    return _adaptive_avg_pool(2, input, output_size, out)


def adaptive_avg_pool3d(input: ArrayLike, output_size: Size, *, out: Array | None = None) -> Result:
    """Mean of windows that divide a volume; see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    output_size : int or None, or a tuple of three of them
    out : array, optional

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout) or (C, Dout, Hout, Wout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 1).ravel()
    array([3.5])
    """
    return _adaptive_avg_pool(3, input, output_size, out)


def _adaptive_max_pool(
    dims: int, input: ArrayLike, output_size: Size, return_indices: bool, out: Array | None
) -> Result:
    x = array(input)
    if out is not None:
        refuse_out_while_recording(f"adaptive_max_pool{dims}d", out, input)
        if return_indices:
            refuse_out_of_two(f"adaptive_max_pool{dims}d", out)
    indices_too = flag(f"adaptive_max_pool{dims}d", "return_indices", return_indices)
    if not recorded(input):
        keep = KEEP_INDICES if indices_too else KEEP_NOTHING
        return _core.adaptive_max_pool3d_forward(x, dims, output_size, keep, out)
    keep = KEEP_INDICES if indices_too else KEEP_FOR_BACKWARD
    y, saved = _core.adaptive_max_pool3d_forward(x, dims, output_size, keep)
    shape = x.shape

    def backward(grad: Any, needs: tuple[bool, ...]) -> Gradients:
        grad = grad[0] if indices_too else grad
        return (_core.adaptive_max_pool3d_backward(grad, saved, shape, dims),)

    outputs = (y, saved) if indices_too else y
    return record(outputs, (input,), backward, name=f"adaptive_max_pool{dims}d")


def adaptive_max_pool1d(
    input: ArrayLike, output_size: Size, return_indices: bool = False, *, out: Array | None = None
) -> Result:
    """Largest element of windows that divide the last dimension; see :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    output_size : int
    return_indices : bool
    out : array, optional

    Returns
    -------
    array or Tensor, shape (N, C, output_size), or with the indices (int64) a tuple

    Raises
    ------
    TypeError, ValueError
        As for :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_max_pool1d(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    array([[3., 5.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices, out)


def adaptive_max_pool2d(
    input: ArrayLike, output_size: Size, return_indices: bool = False, *, out: Array | None = None
) -> Result:
    """Largest element of windows that divide the plane as :func:`adaptive_avg_pool2d`'s do.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    output_size : int or None, or a tuple of two of them
        None keeps the input's size.
    return_indices : bool
        Also return where each maximum is: its index in the flattened (H, W) plane.
    out : array, optional
        Where to write the result; not while a gradient is being recorded, and not with
        `return_indices`.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout), or with the indices (int64) a tuple

    Raises
    ------
    TypeError
        If input is not float32 or float64, or output_size is not an int.
    ValueError
        If input has another rank or an empty plane, or output_size is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[13., 15.]]]])
    """
    return _adaptive_max_pool(2, input, output_size, return_indices, out)


def adaptive_max_pool3d(
    input: ArrayLike, output_size: Size, return_indices: bool = False, *, out: Array | None = None
) -> Result:
    """Largest element of windows that divide a volume; see :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    output_size : int or None, or a tuple of three of them
    return_indices : bool
    out : array, optional

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout), or with the indices (int64) a tuple

    Raises
    ------
    TypeError, ValueError
        As for :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.adaptive_max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 1).ravel()
    array([7.])
    """
    return _adaptive_max_pool(3, input, output_size, return_indices, out)
