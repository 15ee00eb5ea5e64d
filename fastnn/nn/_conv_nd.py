"""What all convolution layers share."""

from __future__ import annotations

import math
from typing import Any

from fastnn import _core
from fastnn.autograd import Array
from fastnn.functional._args import flag, natural, naturals
from fastnn.nn import init
from fastnn.nn.module import Module
from fastnn.nn.parameter import empty

__all__ = ["ConvNd", "checked_padding", "new_packs"]


class ConvNd(Module):
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
        self.padding = checked_padding(name, padding, dims)
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


def new_packs(_: Array) -> _core.ConvPacks:
    return _core.ConvPacks()


def checked_padding(name: str, value: Any, dims: int) -> Any:
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
