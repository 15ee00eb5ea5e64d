"""softmax, log_softmax, softmin and logsumexp along a dimension, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case

# Attention scores, a language model's rows, a vocabulary, the channels of an image.
TARGETED = [((3072, 197), 1), ((8192, 768), 1), ((64, 50257), 1)]
SHAPES = [*TARGETED, ((16, 21, 64, 64), 1)]


def _case(op: str, shape: tuple[int, ...], dim: int, backward: bool) -> Case:
    size = float(np.prod(shape))
    counts = (shape, dim) in TARGETED and op in ("softmax", "log_softmax")
    bar = "forward" if counts and not backward else ""
    return Case(
        f"{op} {'x'.join(map(str, shape))} dim {dim}{' backward' if backward else ''}",
        {"op": op, "shape": shape, "dim": dim, "backward": backward},
        bytes=4.0 * size * (3 if backward else 1 if op == "logsumexp" else 2),
        quick=shape == (8192, 768) and not backward and op in ("softmax", "log_softmax"),
        bar=bar,
    )


CASES = [
    _case(op, shape, dim, False)
    for op in ("softmax", "log_softmax", "softmin", "logsumexp")
    for shape, dim in SHAPES
] + [_case(op, shape, dim, True) for op in ("softmax", "log_softmax") for shape, dim in SHAPES]


def operands(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """x and the gradient of y."""
    rng = np.random.default_rng(0)
    shape = case.params["shape"]
    return rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn.functional as F
    from fastnn import _core

    op, dim = case.params["op"], case.params["dim"]
    x, grad = operands(case)
    forward = getattr(F, op)
    if not case.params["backward"]:
        return lambda: forward(x, dim)
    y = forward(x, dim)
    backward = getattr(_core, f"{op}_backward")
    return lambda: backward(grad, y, dim)


def numpy(case: Case) -> Callable[[], Any] | None:
    op, dim = case.params["op"], case.params["dim"]
    x, _ = operands(case)
    if case.params["backward"]:
        return None

    def shares(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(dim, keepdims=True))
        return e / e.sum(dim, keepdims=True)

    def total(x: np.ndarray) -> np.ndarray:
        largest = x.max(dim, keepdims=True)
        return largest + np.log(np.exp(x - largest).sum(dim, keepdims=True))

    return {
        "softmax": lambda: shares(x),
        "softmin": lambda: shares(-x),
        "log_softmax": lambda: x - total(x),
        "logsumexp": lambda: total(x).squeeze(dim),
    }[op]


def torch(case: Case) -> Callable[[], Any]:
    import torch

    op, dim = case.params["op"], case.params["dim"]
    x, grad = (torch.from_numpy(a) for a in operands(case))
    forward = torch.logsumexp if op == "logsumexp" else getattr(torch.nn.functional, op)
    if case.params["backward"]:
        y = forward(x, dim)
        backward = getattr(torch.ops.aten, f"_{op}_backward_data")
        return lambda: backward(grad, y, dim, torch.float32)

    def call() -> Any:
        with torch.inference_mode():
            return forward(x, dim)

    return call


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}.get(case.params["op"])
    if case.params["backward"] or case.params["op"] == "softmin":
        return None
    x, _ = operands(case)
    if operator is None:
        axes = np.array([case.params["dim"]])
        return onnx_models.build("ReduceLogSumExp", {"x": x}, {"axes": axes}, {"keepdims": 0}), {
            "x": x
        }
    return onnx_models.build(operator, {"x": x}, {}, {"axis": case.params["dim"]}), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["backward"] or case.params["op"] != "softmax":
        return None
    x, _ = operands(case)
    # A matrix is one "image" of ncnn's; of images the batch is not one of its axes.
    axis, images = (1, x[None]) if x.ndim == 2 else (0, x)
    return ncnn_models.ncnn("Softmax", {0: axis, 1: 1}, [], images)


def tflite(case: Case) -> Callable[[], Any] | None:
    if case.params["backward"] or case.params["op"] != "softmax":
        return None
    import tensorflow as tf

    x, _ = operands(case)
    return tflite_models.tflite(
        tf.nn.softmax, tflite_models.channels_last(x), output=tflite_models.channels_first
    )
