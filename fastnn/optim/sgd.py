"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn import _core
from fastnn.autograd import Array
from fastnn.optim.optimizer import Optimizer, check_option, kept

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    With g the gradient plus ``weight_decay * p``::

        b = momentum * b + (1 - dampening) * g        (b = g in the first step)
        p = p - lr * b                                (nesterov: g + momentum * b)

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
    lr : float
        Learning rate.
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs a momentum and no dampening.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Sutskever et al., "On the importance of initialization and momentum in deep
    learning", 2013, in the form of PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.array([4.0]), requires_grad=True)
    >>> optimizer = SGD([x], lr=0.25)
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data
    array([2.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        momentum, dampening = group["momentum"], group["dampening"]
        check_option("sgd", "momentum", momentum, momentum >= 0, ">= 0")
        if group["nesterov"]:
            check_option("sgd", "momentum", momentum, momentum > 0, "> 0 with nesterov")
            check_option("sgd", "dampening", dampening, dampening == 0, "0 with nesterov")

    def _update(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        buffers = None
        first = [state.get("momentum_buffer") is None for state in states]
        if group["momentum"] != 0:
            buffers = kept(states, "momentum_buffer", params)
        _core.sgd_step(
            params,
            grads,
            buffers,
            first,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            group["maximize"],
        )
