"""Padding, upsampling and shuffling layers, with ``torch.nn``'s arguments."""

from __future__ import annotations

from typing import Any

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn._padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from fastnn.nn.module import Module

__all__ = [
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Size = Any  # an int or a tuple of ints


class Upsample(Module):
    """Resize the spatial dimensions: :func:`fastnn.functional.interpolate`.

    Parameters
    ----------
    size : int or tuple of ints, optional
    scale_factor : float or tuple of floats, optional
        Either it or size.
    mode : {'nearest', 'linear', 'bilinear', 'trilinear'}
    align_corners : bool, optional
    recompute_scale_factor : bool, optional

    Examples
    --------
    >>> import numpy as np
    >>> Upsample(scale_factor=2, mode="nearest")(np.array([[[1.0, 2.0]]]))
    array([[[1., 1., 2., 2.]]])
    """

    def __init__(
        self,
        size: Size = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: ArrayLike) -> Result:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor}, mode={self.mode!r}"
        return f"size={self.size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resize images by their nearest elements.

    Parameters
    ----------
    size : int or tuple of two ints, optional
    scale_factor : float or tuple of two floats, optional

    Examples
    --------
    >>> import numpy as np
    >>> UpsamplingNearest2d(scale_factor=2)(np.ones((1, 1, 2, 2))).shape
    (1, 1, 4, 4)
    """

    def __init__(self, size: Size = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize images bilinearly, corners on corners.

    Parameters
    ----------
    size : int or tuple of two ints, optional
    scale_factor : float or tuple of two floats, optional

    Examples
    --------
    >>> import numpy as np
    >>> UpsamplingBilinear2d(size=3)(np.array([[[[1.0, 2.0]]]]))[0, 0, 0]
    array([1. , 1.5, 2. ])
    """

    def __init__(self, size: Size = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels to resolution: :func:`fastnn.functional.pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int

    Examples
    --------
    >>> import numpy as np
    >>> PixelShuffle(3)(np.zeros((1, 9, 4, 4))).shape
    (1, 1, 12, 12)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: ArrayLike) -> Result:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Resolution to channels: :func:`fastnn.functional.pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int

    Examples
    --------
    >>> import numpy as np
    >>> PixelUnshuffle(3)(np.zeros((1, 1, 12, 12))).shape
    (1, 9, 4, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: ArrayLike) -> Result:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Mix the channels of groups: :func:`fastnn.functional.channel_shuffle`.

    Parameters
    ----------
    groups : int

    Examples
    --------
    >>> import numpy as np
    >>> ChannelShuffle(2)(np.arange(4.0).reshape(1, 4, 1, 1)).ravel()
    array([0., 2., 1., 3.])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: ArrayLike) -> Result:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
