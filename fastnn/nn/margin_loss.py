"""Losses of margins, distances and sequences as layers, with the arguments of ``torch.nn``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.loss import Loss
from fastnn.nn.module import Module

__all__ = [
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "PairwiseDistance",
    "PoissonNLLLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class HingeEmbeddingLoss(Loss):
    """See :func:`fastnn.functional.hinge_embedding_loss`.

    Parameters
    ----------
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """See :func:`fastnn.functional.margin_ranking_loss`.

    Parameters
    ----------
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike) -> Result:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """See :func:`fastnn.functional.cosine_embedding_loss`.

    Parameters
    ----------
    margin : float
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike) -> Result:
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class TripletMarginLoss(Loss):
    """See :func:`fastnn.functional.triplet_margin_loss`.

    Parameters
    ----------
    margin : float > 0
    p, eps : float
    swap : bool
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> Result:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(Loss):
    """See :func:`fastnn.functional.triplet_margin_with_distance_loss`.

    Parameters
    ----------
    distance_function : callable, optional
    margin : float > 0
    swap : bool
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(None, None, reduction)
        self.distance_function = distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> Result:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class PoissonNLLLoss(Loss):
    """See :func:`fastnn.functional.poisson_nll_loss`.

    Parameters
    ----------
    log_input, full : bool
    size_average : None
    eps : float
    reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: None = None,
        eps: float = 1e-8,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: ArrayLike, target: ArrayLike) -> Result:
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Loss):
    """See :func:`fastnn.functional.gaussian_nll_loss`.

    Parameters
    ----------
    full : bool
    eps : float
    reduction : {"mean", "none", "sum"}
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(None, None, reduction)
        self.full, self.eps = full, eps

    def forward(self, input: ArrayLike, target: ArrayLike, var: ArrayLike) -> Result:
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class CTCLoss(Loss):
    """See :func:`fastnn.functional.ctc_loss`.

    Parameters
    ----------
    blank : int
    reduction : {"mean", "none", "sum"}
    zero_infinity : bool

    Examples
    --------
    >>> import numpy as np
    >>> log_probs = np.log(np.full((2, 1, 3), 1 / 3))
    >>> float(CTCLoss()(log_probs, np.array([[1]]), [2], [1]).round(6))  # -log(3 / 9)
    1.098612
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(None, None, reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
    ) -> Result:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


class CosineSimilarity(Module):
    """See :func:`fastnn.functional.cosine_similarity`.

    Parameters
    ----------
    dim : int
    eps : float
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Result:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """See :func:`fastnn.functional.pairwise_distance`.

    Parameters
    ----------
    p, eps : float
    keepdim : bool
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Result:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class MultiMarginLoss(Loss):
    """See :func:`fastnn.functional.multi_margin_loss`.

    Parameters
    ----------
    p : {1, 2}
    margin : float
    weight : array, shape (C,), optional
    size_average, reduce : None
    reduction : {"mean", "none", "sum"}
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: ArrayLike = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.p = p
        self.margin = margin
        self._keep("weight", weight)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Result:
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(Loss):
    """See :func:`fastnn.functional.multilabel_margin_loss`.

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
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """See :func:`fastnn.functional.soft_margin_loss`.

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
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """See :func:`fastnn.functional.multilabel_soft_margin_loss`.

    Parameters
    ----------
    weight : array, shape (C,), optional
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
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
