"""RMSprop, Adagrad and Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn import _core
from fastnn.autograd import Array
from fastnn.optim.optimizer import (
    Optimizer,
    check_betas,
    check_option,
    count_steps,
    kept,
    next_steps,
)

__all__ = ["Adagrad", "Lion", "RMSprop"]


class RMSprop(Optimizer):
    """Steps scaled by a running mean of the gradient's square.

    With g the gradient plus ``weight_decay * p``::

        s = alpha * s + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g               (centered)
        d = g / (sqrt(s) + eps)                       (centered: sqrt(s - a^2))
        b = momentum * b + d                          (b = d without momentum)
        p = p - lr * b

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    alpha : float
        Decay of the means.
    eps : float
        Keeps the divisor from zero.
    weight_decay, momentum : float
    centered : bool
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Hinton, "Neural networks for machine learning", lecture 6, 2012; centred: Graves,
    arXiv:1308.0850.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = RMSprop([x], lr=0.1, alpha=0.0)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data.round(6)
    array([3.9])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        for option in ("alpha", "eps", "momentum"):
            check_option(self._name, option, group[option], group[option] >= 0, ">= 0")

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        squares = kept(states, "square_avg", params)
        means = buffers = None
        if group["centered"]:
            means = kept(states, "grad_avg", params)
        if group["momentum"] != 0:
            buffers = kept(states, "momentum_buffer", params)
        _core.rmsprop_step(
            params,
            grads,
            squares,
            means,
            buffers,
            group["lr"],
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["maximize"],
        )
        count_steps(states)


class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients.

    With g the gradient plus ``weight_decay * p``, t the number of the step::

        s = s + g^2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    lr_decay, weight_decay : float
    initial_accumulator_value : float
        What s starts from.
    eps : float
        Keeps the divisor from zero.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Duchi et al., "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = Adagrad([x], lr=0.5)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data.round(6)
    array([3.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        for option in ("lr_decay", "initial_accumulator_value", "eps"):
            check_option(self._name, option, group[option], group[option] >= 0, ">= 0")

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        start = group["initial_accumulator_value"]
        sums = kept(states, "sum", params, start)
        _core.adagrad_step(
            params,
            grads,
            sums,
            next_steps(states),
            group["lr"],
            group["lr_decay"],
            group["eps"],
            group["weight_decay"],
            group["maximize"],
        )
        count_steps(states)


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of a mean of the gradients.

    With g the gradient::

        p = p - lr * weight_decay * p - lr * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate, three to ten times smaller than AdamW's.
    betas : (float, float)
    weight_decay : float
        Decoupled from the gradient.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = Lion([x], lr=0.5)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data
    array([3.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        check_betas(self._name, group["betas"])

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        _core.lion_step(
            params,
            grads,
            kept(states, "exp_avg", params),
            group["lr"],
            beta1,
            beta2,
            group["weight_decay"],
            group["maximize"],
        )
