"""Pooling, mostly in 2d: max_pool3d, avg_pool3d, adaptive_avg_pool3d, adaptive_max_pool3d,
lp_pool3d, max_unpool3d, fractional_max_pool3d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest

# (name, operation, channels, size, kernel, stride, padding)
TARGETED = [
    ("max 64x112 3/2", "max_pool2d", 64, 112, 3, 2, 1),
    ("max 64x224 2/2", "max_pool2d", 64, 224, 2, 2, 0),
    ("max 192x28 3/1", "max_pool2d", 192, 28, 3, 1, 1),
    ("max 480x28 3/2", "max_pool2d", 480, 28, 3, 2, 1),
    ("avg 768x17 3/1", "avg_pool2d", 768, 17, 3, 1, 1),
    ("avg 768x17 3/1 uncounted", "avg_pool2d", 768, 17, 3, 1, 1),  # padding is left out of means
    ("global avg 2048x7", "adaptive_avg_pool2d", 2048, 7, 7, 1, 0),
]
OTHERS = [
    ("adaptive max 512x14 to 7", "adaptive_max_pool2d", 512, 14, 2, 2, 0),
    ("max3d 32x16^3 2/2", "max_pool3d", 32, 16, 2, 2, 0),
    ("avg3d 32x16^3 2/2", "avg_pool3d", 32, 16, 2, 2, 0),
    ("lp 64x112 2/2", "lp_pool2d", 64, 112, 2, 2, 0),
    ("unpool 64x112 2/2", "max_unpool2d", 64, 112, 2, 2, 0),
    ("fractional 64x112 2/1.5", "fractional_max_pool2d", 64, 112, 2, 2, 0),
]
BATCHES = (1, 16)


def _case(shape: tuple[str, str, int, int, int, int, int], batch: int, train: bool) -> Case:
    name, operation, channels, size, kernel, stride, padding = shape
    dims = int(operation[-2])
    out = (size + 2 * padding - kernel) // stride + 1
    if operation.startswith("fractional"):
        out = size * 2 // 3
    elements = batch * channels * (size**dims + out**dims)
    return Case(
        f"{name} batch {batch}" + (" forward+backward" if train else ""),
        {
            "operation": operation,
            "shape": (batch, channels, *[size] * dims),
            "window": (kernel, stride, padding),
            "counted": not name.endswith("uncounted"),
            "output_size": out,
            "train": train,
        },
        bytes=4.0 * elements * (2 if train else 1),
        quick=batch == 1 and not train and kernel == 3,
        bar="" if shape in OTHERS else "forward + backward" if train else "forward",
    )


CASES = [
    _case(shape, batch, train)
    for train in (False, True)
    for batch in BATCHES
    for shape in (*TARGETED, *OTHERS)
]


def operand(case: Case) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal(case.params["shape"], dtype=np.float32)


def arguments(case: Case, x: Any, functions: Any) -> tuple[Any, ...]:
    """What the operation of a torch-like library gets, input first."""
    operation, window = case.params["operation"], case.params["window"]
    if operation.startswith("adaptive"):
        return x, case.params["output_size"]
    if operation.startswith("fractional"):
        samples = x[:, :, 0, :2] * 0 + 0.5
        return x, window[0], case.params["output_size"], None, False, samples
    if operation.startswith("lp"):
        return x, 2.0, *window[:2]
    if "unpool" in operation:
        return *functions.max_pool2d(x, *window, return_indices=True), *window
    if operation.startswith("avg"):
        return x, *window, False, case.params["counted"]
    return x, *window


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    f = getattr(F, case.params["operation"])
    x, *args = arguments(case, operand(case), F)
    if not case.params["train"]:
        return lambda: f(x, *args)
    grad = np.ones(f(x, *args).shape, np.float32)

    def step() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        f(t, *args).backward(grad)
        return t.grad

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    kernel, stride, padding = case.params["window"]
    known = case.params["operation"].startswith(("max_pool", "avg", "adaptive"))
    if case.params["train"] or padding != 0 or not known:
        return None
    x = operand(case)
    f = np.max if "max" in case.params["operation"] else np.mean
    axes = tuple(range(2, x.ndim))

    def call() -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel,) * len(axes), axes)
        step = (slice(None, None, stride),) * len(axes)
        return f(
            windows[(slice(None), slice(None), *step)], axis=tuple(-1 - i for i in range(len(axes)))
        )

    return call


def torch(case: Case) -> Callable[[], Any]:
    import torch

    f = getattr(torch.nn.functional, case.params["operation"])
    plain = torch.from_numpy(operand(case))
    last = torch.channels_last if plain.ndim == 4 else torch.channels_last_3d
    layouts = [
        arguments(case, x, torch.nn.functional)
        for x in (plain, plain.contiguous(memory_format=last))
    ]
    if case.params["train"]:
        return fastest(*(_torch_step(f, *args) for args in layouts))
    with torch.inference_mode():
        best = fastest(*(lambda a=args: f(*a) for args in layouts))

    def forward() -> Any:
        with torch.inference_mode():
            return best()

    return forward


def _torch_step(f: Callable[..., Any], x: Any, *args: Any) -> Callable[[], Any]:
    import torch

    grad = torch.ones_like(f(x, *args))

    def step() -> Any:
        t = x.detach().requires_grad_()
        f(t, *args).backward(grad)
        return t.grad

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    operation = case.params["operation"]
    if case.params["train"] or "unpool" in operation or operation.startswith("fractional"):
        return None
    x = operand(case)
    kernel, stride, padding = case.params["window"]
    dims = x.ndim - 2
    attributes: dict[str, Any] = {
        "kernel_shape": [kernel] * dims,
        "strides": [stride] * dims,
        "pads": [padding] * (2 * dims),
    }
    if "avg" in operation:
        attributes["count_include_pad"] = int(case.params["counted"])
    operator = "MaxPool" if "max" in operation else "AveragePool"
    if operation.startswith("lp"):
        operator, attributes["p"] = "LpPool", 2
    return onnx_models.build(operator, {"x": x}, {}, attributes), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    operation = case.params["operation"]
    if case.params["train"] or operation.startswith(("lp", "max_unpool", "fractional")):
        return None
    x = operand(case)
    kernel, stride, padding = case.params["window"]
    params = {0: int("avg" in operation), 1: kernel, 2: stride, 3: padding}
    # Windows that do not fit are left out, as everywhere else.
    params |= {4: int(case.params["output_size"] == 1), 5: 1, 6: int(case.params["counted"])}
    return ncnn_models.ncnn("Pooling" if x.ndim == 4 else "Pooling3D", params, [], x)


def tflite(case: Case) -> Callable[[], Any] | None:
    operation = case.params["operation"]
    if (
        case.params["train"]
        or operation.startswith(("lp", "max_unpool", "fractional"))
        or "3d" in operation
    ):
        return None
    import tensorflow as tf

    x = operand(case)
    kernel, stride, padding = case.params["window"]
    pads = [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]
    # TensorFlow puts an odd row of padding at the end, PyTorch at the start: what is upside down
    # there has the same result.
    turn = (slice(None), slice(None, None, -1), slice(None, None, -1))

    def pool(x: Any) -> Any:
        if case.params["output_size"] == 1:
            return tf.reduce_mean(x, axis=[1, 2], keepdims=True)
        if "max" in operation:
            return tf.nn.max_pool2d(x, kernel, stride, "SAME")
        if padding and case.params["counted"]:
            return tf.nn.avg_pool2d(tf.pad(x, pads), kernel, stride, "VALID")
        return tf.nn.avg_pool2d(x, kernel, stride, "SAME")

    return tflite_models.tflite(
        pool,
        tflite_models.channels_last(x)[turn],
        output=lambda y: tflite_models.channels_first(y[turn]),
    )
