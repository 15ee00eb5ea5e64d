"""The one-cycle schedule of rate and momentum."""

from __future__ import annotations

import math
from collections.abc import Sequence

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

__all__ = ["OneCycleLR"]


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
        groups = checked("OneCycleLR", optimizer).param_groups
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        for label, divisor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if not number("OneCycleLR", label, divisor) > 0:
                raise ValueError(f"OneCycleLR: {label} must be > 0, got {divisor}")
        if not 0 <= number("OneCycleLR", "pct_start", pct_start) <= 1:
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
        highest = each("OneCycleLR", "max_lr", max_lr, len(groups))
        if cycle_momentum:
            check_momentum("OneCycleLR", optimizer)
        heavy = each("OneCycleLR", "max_momentum", max_momentum, len(groups))
        light = each("OneCycleLR", "base_momentum", base_momentum, len(groups))
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
                set_momentum(group, momentum)
        return [self._between(group[first_lr], group[last_lr], share) for group in groups]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


def _total_steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is not None:
        positive_int("OneCycleLR", "total_steps", total)
        return total
    if epochs is None or steps_per_epoch is None:
        raise ValueError("OneCycleLR: total_steps, or epochs and steps_per_epoch, must be given")
    positive_int("OneCycleLR", "epochs", epochs)
    positive_int("OneCycleLR", "steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch
