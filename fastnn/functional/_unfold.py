"""A convolution's patches as columns, and their sum back."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import refuse_out_while_recording

__all__ = ["fold", "unfold"]


def unfold(
    input: ArrayLike,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    out: Array | None = None,
) -> Result:
    """Copy every patch that a convolution sees into a column.

    Parameters
    ----------
    input : array or Tensor (batch, channels, H, W) or (channels, H, W)
        float32 or float64.
    kernel_size, dilation, padding, stride : int or tuple of 2 ints
        As for :func:`conv2d`.
    out : array, optional
        Where to write the result. Not allowed while a gradient is being recorded.

    Returns
    -------
    array or Tensor (batch, channels * kernel_h * kernel_w, positions), no batch if input has none

    Raises
    ------
    TypeError, ValueError
        As for :func:`conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.unfold(np.arange(4.0).reshape(1, 2, 2), (1, 2))
    array([[0., 2.],
           [1., 3.]])
    """
    if out is not None:
        refuse_out_while_recording("unfold", out, input)
    x = array(input)
    y = _core.unfold_forward(x, kernel_size, dilation, padding, stride, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (
            _core.fold_forward(grad, x.shape[-2:], kernel_size, dilation, padding, stride, None),
        )

    return record(y, (input,), backward, name="unfold")


def fold(
    input: ArrayLike,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    out: Array | None = None,
) -> Result:
    """Add columns up at the places that :func:`unfold` copies them from.

    Parameters
    ----------
    input : array or Tensor (batch, channels * kernel_h * kernel_w, positions) or without the batch
        float32 or float64.
    output_size : int or tuple of 2 ints
        (H, W) of the result.
    kernel_size, dilation, padding, stride : int or tuple of 2 ints
        As for :func:`conv2d`.
    out : array, optional
        Where to write the result. Not allowed while a gradient is being recorded.

    Returns
    -------
    array or Tensor (batch, channels, H, W), without the batch if input has none

    Raises
    ------
    TypeError, ValueError
        As for :func:`conv2d`; also if input's shape is not what unfold gives for output_size.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.fold(np.ones((4, 4)), (3, 3), 2)
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    if out is not None:
        refuse_out_while_recording("fold", out, input)
    x = array(input)
    y = _core.fold_forward(x, output_size, kernel_size, dilation, padding, stride, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (_core.unfold_forward(grad, kernel_size, dilation, padding, stride, None),)

    return record(y, (input,), backward, name="fold")
