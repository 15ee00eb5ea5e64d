"""Max pooling over windows drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]

Size = Any  # an int or a tuple of ints
Function = Callable[..., Result]


class _FractionalMaxPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{type(self).__name__}: either output_size or output_ratio must be given, "
                "and not both"
            )
        self.kernel_size = kernel_size
        self.output_size = output_size
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self._random_samples = _random_samples

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )

    def extra_repr(self) -> str:
        if self.output_ratio is not None:
            return f"kernel_size={self.kernel_size}, output_ratio={self.output_ratio}"
        return f"kernel_size={self.kernel_size}, output_size={self.output_size}"


class FractionalMaxPool2d(_FractionalMaxPool):
    """Largest of randomly placed windows: :func:`fastnn.functional.fractional_max_pool2d`.

    Parameters
    ----------
    kernel_size : int or tuple of two ints
    output_size : int or tuple of two ints, optional
    output_ratio : float or tuple of two floats, optional
        Either it or `output_size` has to be given.
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> FractionalMaxPool2d(3, output_ratio=0.5)(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 25, 16)
    """

    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """Largest of randomly placed windows: :func:`fastnn.functional.fractional_max_pool3d`.

    Parameters
    ----------
    kernel_size : int or tuple of three ints
    output_size : int or tuple of three ints, optional
    output_ratio : float or tuple of three floats, optional
        Either it or `output_size` has to be given.
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> FractionalMaxPool3d(2, output_size=3)(np.zeros((1, 2, 8, 8, 8))).shape
    (1, 2, 3, 3, 3)
    """

    _function = staticmethod(F.fractional_max_pool3d)
