"""layer_norm, rms_norm, group_norm, instance_norm, batch_norm, local_response_norm, normalize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case

ROWS = [(8192, 768), (197, 768)]
IMAGES = [(16, 64, 56, 56)]
OPERATIONS = [(op, s) for op in ("layer_norm", "rms_norm") for s in ROWS] + [
    (op, s)
    for op in (
        "group_norm",
        "instance_norm",
        "batch_norm",
        "batch_norm eval",
        "local_response_norm",
        "normalize",
    )
    for s in IMAGES
]
GROUPS = 32


def _case(op: str, shape: tuple[int, ...], train: bool) -> Case:
    return Case(
        f"{op} {'x'.join(map(str, shape))}{' forward+backward' if train else ''}",
        {"op": op, "shape": shape, "train": train},
        bytes=4.0 * float(np.prod(shape)) * (5 if train else 2),
        tolerance=1e-3,
        quick=not train and (op, shape) in {("layer_norm", ROWS[0]), ("batch_norm", IMAGES[0])},
    )


CASES = [_case(op, shape, train) for train in (False, True) for op, shape in OPERATIONS]


def operands(case: Case) -> list[np.ndarray]:
    """x, weight, bias, running mean, running variance and the gradient of y."""
    rng = np.random.default_rng(0)
    shape = case.params["shape"]
    size = shape[1:2]
    return [rng.standard_normal(s, np.float32) for s in (shape, size, size)] + [
        np.zeros(size, np.float32),
        np.ones(size, np.float32),
        rng.standard_normal(shape, np.float32),
    ]


def _call(op: str, f: Any, x: Any, w: Any, b: Any, mean: Any, var: Any) -> Any:
    """The operation in fastnn's functional or in PyTorch's, whose signatures are the same."""
    if op == "layer_norm":
        return f.layer_norm(x, (x.shape[-1],), w, b)
    if op == "rms_norm":
        return f.rms_norm(x, (x.shape[-1],), w, 1e-5)
    if op == "group_norm":
        return f.group_norm(x, GROUPS, w, b)
    if op == "instance_norm":
        return f.instance_norm(x, None, None, w, b)
    if op == "local_response_norm":
        return f.local_response_norm(x, 5)
    if op == "normalize":
        return f.normalize(x)
    return f.batch_norm(x, mean, var, w, b, op == "batch_norm")


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    op = case.params["op"]
    x, w, b, mean, var, grad = operands(case)
    if not case.params["train"]:
        return lambda: _call(op, F, x, w, b, mean, var)

    def step() -> Any:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, w, b)]
        _call(op, F, *tensors, mean, var).backward(grad)
        return tuple(t.grad for t in tensors if t.grad is not None)

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    op = case.params["op"]
    if case.params["train"]:
        return None
    x, w, b, mean, var, _ = operands(case)
    if op in ("layer_norm", "rms_norm"):

        def rows() -> np.ndarray:
            centred = x if op == "rms_norm" else x - x.mean(-1, keepdims=True)
            scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w
            return scaled if op == "rms_norm" else scaled + b

        return rows
    if op == "local_response_norm":
        return None
    if op == "normalize":
        return lambda: x / np.linalg.norm(x, axis=1, keepdims=True)
    column = (-1, *[1] * (x.ndim - 2))

    def images() -> np.ndarray:
        if op == "batch_norm eval":
            scaled = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + 1e-5)
        else:
            v = x.reshape(len(x), GROUPS, -1) if op == "group_norm" else x
            axes = {"group_norm": (2,), "instance_norm": (2, 3), "batch_norm": (0, 2, 3)}[op]
            centred = v - v.mean(axes, keepdims=True)
            scaled = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)
        return scaled.reshape(x.shape) * w.reshape(column) + b.reshape(column)

    return images


def torch(case: Case) -> Callable[[], Any]:
    import torch

    op = case.params["op"]
    x, w, b, mean, var, grad = (torch.from_numpy(a) for a in operands(case))
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return _call(op, torch.nn.functional, x, w, b, mean, var)

        return forward

    def step() -> Any:
        tensors = [a.detach().requires_grad_() for a in (x, w, b)]
        _call(op, torch.nn.functional, *tensors, mean, var).backward(grad)
        return tuple(t.grad for t in tensors if t.grad is not None)

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    op = case.params["op"]
    x, w, b, mean, var, _ = operands(case)
    if case.params["train"]:
        return None
    if op == "layer_norm":
        attributes = {"axis": -1, "epsilon": 1e-5}
        model = onnx_models.build("LayerNormalization", {"x": x}, {"w": w, "b": b}, attributes)
    elif op == "instance_norm":
        model = onnx_models.build(
            "InstanceNormalization", {"x": x}, {"w": w, "b": b}, {"epsilon": 1e-5}
        )
    elif op == "batch_norm eval":
        constants = {"w": w, "b": b, "mean": mean, "var": var}
        model = onnx_models.build("BatchNormalization", {"x": x}, constants, {"epsilon": 1e-5})
    else:
        return None
    return model, {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)
