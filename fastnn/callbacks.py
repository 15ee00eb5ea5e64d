"""What watches a training run: History, Callback and its kinds."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from fastnn.autograd import Array
from fastnn.functional._args import natural, number

if TYPE_CHECKING:
    from fastnn.nn.module import Module
    from fastnn.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["Callback", "EarlyStopping", "History", "LRSchedule", "ModelCheckpoint"]


class History:
    """What ``fit`` returns: the course of the loss and the metrics.

    Attributes
    ----------
    history : dict of str to list of float
        One number an epoch for "loss", each metric, and each with the prefix "val_".
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.history.get("loss", ()))

    def append(self, logs: dict[str, float]) -> None:
        """Add the numbers of one epoch."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"History(epochs={self.epochs}{', ' if last else ''}{last})"


class Callback:
    """Base class of callbacks; all its methods do nothing.

    ``fit`` takes any object and calls those of these methods that it has. Epochs and batches are
    counted from 0; `logs` maps names to the numbers so far. A callback that sets
    ``stop_training`` to True ends the run after the epoch.
    """

    model: Module
    stop_training = False

    def check_names(self, names: list[str]) -> None:
        """Learn which names `logs` will have, before anything runs."""

    def set_model(self, model: Module) -> None:
        """Learn the model, before anything else is called."""
        self.model = model

    def on_train_begin(self, logs: dict[str, float]) -> None: ...

    def on_train_end(self, logs: dict[str, float]) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None: ...

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None: ...

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None: ...


class _Monitor(Callback):
    """Keep the best value so far of one of the logged numbers."""

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        name = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{name}: monitor must be a str, got {type(monitor).__name__}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{name}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not number(name, "min_delta", min_delta) >= 0:
            raise ValueError(f"{name}: min_delta must be >= 0, got {min_delta}")
        self.monitor = monitor
        self.min_delta = min_delta
        # Every number is compared as one to be maximised.
        self.sign = 1.0 if mode == "max" or (mode == "auto" and "acc" in monitor) else -1.0

    def check_names(self, names: list[str]) -> None:
        _check_monitor(type(self).__name__, self.monitor, names)

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.best = -math.inf

    def improved(self, logs: dict[str, float]) -> bool:
        """Whether this is the best value so far; NaN never is."""
        value = self.sign * logs[self.monitor]
        if not value > self.best + self.min_delta:
            return False
        self.best = value
        return True


class EarlyStopping(_Monitor):
    """Stop when a number has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        "val_loss", "accuracy", ...: one of the names in the history.
    patience : int
        How many epochs in a row without improvement end the run; 0 counts as 1, as in Keras.
    restore_best_weights : bool
        Whether the run ends with the weights of its best epoch, also if it was not stopped.
    min_delta : float
        What counts as improvement: more than this.
    mode : str
        "min", "max", or "auto" for "max" where the name contains "acc".

    Attributes
    ----------
    stopped_epoch : int or None
        The epoch (from 0) after which it stopped the run.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        restore_best_weights: bool = False,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = natural("EarlyStopping", "patience", patience)
        self.restore_best_weights = restore_best_weights

    def on_train_begin(self, logs: dict[str, float]) -> None:
        super().on_train_begin(logs)
        self.waited = 0
        self.stop_training = False
        self.stopped_epoch: int | None = None
        self.best_weights: dict[str, Array] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.improved(logs):
            self.waited = 0
            if self.restore_best_weights:
                state = self.model.state_dict()
                self.best_weights = {name: array.copy() for name, array in state.items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.stop_training = True
            self.stopped_epoch = epoch

    def on_train_end(self, logs: dict[str, float]) -> None:
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
            self.best_weights = None


class ModelCheckpoint(_Monitor):
    """Save the weights after each epoch, in the safetensors format.

    Parameters
    ----------
    filepath : str or path-like
        May hold fields, e.g. ``"weights-{epoch:02d}-{val_loss:.3f}.safetensors"``; here epochs
        are counted from 1.
    monitor : str
        What decides, with `save_best_only`.
    save_best_only : bool
        Whether to save only when the monitored number improved.
    mode : str
        As in :class:`EarlyStopping`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        *,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, 0.0, mode)
        self.filepath = os.fspath(filepath)
        self.save_best_only = save_best_only

    def check_names(self, names: list[str]) -> None:
        if self.save_best_only:
            super().check_names(names)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.save_best_only and not self.improved(logs):
            return
        from fastnn.serialization import save

        save(self.model, self.filepath.format(epoch=epoch + 1, **logs))


class LRSchedule(Callback):
    """Take a step of a schedule of the learning rate after each epoch or batch.

    Parameters
    ----------
    scheduler : LRScheduler or ReduceLROnPlateau
        Of :mod:`fastnn.optim.lr_scheduler`, for the optimizer that ``fit`` is given.
    each : "epoch" or "batch"
    monitor : str
        The number that a ReduceLROnPlateau looks at.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else; from ``fit``, if `monitor` is not among what is logged.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn, optim, training
    >>> model, x = nn.Linear(1, 1), np.ones((4, 1), np.float32)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> halved = LRSchedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.5))
    >>> history = training.fit(model, x, x, loss="mse_loss", optimizer=optimizer, epochs=2,
    ...                        batch_size=4, callbacks=[halved], progress=False)
    >>> optimizer.param_groups[0]["lr"]
    0.025
    """

    def __init__(
        self,
        scheduler: LRScheduler | ReduceLROnPlateau,
        each: str = "epoch",
        monitor: str = "val_loss",
    ) -> None:
        from fastnn.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

        if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
            raise TypeError(
                "LRSchedule: scheduler must be one of fastnn.optim.lr_scheduler, "
                f"got {type(scheduler).__name__}"
            )
        self.looks = isinstance(scheduler, ReduceLROnPlateau)
        if each not in ("epoch", "batch") or (self.looks and each == "batch"):
            raise ValueError(
                f"LRSchedule: each must be 'epoch', or 'batch' for a schedule that needs no "
                f"monitor, got {each!r}"
            )
        self.scheduler: Any = scheduler
        self.each = each
        self.monitor = monitor

    def check_names(self, names: list[str]) -> None:
        if self.looks:
            _check_monitor("LRSchedule", self.monitor, names)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.each == "batch":
            self.scheduler.step()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.each == "epoch":
            self.scheduler.step(*([logs[self.monitor]] if self.looks else []))


def _check_monitor(callback: str, monitor: str, names: list[str]) -> None:
    """Raise if the monitored number will not be among those logged."""
    if monitor not in names:
        raise ValueError(f"{callback}: monitor must be one of {', '.join(names)}, got {monitor!r}")
