"""Max pooling and its inverse, over one, two or three spatial dimensions."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import (
    check_spatial_rank,
    ntuple,
    recorded,
    refuse_out_while_recording,
)

__all__ = [
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

Size = Any  # an int or a tuple of ints
KEEP_NOTHING, KEEP_INDICES, KEEP_FOR_BACKWARD = 0, 1, 2  # what max_pool3d_forward keeps


def refuse_out_of_two(op: str, out: Array | None) -> None:
    if out is not None:
        raise ValueError(f"{op}: out must be None with return_indices=True")


def _max_pool(
    dims: int,
    input: ArrayLike,
    window: tuple[Any, Any, Any, Any, Any],
    return_indices: bool,
    out: Array | None,
) -> Result:
    """`window` is (kernel_size, stride, padding, dilation, ceil_mode)."""
    x = array(input)
    if out is not None:
        refuse_out_while_recording(f"max_pool{dims}d", out, input)
        if return_indices:
            refuse_out_of_two(f"max_pool{dims}d", out)
    if not recorded(input):
        keep = KEEP_INDICES if return_indices else KEEP_NOTHING
        return _core.max_pool3d_forward(x, dims, *window, keep, out)
    keep = KEEP_INDICES if return_indices else KEEP_FOR_BACKWARD
    y, saved = _core.max_pool3d_forward(x, dims, *window, keep)
    shape = x.shape

    def backward(grad: Any, needs: tuple[bool, ...]) -> Gradients:
        grad = grad[0] if return_indices else grad
        return (_core.max_pool3d_backward(grad, saved, shape, dims, *window),)

    return record((y, saved) if return_indices else y, (input,), backward, name=f"max_pool{dims}d")


def max_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Largest element of each window along the last dimension; see :func:`max_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, out
        As for :func:`max_pool2d`, with ints (or tuples of one).

    Returns
    -------
    array or Tensor, shape (N, C, Lout) or (C, Lout), or with the indices (int64) a tuple

    Raises
    ------
    TypeError, ValueError
        As for :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.max_pool1d(np.array([[1.0, 4.0, 2.0, 3.0]]), 2)
    array([[4., 3.]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(1, input, window, return_indices, out)


def max_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Largest element of each window: ``out[i, j] = max over k, l of input[i s + k d - p, ...]``.

    The output has ``floor((size + 2 p - d (kernel - 1) - 1) / s) + 1`` elements along a dimension,
    or ``ceil`` of it with `ceil_mode`, where the last window must start inside the input or the
    padding in front of it. A NaN in the window is its result. Of equal elements the first gets the
    gradient, of NaNs the last.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size : int or tuple of two ints
        The window's height and width.
    stride : int or tuple of two ints, optional
        From window to window; kernel_size by default.
    padding : int or tuple of two ints
        Columns of -inf on both sides; at most half of the window.
    dilation : int or tuple of two ints
        From element to element of a window.
    ceil_mode : bool
        Let the last window reach past the end.
    return_indices : bool
        Also return where each maximum is: its index in the flattened (H, W) plane.
    out : array, optional
        Where to write the result; not while a gradient is being recorded, and not with
        `return_indices`.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)
        With `return_indices` a tuple of it and the indices, an int64 array of the same shape.

    Raises
    ------
    TypeError
        If input is not float32 or float64, or a size is not an int.
    ValueError
        If input has another rank or an empty plane, a size is out of range, or the window does
        not fit into the padded input.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> F.max_pool2d(x, 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    >>> F.max_pool2d(x, 2, return_indices=True)[1].ravel()
    array([ 5,  7, 13, 15])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(2, input, window, return_indices, out)


def max_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Largest element of each window of a volume; see :func:`max_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, out
        As for :func:`max_pool2d`, with ints or tuples of three ints; indices count in the
        flattened (D, H, W) volume.

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout), or with the indices (int64) a tuple

    Raises
    ------
    TypeError, ValueError
        As for :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2).ravel()
    array([7.])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(3, input, window, return_indices, out)


def _unpooled_size(
    op: str, dims: int, shape: tuple[int, ...], window: tuple[Size, Size, Size], output_size: Size
) -> tuple[int, int, int]:
    """Return (depth, height, width): the default or, if it is near enough, `output_size`."""
    kernel = ntuple(op, "kernel_size", window[0], dims)
    stride = kernel if window[1] is None else ntuple(op, "stride", window[1], dims)
    padding = ntuple(op, "padding", window[2], dims)
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise ValueError(
            f"{op}: kernel_size and stride must be positive and padding not negative, "
            f"got {kernel}, {stride}, {padding}"
        )
    check_spatial_rank(op, shape, dims)
    size = tuple(
        (n - 1) * s + k - 2 * p for n, s, k, p in zip(shape[-dims:], stride, kernel, padding)
    )
    if output_size is not None:
        if not isinstance(output_size, (tuple, list)):
            raise TypeError(f"{op}: output_size must be a tuple of ints, got {output_size!r}")
        spatial = tuple(output_size)
        if len(spatial) == dims + 2:
            spatial = spatial[2:]
        given = ntuple(op, "output_size", spatial, dims)
        if any(abs(g - n) >= s for g, n, s in zip(given, size, stride)):
            raise ValueError(
                f"{op}: output_size must be less than stride {stride} away from {size}, got {given}"
            )
        size = given
    if min(size) < 1:
        raise ValueError(f"{op}: the output must not be empty, got size {size}")
    return (1, 1, 1, *size)[-3:]  # type: ignore[return-value]


def _max_unpool(
    dims: int,
    input: ArrayLike,
    indices: ArrayLike,
    window: tuple[Size, Size, Size],
    output_size: Size,
    out: Array | None,
) -> Result:
    x, at = array(input), array(indices)
    op = f"max_unpool{dims}d"
    if x is None:
        raise TypeError(f"{op}: input must be a numpy.ndarray or fastnn.Tensor, got NoneType")
    if out is not None:
        refuse_out_while_recording(op, out, input)
    size = _unpooled_size(op, dims, x.shape, window, output_size)
    y = _core.max_unpool3d_forward(x, at, dims, size, out)
    if not recorded(input):
        return y

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.max_unpool3d_backward(grad, at, dims), None)

    return record(y, (input, indices), backward, name=op)


def max_unpool1d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    output_size: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    """Put maxima back where :func:`max_pool1d` found them; see :func:`max_unpool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    indices : array of integers of input's shape
    kernel_size, stride, padding, output_size, out
        As for :func:`max_unpool2d`.

    Returns
    -------
    array or Tensor, shape (N, C, Lout) or (C, Lout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> y, indices = F.max_pool1d(np.array([[1.0, 4.0, 3.0, 2.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(y, indices, 2)
    array([[0., 4., 3., 0.]])
    """
    window = (kernel_size, stride, padding)
    return _max_unpool(1, input, indices, window, output_size, out)


def max_unpool2d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    output_size: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    """Put maxima back where :func:`max_pool2d` found them, with zeros elsewhere.

    Where an index repeats (in a plane) the last element stays.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    indices : array of integers of input's shape
        Places in the flattened output plane, as ``max_pool2d(..., return_indices=True)`` gives.
    kernel_size, stride, padding : int or tuple of two ints
        The window of that max_pool2d.
    output_size : tuple of ints, optional
        (Hout, Wout) or the whole shape of the output; ``(n - 1) stride + kernel_size -
        2 padding`` by default, and less than the stride away from it.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or indices are not integers.
    ValueError
        If the shapes differ, an index lies outside the plane, or a size is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> y, indices = F.max_pool2d(np.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
    >>> F.max_unpool2d(y, indices, 2)
    array([[[0., 0.],
            [0., 3.]]])
    """
    window = (kernel_size, stride, padding)
    return _max_unpool(2, input, indices, window, output_size, out)


def max_unpool3d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    output_size: Any = None,
    *,
    out: Array | None = None,
) -> Result:
    """Put maxima back where :func:`max_pool3d` found them; see :func:`max_unpool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    indices : array of integers of input's shape
        Places in the flattened output volume.
    kernel_size, stride, padding, output_size, out
        As for :func:`max_unpool2d`.

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout) or (C, Dout, Hout, Wout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.max_unpool3d(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), int), (1, 1, 2))
    array([[[[1., 0.]]]])
    """
    window = (kernel_size, stride, padding)
    return _max_unpool(3, input, indices, window, output_size, out)
