"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn.functional._args import integer
from fastnn.optim._scheduler import LRScheduler, checked, listed
from fastnn.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Composed(LRScheduler):
    """What both share: the parts, checked, and their state."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        self.optimizer = checked(name, optimizer)
        self._schedulers = listed(name, "schedulers", schedulers, "LRScheduler")
        for position, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"{name}: schedulers[{position}] must be an LRScheduler that needs no "
                    f"metric, got {type(scheduler).__name__}"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{name}: schedulers[{position}] must have this optimizer")

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


class ChainedScheduler(_Composed):
    """Take a step of several schedulers at once; what they multiply the rate by, multiplies.

    Parameters
    ----------
    schedulers : list of LRScheduler
        All of one optimizer.
    optimizer : Optimizer, optional
        That of the schedulers if left out.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optim import SGD
    >>> from fastnn.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> from fastnn.tensor import Tensor
    >>> optimizer = SGD([Tensor(np.ones(1), requires_grad=True)], lr=1.0)
    >>> parts = [ConstantLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)]
    >>> scheduler = ChainedScheduler(parts)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        schedulers = listed("ChainedScheduler", "schedulers", schedulers, "LRScheduler")
        if not schedulers:
            raise ValueError("ChainedScheduler: schedulers must not be empty")
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        super().__init__(optimizer, schedulers)  # type: ignore[arg-type]
        self._last_lr = self._current()

    def step(self) -> None:
        """Take the next rates."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._current()


class SequentialLR(_Composed):
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
    >>> from fastnn.optim.lr_scheduler import ExponentialLR, LinearLR
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
        super().__init__(optimizer, schedulers)
        steps = listed("SequentialLR", "milestones", milestones, "ints")
        self._milestones = [integer("SequentialLR", "milestones", step) for step in steps]
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
