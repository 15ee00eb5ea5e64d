"""Losses as layers: thin over :mod:`fastnn.functional`, with the arguments of ``torch.nn``.

``size_average`` and ``reduce`` keep their places but must be None; `reduction` is "mean", "none"
or "sum". Weights are buffers.
"""

from __future__ import annotations

from typing import Any

import fastnn.functional as F
from fastnn.autograd import Array, ArrayLike, Result, array
from fastnn.functional._pointwise_loss import refuse_legacy
from fastnn.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]

_REDUCTIONS = ("none", "mean", "sum")


class Loss(Module):
    """What losses share: a checked reduction, and optional weights."""

    weight: Array | None
    pos_weight: Array | None

    def __init__(self, size_average: Any, reduce: Any, reduction: str) -> None:
        super().__init__()
        name = type(self).__name__
        refuse_legacy(name, size_average, reduce)
        if reduction not in self._reductions():
            expected = ", ".join(map(repr, self._reductions()))
            raise ValueError(f"{name}: reduction must be one of {expected}, got {reduction!r}")
        self.reduction = reduction

    @staticmethod
    def _reductions() -> tuple[str, ...]:
        return _REDUCTIONS

    def _keep(self, name: str, value: ArrayLike) -> None:
        self.register_buffer(name, array(value))

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits: see :func:`fastnn.functional.cross_entropy`.

    Parameters
    ----------
    weight : array, shape (C,), optional
    size_average, reduce : None
    ignore_index : int
    reduction : {"mean", "none", "sum"}
    label_smoothing : float in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> loss = CrossEntropyLoss()
    >>> float(loss(np.zeros((2, 4)), np.array([1, 3])))  # log(4)
    1.3862943611198906
    """

    def __init__(
        self,
        weight: ArrayLike = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Loss):
    """Negative log-likelihood: see :func:`fastnn.functional.nll_loss`.

    Parameters
    ----------
    weight : array, shape (C,), optional
    size_average, reduce : None
    ignore_index : int
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        weight: ArrayLike = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCELoss(Loss):
    """Binary cross-entropy of probabilities: :func:`fastnn.functional.binary_cross_entropy`.

    Parameters
    ----------
    weight : array that broadcasts to the input, optional
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        weight: ArrayLike = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits: see
    :func:`fastnn.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight : array that broadcasts to the input, optional
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    pos_weight : array that broadcasts to the input, optional
        Multiplies the loss of positive targets.
    """

    def __init__(
        self,
        weight: ArrayLike = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: ArrayLike = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class MSELoss(Loss):
    """Squared error: see :func:`fastnn.functional.mse_loss`.

    Parameters
    ----------
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}

    Examples
    --------
    >>> import numpy as np
    >>> float(MSELoss()(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """Absolute error: see :func:`fastnn.functional.l1_loss`.

    Parameters
    ----------
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """Absolute error, squared near zero: see :func:`fastnn.functional.smooth_l1_loss`.

    Parameters
    ----------
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    beta : float >= 0
    """

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta}"


class HuberLoss(Loss):
    """Squared error, linear far from zero: see :func:`fastnn.functional.huber_loss`.

    Parameters
    ----------
    reduction : {"mean", "none", "sum"}
    delta : float > 0
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(None, None, reduction)
        self.delta = delta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, delta={self.delta}"


class KLDivLoss(Loss):
    """Kullback-Leibler divergence: see :func:`fastnn.functional.kl_div`.

    Parameters
    ----------
    size_average, reduce : None
    reduction : {"mean", "batchmean", "none", "sum"}
    log_target : bool
    """

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    @staticmethod
    def _reductions() -> tuple[str, ...]:
        return (*_REDUCTIONS, "batchmean")

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
