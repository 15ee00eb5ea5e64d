"""Pooling to an output of a given size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]

Size = Any  # an int or a tuple of ints
Function = Callable[..., Result]


class _AdaptiveAvgPool(Module):
    _function: ClassVar[Function]

    def __init__(self, output_size: Size) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool1d`.

    Parameters
    ----------
    output_size : int

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool1d(5)(np.zeros((1, 64, 8))).shape
    (1, 64, 5)
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of two of them

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool2d((None, 7))(np.zeros((1, 64, 10, 9))).shape
    (1, 64, 10, 7)
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool3d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of three of them

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool3d(1)(np.ones((1, 2, 3, 4, 5))).ravel()
    array([1., 1.])
    """

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    _function: ClassVar[Function]

    def __init__(self, output_size: Size, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool1d`.

    Parameters
    ----------
    output_size : int
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool1d(5)(np.zeros((1, 64, 8))).shape
    (1, 64, 5)
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of two of them
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool2d((5, 7))(np.zeros((1, 64, 8, 9))).shape
    (1, 64, 5, 7)
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool3d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of three of them
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool3d(1)(np.ones((1, 2, 3, 4, 5))).ravel()
    array([1., 1.])
    """

    _function = staticmethod(F.adaptive_max_pool3d)
