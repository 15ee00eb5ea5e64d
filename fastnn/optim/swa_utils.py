"""Averages of weights: of all that training passed, or exponential (EMA)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.autograd import Array, no_grad
from fastnn.functional._args import flag, probability
from fastnn.nn.module import Module

__all__ = ["AveragedModel", "get_ema_avg_fn"]

Average = Callable[[Array, Array, int], Any]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return ``average * decay + value * (1 - decay)``, for :class:`AveragedModel`.

    Raises
    ------
    ValueError
        If `decay` is outside of [0, 1].
    """
    decay = probability("get_ema_avg_fn", "decay", decay)
    return lambda average, value, count: average + (value - average) * average.dtype.type(1 - decay)


def _mean(average: Array, value: Array, count: int) -> Any:
    return average + (value - average) / average.dtype.type(count + 1)


class AveragedModel(Module):
    """A copy of a model that holds the average of its parameters.

    Parameters
    ----------
    model : Module
        Copied as ``module``; the copy requires no gradients.
    avg_fn : callable, optional
        ``avg_fn(average, value, count)`` of two arrays and the number of averaged models returns
        the new average. The mean of all if left out; :func:`get_ema_avg_fn` makes an exponential
        one.
    use_buffers : bool
        Whether buffers of floating point are averaged, too. Otherwise they are copied.

    Notes
    -----
    Sources: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    2018; Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Examples
    --------
    >>> from fastnn import nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> ema = AveragedModel(model, avg_fn=get_ema_avg_fn(0.75))
    >>> for value in (0, 4, 8):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     ema.update_parameters(model)
    >>> ema.module.weight.data.item(), int(ema.n_averaged)
    (2.75, 3)
    """

    n_averaged: Array

    def __init__(
        self, model: Module, avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise TypeError(f"AveragedModel: model must be a Module, got {type(model).__name__}")
        if avg_fn is not None and not callable(avg_fn):
            raise TypeError(f"AveragedModel: avg_fn must be callable, got {type(avg_fn).__name__}")
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("n_averaged", np.array(0))
        self.avg_fn = _mean if avg_fn is None else avg_fn
        self.use_buffers = flag("AveragedModel", "use_buffers", use_buffers)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of `model` into the average; the first time, copy them.

        Raises
        ------
        ValueError
            If the parameters are not those of the model that was copied.
        """
        count = int(self.n_averaged)
        new, state = model.state_dict(), self.module.state_dict()
        averaged = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        if self.use_buffers:
            averaged |= {name for name, value in state.items() if value.dtype.kind == "f"}
        if count > 0 and new.keys() == state.keys():
            with no_grad():
                for name in averaged:
                    new[name] = self.avg_fn(state[name], new[name], count)
        self.module.load_state_dict(new)
        self.n_averaged += 1
