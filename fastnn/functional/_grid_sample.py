"""Sampling an input at the points of a grid, and affine grids."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import flag, ntuple, refuse_none, refuse_out_while_recording
from fastnn.functional.gemm import matmul

__all__ = ["affine_grid", "grid_sample"]


def grid_sample(
    input: ArrayLike,
    grid: ArrayLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Sample each image at the points of its grid: ``out[n, :, h, w] = input[n] at grid[n, h, w]``.

    A point is (x, y), or (x, y, z) in a volume, from -1 at one edge to 1 at the other.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (N, C, D, H, W), float32 or float64
    grid : array or Tensor, shape (N, Hout, Wout, 2) or (N, Dout, Hout, Wout, 3)
    mode : {'bilinear', 'nearest', 'bicubic'}
        Mix the neighbours by their distance (trilinear in a volume), take the nearest element, or
        Keys' cubic convolution with a = -0.75, which volumes do not have.
    padding_mode : {'zeros', 'border', 'reflection'}
        What lies outside: zeros, the nearest edge, or the input mirrored at its edges.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the first and last element, or (by default) their
        outer edges. Mirrors lie there too.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (N, C, Dout, Hout, Wout)

    Raises
    ------
    TypeError
        If input and grid are not both float32 or both float64.
    ValueError
        If the shapes do not match, or a mode is unknown.

    References
    ----------
    Jaderberg et al., Spatial Transformer Networks, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.array([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> F.grid_sample(x, np.array([[[[0.0, 0.0], [1.0, 1.0]]]]), align_corners=True)
    array([[[[1.5, 3. ]]]])
    """
    for name, value in (("mode", mode), ("padding_mode", padding_mode)):
        if not isinstance(value, str):
            raise TypeError(f"grid_sample: {name} must be a str, got {value!r}")
    refuse_none("grid_sample", input=input, grid=grid)
    x, points = array(input), array(grid)
    aligned = align_corners is not None and flag("grid_sample", "align_corners", align_corners)
    if out is not None:
        refuse_out_while_recording("grid_sample", out, input, grid)
    options = (mode, padding_mode, aligned)
    y = _core.grid_sample_forward(x, points, *options, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (
            _core.grid_sample_backward_input(grad, x, points, *options) if needs[0] else None,
            _core.grid_sample_backward_grid(grad, x, points, *options) if needs[1] else None,
        )

    return record(y, (input, grid), backward, name="grid_sample")


def affine_grid(theta: ArrayLike, size: Any, align_corners: bool | None = None) -> Result:
    """Return the grid for :func:`grid_sample` of affine maps: ``theta[n] @ (x, y, 1)``.

    Parameters
    ----------
    theta : array or Tensor, shape (N, 2, 3), or (N, 3, 4) for volumes, float32 or float64
    size : tuple of ints
        The output's shape, (N, C, H, W) or (N, C, D, H, W).
    align_corners : bool, optional
        As for :func:`grid_sample`, False by default.

    Returns
    -------
    array or Tensor, shape (N, H, W, 2) or (N, D, H, W, 3)

    Raises
    ------
    TypeError
        If theta is not float32 or float64, or size does not hold ints.
    ValueError
        If theta and size do not match.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> identity = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> F.affine_grid(identity, (1, 1, 1, 2), align_corners=True)
    array([[[[-1.,  0.],
             [ 1.,  0.]]]])
    """
    refuse_none("affine_grid", theta=theta)
    maps = array(theta)
    if not isinstance(size, (tuple, list)) or len(size) not in (4, 5):
        raise ValueError(f"affine_grid: size must be a tuple of 4 or 5 ints, got {size!r}")
    batch, _, *spatial = ntuple("affine_grid", "size", size, len(size))
    dims = len(spatial)
    if not isinstance(maps, np.ndarray) or maps.dtype not in (np.float32, np.float64):
        raise TypeError("affine_grid: theta must be an array of float32 or float64")
    if maps.shape != (batch, dims, dims + 1) or min(spatial) < 1:
        raise ValueError(
            f"affine_grid: theta must have shape (N, {dims}, {dims + 1}) for a size of positive "
            f"ints, got shape {maps.shape} and size {tuple(size)}"
        )
    aligned = align_corners is not None and flag("affine_grid", "align_corners", align_corners)
    base = np.ones((*spatial, dims + 1), maps.dtype)
    for axis, n in enumerate(spatial):
        line = np.linspace(-1, 1, n, dtype=maps.dtype) if n > 1 else np.zeros(1, maps.dtype)
        if not aligned:
            line = line * ((n - 1) / n)
        shape = [1] * dims
        shape[axis] = n
        base[..., dims - 1 - axis] = line.reshape(shape)
    transposed: Any = theta.swapaxes(1, 2)
    grid = matmul(base.reshape(-1, dims + 1), transposed)
    return grid.reshape((batch, *spatial, dims))
