"""Convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import natural
from fastnn.nn._conv_nd import ConvNd, new_packs
from fastnn.nn._conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from fastnn.nn.module import Module, fuses

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "SeparableConv2d",
]


class _Conv(ConvNd):
    """What the ordinary convolutions share."""

    @fuses
    def forward(self, input: ArrayLike) -> Result:
        if not is_grad_enabled():
            return self._infer(input)
        return _CONV[len(self.stride) - 1](
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
        )

    def _infer(
        self,
        input: ArrayLike,
        activation: tuple[Any, ...] | None = None,
        residual: ArrayLike | None = None,
    ) -> Array:
        """activation(conv(input) + residual), without recording; keeps the prepared weights."""
        y: Array = _core.conv3d_forward(
            len(self.stride),
            array(input),
            self.weight._data,
            array(self.bias),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
            None,
            self.weight.pack("conv", new_packs),
            activation,
            array(residual),
        )
        return y


_CONV = (F.conv1d, F.conv2d, F.conv3d)


class Conv1d(_Conv):
    """Convolution along one dimension; :class:`Conv2d` describes the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.Conv1d(16, 33, 3, stride=2)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((20, 16, 50), np.float32)).shape
    (20, 33, 24)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
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
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )


class Conv2d(_Conv):
    """Convolution (cross-correlation) of images; :func:`fastnn.functional.conv2d` has the formula.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or tuple of 2 ints
    stride, dilation : int or tuple of 2 ints
    padding : int, tuple of 2 ints or of 2 (before, after) pairs, 'valid' or 'same'
        'same' works with every stride.
    groups : int
    bias : bool
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular'
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kernel_h, kernel_w)
        Uniform in +-1/sqrt(fan_in), fan_in being in_channels / groups * kernel_h * kernel_w.
    bias : Parameter, shape (out_channels,), or None
        The same distribution.

    Notes
    -----
    Under ``no_grad`` the weights are prepared once for the algorithm (packed, or transformed) and
    kept; while they are, their array is read-only. The optimizer, ``load_state_dict``, assigning
    ``.data`` and recording drop what is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.Conv2d(3, 8, 3, padding=1)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 8, 32, 32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
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
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )


class Conv3d(_Conv):
    """Convolution over three dimensions; :class:`Conv2d` describes the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.Conv3d(3, 4, 3)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((1, 3, 5, 6, 7), np.float32)).shape
    (1, 4, 3, 4, 5)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
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
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )


class SeparableConv2d(Module):
    """A depthwise convolution followed by a 1x1 convolution, as in Xception (Chollet, 2017).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation, padding_mode
        Of the depthwise convolution, as for :class:`Conv2d`.
    bias : bool
        Whether the 1x1 convolution has a bias; the depthwise one has none.
    depth_multiplier : int
        Depthwise filters a channel.
    dtype : numpy dtype, optional

    Attributes
    ----------
    depthwise, pointwise : Conv2d

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.SeparableConv2d(8, 16, 3, padding=1)
    >>> with fastnn.no_grad():
    ...     layer(np.ones((1, 8, 10, 10), np.float32)).shape
    (1, 16, 10, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        depth_multiplier: int = 1,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        middle = natural(name, "in_channels", in_channels) * natural(
            name, "depth_multiplier", depth_multiplier, 1
        )
        self.depthwise = Conv2d(
            in_channels,
            middle,
            kernel_size,
            stride,
            padding,
            dilation,
            groups=in_channels,
            bias=False,
            padding_mode=padding_mode,
            dtype=dtype,
        )
        self.pointwise = Conv2d(middle, out_channels, 1, bias=bias, dtype=dtype)

    def forward(self, input: ArrayLike) -> Result:
        return self.pointwise(self.depthwise(input))
