"""Sums over axes of a Tensor, against NumPy and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case

# Shape and the axes of the sum; None is all of them.
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...] | None]] = [
    ((32, 64), (0,)),
    ((256, 1024), None),
    ((256, 1024), (0,)),
    ((256, 1024), (1,)),
    ((16, 64, 56, 56), (0, 2, 3)),
]

CASES = [
    Case(
        f"sum {'x'.join(map(str, shape))} over {'all' if axes is None else axes}",
        {"shape": shape, "axes": axes},
        bytes=4.0 * float(np.prod(shape)),
    )
    for shape, axes in SHAPES
]


def operand(case: Case) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(case.params["shape"], dtype=np.float32)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    x = fastnn.Tensor(operand(case))
    return lambda: x.sum(case.params["axes"])


def numpy(case: Case) -> Callable[[], Any]:
    x = operand(case)
    return lambda: x.sum(case.params["axes"])


def torch(case: Case) -> Callable[[], Any]:
    import torch

    x = torch.from_numpy(operand(case))
    axes = case.params["axes"]
    return lambda: x.sum() if axes is None else x.sum(axes)
