"""Layers that take patches of images apart and put them together."""

from __future__ import annotations

from typing import Any

from fastnn.autograd import ArrayLike, Result
from fastnn.functional import fold, unfold
from fastnn.nn.module import Module

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """Copy every patch into a column; see :func:`fastnn.functional.unfold`.

    (N, C, H, W) becomes (N, C * kernel_h * kernel_w, positions); arguments and errors are those of
    the function.

    Examples
    --------
    >>> import numpy as np
    >>> Unfold(2)(np.zeros((1, 3, 4, 4))).shape
    (1, 12, 9)
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: ArrayLike) -> Result:
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return _window(self)


class Fold(Module):
    """Add columns up at the places they come from; see :func:`fastnn.functional.fold`.

    (N, C * kernel_h * kernel_w, positions) becomes (N, C, H, W) with (H, W) = `output_size`;
    arguments and errors are those of the function.

    Examples
    --------
    >>> import numpy as np
    >>> Fold((4, 4), 2)(np.zeros((1, 12, 9))).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: ArrayLike) -> Result:
        return fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {_window(self)}"


def _window(layer: Unfold | Fold) -> str:
    return (
        f"kernel_size={layer.kernel_size}, dilation={layer.dilation}, "
        f"padding={layer.padding}, stride={layer.stride}"
    )
