"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import flag, natural, naturals, ntuple
from fastnn.nn import init
from fastnn.nn.module import Module, fuses
from fastnn.nn.parameter import empty

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "SeparableConv2d",
]


class _ConvNd(Module):
    """What all convolutions share; `weight` is laid out (first, second, *kernel_size)."""

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = natural(name, "in_channels", in_channels)
        self.out_channels = natural(name, "out_channels", out_channels)
        self.groups = natural(name, "groups", groups, 1)
        for label, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups != 0:
                raise ValueError(
                    f"{name}: {label} must be divisible by groups = {groups}, got {channels}"
                )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"{name}: padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', "
                f"got {padding_mode!r}"
            )
        self.kernel_size = naturals(name, "kernel_size", kernel_size, dims, 1)
        self.stride = naturals(name, "stride", stride, dims, 1)
        self.dilation = naturals(name, "dilation", dilation, dims, 1)
        self.padding = _padding(name, padding, dims)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = empty(name, shape, dtype)
        self.bias = empty(name, (out_channels,), dtype) if flag(name, "bias", bias) else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None:
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        ones, zeros = (1,) * len(self.stride), (0,) * len(self.stride)
        if self.padding != zeros:
            text += f", padding={self.padding!r}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        output_padding = getattr(self, "output_padding", zeros)
        if output_padding != zeros:
            text += f", output_padding={output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
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
            self.weight.pack("conv", _new_packs),
            activation,
            array(residual),
        )
        return y


def _new_packs(_: Array) -> _core.ConvPacks:
    return _core.ConvPacks()


_CONV = (F.conv1d, F.conv2d, F.conv3d)
_CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def _padding(name: str, value: Any, dims: int) -> Any:
    """'valid', 'same', a tuple of ints, or a tuple of (before, after) pairs."""
    if isinstance(value, str):
        if value not in ("valid", "same"):
            raise ValueError(f"{name}: padding must be 'valid', 'same' or a number, got {value!r}")
        return value
    if isinstance(value, (tuple, list)) and any(isinstance(v, (tuple, list)) for v in value):
        if len(value) != dims:
            raise ValueError(f"{name}: padding must have {dims} pairs, got {value!r}")
        if not all(isinstance(v, (tuple, list)) and len(v) == 2 for v in value):
            raise TypeError(f"{name}: padding must have (before, after) pairs, got {value!r}")
        return tuple(naturals(name, "padding", v, 2) for v in value)
    return naturals(name, "padding", value, dims)


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


class _ConvTransposeNd(_ConvNd):
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
            self.weight.pack("conv", _new_packs),
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


class ConvTranspose1d(_ConvTransposeNd):
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


class ConvTranspose2d(_ConvTransposeNd):
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


class ConvTranspose3d(_ConvTransposeNd):
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
