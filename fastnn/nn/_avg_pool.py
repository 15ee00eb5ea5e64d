"""Pooling by means and by p-norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d"]

Size = Any  # an int or a tuple of ints
Function = Callable[..., Result]


class AvgPool1d(Module):
    """Mean of each window: :func:`fastnn.functional.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool1d(3, stride=2)(np.ones((1, 1, 7)))
    array([[[1., 1., 1.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: ArrayLike) -> Result:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """Mean of each window: :func:`fastnn.functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of two ints
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool2d((3, 2), stride=(2, 1))(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 24, 31)
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Mean of each window: :func:`fastnn.functional.avg_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of three ints
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool3d(2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool1d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool1d(2, 3, stride=2)(np.zeros((20, 16, 50))).shape
    (20, 16, 24)
    """

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool2d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int or tuple of two ints
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool2d(1.2, (3, 2), stride=(2, 1))(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 24, 31)
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool3d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int or tuple of three ints
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool3d(2, 2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.lp_pool3d)
