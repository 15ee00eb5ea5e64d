"""Data for training: arrays that are checked once and then cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

from fastnn import random
from fastnn.autograd import Array, array

__all__ = ["Batch", "Data", "check_count"]

Batch = tuple[Any, "tuple[Array, ...]", Optional[Array]]
"""Which rows, the inputs, the target."""


class Data:
    """Inputs and a target with the same number of samples.

    Parameters
    ----------
    name : str
        Whose arguments these are, for messages.
    x : array_like or tuple of array_like, (N, ...)
    y : array_like, (N, ...), or None
    batch_size : int

    Raises
    ------
    TypeError, ValueError
        If they are not numbers, empty, or differ in N; or `batch_size` is not positive.
    """

    def __init__(self, name: str, x: Any, y: Any, batch_size: int) -> None:
        self.inputs = tuple(
            _rows(name, "x", part) for part in (x if isinstance(x, tuple) else (x,))
        )
        if not self.inputs:
            raise ValueError(f"{name}: x must not be empty, got ()")
        self.target = None if y is None else _rows(name, "y", y)
        self.size = len(self.inputs[0])
        for position, part in enumerate(self.inputs):
            if len(part) != self.size:
                raise ValueError(
                    f"{name}: x[{position}] must have as many samples as x[0] ({self.size}), "
                    f"got {len(part)}"
                )
        if self.target is not None and len(self.target) != self.size:
            raise ValueError(
                f"{name}: y must have as many samples as x ({self.size}), got {len(self.target)}"
            )
        check_count(name, "batch_size", batch_size)
        self.batch_size = batch_size
        self.batches = -(-self.size // batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.size, self.batch_size):
            yield self._take(slice(start, min(start + self.batch_size, self.size)))

    def shuffled(self, shuffle: bool) -> Iterator[Batch]:
        """Yield the batches in a new random order of the samples, or in theirs."""
        if not shuffle:
            yield from self
            return
        order = random.generator().permutation(self.size)
        for start in range(0, self.size, self.batch_size):
            yield self._take(order[start : start + self.batch_size])

    def _take(self, rows: Any) -> Batch:
        target = None if self.target is None else self.target[rows]
        return rows, tuple(part[rows] for part in self.inputs), target


def _rows(name: str, argument: str, value: Any) -> Array:
    rows = np.asarray(array(value))
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"{name}: {argument} must hold numbers, got {rows.dtype}")
    if rows.ndim == 0 or len(rows) == 0:
        raise ValueError(
            f"{name}: {argument} must hold at least one sample, got shape {rows.shape}"
        )
    return rows


def check_count(name: str, argument: str, value: Any) -> None:
    """Raise unless `value` is a positive int."""
    if isinstance(value, (bool, np.ndarray)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: {argument} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: {argument} must be >= 1, got {value}")
