"""Schedules of the learning rate, with the names, arguments and values of PyTorch's.

A scheduler sets ``lr`` of the optimizer's groups when it is made and at every ``step()``, which
comes after the optimizer's. Most multiply the current rate, so several can act on one optimizer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fastnn.optim.optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class: counts steps and sets what ``get_lr`` returns.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        -1 begins; a larger number continues after that many steps.

    Attributes
    ----------
    base_lrs : list of float
        The groups' rates at the beginning.
    last_epoch : int
        The number of steps taken.

    Raises
    ------
    TypeError, ValueError
        If `optimizer` is none, or was never scheduled and is to continue.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(type(self).__name__, optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: param_groups[{number}] must have 'initial_lr' to "
                    f"continue from last_epoch {last_epoch}"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._continued = self.last_epoch >= 0
        self.step()
        self._continued = False

    def get_lr(self) -> list[float]:
        """Return the rates for the step number ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__}: get_lr is not defined")

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last."""
        return list(self._last_lr)

    def step(self) -> None:
        """Take the next rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr
        self._last_lr = self._current()

    def _current(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [lr * factor for lr in self._current()]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.__dict__.update(state_dict)


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
        _positive_int("StepLR", "step_size", step_size)
        self.step_size = step_size
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
        self.milestones = Counter(milestones)
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
        if not 0 < factor <= 1:
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
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        _positive_int("LinearLR", "total_iters", total_iters)
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
    """Lower the rate along half a cosine: ``eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2``.

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
        _positive_int("CosineAnnealingLR", "T_max", T_max)
        self.T_max = T_max
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


class LambdaLR(LRScheduler):
    """Set the rate to the base rate times a function of the step's number.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or a list of one a group
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(_checked("LambdaLR", optimizer).param_groups)
        functions = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(functions) != groups:
            raise ValueError(
                f"LambdaLR: lr_lambda must have {groups} functions (parameter groups), "
                f"got {len(functions)}"
            )
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        pairs = zip(self.lr_lambdas, self.base_lrs)
        return [base * function(self.last_epoch) for function, base in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer and the functions."""
        return {key: v for key, v in super().state_dict().items() if key != "lr_lambdas"}


class OneCycleLR(LRScheduler):
    """Raise the rate to `max_lr` and lower it far below, once; momentum moves the other way.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or a list of one a group
    total_steps : int, optional
        Or give `epochs` and `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
    pct_start : float in [0, 1]
        Share of the steps that raise the rate.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether momentum (or Adam's beta1) goes between the two below.
    base_momentum, max_momentum : float, or a list of one a group
    div_factor : float
        The first rate is ``max_lr / div_factor`` ...
    final_div_factor : float
        ... and the last is the first divided by this.
    three_phase : bool
        Come down to the first rate as fast as it went up, and then to the last.
    last_epoch : int

    Notes
    -----
    Source: Smith and Topin, "Super-convergence", 2018 (arXiv:1708.07120).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = _checked("OneCycleLR", optimizer).param_groups
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        up = float(pct_start * self.total_steps) - 1
        last = float(self.total_steps - 1)
        # (last step, rate before, rate after, momentum before, momentum after)
        rise = (up, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if three_phase:
            back = float(2 * pct_start * self.total_steps) - 2
            fall = (back, "max_lr", "initial_lr", "base_momentum", "max_momentum")
            end = (last, "initial_lr", "min_lr", "max_momentum", "max_momentum")
            self._phases = [rise, fall, end]
        else:
            fall = (last, "max_lr", "min_lr", "base_momentum", "max_momentum")
            self._phases = [rise, fall]
        highest = _each("OneCycleLR", "max_lr", max_lr, len(groups))
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                "OneCycleLR: cycle_momentum must be False with an optimizer without momentum "
                "or betas"
            )
        heavy = _each("OneCycleLR", "max_momentum", max_momentum, len(groups))
        light = _each("OneCycleLR", "base_momentum", base_momentum, len(groups))
        if last_epoch == -1:
            for group, lr, most, least in zip(groups, highest, heavy, light):
                group["initial_lr"] = lr / div_factor
                group["max_lr"] = lr
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = most, least
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step must be called at most {self.total_steps} times")
        start = 0.0
        for phase in self._phases[:-1]:
            if step <= phase[0]:
                break
            start = phase[0]
        else:
            phase = self._phases[-1]
        end, first_lr, last_lr, first_momentum, last_momentum = phase
        share = (step - start) / (end - start) if end > start else 1.0
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                momentum = self._between(group[first_momentum], group[last_momentum], share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return [self._between(group[first_lr], group[last_lr], share) for group in groups]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


class SequentialLR(LRScheduler):
    """Run one scheduler after the other: the next begins at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        All of this optimizer, made in this order.
    milestones : list of int
        One fewer than schedulers.
    last_epoch : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> scheduler = SequentialLR(optimizer, [warm_up, ExponentialLR(optimizer, 0.5)], [2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = _checked("SequentialLR", optimizer)
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        for number, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"SequentialLR: schedulers[{number}] must be an LRScheduler that needs no "
                    f"metric, got {type(scheduler).__name__}"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: schedulers[{number}] must have this optimizer")
        if not self._schedulers or len(self._milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones must be one fewer than schedulers "
                f"({len(self._schedulers)}), got {len(self._milestones)}"
            )
        self.last_epoch = last_epoch + 1
        # Every scheduler has taken its first step when it was made: only one's counts.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._undo()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            if isinstance(scheduler, SequentialLR):
                scheduler._undo()
            scheduler.last_epoch -= 1

    def _initial_step(self) -> None:
        self.last_epoch += 1
        self._schedulers[bisect_right(self._milestones, self.last_epoch)]._initial_step()

    def step(self) -> None:
        """Take the next rates."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            scheduler.last_epoch = -1
            scheduler._initial_step()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, with the schedulers' own state."""
        state = super().state_dict()
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        own = {key: value for key, value in state_dict.items() if key != "_schedulers"}
        super().load_state_dict(own)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class ReduceLROnPlateau:
    """Multiply the rate by `factor` when a metric has not improved for `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether less or more is better.
    factor : float in [0, 1)
    patience : int
        Bad steps that are forgiven.
    threshold : float
        What counts as better, relative or absolute by `threshold_mode`.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Steps after a reduction in which bad ones do not count.
    min_lr : float, or a list of one a group
    eps : float
        Smaller changes of the rate are not made.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 3.0, 3.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        if not 0 <= factor < 1:
            raise ValueError(f"{name}: factor must be in [0, 1), got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"{name}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        self.optimizer = _checked(name, optimizer)
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = _each(name, "min_lr", min_lr, len(optimizer.param_groups))
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last."""
        return list(self._last_lr)

    def step(self, metrics: Any) -> None:
        """Look at the metric (a number or a Tensor with one element) and perhaps lower the rate."""
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            limit = self.best * (1 + sign * self.threshold)
        else:
            limit = self.best + sign * self.threshold
        return value > limit if self.mode == "max" else value < limit

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.__dict__.update(state_dict)


def _checked(name: str, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def _positive_int(name: str, option: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {option} must be an int >= 1, got {value!r}")


def _each(name: str, option: str, value: Any, groups: int) -> list[float]:
    """One number a group."""
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name}: {option} must have {groups} values (parameter groups), got {len(value)}"
        )
    return list(value)


def _total_steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is not None:
        _positive_int("OneCycleLR", "total_steps", total)
        return total
    if epochs is None or steps_per_epoch is None:
        raise ValueError("OneCycleLR: total_steps, or epochs and steps_per_epoch, must be given")
    _positive_int("OneCycleLR", "epochs", epochs)
    _positive_int("OneCycleLR", "steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch
