"""Schedules that come back: triangles, and cosines that start again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fastnn.functional._args import number
from fastnn.optim._scheduler import (
    LRScheduler,
    check_momentum,
    checked,
    each,
    positive_int,
    set_momentum,
)
from fastnn.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR"]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lower the rate along half a cosine, again and again.

    The rate is ``eta_min + (base - eta_min) (1 + cos(pi T_cur / T_i)) / 2``, T_cur steps after the
    last start; the i-th run has ``T_i = T_0 T_mult ** i`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
    T_mult : int
    eta_min : float
    last_epoch : int

    Notes
    -----
    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0)
    >>> scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 6) for rate in rates]
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        positive_int("CosineAnnealingWarmRestarts", "T_0", T_0)
        positive_int("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.T_0, self.T_i, self.T_mult = T_0, T_0, T_mult
        self.eta_min = number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.T_cur: float = 0
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Take the next rates, or those of a time.

        Parameters
        ----------
        epoch : float, optional
            The time, in the unit of T_0; fractions make the rate fall within an epoch.
        """
        if epoch is None:
            epoch = self.last_epoch + 1
        elif number("CosineAnnealingWarmRestarts", "epoch", epoch) < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be >= 0, got {epoch}")
        self.T_cur, self.T_i = epoch, self.T_0
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self.last_epoch = math.floor(epoch) - 1
        super().step()


class CyclicLR(LRScheduler):
    """Raise the rate on a line from `base_lr` to `max_lr` and lower it back, again and again.

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float, or a list of one a group
    step_size_up : int
        Steps that raise the rate.
    step_size_down : int, optional
        Steps that lower it; as many if left out.
    mode : {"triangular", "triangular2", "exp_range"}
        Whether the triangle's height stays, halves with every cycle, or shrinks by `gamma` with
        every step.
    gamma : float
    scale_fn : callable, optional
        The triangle's height instead of `mode`: a function of the cycle's number, from 1, or of
        the step's, as `scale_mode` says.
    scale_mode : {"cycle", "iterations"}
    cycle_momentum : bool
        Whether momentum (or Adam's beta1) goes from `max_momentum` to `base_momentum` meanwhile.
    base_momentum, max_momentum : float, or a list of one a group
    last_epoch : int

    Notes
    -----
    Source: Smith, "Cyclical learning rates for training neural networks", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(6):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """

    _unsaved = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = checked("CyclicLR", optimizer).param_groups
        lowest = each("CyclicLR", "base_lr", base_lr, len(groups))
        self.max_lrs = each("CyclicLR", "max_lr", max_lr, len(groups))
        if step_size_down is None:
            step_size_down = step_size_up
        positive_int("CyclicLR", "step_size_up", step_size_up)
        positive_int("CyclicLR", "step_size_down", step_size_down)
        self.step_size_up, self.step_size_down = step_size_up, step_size_down
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}"
            )
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"CyclicLR: scale_fn must be callable, got {type(scale_fn).__name__}")
        self.mode, self.scale_fn, self.scale_mode = mode, scale_fn, scale_mode
        self.gamma = number("CyclicLR", "gamma", gamma)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            check_momentum("CyclicLR", optimizer)
            self.base_momentums = each("CyclicLR", "base_momentum", base_momentum, len(groups))
            self.max_momentums = each("CyclicLR", "max_momentum", max_momentum, len(groups))
        if last_epoch == -1:
            for group, lr in zip(groups, lowest):
                group["lr"] = group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def get_lr(self) -> list[float]:
        cycle, step = divmod(self.last_epoch, self.step_size_up + self.step_size_down)
        if step <= self.step_size_up:
            height = step / self.step_size_up
        else:
            height = 1 - (step - self.step_size_up) / self.step_size_down
        height *= self._scale(cycle + 1)
        if self.cycle_momentum:
            ranges = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums)
            for group, least, most in ranges:
                set_momentum(group, most - (most - least) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs)]

    def _scale(self, cycle: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular2":
            return 0.5 ** (cycle - 1)
        return float(self.gamma**self.last_epoch) if self.mode == "exp_range" else 1.0
