"""Average and power-average pooling, over one, two or three spatial dimensions."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import recorded, refuse_out_while_recording

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
]

Size = Any  # an int or a tuple of ints


def _avg_pool(
    dims: int, input: ArrayLike, window: tuple[Any, Any, Any, Any, Any, Any], out: Array | None
) -> Result:
    """`window` is (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)."""
    x = array(input)
    if out is not None:
        refuse_out_while_recording(f"avg_pool{dims}d", out, input)
    y = _core.avg_pool3d_forward(x, dims, *window, out)
    if not recorded(input):
        return y
    shape = x.shape

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.avg_pool3d_backward(grad, shape, dims, *window),)

    return record(y, (input,), backward, name=f"avg_pool{dims}d")


def avg_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
) -> Result:
    """Mean of each window along the last dimension; see :func:`avg_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, out
        As for :func:`avg_pool2d`, with ints (or tuples of one).

    Returns
    -------
    array or Tensor, shape (N, C, Lout) or (C, Lout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.avg_pool1d(np.array([[1.0, 3.0, 2.0, 6.0]]), 2)
    array([[2., 4.]])
    """
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool(1, input, window, out)


def avg_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Mean of each window: ``out[i, j] = sum over k, l of input[i s + k - p, ...] / divisor``.

    Output sizes and `ceil_mode` are :func:`max_pool2d`'s.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size : int or tuple of two ints
    stride : int or tuple of two ints, optional
        kernel_size by default.
    padding : int or tuple of two ints
        Zeros on both sides; at most half of the window.
    ceil_mode : bool
        Let the last window reach past the end.
    count_include_pad : bool
        Whether the divisor counts the padding. What lies past it never counts.
    divisor_override : int, optional
        The divisor of every window.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)

    Raises
    ------
    TypeError
        If input is not float32 or float64, or a size is not an int.
    ValueError
        If input has another rank or an empty plane, a size is out of range, divisor_override is
        0, or the window does not fit into the padded input.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, input, window, out)


def avg_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
) -> Result:
    """Mean of each window of a volume; see :func:`avg_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
        As for :func:`avg_pool2d`, with ints or tuples of three ints.

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout) or (C, Dout, Hout, Wout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2).ravel()
    array([3.5])
    """
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(3, input, window, out)


def _lp_pool(
    dims: int, input: ArrayLike, window: tuple[Any, Any, Any, Any], out: Array | None
) -> Result:
    """`window` is (norm_type, kernel_size, stride, ceil_mode)."""
    x = array(input)
    if out is not None:
        refuse_out_while_recording(f"lp_pool{dims}d", out, input)
    y = _core.lp_pool3d_forward(x, dims, *window, out)
    if not recorded(input):
        return y

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.lp_pool3d_backward(grad, x, y, dims, *window),)

    return record(y, (input,), backward, name=f"lp_pool{dims}d")


def lp_pool1d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size = None,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Power average of each window along the last dimension; see :func:`lp_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L) or (C, L), float32 or float64
    norm_type, kernel_size, stride, ceil_mode, out
        As for :func:`lp_pool2d`, with ints (or tuples of one).

    Returns
    -------
    array or Tensor, shape (N, C, Lout) or (C, Lout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.lp_pool1d(np.array([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    array([[ 5., 10.]])
    """
    return _lp_pool(1, input, (norm_type, kernel_size, stride, ceil_mode), out)


def lp_pool2d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size = None,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Power average of each window: ``out[i, j] = (sum of input ** p) ** (1 / p)``.

    The sum is of the powers as they are, not of absolute values. A window that reaches past the
    end (with `ceil_mode`) is scaled up to its full number of elements. A window whose sum is 0
    passes no gradient on.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64
    norm_type : float
        The exponent p, finite and not 0.
    kernel_size : int or tuple of two ints
    stride : int or tuple of two ints, optional
        kernel_size by default.
    ceil_mode : bool
        Let the last window reach past the end.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N, C, Hout, Wout) or (C, Hout, Wout)

    Raises
    ------
    TypeError
        If input is not float32 or float64, norm_type is not a number, or a size is not an int.
    ValueError
        If input has another rank or an empty plane, norm_type is 0 or not finite, or a size is
        out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.lp_pool2d(np.full((1, 2, 2), 3.0), 2, 2)
    array([[[6.]]])
    """
    return _lp_pool(2, input, (norm_type, kernel_size, stride, ceil_mode), out)


def lp_pool3d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size = None,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Power average of each window of a volume; see :func:`lp_pool2d`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, D, H, W) or (C, D, H, W), float32 or float64
    norm_type, kernel_size, stride, ceil_mode, out
        As for :func:`lp_pool2d`, with ints or tuples of three ints.

    Returns
    -------
    array or Tensor, shape (N, C, Dout, Hout, Wout) or (C, Dout, Hout, Wout)

    Raises
    ------
    TypeError, ValueError
        As for :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.lp_pool3d(np.ones((1, 2, 2, 2)), 1, 2).ravel()
    array([8.])
    """
    return _lp_pool(3, input, (norm_type, kernel_size, stride, ceil_mode), out)
