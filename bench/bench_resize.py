"""pad, interpolate, pixel_shuffle and pixel_unshuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case

# (name, operation, shape, arguments, elements of the output an element of the input)
SHAPES: list[tuple[str, str, tuple[int, ...], dict[str, Any], float]] = [
    ("pad constant 64x56", "pad", (1, 64, 56, 56), {"pad": (1, 1, 1, 1)}, 1.07),
    ("pad reflect 64x56", "pad", (1, 64, 56, 56), {"pad": (3,) * 4, "mode": "reflect"}, 1.2),
    ("nearest x2 64x56", "interpolate", (1, 64, 56, 56), {"scale_factor": 2}, 4),
    (
        "bilinear x2 64x56",
        "interpolate",
        (1, 64, 56, 56),
        {"scale_factor": 2, "mode": "bilinear"},
        4,
    ),
    ("pixel_shuffle 2 64x56", "pixel_shuffle", (1, 64, 56, 56), {"upscale_factor": 2}, 1),
    ("pixel_unshuffle 2 16x112", "pixel_unshuffle", (1, 16, 112, 112), {"downscale_factor": 2}, 1),
]

CASES = [
    Case(
        name + (" forward+backward" if train else ""),
        {"operation": operation, "shape": shape, "arguments": arguments, "train": train},
        bytes=4.0 * float(np.prod(shape)) * (1 + growth) * (2 if train else 1),
    )
    for train in (False, True)
    for name, operation, shape, arguments, growth in SHAPES
]


def operand(case: Case) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(case.params["shape"], dtype=np.float32)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    f, x, arguments = getattr(F, case.params["operation"]), operand(case), case.params["arguments"]
    if not case.params["train"]:
        return lambda: f(x, **arguments)
    grad = np.ones(f(x, **arguments).shape, np.float32)

    def step() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        f(t, **arguments).backward(grad)
        return t.grad

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch

    f = getattr(torch.nn.functional, case.params["operation"])
    x, arguments = torch.from_numpy(operand(case)), case.params["arguments"]
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return f(x, **arguments)

        return forward
    grad = torch.ones(f(x, **arguments).shape)

    def step() -> Any:
        t = x.detach().requires_grad_()
        f(t, **arguments).backward(grad)
        return t.grad

    return step
