"""Dropout layers: active in training mode, the identity in evaluation mode."""

from __future__ import annotations

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.functional._args import probability
from fastnn.nn.module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class _Dropout(Module):
    """What all of them share."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = probability(type(self).__name__, "p", p)
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zero elements at random: :func:`fastnn.functional.dropout`.

    Parameters
    ----------
    p : float
        The probability of being dropped.
    inplace : bool
        Write into the input, a plain ndarray.

    Examples
    --------
    >>> import numpy as np
    >>> Dropout(0.2).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zero channels of (N, C, L) or (C, L): :func:`fastnn.functional.dropout1d`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zero channels of (N, C, H, W): :func:`fastnn.functional.dropout2d`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Zero channels of (N, C, D, H, W) or (C, D, H, W): :func:`fastnn.functional.dropout3d`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance: :func:`fastnn.functional.alpha_dropout`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of channels: :func:`fastnn.functional.feature_alpha_dropout`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
