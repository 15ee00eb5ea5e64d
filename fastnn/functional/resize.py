"""Padding, interpolation, sampling, pixel and channel shuffling."""

from __future__ import annotations

import math
from typing import Any

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import flag, integer, integers, ntuple, refuse_out_while_recording
from fastnn.functional._grid_sample import affine_grid, grid_sample
from fastnn.functional.pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
]


def pad(
    input: ArrayLike,
    pad: Any,
    mode: str = "constant",
    value: float | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Add (or with negative numbers cut off) elements at the borders.

    Parameters
    ----------
    input : array or Tensor, float32 or float64
        Of any shape with mode 'constant'; (N, C, ...) or (C, ...) with one, two or three padded
        dimensions otherwise.
    pad : tuple of ints
        ``(left, right)`` of the last dimension, then of the one before it, and so on.
    mode : {'constant', 'reflect', 'replicate', 'circular'}
        What the border holds: `value`; the input mirrored at its edge, which is not repeated; the
        edge; the input from its other end.
    value : float, optional
        0 by default; only with mode 'constant'.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor

    Raises
    ------
    TypeError
        If input is not float32 or float64, or pad does not hold ints.
    ValueError
        If pad has the wrong length, is too large for the mode, or leaves nothing of a dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.pad(np.array([[1.0, 2.0, 3.0]]), (1, 2))
    array([[0., 1., 2., 3., 0., 0.]])
    >>> F.pad(np.array([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
    array([[2., 1., 2., 3., 2., 1.]])
    """
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad: pad must be a tuple of ints, got {pad!r}")
    amounts = integers("pad", "pad", pad)
    if not isinstance(mode, str):
        raise TypeError(f"pad: mode must be a str, got {mode!r}")
    if value is not None and (isinstance(value, str) or not hasattr(value, "__float__")):
        raise TypeError(f"pad: value must be a float, got {value!r}")
    if value is not None and mode != "constant":
        raise ValueError(f"pad: value must be None with mode {mode!r}, got {value!r}")
    if out is not None:
        refuse_out_while_recording("pad", out, input)
    if mode == "circular" and any(n < 0 for n in amounts):
        # Cut first: what was cut off does not come back at the other end.
        input = _pad(input, tuple(min(n, 0) for n in amounts), "constant", None, None)
        amounts = tuple(max(n, 0) for n in amounts)
    return _pad(input, amounts, mode, value, out)


def _pad(
    input: ArrayLike, amounts: tuple[int, ...], mode: str, value: float | None, out: Array | None
) -> Result:
    x = array(input)
    y = _core.pad_forward(x, amounts, mode, 0.0 if value is None else float(value), out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.pad_backward(grad, x.shape, amounts, mode),)

    return record(y, (input,), backward, name="pad")


_LINEAR_DIMS = {"linear": 1, "bilinear": 2, "trilinear": 3}


def _factors(value: Any, dims: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    if any(isinstance(v, (bool, str)) or not hasattr(v, "__float__") for v in values):
        raise TypeError(f"interpolate: scale_factor must be a float or a tuple, got {value!r}")
    factors = tuple(map(float, values))
    if len(factors) != dims or not all(f > 0 and math.isfinite(f) for f in factors):
        raise ValueError(
            f"interpolate: scale_factor must be a positive float or {dims} of them, got {value!r}"
        )
    return factors


def _sizes(
    spatial: tuple[int, ...], size: Any, factors: tuple[float, ...] | None
) -> tuple[int, ...]:
    if factors is None:
        return ntuple("interpolate", "size", size, len(spatial))
    sizes = tuple(math.floor(n * f) for n, f in zip(spatial, factors))
    if max(sizes) >= 2**40:
        raise ValueError(f"interpolate: scale_factor is too large, the output would be {sizes}")
    return sizes


def _scale(n: int, out: int, factor: float | None, kind: str, align_corners: bool) -> float:
    """Return elements of the input an element of the output."""
    if align_corners:
        return (n - 1) / (out - 1) if out > 1 else 0.0
    # A factor that changes nothing, or just doubles, counts as exact.
    copied = (out == n and kind not in ("nearest-exact", "cubic")) or (
        out == 2 * n and kind == "nearest"
    )
    return n / out if factor is None or copied else 1 / factor


def interpolate(
    input: ArrayLike,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Resize the spatial dimensions.

    An output element o lies at ``x = (o + 1/2) in / out - 1/2`` of the input, or, with
    `align_corners`, at ``o (in - 1) / (out - 1)``. The linear modes mix its neighbours by their
    distance, 'bicubic' four of them by Keys' cubic convolution with a = -3/4, 'nearest' takes
    element ``floor(o in / out)``, 'nearest-exact' the nearest one, and 'area' the mean of the
    elements that o covers. With `antialias` the kernel (with a = -1/2 if cubic) is stretched to
    the distance of the outputs where that is larger than 1, so that no input is passed over.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...) with one, two or three spatial dimensions
    size : int or tuple of ints, optional
    scale_factor : float or tuple of floats, optional
        Either it or `size` has to be given; the output's size is ``floor(in * scale_factor)``.
    mode : {'nearest', 'nearest-exact', 'linear', 'bilinear', 'bicubic', 'trilinear', 'area'}
        The linear modes are for one, two and three spatial dimensions in turn, 'bicubic' for two.
    align_corners : bool, optional
        For the linear and cubic modes; False by default.
    recompute_scale_factor : bool, optional
        Use ``in / out`` in place of the exact `scale_factor` given.
    antialias : bool
        For 'bilinear' and 'bicubic'.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, ...)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or a size or factor is not a number.
    ValueError
        If both or neither of size and scale_factor are given, or an argument does not suit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.array([[[1.0, 2.0]]])
    >>> F.interpolate(x, scale_factor=2)
    array([[[1., 1., 2., 2.]]])
    >>> F.interpolate(x, 3, mode="linear", align_corners=True)
    array([[[1. , 1.5, 2. ]]])
    """
    x = array(input)
    if x is None:
        raise TypeError("interpolate: input must be a numpy.ndarray or fastnn.Tensor, got NoneType")
    if not isinstance(mode, str):
        raise TypeError(f"interpolate: mode must be a str, got {mode!r}")
    dims = x.ndim - 2
    if not 1 <= dims <= 3:
        raise ValueError(f"interpolate: input must have 3, 4 or 5 dimensions, got shape {x.shape}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: either size or scale_factor must be given, and not both")
    smooth = flag("interpolate", "antialias", antialias)
    if smooth and (mode not in ("bilinear", "bicubic") or dims != 2):
        raise ValueError(
            "interpolate: antialias needs mode 'bilinear' or 'bicubic' and 2 spatial dimensions, "
            f"got mode {mode!r} and input of shape {x.shape}"
        )
    if align_corners is not None and mode not in (*_LINEAR_DIMS, "bicubic"):
        raise ValueError(f"interpolate: align_corners must be None with mode {mode!r}")
    if recompute_scale_factor and scale_factor is None:
        raise ValueError("interpolate: recompute_scale_factor needs scale_factor")
    factors: Any = None if scale_factor is None else _factors(scale_factor, dims)
    sizes = _sizes(x.shape[2:], size, factors)
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[dims - 1]
        return pool(input, sizes, out=out)
    suits = _LINEAR_DIMS.get(mode) == dims or (mode == "bicubic" and dims == 2)
    if mode not in ("nearest", "nearest-exact") and not suits:
        others = "'bilinear', 'bicubic'" if dims == 2 else f"'{list(_LINEAR_DIMS)[dims - 1]}'"
        raise ValueError(
            f"interpolate: mode must be 'nearest', 'nearest-exact', 'area' or {others} for input "
            f"of shape {x.shape}, got {mode!r}"
        )
    if min(sizes) < 1:
        raise ValueError(f"interpolate: the output's size must be positive, got {sizes}")
    kind = "linear" if mode in _LINEAR_DIMS or smooth else mode.removeprefix("bi")
    if factors is None or recompute_scale_factor:
        factors = (None,) * dims
    scales = tuple(
        _scale(n, o, factor, kind, bool(align_corners))
        for n, o, factor in zip(x.shape[2:], sizes, factors)
    )
    if out is not None:
        refuse_out_while_recording("interpolate", out, input)
    if mode == "bicubic" or smooth:
        how = (mode == "bicubic", bool(align_corners), smooth)
        return _resample(input, x, sizes, scales, how, out)
    rest = ((1.0, 1.0, 1.0, *scales)[-3:], kind, bool(align_corners))
    y = _core.interpolate_forward(x, sizes, *rest, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.interpolate_backward(grad, x.shape, *rest),)

    return record(y, (input,), backward, name="interpolate")


def _resample(
    input: ArrayLike,
    x: Array,
    sizes: tuple[int, ...],
    scales: tuple[float, ...],
    how: tuple[bool, bool, bool],
    out: Array | None,
) -> Result:
    """Resize one axis after another; `how` is (cubic, align_corners, antialias)."""
    # Rows first where that leaves fewer of them.
    axes = (0, 1) if sizes[0] < x.shape[2] else (1, 0)
    y = x
    for axis, where in zip(axes, (None, out)):
        y = _core.resample_forward(y, axis + 2, sizes[axis], scales[axis], *how, where)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        for axis in reversed(axes):
            grad = _core.resample_backward(grad, axis + 2, x.shape[axis + 2], scales[axis], *how)
        return (grad,)

    return record(y, (input,), backward, name="interpolate")


def pixel_shuffle(input: ArrayLike, upscale_factor: int, *, out: Array | None = None) -> Result:
    """Turn channels into resolution: ``out[c, h r + i, w r + j] = input[c r r + i r + j, h, w]``.

    Parameters
    ----------
    input : array or Tensor, shape (..., C * r * r, H, W), float32 or float64
    upscale_factor : int
        r, at least 1.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (..., C, H * r, W * r)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or the factor is not an int.
    ValueError
        If input has fewer than 3 dimensions or its channels are not a multiple of r * r.

    References
    ----------
    Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.pixel_shuffle(np.arange(4.0).reshape(4, 1, 1), 2)
    array([[[0., 1.],
            [2., 3.]]])
    """
    factor = integer("pixel_shuffle", "upscale_factor", upscale_factor)
    if out is not None:
        refuse_out_while_recording("pixel_shuffle", out, input)
    y = _core.pixel_shuffle_forward(array(input), factor, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.pixel_unshuffle_forward(grad, factor),)

    return record(y, (input,), backward, name="pixel_shuffle")


def pixel_unshuffle(input: ArrayLike, downscale_factor: int, *, out: Array | None = None) -> Result:
    """Turn resolution into channels, the inverse of :func:`pixel_shuffle`.

    Parameters
    ----------
    input : array or Tensor, shape (..., C, H * r, W * r), float32 or float64
    downscale_factor : int
        r, at least 1.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (..., C * r * r, H, W)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or the factor is not an int.
    ValueError
        If input has fewer than 3 dimensions or a spatial size is not a multiple of r.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.pixel_unshuffle(np.arange(4.0).reshape(1, 2, 2), 2).ravel()
    array([0., 1., 2., 3.])
    """
    factor = integer("pixel_unshuffle", "downscale_factor", downscale_factor)
    if out is not None:
        refuse_out_while_recording("pixel_unshuffle", out, input)
    y = _core.pixel_unshuffle_forward(array(input), factor, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.pixel_shuffle_forward(grad, factor),)

    return record(y, (input,), backward, name="pixel_unshuffle")


def channel_shuffle(input: ArrayLike, groups: int, *, out: Array | None = None) -> Result:
    """Mix the channels of groups: ``out[:, i groups + g] = input[:, g C / groups + i]``.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...), float32 or float64
    groups : int
        At least 1; C is a multiple of it.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, ...)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or groups is not an int.
    ValueError
        If input has fewer than 3 dimensions or its channels are not a multiple of groups.

    References
    ----------
    Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.channel_shuffle(np.arange(6.0).reshape(1, 6, 1), 2).ravel()
    array([0., 3., 1., 4., 2., 5.])
    """
    factor = integer("channel_shuffle", "groups", groups)
    if out is not None:
        refuse_out_while_recording("channel_shuffle", out, input)
    x = array(input)
    y = _core.channel_shuffle_forward(x, factor, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.channel_shuffle_forward(grad, max(1, x.shape[1] // factor)),)

    return record(y, (input,), backward, name="channel_shuffle")
