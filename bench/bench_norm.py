"""layer_norm, rms_norm, group_norm, instance_norm, batch_norm, local_response_norm, normalize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest

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
TARGETED = ("layer_norm", "rms_norm", "group_norm", "batch_norm", "batch_norm eval")
GROUPS = 32
EPS = 1e-5


def _case(op: str, shape: tuple[int, ...], train: bool) -> Case:
    return Case(
        f"{op} {'x'.join(map(str, shape))}{' forward+backward' if train else ''}",
        {"op": op, "shape": shape, "train": train},
        bytes=4.0 * float(np.prod(shape)) * (5 if train else 2),
        tolerance=1e-3,
        quick=not train and (op, shape) in {("layer_norm", ROWS[0]), ("batch_norm", IMAGES[0])},
        bar=("forward + backward" if train else "forward") if op in TARGETED else "",
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
        return f.rms_norm(x, (x.shape[-1],), w, EPS)
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
            scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * w
            return scaled if op == "rms_norm" else scaled + b

        return rows
    if op == "local_response_norm":
        return None
    if op == "normalize":
        return lambda: x / np.linalg.norm(x, axis=1, keepdims=True)
    column = (-1, *[1] * (x.ndim - 2))

    def images() -> np.ndarray:
        if op == "batch_norm eval":
            scaled = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + EPS)
        else:
            v = x.reshape(len(x), GROUPS, -1) if op == "group_norm" else x
            axes = {"group_norm": (2,), "instance_norm": (2, 3), "batch_norm": (0, 2, 3)}[op]
            centred = v - v.mean(axes, keepdims=True)
            scaled = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + EPS)
        return scaled.reshape(x.shape) * w.reshape(column) + b.reshape(column)

    return images


def torch(case: Case) -> Callable[[], Any]:
    import torch

    op = case.params["op"]
    x, w, b, mean, var, grad = (torch.from_numpy(a) for a in operands(case))
    if not case.params["train"]:
        layouts = [x]
        if x.ndim == 4:
            layouts.append(x.contiguous(memory_format=torch.channels_last))
        functions = torch.nn.functional
        with torch.inference_mode():
            best = fastest(*(lambda x=x: _call(op, functions, x, w, b, mean, var) for x in layouts))

        def forward() -> Any:
            with torch.inference_mode():
                return best()

        return forward

    def step() -> Any:
        tensors = [a.detach().requires_grad_() for a in (x, w, b)]
        _call(op, torch.nn.functional, *tensors, mean, var).backward(grad)
        return tuple(t.grad for t in tensors if t.grad is not None)

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    op = case.params["op"]
    x, w, b, mean, var, _ = operands(case)
    if case.params["train"] or op == "batch_norm":
        return None
    affine, epsilon = {"w": w, "b": b}, {"epsilon": EPS}
    if op == "layer_norm":
        model = onnx_models.build(
            "LayerNormalization", {"x": x}, affine, {"axis": -1, "epsilon": EPS}
        )
    elif op == "rms_norm":
        model = onnx_models.build(
            "RMSNormalization", {"x": x}, {"w": w}, {"axis": -1, "epsilon": EPS}
        )
    elif op == "group_norm":
        model = onnx_models.build(
            "GroupNormalization", {"x": x}, affine, {"num_groups": GROUPS, "epsilon": EPS}
        )
    elif op == "instance_norm":
        model = onnx_models.build("InstanceNormalization", {"x": x}, affine, epsilon)
    elif op == "batch_norm eval":
        constants = {**affine, "mean": mean, "var": var}
        model = onnx_models.build("BatchNormalization", {"x": x}, constants, epsilon)
    elif op == "local_response_norm":
        model = onnx_models.build("LRN", {"x": x}, {}, {"size": 5})
    else:
        model = onnx_models.build("LpNormalization", {"x": x}, {}, {"axis": 1, "p": 2})
    return model, {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    op = case.params["op"]
    if case.params["train"] or op == "batch_norm":
        return None
    x, w, b, mean, var, _ = operands(case)
    channels = len(w)
    layer, params, weights = {
        "layer_norm": ("LayerNorm", {0: channels, 1: EPS}, [w, b]),
        "rms_norm": ("RMSNorm", {0: channels, 1: EPS}, [w]),
        "group_norm": ("GroupNorm", {0: GROUPS, 1: channels, 2: EPS}, [w, b]),
        "instance_norm": ("InstanceNorm", {0: channels, 1: EPS}, [w, b]),
        "batch_norm eval": ("BatchNorm", {0: channels, 1: EPS}, [w, mean, var, b]),
        "local_response_norm": ("LRN", {1: 5, 2: 1e-4, 3: 0.75, 4: 1.0}, []),
        "normalize": ("Normalize", {1: 1, 2: 1e-12, 3: 1, 4: 1, 9: 1}, [np.ones(1)]),
    }[op]
    return ncnn_models.ncnn(layer, params, weights, x if x.ndim == 4 else x[None])


def tflite(case: Case) -> Callable[[], Any] | None:
    """Run what XNNPACK can be told with its sums and products."""
    op = case.params["op"]
    if case.params["train"] or op not in ("layer_norm", "rms_norm", "batch_norm eval"):
        return None
    import tensorflow as tf

    x, w, b, mean, var, _ = operands(case)
    if op == "batch_norm eval":
        scale = w / np.sqrt(var + np.float32(EPS))
        shift = b - mean * scale
        return tflite_models.tflite(
            lambda x: x * scale + shift,
            tflite_models.channels_last(x),
            output=tflite_models.channels_first,
        )

    def rows(x: Any) -> Any:
        centred = x - tf.reduce_mean(x, -1, keepdims=True) if op == "layer_norm" else x
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        scaled = centred * tf.math.rsqrt(variance + EPS) * w
        return scaled + b if op == "layer_norm" else scaled

    return tflite_models.tflite(rows, x)
