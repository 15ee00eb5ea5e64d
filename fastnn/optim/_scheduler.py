"""The base class of schedules of the learning rate, and checks of their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from fastnn.functional._args import number
from fastnn.optim.optimizer import Optimizer

__all__ = [
    "LRScheduler",
    "check_momentum",
    "checked",
    "each",
    "listed",
    "positive_int",
    "set_momentum",
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

    # Attributes that the state leaves out.
    _unsaved: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked(type(self).__name__, optimizer)
        for position, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: param_groups[{position}] must have 'initial_lr' to "
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
        """Return everything but the optimizer and functions that were given."""
        return {key: value for key, value in self.__dict__.items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.__dict__.update(state_dict)


def checked(name: str, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def positive_int(name: str, option: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {option} must be an int >= 1, got {value!r}")


def each(name: str, option: str, value: Any, groups: int) -> list[float]:
    """One number a group."""
    if not isinstance(value, (list, tuple)):
        return [number(name, option, value)] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name}: {option} must have {groups} values (parameter groups), got {len(value)}"
        )
    return [number(name, option, v) for v in value]


def listed(name: str, option: str, value: Any, of: str) -> list[Any]:
    """The elements of a list, or another iterable."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: {option} must be a list of {of}, got {type(value).__name__}")
    return list(value)


def check_momentum(name: str, optimizer: Optimizer) -> None:
    if not {"momentum", "betas"} & set(optimizer.defaults):
        raise ValueError(
            f"{name}: cycle_momentum must be False with an optimizer without momentum or betas"
        )


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Set the group's momentum, or the first beta of Adam and its relatives."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
