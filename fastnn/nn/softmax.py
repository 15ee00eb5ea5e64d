"""Softmax layers."""

from __future__ import annotations

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = ["LogSoftmax", "Softmax", "Softmax2d", "Softmin"]


class Softmax(Module):
    """Exponentials that sum to one along a dimension: :func:`fastnn.functional.softmax`.

    Parameters
    ----------
    dim : int
        The dimension to normalise. It has to be given by the time the layer is called.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax(dim=1)(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: ArrayLike) -> Result:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of softmax: :func:`fastnn.functional.log_softmax`.

    Parameters
    ----------
    dim : int
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """The softmax of the negated input: :func:`fastnn.functional.softmin`.

    Parameters
    ----------
    dim : int
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels at every point of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: ArrayLike) -> Result:
        rank = len(input.shape)
        if rank not in (3, 4):
            raise ValueError(
                f"Softmax2d: input must have 3 or 4 dimensions, got shape {tuple(input.shape)}"
            )
        return F.softmax(input, -3)
