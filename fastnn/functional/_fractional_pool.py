"""Fractional max pooling, over two or three spatial dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core, random
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import (
    check_spatial_rank,
    flag,
    ntuple,
    number,
    recorded,
    refuse_none,
    refuse_out_while_recording,
)
from fastnn.functional._max_pool import refuse_out_of_two

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]

Size = Any  # an int or a tuple of ints


def _output_size(
    op: str, spatial: tuple[int, ...], output_size: Size, output_ratio: Any
) -> tuple[int, ...]:
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{op}: either output_size or output_ratio must be given, and not both")
    dims = len(spatial)
    if output_size is not None:
        return ntuple(op, "output_size", output_size, dims)
    given = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dims
    ratios = [number(op, "output_ratio", ratio) for ratio in given]
    if len(ratios) != dims or not all(0 < ratio < 1 for ratio in ratios):
        raise ValueError(
            f"{op}: output_ratio must be a float in (0, 1) or {dims} of them, got {output_ratio!r}"
        )
    return tuple(int(n * ratio) for n, ratio in zip(spatial, ratios))


def _samples(op: str, x: Array, dims: int, given: ArrayLike | None) -> Array:
    """Return (planes, 3) numbers: depth, height, width."""
    lead = (1, *x.shape)[-dims - 2 : -dims]
    numbers: Array
    if given is None:
        numbers = random.generator().random((*lead, dims)).astype(x.dtype)
    else:
        numbers = np.asarray(array(given))
        if numbers.shape != (*lead, dims):
            raise ValueError(
                f"{op}: _random_samples must have shape {(*lead, dims)}, got {numbers.shape}"
            )
    # PyTorch's order is width, height for planes, and depth, height, width for volumes.
    if dims == 2:
        numbers = np.concatenate([np.zeros_like(numbers[..., :1]), numbers[..., ::-1]], -1)
    return numbers.reshape(-1, 3)


def _fractional_max_pool(
    dims: int,
    input: ArrayLike,
    kernel_size: Size,
    output_size: Size,
    output_ratio: Any,
    return_indices: bool,
    random_samples: ArrayLike | None,
    out: Array | None,
) -> Result:
    op = f"fractional_max_pool{dims}d"
    refuse_none(op, input=input)
    x = array(input)
    indices_too = flag(op, "return_indices", return_indices)
    if out is not None:
        refuse_out_while_recording(op, out, input)
        if indices_too:
            refuse_out_of_two(op, out)
    shape = np.shape(x)
    check_spatial_rank(op, shape, dims)
    size = _output_size(op, shape[-dims:], output_size, output_ratio)
    samples = _samples(op, x, dims, random_samples)
    y, indices = _core.fractional_max_pool3d_forward(x, dims, kernel_size, size, samples, out)
    if not recorded(input):
        return (y, indices) if indices_too else y

    def backward(grad: Any, needs: tuple[bool, ...]) -> Gradients:
        grad = grad[0] if indices_too else grad
        return (_core.adaptive_max_pool3d_backward(grad, indices, shape, dims),)

    return record((y, indices) if indices_too else y, (input,), backward, name=op)


def fractional_max_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    output_size: Size = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: ArrayLike | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Largest element of windows whose starts are spread at random, for a fractional stride.

    With ``a = (size - kernel) / (out - 1)`` and a random u for each plane and dimension, window
    ``o`` starts at ``floor((o + u) a) - floor(u a)``; the last one ends where the input does.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size : int or tuple of two ints
    output_size : int or tuple of two ints, optional
    output_ratio : float or tuple of two floats, optional
        In (0, 1): the output's size over the input's. Either it or `output_size` has to be given.
    return_indices : bool
        Also return where each maximum is: its index in the flattened (H, W) plane.
    _random_samples : array, shape (N, C, 2), optional
        The numbers u in [0, 1], for the width and the height; drawn from fastnn's generator
        (:func:`fastnn.manual_seed`) by default.
    out : array, optional
        Where to write the result; not while a gradient is being recorded, and not with
        `return_indices`.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)
        With `return_indices` a tuple of it and the indices (int64).

    Raises
    ------
    TypeError
        If input is not float32 or float64, or a size is not an int.
    ValueError
        If input has another rank or an empty plane, both or neither of output_size and
        output_ratio are given, or the windows do not fit.

    References
    ----------
    Graham, Fractional Max-Pooling, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.arange(25.0).reshape(1, 1, 5, 5)
    >>> F.fractional_max_pool2d(x, 2, output_size=3, _random_samples=np.zeros((1, 1, 2)))
    array([[[[ 6.,  7.,  9.],
             [11., 12., 14.],
             [21., 22., 24.]]]])
    """
    return _fractional_max_pool(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, out
    )


def fractional_max_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    output_size: Size = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: ArrayLike | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Fractional max pooling of a volume; see :func:`fractional_max_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    kernel_size, output_size, output_ratio, return_indices, out
        As for :func:`fractional_max_pool2d`, with ints or tuples of three.
    _random_samples : array, shape (N, C, 3), optional
        For the depth, the height and the width.

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout), or with the indices (int64) a tuple

    Raises
    ------
    TypeError, ValueError
        As for :func:`fractional_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.fractional_max_pool3d(np.zeros((1, 2, 8, 8, 8)), 2, output_ratio=0.6).shape
    (1, 2, 4, 4, 4)
    """
    return _fractional_max_pool(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, out
    )
