"""Optimizers: SGD, Adam and AdamW, with PyTorch's arguments, defaults and state names.

Each algorithm is one function on arrays (``_sgd_update``, ``_adam_update``) that works in place;
the classes only keep the state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastnn.autograd import Array, TensorBase
from fastnn.nn.utils import clip_grad_norm_, clip_grad_value_
from fastnn.optimizer import Optimizer, check_option, kept

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_grad_norm_", "clip_grad_value_"]


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
        self, param: TensorBase, grad: Array, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        buffer = None
        first = state.get("momentum_buffer") is None
        if group["momentum"] != 0:
            buffer = kept(state, "momentum_buffer", param.data)
        _sgd_update(param.data, grad, buffer, first, group)


def _sgd_update(
    param: Array, grad: Array, buffer: Array | None, first: bool, options: Mapping[str, Any]
) -> None:
    """Take one step of SGD in place on `param` and `buffer`; `grad` is only read."""
    step = np.negative(grad) if options["maximize"] else grad.copy()
    if options["weight_decay"] != 0:
        step += options["weight_decay"] * param
    if buffer is not None:
        momentum = options["momentum"]
        if first:
            buffer[...] = step
        else:
            buffer *= momentum
            buffer += (1 - options["dampening"]) * step
        step = step + momentum * buffer if options["nesterov"] else buffer.copy()
    step *= options["lr"]
    param -= step


class Adam(Optimizer):
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

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    _decoupled = False

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
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        betas, eps = group["betas"], group["eps"]
        check_option(self._name, "eps", eps, eps >= 0, ">= 0")
        valid = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        check_option(self._name, "betas", betas, valid, "two numbers in [0, 1)")

    def _update(
        self, param: TensorBase, grad: Array, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] = state.get("step", 0) + 1
        mean = kept(state, "exp_avg", param.data)
        square = kept(state, "exp_avg_sq", param.data)
        largest = kept(state, "max_exp_avg_sq", param.data) if group["amsgrad"] else None
        moments = (mean, square, largest)
        _adam_update(param.data, grad, moments, state["step"], group, self._decoupled)


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p = p - lr * weight_decay * p`` before each step.

    Arguments as in :class:`Adam`, but `weight_decay` is 0.01 by default.

    Notes
    -----
    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    _decoupled = True

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
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


def _adam_update(
    param: Array,
    grad: Array,
    moments: tuple[Array, Array, Array | None],
    step: int,
    options: Mapping[str, Any],
    decoupled: bool,
) -> None:
    """Take one step of Adam in place on `param` and `moments`; `grad` is only read."""
    mean, square, largest = moments
    beta1, beta2 = options["betas"]
    lr, decay = options["lr"], options["weight_decay"]
    slope = np.negative(grad) if options["maximize"] else grad
    if decay != 0 and decoupled:
        param *= 1 - lr * decay
    elif decay != 0:
        slope = slope + decay * param
    mean += (1 - beta1) * (slope - mean)
    square *= beta2
    square += (1 - beta2) * (slope * slope)
    if largest is not None:
        np.maximum(largest, square, out=largest)
    divisor = np.sqrt(square if largest is None else largest, out=np.empty_like(param))
    divisor /= math.sqrt(1 - beta2**step)
    divisor += options["eps"]
    np.divide(mean, divisor, out=divisor)
    divisor *= lr / (1 - beta1**step)
    param -= divisor
