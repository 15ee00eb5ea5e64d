"""Max-pooling layers, and what undoes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = ["MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]

Size = Any  # an int or a tuple of ints
Function = Callable[..., Result]


class _MaxPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool1d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool1d(3, stride=2)(np.zeros((20, 16, 50))).shape
    (20, 16, 24)
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of two ints
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool2d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(3, stride=2, padding=1)(np.zeros((1, 64, 112, 112))).shape
    (1, 64, 56, 56)
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of three ints
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool3d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool3d(2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.max_pool3d)


class _MaxUnpool(Module):
    _function: ClassVar[Function]

    def __init__(self, kernel_size: Size, stride: Size = None, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: ArrayLike, indices: ArrayLike, output_size: Any = None) -> Result:
        return type(self)._function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool1d`: :func:`fastnn.functional.max_unpool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool1d(2, return_indices=True)(np.array([[1.0, 2.0, 4.0, 3.0]]))
    >>> MaxUnpool1d(2)(output, indices)
    array([[0., 2., 4., 0.]])
    """

    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool2d`: :func:`fastnn.functional.max_unpool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of two ints
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool2d(2, return_indices=True)(np.ones((1, 1, 5, 5)))
    >>> MaxUnpool2d(2)(output, indices, output_size=(1, 1, 5, 5)).shape
    (1, 1, 5, 5)
    """

    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool3d`: :func:`fastnn.functional.max_unpool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of three ints
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool3d(2, return_indices=True)(np.ones((1, 1, 4, 4, 4)))
    >>> float(MaxUnpool3d(2)(output, indices).sum())
    8.0
    """

    _function = staticmethod(F.max_unpool3d)
