"""Dropout of elements and of channels, and the random words that decide (philox_words)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case

SHAPES = {"1M": (1024, 1024), "16M": (16384, 1024), "16x64x56x56": (16, 64, 56, 56)}
OPERATIONS = [
    ("dropout", "1M"),
    ("dropout", "16M"),
    ("alpha_dropout", "1M"),
    ("dropout2d", "16x64x56x56"),
    ("philox_words", "1M"),
]


def _case(op: str, size: str, train: bool) -> Case:
    shape = SHAPES[size]
    a_number = 4.0 if op == "philox_words" else 24.0 if train else 8.0
    return Case(
        f"{op} {size}" + (" forward+backward" if train else ""),
        {"op": op, "shape": shape, "train": train},
        bytes=a_number * float(np.prod(shape)),
        tolerance=np.inf,  # every library draws another mask
        quick=(op, size) == ("dropout", "1M") and not train,
    )


CASES = [_case(op, size, False) for op, size in OPERATIONS] + [
    _case(op, size, True) for op, size in OPERATIONS if op != "philox_words"
]


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F
    from fastnn import _core

    x = np.ones(case.params["shape"], np.float32)
    if case.params["op"] == "philox_words":
        return lambda: _core.philox_words(x.size, 1, 2)
    op = getattr(F, case.params["op"])
    if not case.params["train"]:
        return lambda: op(x, 0.5, True)

    def step() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        op(t, 0.5, True).backward(x)
        return t.grad

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch

    x = torch.ones(case.params["shape"])
    if case.params["op"] == "philox_words":
        return lambda: torch.empty(x.numel(), dtype=torch.int32).random_()
    op = getattr(torch.nn.functional, case.params["op"])
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return op(x, 0.5, True)

        return forward

    def step() -> Any:
        t = x.detach().requires_grad_()
        op(t, 0.5, True).backward(x)
        return t.grad

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    rng = np.random.default_rng(0)
    shape = case.params["shape"]
    if case.params["op"] == "philox_words":
        return lambda: rng.integers(0, 2**32, int(np.prod(shape)), np.uint32)
    if case.params["op"] != "dropout" or case.params["train"]:
        return None
    x = np.ones(shape, np.float32)
    return lambda: x * (rng.random(shape, np.float32) >= 0.5) * np.float32(2)
