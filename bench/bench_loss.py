"""Losses, forward and in training, against PyTorch and plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case

# (operation, shape of the input, passes over the input: forward, forward + backward)
SHAPES = [
    ("cross_entropy", (4096, 32000), True),
    ("cross_entropy", (128, 10), False),
    ("cross_entropy", (128, 1000), False),
    ("cross_entropy", (8, 21, 256, 256), False),
    ("nll_loss", (4096, 1000), False),
    ("mse_loss", (1 << 20,), True),
    ("l1_loss", (1 << 20,), False),
    ("smooth_l1_loss", (1 << 20,), False),
    ("huber_loss", (1 << 20,), False),
    ("binary_cross_entropy", (1 << 20,), False),
    ("binary_cross_entropy_with_logits", (1 << 20,), False),
    ("kl_div", (4096, 1000), False),
    ("hinge_embedding_loss", (1 << 20,), False),
    ("margin_ranking_loss", (1 << 20,), False),
    ("soft_margin_loss", (1 << 20,), False),
    ("multi_margin_loss", (128, 1000), False),
    ("multilabel_margin_loss", (128, 1000), False),
    ("multilabel_soft_margin_loss", (128, 1000), False),
    ("poisson_nll_loss", (1 << 20,), False),
    ("gaussian_nll_loss", (1 << 20,), False),
    ("cosine_similarity", (4096, 512), False),
    ("pairwise_distance", (4096, 512), False),
    ("ctc_loss", (400, 32, 30), True),
]
CLASSES = ("cross_entropy", "nll_loss", "multi_margin_loss")
TARGETED = {(4096, 32000), (400, 32, 30)}
CTC_LABELS = 60
OPTIONS = {"kl_div": {"reduction": "sum"}}


def memory(operation: str, shape: tuple[int, ...], train: bool) -> float:
    """Bytes that must be read and written: float32 input and target, and the gradient."""
    arrays = 1 if operation in (*CLASSES, "ctc_loss") else 2
    passes = 2 * arrays + 1 if train else arrays
    return 4.0 * passes * float(np.prod(shape))


CASES = [
    Case(
        f"{operation} {'x'.join(map(str, shape))}{' forward+backward' if train else ''}",
        {"operation": operation, "shape": shape, "train": train},
        bytes=memory(operation, shape, train),
        quick=quick and not train,
        bar=f"{operation} forward + backward" if train and shape in TARGETED else "",
    )
    for operation, shape, quick in SHAPES
    for train in (False, True)
]


def operands(case: Case) -> tuple[np.ndarray, ...]:
    """The arguments; the gradient is that of the first."""
    operation, shape = case.params["operation"], case.params["shape"]
    rng = np.random.default_rng(0)
    if operation == "ctc_loss":
        steps, batch, classes = shape
        logits = rng.standard_normal(shape, dtype=np.float32)
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        targets = rng.integers(1, classes, (batch, CTC_LABELS))
        return log_probs, targets, np.full(batch, steps), np.full(batch, CTC_LABELS)
    if operation == "margin_ranking_loss":
        signs = rng.choice(np.array([-1, 1], np.float32), shape)
        return *(rng.standard_normal(shape, dtype=np.float32) for _ in range(2)), signs
    if operation == "gaussian_nll_loss":
        x, target = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        return x, target, rng.uniform(0.5, 2, shape).astype(np.float32)
    if operation in ("hinge_embedding_loss", "soft_margin_loss"):
        signs = rng.choice(np.array([-1, 1], np.float32), shape)
        return rng.standard_normal(shape, dtype=np.float32), signs
    if operation in CLASSES:
        target = rng.integers(0, shape[1], shape[:1] + shape[2:])
        return rng.standard_normal(shape, dtype=np.float32), target
    if operation == "multilabel_margin_loss":
        target = np.full(shape, -1)
        target[:, :3] = rng.permuted(np.tile(np.arange(shape[1]), (shape[0], 1)), axis=1)[:, :3]
        return rng.standard_normal(shape, dtype=np.float32), target
    if operation == "binary_cross_entropy":
        x, target = (rng.uniform(0.01, 0.99, shape).astype(np.float32) for _ in range(2))
        return x, target
    return rng.standard_normal(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    x, *others = operands(case)
    function = getattr(F, case.params["operation"])
    options = OPTIONS.get(case.params["operation"], {})
    if not case.params["train"]:
        return lambda: function(x, *others, **options)

    def step() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        y = function(t, *others, **options)
        (y if y.ndim == 0 else y.sum()).backward()
        # PyTorch's gradient of log_probs is another: it leaves a term to log_softmax.
        return (y.numpy(),) if case.params["operation"] == "ctc_loss" else (y.numpy(), t.grad)

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    operation = case.params["operation"]
    if case.params["train"] or operation not in ("cross_entropy", "nll_loss", "mse_loss"):
        return None
    x, target = operands(case)
    if operation == "mse_loss":
        return lambda: np.mean((x - target) ** 2)
    picked = np.expand_dims(target, 1)
    if operation == "nll_loss":
        return lambda: -np.take_along_axis(x, picked, 1).mean()

    def cross_entropy() -> Any:
        shifted = x - x.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        return (log_sum - np.take_along_axis(shifted, picked, 1)[:, 0]).mean()

    return cross_entropy


def torch(case: Case) -> Callable[[], Any]:
    import torch

    x, *others = (torch.from_numpy(a) for a in operands(case))
    function = getattr(torch.nn.functional, case.params["operation"])
    options = OPTIONS.get(case.params["operation"], {})
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return function(x, *others, **options)

        return forward

    def step() -> Any:
        t = x.detach().requires_grad_()
        y = function(t, *others, **options)
        y.sum().backward()
        return (y,) if case.params["operation"] == "ctc_loss" else (y, t.grad)

    return step
