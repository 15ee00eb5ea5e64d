"""Steps of optimizers and clipping, on ten million parameters and on many small arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case, fastest

SIZES = {"10M": [2_500_000] * 4, "160 arrays": [64, 64, 36_864, 1_024] * 40}

# optimizer -> (options, arrays of float32 that a step reads or writes for each parameter)
OPTIMIZERS: dict[str, tuple[dict[str, Any], int]] = {
    "SGD": ({"lr": 1e-3, "momentum": 0.9}, 5),
    "Adam": ({"lr": 1e-3}, 7),
    "AdamW": ({"lr": 1e-3}, 7),
    "Adamax": ({"lr": 1e-3}, 7),
    "NAdam": ({"lr": 1e-3}, 7),
    "RAdam": ({"lr": 1e-3}, 7),
    "Adadelta": ({"lr": 1e-3}, 7),
    "RMSprop": ({"lr": 1e-3}, 5),
    "Adagrad": ({"lr": 1e-3}, 5),
    "Lion": ({"lr": 1e-4}, 5),
}

CASES = [
    Case(
        f"{name} {label}",
        {"optimizer": name, "sizes": sizes},
        bytes=4.0 * passes * sum(sizes),
        quick=(name, label) == ("Adam", "10M"),
        bar="Adam" if (name, label) == ("Adam", "10M") else "",
    )
    for name, (_, passes) in OPTIMIZERS.items()
    for label, sizes in SIZES.items()
] + [
    Case(
        "clip_grad_norm_ 10M",
        {"optimizer": None, "sizes": SIZES["10M"]},
        bytes=12.0 * sum(SIZES["10M"]),
    )
]


def arrays(case: Case) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parameters and gradients."""
    rng = np.random.default_rng(0)
    sizes = case.params["sizes"]
    return tuple([rng.standard_normal(n, dtype=np.float32) for n in sizes] for _ in range(2))


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    values, grads = arrays(case)
    params = [fastnn.nn.Parameter(value) for value in values]
    for param, grad in zip(params, grads):
        param.grad = grad
    name = case.params["optimizer"]
    if name is None:
        return lambda: fastnn.optim.clip_grad_norm_(params, 1.0)
    optimizer = getattr(fastnn.optim, name)(params, **OPTIMIZERS[name][0])

    def step() -> Any:
        optimizer.step()
        return params[0].data

    return step


def torch(case: Case) -> Callable[[], Any] | None:
    import torch

    values, grads = arrays(case)
    params = [torch.nn.Parameter(torch.from_numpy(value)) for value in values]
    for param, grad in zip(params, grads):
        param.grad = torch.from_numpy(grad)
    name = case.params["optimizer"]
    if name is None:
        return lambda: torch.nn.utils.clip_grad_norm_(params, 1.0)
    if not hasattr(torch.optim, name):
        return None

    def prepared(**way: bool) -> Callable[[], Any]:
        copies = [torch.nn.Parameter(param.detach().clone()) for param in params]
        for copy, param in zip(copies, params):
            copy.grad = param.grad
        optimizer = getattr(torch.optim, name)(copies, **OPTIMIZERS[name][0], **way)

        def step() -> Any:
            optimizer.step()
            return copies[0].detach()

        return step

    fused = name in ("SGD", "Adam", "AdamW", "Adagrad")
    ways = [{"foreach": True}, *([{"fused": True}] if fused else [])]
    trials = {prepared(**way): way for way in ways}
    # Steps change the parameters: the race starts from the same ones as fastnn's.
    return prepared(**trials[fastest(*trials)])
