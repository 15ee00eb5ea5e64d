"""Convolutions: conv1d, conv2d, conv3d and conv_transpose2d, forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case

# name: (in_channels, out_channels, input, kernel, stride, padding, groups), sizes as tuples.
SHAPES: dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...], int, Any, int]] = {
    "3x3 64-64 56": (64, 64, (56, 56), (3, 3), 1, 1, 1),
    "3x3 128-128 28": (128, 128, (28, 28), (3, 3), 1, 1, 1),
    "3x3 256-256 14": (256, 256, (14, 14), (3, 3), 1, 1, 1),
    "3x3 512-512 7": (512, 512, (7, 7), (3, 3), 1, 1, 1),
    "3x3 64-64 224": (64, 64, (224, 224), (3, 3), 1, 1, 1),
    "3x3 512-512 96": (512, 512, (96, 96), (3, 3), 1, 1, 1),
    "1x1 64-256 56": (64, 256, (56, 56), (1, 1), 1, 0, 1),
    "1x1 256-1024 14": (256, 1024, (14, 14), (1, 1), 1, 0, 1),
    "1x1 512-512 14": (512, 512, (14, 14), (1, 1), 1, 0, 1),
    "1x1/2 256-512 56": (256, 512, (56, 56), (1, 1), 2, 0, 1),
    "7x7/2 3-64 224": (3, 64, (224, 224), (7, 7), 2, 3, 1),
    "5x5 16-32 28": (16, 32, (28, 28), (5, 5), 1, 2, 1),
    "1x7 128-128 17": (128, 128, (17, 17), (1, 7), 1, (0, 3), 1),
    "10x5/2 32-32 341x79": (32, 32, (341, 79), (10, 5), 2, 0, 1),
    "3x3/2 128-128 56": (128, 128, (56, 56), (3, 3), 2, 1, 1),
    "depthwise 512 14": (512, 512, (14, 14), (3, 3), 1, 1, 512),
    "depthwise/2 64 112": (64, 64, (112, 112), (3, 3), 2, 1, 64),
    "depthwise 96 112": (96, 96, (112, 112), (3, 3), 1, 1, 96),
    "depthwise 5x5 240 28": (240, 240, (28, 28), (5, 5), 1, 2, 240),
    "groups 32 128-128 56": (128, 128, (56, 56), (3, 3), 1, 1, 32),
    "conv1d 80-512 3000": (80, 512, (3000,), (3,), 1, 1, 1),
    "conv1d/2 512-512 1500": (512, 512, (1500,), (3,), 2, 1, 1),
    "conv3d 3-64 16x112x112": (3, 64, (16, 112, 112), (3, 3, 3), 1, 1, 1),
}
BATCHED = ["3x3 64-64 56", "3x3 128-128 28", "3x3 256-256 14", "3x3 512-512 7", "1x1 64-256 56"]


def _case(name: str, batch: int, train: bool) -> Case:
    c, k, sizes, kernel, stride, padding, groups = SHAPES[name]
    pad = padding if isinstance(padding, tuple) else (padding,) * len(sizes)
    out = [(n + 2 * p - r) // stride + 1 for n, p, r in zip(sizes, pad, kernel)]
    macs = batch * k * np.prod(out) * (c // groups) * np.prod(kernel)
    moved = batch * (c * np.prod(sizes) + k * np.prod(out)) + k * c // groups * np.prod(kernel)
    suffix = " forward+backward" if train else ""
    return Case(
        f"{name} batch {batch}{suffix}",
        {"name": name, "batch": batch, "train": train},
        flops=float(macs) * (6 if train else 2),
        bytes=4.0 * float(moved) * (3 if train else 1),
        quick=name == "3x3 64-64 56" and batch == 1 and not train,
    )


CASES = (
    [_case(name, 1, False) for name in SHAPES]
    + [_case(name, 16, False) for name in BATCHED]
    + [_case("5x5 16-32 28", 32, False)]
    + [_case(name, 4, True) for name in SHAPES]
    + [
        Case(
            "conv_transpose2d 4x4/2 256-128 32",
            {"name": "transposed", "batch": 1, "train": False},
            flops=2.0 * 256 * 128 * 16 * 32 * 32,
            bytes=4.0 * (256 * 32 * 32 + 256 * 128 * 16 + 128 * 64 * 64),
        )
    ]
    + [
        Case(
            f"{operation} 64 56x56 3x3",
            {"name": operation, "batch": 1, "train": False},
            bytes=4.0 * 64 * 56 * 56 * 10,
        )
        for operation in ("unfold", "fold")
    ]
)


def operands(case: Case) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    batch = case.params["batch"]
    if case.params["name"] in ("unfold", "fold"):
        shapes = [(batch, 64, 56, 56) if case.params["name"] == "unfold" else (batch, 576, 3136)]
        return tuple(rng.standard_normal(s, dtype=np.float32) for s in shapes)
    if case.params["name"] == "transposed":
        shapes = [(batch, 256, 32, 32), (256, 128, 4, 4), (128,)]
    else:
        c, k, sizes, kernel, _, _, groups = SHAPES[case.params["name"]]
        shapes = [(batch, c, *sizes), (k, c // groups, *kernel), (k,)]
    x, w, b = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
    return x, w / np.float32(np.sqrt(w[0].size)), b


def _call(case: Case, functional: Any) -> Callable[..., Any]:
    """The operation of the module `functional`, with the case's settings."""
    if case.params["name"] == "unfold":
        return lambda x: functional.unfold(x, 3, padding=1)
    if case.params["name"] == "fold":
        return lambda x: functional.fold(x, (56, 56), 3, padding=1)
    if case.params["name"] == "transposed":
        return lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=2, padding=1)
    _, _, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    operation = getattr(functional, f"conv{len(sizes)}d")
    return lambda x, w, b: operation(x, w, b, stride, padding, 1, groups)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    call, arrays = _call(case, F), operands(case)
    if not case.params["train"]:
        return lambda: call(*arrays)
    grad = np.ones_like(call(*arrays))

    def step() -> Any:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
        call(*tensors).backward(grad)
        return tuple(t.grad for t in tensors)

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch

    call = _call(case, torch.nn.functional)
    tensors = [torch.from_numpy(a) for a in operands(case)]
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return call(*tensors)

        return forward
    grad = torch.ones_like(call(*tensors))

    def step() -> Any:
        leaves = [t.detach().requires_grad_() for t in tensors]
        call(*leaves).backward(grad)
        return tuple(t.grad for t in leaves)

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["name"] in ("unfold", "fold"):
        return None
    x, w, b = operands(case)
    if case.params["name"] == "transposed":
        attributes: dict[str, Any] = {"strides": [2, 2], "pads": [1] * 4}
        return onnx_models.build("ConvTranspose", {"x": x}, {"w": w, "b": b}, attributes), {"x": x}
    _, _, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    pad = list(padding) if isinstance(padding, tuple) else [padding] * len(sizes)
    attributes = {"strides": [stride] * len(sizes), "pads": pad * 2, "group": groups}
    return onnx_models.build("Conv", {"x": x}, {"w": w, "b": b}, attributes), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)
