"""Convolution and transposed convolution over one, two or three dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import refuse_out_while_recording
from fastnn.functional._unfold import fold, unfold

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "unfold",
]


def _conv(
    dims: int,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
    out: Array | None,
) -> Result:
    if out is not None:
        refuse_out_while_recording(f"conv{dims}d", out, input, weight, bias)
    x, w = array(input), array(weight)
    y = _core.conv3d_forward(
        dims, x, w, array(bias), stride, padding, dilation, groups, padding_mode, out
    )

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        grad_x = grad_w = grad_b = None
        if needs[0]:
            if padding_mode == "zeros":
                grad_x = _core.conv3d_backward_input(
                    dims, grad, w, x.shape, stride, padding, dilation, groups
                )
            else:
                plan = _core.conv_plan(dims, x.shape, w.shape, stride, padding, dilation, groups)
                grad_x = _padded_backward(
                    dims, grad, w, x.shape, plan, stride, dilation, groups, padding_mode
                )
        if needs[1]:
            grad_w = _core.conv3d_backward_weight(
                dims, grad, x, w.shape, stride, padding, dilation, groups, padding_mode
            )
        if needs[2]:
            grad_b = _core.conv3d_backward_bias(dims, grad)
        return grad_x, grad_w, grad_b

    return record(y, (input, weight, bias), backward, name=f"conv{dims}d")


def _padded_backward(
    dims: int,
    grad: Array,
    w: Array,
    shape: tuple[int, ...],
    plan: list[tuple[int, int, int]],
    stride: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
) -> Array:
    """Gradient of the input behind a padding: that of the padded input, with the edges folded."""
    spatial = shape[-dims:]
    padded = tuple(before + n + after for n, (before, after, _) in zip(spatial, plan))
    grad_x: Array = _core.conv3d_backward_input(
        dims, grad, w, shape[:-dims] + padded, stride, 0, dilation, groups
    )
    for axis, n, (before, after, _) in zip(range(-dims, 0), spatial, plan):
        moved = np.moveaxis(grad_x, axis, 0)
        inner = moved[before : before + n].copy()
        for i in (*range(before), *range(before + n, before + n + after)):
            inner[_source_index(padding_mode, i - before, n)] += moved[i]
        grad_x = np.moveaxis(inner, 0, axis)
    return np.ascontiguousarray(grad_x)


def _source_index(padding_mode: str, index: int, size: int) -> int:
    if padding_mode == "reflect":
        return -index if index < 0 else 2 * (size - 1) - index
    if padding_mode == "replicate":
        return 0 if index < 0 else size - 1
    return index % size


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
) -> Result:
    """Convolution along one dimension; :func:`conv2d` describes the arguments.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, L) or (in_channels, L)
    weight : array or Tensor (out_channels, in_channels / groups, kernel)
    bias : array or Tensor (out_channels), optional
    stride, padding, dilation, groups, padding_mode, out
        As for :func:`conv2d`, with one spatial dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.conv1d(np.arange(5.0).reshape(1, 5), np.array([[[1.0, 0.0, -1.0]]]))
    array([[-2., -2., -2.]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups, padding_mode, out)


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
) -> Result:
    r"""Convolution (cross-correlation) of images with a bank of filters.

    ``y[n, k, i, j] = bias[k] + sum over c, r, s of
    weight[k, c, r, s] * x[n, c, i * stride + r * dilation, j * stride + s * dilation]``,
    with x the padded input and c over the channels of k's group.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, H, W) or (in_channels, H, W)
        float32 or float64.
    weight : array or Tensor (out_channels, in_channels / groups, kernel_h, kernel_w)
    bias : array or Tensor (out_channels), optional
    stride, dilation : int or tuple of 2 ints, at least 1
    padding : int, tuple of 2 ints, tuple of 2 (before, after) pairs, 'valid' or 'same'
        'same' gives an output of ``ceil(size / stride)``; an odd rest is padded behind.
    groups : int
        Groups of channels that do not see each other; divides both numbers of channels.
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular'
        What lies in the padding.
    out : array, optional
        Where to write the result: contiguous, not overlapping an input. Not allowed while a
        gradient is being recorded.

    Returns
    -------
    array or Tensor (batch, out_channels, H', W'), without the batch if input has none
        ``H' = (H + padding - dilation * (kernel_h - 1) - 1) // stride + 1`` with the padding of
        both sides.

    Raises
    ------
    TypeError
        For a dtype other than float32 and float64, mixed dtypes, arguments that are not integers.
    ValueError
        For shapes that do not fit, a kernel larger than the padded input, values out of range.

    Notes
    -----
    An image gives the same bits alone and in a batch, for every number of threads. Many float32
    convolutions take Winograd's algorithm, whose error, relative to the largest output, stays below
    1e-5; :func:`fastnn.set_conv_precision` forbids it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.ones((1, 1, 3, 3), np.float32)
    >>> F.conv2d(x, np.ones((1, 1, 3, 3), np.float32), padding=1)[0, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]], dtype=float32)
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups, padding_mode, out)


def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
) -> Result:
    """Convolution over three dimensions; :func:`conv2d` describes the arguments.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, D, H, W) or (in_channels, D, H, W)
    weight : array or Tensor (out_channels, in_channels / groups, kernel_d, kernel_h, kernel_w)
    bias : array or Tensor (out_channels), optional
    stride, padding, dilation, groups, padding_mode, out
        As for :func:`conv2d`, with three spatial dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.conv3d(np.ones((1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2)))
    array([[[[8.]]]])
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups, padding_mode, out)


