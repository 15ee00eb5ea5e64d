"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastnn import _core
from fastnn.autograd import Array
from fastnn.optim.optimizer import MomentOptimizer, count_steps, kept, next_steps

__all__ = ["Adam", "AdamW"]


class Adam(MomentOptimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    With g the gradient plus ``weight_decay * p``, t the number of the step::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the two means.
    eps : float
        Keeps the divisor from zero.
    weight_decay : float
    amsgrad : bool
        Use the largest v so far (Reddi et al., "On the convergence of Adam and beyond", 2018).
    maximize : bool
        Ascend instead of descend.
    decoupled_weight_decay : bool
        Whether ``p = p - lr * weight_decay * p`` comes before each step, as in :class:`AdamW`.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 1.0)
    >>> optimizer = Adam(layer.parameters(), lr=0.25)
    >>> layer(np.ones((1, 1), np.float32)).sum().backward()
    >>> optimizer.step()
    >>> layer.weight.data
    array([[0.75]], dtype=float32)

    Notes
    -----
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        means = kept(states, "exp_avg", params)
        squares = kept(states, "exp_avg_sq", params)
        largest = None
        if group["amsgrad"]:
            largest = kept(states, "max_exp_avg_sq", params)
        beta1, beta2 = group["betas"]
        _core.adam_step(
            params,
            grads,
            means,
            squares,
            largest,
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


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p = p - lr * weight_decay * p`` before each step.

    Arguments as in :class:`Adam`, but `weight_decay` is 0.01 by default.

    Notes
    -----
    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As :meth:`Optimizer.load_state_dict`; with Adam's state, too, decay stays decoupled."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
