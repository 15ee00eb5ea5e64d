"""Layers that learn the size of their input when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastnn.autograd import ArrayLike, array
from fastnn.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]


class _Lazy(Module):
    """Stands in for a layer until it is called, and is that layer from then on.

    The parameters are there from the beginning, so that an optimizer may be made; the first call
    gives them their shapes and values. Weights are loaded after it.
    """

    _plain: ClassVar[Callable[..., Module]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._arguments = (args, kwargs)
        # A layer for inputs of size 0 checks the arguments and has the parameters.
        self._become(self._plain(0, *args, **kwargs))

    def _axis(self, ndim: int) -> int:
        """Return the axis of the input whose size is wanted."""
        raise NotImplementedError

    def forward(self, input: ArrayLike) -> Any:
        args, kwargs = self._arguments
        shape = array(input).shape
        axis = self._axis(len(shape))
        if not 0 <= axis < len(shape):
            raise ValueError(f"{type(self).__name__}: input has too few dimensions: shape {shape}")
        plain = self._plain(shape[axis], *args, **kwargs)
        del self._arguments
        self._become(plain)
        self.__class__ = type(plain)  # type: ignore[assignment]
        return self.forward(input)

    def _become(self, plain: Module) -> None:
        """Take over everything of another layer, into the parameters that are there."""
        for name, value in plain.__dict__.items():
            if name in plain._parameters:
                own = self._parameters.get(name)
                if own is None or value is None:
                    self.register_parameter(name, value)
                else:
                    own.data = value.data.astype(own.dtype, copy=False)
            elif name in plain._buffers:
                known = self._buffers.get(name)
                if value is not None and known is not None:
                    value = value.astype(known.dtype, copy=False)
                self.register_buffer(name, value)
            elif name not in ("_parameters", "_buffers", "_modules", "_non_persistent", "training"):
                object.__setattr__(self, name, value)

    def extra_repr(self) -> str:
        args, kwargs = self._arguments
        return ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])


class _LazyChannels(_Lazy):
    """The channels come before the spatial dimensions."""

    _dims: ClassVar[int]

    def _axis(self, ndim: int) -> int:
        return ndim - self._dims - 1


class _LazyBatchNorm(_Lazy):
    def _axis(self, ndim: int) -> int:
        return 1


class LazyLinear(_Lazy):
    """:class:`Linear` whose in_features are those of its first input.

    Parameters
    ----------
    *args, **kwargs
        Those of :class:`Linear` after in_features: out_features, bias, dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10))
    >>> model(np.ones((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    >>> model[2]
    Linear(in_features=144, out_features=10, bias=True)
    """

    _plain = Linear

    def _axis(self, ndim: int) -> int:
        return ndim - 1


class LazyConv1d(_LazyChannels):
    """:class:`Conv1d` whose in_channels are those of its first input."""

    _plain = Conv1d
    _dims = 1


class LazyConv2d(_LazyChannels):
    """:class:`Conv2d` whose in_channels are those of its first input."""

    _plain = Conv2d
    _dims = 2


class LazyConv3d(_LazyChannels):
    """:class:`Conv3d` whose in_channels are those of its first input."""

    _plain = Conv3d
    _dims = 3


class LazyConvTranspose1d(_LazyChannels):
    """:class:`ConvTranspose1d` whose in_channels are those of its first input."""

    _plain = ConvTranspose1d
    _dims = 1


class LazyConvTranspose2d(_LazyChannels):
    """:class:`ConvTranspose2d` whose in_channels are those of its first input."""

    _plain = ConvTranspose2d
    _dims = 2


class LazyConvTranspose3d(_LazyChannels):
    """:class:`ConvTranspose3d` whose in_channels are those of its first input."""

    _plain = ConvTranspose3d
    _dims = 3


class LazyBatchNorm1d(_LazyBatchNorm):
    """:class:`BatchNorm1d` whose num_features are those of its first input."""

    _plain = BatchNorm1d


class LazyBatchNorm2d(_LazyBatchNorm):
    """:class:`BatchNorm2d` whose num_features are those of its first input."""

    _plain = BatchNorm2d


class LazyBatchNorm3d(_LazyBatchNorm):
    """:class:`BatchNorm3d` whose num_features are those of its first input."""

    _plain = BatchNorm3d


class LazyInstanceNorm1d(_LazyChannels):
    """:class:`InstanceNorm1d` whose num_features are those of its first input."""

    _plain = InstanceNorm1d
    _dims = 1


class LazyInstanceNorm2d(_LazyChannels):
    """:class:`InstanceNorm2d` whose num_features are those of its first input."""

    _plain = InstanceNorm2d
    _dims = 2


class LazyInstanceNorm3d(_LazyChannels):
    """:class:`InstanceNorm3d` whose num_features are those of its first input."""

    _plain = InstanceNorm3d
    _dims = 3