def _conv_transpose(
    dims: int,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    out: Array | None,
) -> Result:
    if out is not None:
        refuse_out_while_recording(f"conv_transpose{dims}d", out, input, weight, bias)
    x, w = array(input), array(weight)
    y = _core.conv_transpose3d_forward(
        dims, x, w, array(bias), stride, padding, output_padding, groups, dilation, out
    )

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        grad_x = grad_w = grad_b = None
        if needs[0]:
            # An output padding of a whole stride adds positions behind x's.
            grad_x = _core.conv3d_forward(
                dims, grad, w, None, stride, padding, dilation, groups, "zeros", None
            )[(..., *map(slice, x.shape[-dims:]))]
        if needs[1]:
            plan = _core.conv_plan(dims, grad.shape, w.shape, stride, padding, dilation, groups)
            behind = [(0, size - n) for n, (_, _, size) in zip(x.shape[-dims:], plan)]
            extended = x if not any(n for _, n in behind) else _extended(x, behind)
            grad_w = _core.conv3d_backward_weight(
                dims, extended, grad, w.shape, stride, padding, dilation, groups, "zeros"
            )
        if needs[2]:
            grad_b = _core.conv3d_backward_bias(dims, grad)
        return grad_x, grad_w, grad_b

    return record(y, (input, weight, bias), backward, name=f"conv_transpose{dims}d")


def _extended(x: Array, behind: list[tuple[int, int]]) -> Array:
    return np.pad(x, [(0, 0)] * (x.ndim - len(behind)) + behind)


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: Array | None = None,
) -> Result:
    """Transposed convolution along one dimension; :func:`conv_transpose2d` has the arguments.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, L) or (in_channels, L)
    weight : array or Tensor (in_channels, out_channels / groups, kernel)
    bias : array or Tensor (out_channels), optional
    stride, padding, output_padding, groups, dilation, out
        As for :func:`conv_transpose2d`, with one spatial dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 1.0]]]), stride=2)
    array([[1., 1., 2., 2.]])
    """
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation, out
    )


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: Array | None = None,
) -> Result:
    """Transposed convolution of images: the gradient of :func:`conv2d` as an operation.

    Element (i, j) of the input adds ``weight[c, k] * input[n, c, i, j]`` to the output at
    ``i * stride + r * dilation - padding`` and likewise for j.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, H, W) or (in_channels, H, W)
        float32 or float64.
    weight : array or Tensor (in_channels, out_channels / groups, kernel_h, kernel_w)
    bias : array or Tensor (out_channels), optional
    stride, dilation : int or tuple of 2 ints, at least 1
    padding : int, tuple of 2 ints, or tuple of 2 (before, after) pairs
        How much is cut off the full output on both sides.
    output_padding : int or tuple of 2 ints
        Added to the output's size behind; smaller than stride or dilation.
    groups : int
    out : array, optional
        Where to write the result: contiguous, not overlapping an input. Not allowed while a
        gradient is being recorded.

    Returns
    -------
    array or Tensor (batch, out_channels, H', W'), without the batch if input has none
        ``H' = (H - 1) * stride - padding + dilation * (kernel_h - 1) + output_padding + 1`` with
        the padding of both sides.

    Raises
    ------
    TypeError
        For a dtype other than float32 and float64, mixed dtypes, arguments that are not integers.
    ValueError
        For shapes that do not fit, padding that leaves no output, values out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.conv_transpose2d(np.ones((1, 2, 2)), np.ones((1, 1, 2, 2)))
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation, out
    )


def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: Array | None = None,
) -> Result:
    """Transposed convolution over three dimensions; :func:`conv_transpose2d` has the arguments.

    Parameters
    ----------
    input : array or Tensor (batch, in_channels, D, H, W) or (in_channels, D, H, W)
    weight : array or Tensor (in_channels, out_channels / groups, kernel_d, kernel_h, kernel_w)
    bias : array or Tensor (out_channels), optional
    stride, padding, output_padding, groups, dilation, out
        As for :func:`conv_transpose2d`, with three spatial dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.conv_transpose3d(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1, 2)), stride=2)
    array([[[[1., 1.]]]])
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation, out
    )
