"""Adamax, NAdam, RAdam and Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn import _core
from fastnn.autograd import Array
from fastnn.optim.optimizer import (
    MomentOptimizer,
    Optimizer,
    check_option,
    count_steps,
    kept,
    next_steps,
)

__all__ = ["Adadelta", "Adamax", "NAdam", "RAdam"]


class Adamax(MomentOptimizer):
    """Adam with the largest magnitude of the gradient in place of its mean square.

    With g the gradient plus ``weight_decay * p``, t the number of the step::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p = p - lr / (1 - beta1^t) * m / u

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    betas : (float, float)
    eps : float
    weight_decay : float
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = Adamax([x], lr=0.5)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data.round(6)
    array([3.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        _core.adamax_step(
            params,
            grads,
            kept(states, "exp_avg", params),
            kept(states, "exp_inf", params),
            next_steps(states),
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            group["maximize"],
        )
        count_steps(states)


class NAdam(MomentOptimizer):
    """Adam with Nesterov's momentum.

    With g the gradient plus ``weight_decay * p``, t the number of the step, m and v as in
    :class:`Adam`, ``mu[t] = beta1 * (1 - 0.96^(t * momentum_decay) / 2)`` and M the product of all
    mu so far::

        step = (1 - mu[t]) / (1 - M) * g + mu[t + 1] / (1 - M * mu[t + 1]) * m
        p = p - lr * step / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    betas : (float, float)
    eps : float
    weight_decay : float
    momentum_decay : float
        How slowly the momentum approaches beta1.
    decoupled_weight_decay : bool
        Shrink the parameter as :class:`AdamW` does.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = NAdam([x], lr=0.5)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> bool(x.data[0] < 4)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        decay = group["momentum_decay"]
        check_option(self._name, "momentum_decay", decay, decay >= 0, ">= 0")

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        steps = next_steps(states)

        def momentum(step: int) -> float:
            return float(beta1 * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"])))

        momenta = [momentum(step) for step in steps]
        products = [s.get("mu_product", 1.0) * mu for s, mu in zip(states, momenta)]
        _core.nadam_step(
            params,
            grads,
            kept(states, "exp_avg", params),
            kept(states, "exp_avg_sq", params),
            steps,
            momenta,
            [momentum(step + 1) for step in steps],
            products,
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            group["decoupled_weight_decay"],
            group["maximize"],
        )
        for state, product in zip(states, products):
            state["mu_product"] = product
        count_steps(states)


class RAdam(MomentOptimizer):
    """Adam whose step is rectified while the mean of the squares is still uncertain.

    With m and v as in :class:`Adam`, t the number of the step, ``rho = 2 / (1 - beta2) - 1`` and
    ``rho_t = rho - 2 t beta2^t / (1 - beta2^t)``::

        r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
        p = p - lr * m / (1 - beta1^t) * r * sqrt(1 - beta2^t) / (sqrt(v) + eps)     (rho_t > 5)
        p = p - lr * m / (1 - beta1^t)                                              (otherwise)

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    betas : (float, float)
    eps : float
    weight_decay : float
    decoupled_weight_decay : bool
        Shrink the parameter as :class:`AdamW` does.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = RAdam([x], lr=0.125)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data.round(6)
    array([3.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        _core.radam_step(
            params,
            grads,
            kept(states, "exp_avg", params),
            kept(states, "exp_avg_sq", params),
            next_steps(states),
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            group["decoupled_weight_decay"],
            group["maximize"],
        )
        count_steps(states)


class Adadelta(Optimizer):
    """Steps as large as the latest ones were, relative to the gradient.

    With g the gradient plus ``weight_decay * p``::

        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        p = p - lr * d

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
    rho : float
        Decay of the means.
    eps : float
    weight_decay : float
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = Adadelta([x])
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> bool(x.data[0] < 4)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        check_option(self._name, "rho", group["rho"], 0 <= group["rho"] <= 1, "in [0, 1]")
        check_option(self._name, "eps", group["eps"], group["eps"] >= 0, ">= 0")

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        _core.adadelta_step(
            params,
            grads,
            kept(states, "square_avg", params),
            kept(states, "acc_delta", params),
            group["lr"],
            group["rho"],
            group["eps"],
            group["weight_decay"],
            group["maximize"],
        )
        count_steps(states)
