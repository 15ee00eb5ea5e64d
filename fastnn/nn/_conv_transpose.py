"""Transposed convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import naturals, ntuple
from fastnn.nn._conv_nd import ConvNd, new_packs
from fastnn.nn.module import fuses

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "ConvTransposeNd"]

_CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


class ConvTransposeNd(ConvNd):
    """What the transposed convolutions share."""

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        dilation: Any,
        padding_mode: str,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', got {padding_mode!r}")
        if isinstance(padding, str):
            raise TypeError(f"{name}: padding must be an int or ints, got {padding!r}")
        super().__init__(
            dims,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
            transposed=True,
        )
        self.output_padding = naturals(name, "output_padding", output_padding, dims)

    @fuses
    def forward(self, input: ArrayLike, output_size: Any = None) -> Result:
        output_padding = self._output_padding(input, output_size)
        if not is_grad_enabled():
            return self._infer(input, output_padding=output_padding)
        return _CONV_TRANSPOSE[len(self.stride) - 1](
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )

    def _infer(
        self,
        input: ArrayLike,
        activation: tuple[Any, ...] | None = None,
        residual: ArrayLike | None = None,
        output_padding: tuple[int, ...] | None = None,
    ) -> Array:
        """activation(conv^T(input) + residual), without recording; keeps the prepared weights."""
        y: Array = _core.conv_transpose3d_forward(
            len(self.stride),
            array(input),
            self.weight._data,
            array(self.bias),
            self.stride,
            self.padding,
            self.output_padding if output_padding is None else output_padding,
            self.groups,
            self.dilation,
            None,
            self.weight.pack("conv", new_packs),
            activation,
            array(residual),
        )
        return y

    def _output_padding(self, input: ArrayLike, output_size: Any) -> tuple[int, ...]:
        """The output padding that gives `output_size` (spatial, or the whole shape)."""
        if output_size is None:
            return self.output_padding
        name, dims = type(self).__name__, len(self.stride)
        if len(output_size) == len(input.shape):
            output_size = output_size[-dims:]
        sizes = ntuple(name, "output_size", tuple(output_size), dims)
        result = []
        for n, size, s, d, k, p in zip(
            input.shape[-dims:], sizes, self.stride, self.dilation, self.kernel_size, self.padding
        ):
            least = (n - 1) * s + d * (k - 1) + 1 - (sum(p) if isinstance(p, tuple) else 2 * p)
            if not least <= size < least + s:
                raise ValueError(
                    f"{name}: output_size must be in {least}..{least + s - 1}, got {size}"
                )
            result.append(size - least)
        return tuple(result)


class ConvTranspose1d(ConvTransposeNd):
    """Transposed convolution along one dimension; :class:`ConvTranspose2d` has the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.ConvTranspose1d(4, 2, 3, stride=2)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((1, 4, 10), np.float32)).shape
    (1, 2, 21)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            1,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            dtype,
        )


class ConvTranspose2d(ConvTransposeNd):
    """Transposed convolution; :func:`fastnn.functional.conv_transpose2d` has the formula.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or tuple of 2 ints
    stride, padding, output_padding, dilation : int or tuple of 2 ints
    groups : int
    bias : bool
    padding_mode : 'zeros'
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, kernel_h, kernel_w)
        Uniform in +-1/sqrt(fan_in), fan_in being out_channels / groups * kernel_h * kernel_w.
    bias : Parameter, shape (out_channels,), or None
        The same distribution.

    Notes
    -----
    The layer may be called with ``output_size``, from which the output padding follows.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((1, 16, 12, 12), np.float32)).shape
    (1, 8, 24, 24)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            2,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            dtype,
        )


class ConvTranspose3d(ConvTransposeNd):
    """Transposed convolution over three dimensions; :class:`ConvTranspose2d` has the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.ConvTranspose3d(2, 3, 2, stride=2)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((1, 2, 3, 4, 5), np.float32)).shape
    (1, 3, 6, 8, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            3,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            dtype,
        )
