"""Normalisation layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import Array, ArrayLike, Result, array
from fastnn.functional._args import integer
from fastnn.nn import init
from fastnn.nn.module import Module, Parameter
from fastnn.nn.parameter import empty

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class LayerNorm(Module):
    """Layer normalisation: :func:`fastnn.functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last dimensions of the input.
    eps : float
    elementwise_affine : bool
        Whether there is a weight (and a bias).
    bias : bool
    dtype : numpy dtype, optional

    Attributes
    ----------
    weight, bias : Parameter, shape normalized_shape, or None
        Ones and zeros at first.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm(3)(np.zeros((2, 3), np.float32)).shape
    (2, 3)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = _parameter(self, self.normalized_shape, elementwise_affine, dtype)
        self.bias = _parameter(self, self.normalized_shape, elementwise_affine and bias, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, self.bias)

    def forward(self, input: ArrayLike) -> Result:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Root-mean-square normalisation: :func:`fastnn.functional.rms_norm`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last dimensions of the input.
    eps : float, optional
        By default the spacing of the input's dtype at 1.
    elementwise_affine : bool
        Whether there is a weight.
    dtype : numpy dtype, optional

    Attributes
    ----------
    weight : Parameter, shape normalized_shape, or None
        Ones at first.

    Examples
    --------
    >>> import numpy as np
    >>> RMSNorm(2)(np.array([[3.0, 3.0]], np.float32)).data
    array([[1., 1.]], dtype=float32)
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = _parameter(self, self.normalized_shape, elementwise_affine, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, None)

    def forward(self, input: ArrayLike) -> Result:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Group normalisation: :func:`fastnn.functional.group_norm`.

    Parameters
    ----------
    num_groups, num_channels : int
        The first divides the second.
    eps : float
    affine : bool
        Whether there is a weight (and a bias).
    dtype : numpy dtype, optional
    bias : bool

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None
        Ones and zeros at first.

    Examples
    --------
    >>> import numpy as np
    >>> GroupNorm(2, 6)(np.zeros((2, 6, 5, 5), np.float32)).shape
    (2, 6, 5, 5)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = integer("GroupNorm", "num_groups", num_groups)
        self.num_channels = integer("GroupNorm", "num_channels", num_channels)
        if self.num_groups < 1 or self.num_channels % self.num_groups != 0:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels = {num_channels}, got {num_groups}"
            )
        self.eps = eps
        self.affine = affine
        self.weight = _parameter(self, (self.num_channels,), affine, dtype)
        self.bias = _parameter(self, (self.num_channels,), affine and bias, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self.weight, self.bias)

    def forward(self, input: ArrayLike) -> Result:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _ChannelNorm(Module):
    """What batch and instance normalisation share: parameters and running statistics."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None
    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features = integer(type(self).__name__, "num_features", num_features)
        if self.num_features < 0:
            raise ValueError(
                f"{type(self).__name__}: num_features must be >= 0, got {num_features}"
            )
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = _parameter(self, (self.num_features,), affine, dtype)
        self.bias = _parameter(self, (self.num_features,), affine and bias, dtype)
        tracked = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget what was tracked: mean 0, variance 1, no batches."""
        for buffer, value in (
            (self.running_mean, 0),
            (self.running_var, 1),
            (self.num_batches_tracked, 0),
        ):
            if buffer is not None:
                buffer[...] = value

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _reset_affine(self.weight, self.bias)

    def _check_rank(self, input: ArrayLike) -> tuple[int, ...]:
        shape: tuple[int, ...] = array(input).shape
        if len(shape) not in self.ranks:
            wanted = " or ".join(map(str, self.ranks))
            raise ValueError(
                f"{type(self).__name__}: input must have {wanted} dimensions, got shape {shape}"
            )
        return shape

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: ArrayLike) -> Result:
        self._check_rank(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        mean, var = self.running_mean, self.running_var
        training = self.training or mean is None
        if not self.training or not self.track_running_stats:
            return F.batch_norm(
                input,
                None if training else mean,
                None if training else var,
                self.weight,
                self.bias,
                training,
                momentum,
                self.eps,
            )
        batches = self.num_batches_tracked
        if self.momentum is None and batches is not None:  # the average over all batches
            momentum = 1.0 / (int(batches) + 1)
        output = F.batch_norm(input, mean, var, self.weight, self.bias, True, momentum, self.eps)
        if batches is not None:
            batches += 1
        return output


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L): :func:`fastnn.functional.batch_norm`.

    In training it normalises with the batch's statistics and tracks them; in evaluation it
    normalises with what was tracked.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float or None
        Weight of the new batch in the running statistics; None averages over all batches.
    affine : bool
        Whether there is a weight (and a bias).
    track_running_stats : bool
        Without, the batch's statistics serve in evaluation too.
    dtype : numpy dtype, optional
    bias : bool

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
        Ones and zeros at first.
    running_mean, running_var : array, shape (num_features,), or None
    num_batches_tracked : array of int64, shape (), or None

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNorm1d(2)
    >>> layer(np.array([[1, 5], [3, 5]], np.float32)).shape
    (2, 2)
    >>> layer.running_mean
    array([0.2, 0.5], dtype=float32)
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); see :class:`BatchNorm1d`."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); see :class:`BatchNorm1d`."""

    ranks = (5,)


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: ArrayLike) -> Result:
        shape = self._check_rank(input)
        batched = len(shape) == self.ranks[1]
        channels = shape[1 if batched else 0]
        if channels != self.num_features:
            message = (
                f"{type(self).__name__}: input.shape[{int(batched)}] must be "
                f"{self.num_features} (num_features), got {channels}"
            )
            if self.affine or self.track_running_stats:
                raise ValueError(message)
            warnings.warn(message + "; it plays no part without affine", stacklevel=3)
        output = F.instance_norm(
            input if batched else input[None],
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output if batched else output[0]


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L): :func:`fastnn.functional.instance_norm`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float or None
        Weight of the new batch in the running statistics.
    affine : bool
        Whether there is a weight (and a bias).
    track_running_stats : bool
        Whether to keep running statistics in training and to use them in evaluation.
    dtype : numpy dtype, optional
    bias : bool

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var : array, shape (num_features,), or None
    num_batches_tracked : array of int64, shape (), or None
        Always 0, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> InstanceNorm1d(3)(np.ones((2, 3, 4), np.float32)).shape
    (2, 3, 4)
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W); see :class:`InstanceNorm1d`."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); see :class:`InstanceNorm1d`."""

    ranks = (4, 5)


class LocalResponseNorm(Module):
    """Local response normalisation: :func:`fastnn.functional.local_response_norm`.

    Parameters
    ----------
    size : int
        Number of channels in a window.
    alpha, beta, k : float

    Examples
    --------
    >>> import numpy as np
    >>> LocalResponseNorm(2)(np.zeros((2, 5, 7, 7), np.float32)).shape
    (2, 5, 7, 7)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: ArrayLike) -> Result:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _shape(op: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    items = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    return tuple(integer(op, "normalized_shape", n) for n in items)


def _parameter(layer: Module, shape: tuple[int, ...], wanted: bool, dtype: Any) -> Parameter | None:
    return empty(type(layer).__name__, shape, dtype) if wanted else None


def _reset_affine(weight: Parameter | None, bias: Parameter | None) -> None:
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)
