"""Schedules of the learning rate, with the names, arguments and values of PyTorch's.

A scheduler sets ``lr`` of the optimizer's groups when it is made and at every ``step()``, which
comes after the optimizer's. Most multiply the current rate, so several can act on one optimizer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from fastnn.functional._args import integer, number
from fastnn.optim._composed import ChainedScheduler, SequentialLR
from fastnn.optim._cyclic import CosineAnnealingWarmRestarts, CyclicLR
from fastnn.optim._one_cycle import OneCycleLR
from fastnn.optim._plateau import ReduceLROnPlateau
from fastnn.optim._scheduler import LRScheduler, checked, listed, positive_int
from fastnn.optim.optimizer import Optimizer

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` steps.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    last_epoch : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        positive_int("StepLR", "step_size", step_size)
        self.step_size = step_size
        number("StepLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._current()
        return self._scaled(self.gamma)


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at every milestone (as often as it is listed).

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
    gamma : float
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        steps = listed("MultiStepLR", "milestones", milestones, "ints")
        self.milestones = Counter(integer("MultiStepLR", "milestones", step) for step in steps)
        number("MultiStepLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma ** self.milestones.get(self.last_epoch, 0))


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` in every step.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        number("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self._continued:
            return self._current()
        return self._scaled(self.gamma)


class ConstantLR(LRScheduler):
    """Multiply the rate by `factor` during the first `total_iters` steps.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float in (0, 1]
    total_iters : int
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < number("ConstantLR", "factor", factor) <= 1:
            raise ValueError(f"ConstantLR: factor must be in (0, 1], got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        return self._scaled(1 / self.factor if self.last_epoch == self.total_iters else 1.0)


class LinearLR(LRScheduler):
    """Warm up (or cool down): scale the rate by a factor on a line over `total_iters` steps.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float in (0, 1]
    end_factor : float in [0, 1]
    total_iters : int
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < number("LinearLR", "start_factor", start_factor) <= 1:
            raise ValueError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= number("LinearLR", "end_factor", end_factor) <= 1:
            raise ValueError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        positive_int("LinearLR", "total_iters", total_iters)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self._continued or self.last_epoch > self.total_iters:
            return self._current()
        difference = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * difference
        return self._scaled(1 + difference / before)


class CosineAnnealingLR(LRScheduler):
    """Lower the rate along a cosine: ``eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2``.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Steps from the highest to the lowest rate; the cosine goes on after that.
    eta_min : float
        The lowest rate.
    last_epoch : int

    Notes
    -----
    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        positive_int("CosineAnnealingLR", "T_max", T_max)
        self.T_max = T_max
        number("CosineAnnealingLR", "eta_min", eta_min)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self._continued:
            return self._current()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # From the lowest point the ratio below would be 0 / 0.
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            pairs = zip(self._current(), self.base_lrs)
            return [lr + (base - self.eta_min) * rise for lr, base in pairs]
        now, before = (
            1 + math.cos(math.pi * step / self.T_max)
            for step in (self.last_epoch, self.last_epoch - 1)
        )
        return [now / before * (lr - self.eta_min) + self.eta_min for lr in self._current()]


class PolynomialLR(LRScheduler):
    """Lower the rate to zero along ``(1 - t / total_iters) ** power``.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
    power : float
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        positive_int("PolynomialLR", "total_iters", total_iters)
        self.total_iters = total_iters
        self.power = number("PolynomialLR", "power", power)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self._continued or self.last_epoch > self.total_iters:
            return self._current()
        left = self.total_iters - self.last_epoch
        return self._scaled((left / (left + 1)) ** self.power)


class _OfFunctions(LRScheduler):
    """A function of the step's number for each group."""

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        name = type(self).__name__
        groups = len(checked(name, optimizer).param_groups)
        if callable(lr_lambda):
            functions = [lr_lambda] * groups
        else:
            functions = listed(name, "lr_lambda", lr_lambda, "functions")
        if len(functions) != groups:
            raise ValueError(
                f"{name}: lr_lambda must have {groups} functions (parameter groups), "
                f"got {len(functions)}"
            )
        for function in functions:
            if not callable(function):
                raise TypeError(f"{name}: lr_lambda must be callable, got {function!r}")
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)


class LambdaLR(_OfFunctions):
    """Set the rate to the base rate times a function of the step's number.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or a list of one a group
    last_epoch : int
    """

    def get_lr(self) -> list[float]:
        pairs = zip(self.lr_lambdas, self.base_lrs)
        return [base * function(self.last_epoch) for function, base in pairs]


class MultiplicativeLR(_OfFunctions):
    """Multiply the rate in every step by a function of the step's number.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or a list of one a group
    last_epoch : int
    """

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self._continued:
            return self._current()
        pairs = zip(self.lr_lambdas, self._current())
        return [lr * function(self.last_epoch) for function, lr in pairs]
