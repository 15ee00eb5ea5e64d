"""Convolutions: conv1d, conv2d, conv3d and conv_transpose2d, forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest

# By row of the targets; name: (in_channels, out_channels, input, kernel, stride, padding, groups),
# sizes as tuples.
ROWS: dict[
    str, dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...], int, tuple[int, ...], int]]
] = {
    "3x3 stride 1": {
        "3x3 64-64 56": (64, 64, (56, 56), (3, 3), 1, (1, 1), 1),
        "3x3 128-128 28": (128, 128, (28, 28), (3, 3), 1, (1, 1), 1),
        "3x3 256-256 14": (256, 256, (14, 14), (3, 3), 1, (1, 1), 1),
        "3x3 512-512 7": (512, 512, (7, 7), (3, 3), 1, (1, 1), 1),
        "3x3 64-64 224": (64, 64, (224, 224), (3, 3), 1, (1, 1), 1),
        "3x3 512-512 96": (512, 512, (96, 96), (3, 3), 1, (1, 1), 1),
    },
    "1x1": {
        "1x1 64-256 56": (64, 256, (56, 56), (1, 1), 1, (0, 0), 1),
        "1x1 256-1024 14": (256, 1024, (14, 14), (1, 1), 1, (0, 0), 1),
        "1x1 512-512 14": (512, 512, (14, 14), (1, 1), 1, (0, 0), 1),
        "1x1/2 256-512 56": (256, 512, (56, 56), (1, 1), 2, (0, 0), 1),
    },
    "others": {
        "7x7/2 3-64 224": (3, 64, (224, 224), (7, 7), 2, (3, 3), 1),
        "5x5 16-32 28": (16, 32, (28, 28), (5, 5), 1, (2, 2), 1),
        "1x7 128-128 17": (128, 128, (17, 17), (1, 7), 1, (0, 3), 1),
        "10x5/2 32-32 341x79": (32, 32, (341, 79), (10, 5), 2, (0, 0), 1),
        "3x3/2 128-128 56": (128, 128, (56, 56), (3, 3), 2, (1, 1), 1),
        "3x3 1-32 28": (1, 32, (28, 28), (3, 3), 1, (1, 1), 1),
    },
    "depthwise, grouped": {
        "depthwise 512 14": (512, 512, (14, 14), (3, 3), 1, (1, 1), 512),
        "depthwise/2 64 112": (64, 64, (112, 112), (3, 3), 2, (1, 1), 64),
        "depthwise 96 112": (96, 96, (112, 112), (3, 3), 1, (1, 1), 96),
        "depthwise 5x5 240 28": (240, 240, (28, 28), (5, 5), 1, (2, 2), 240),
        "groups 32 128-128 56": (128, 128, (56, 56), (3, 3), 1, (1, 1), 32),
    },
    "1d, 3d, transposed": {
        "conv1d 80-512 3000": (80, 512, (3000,), (3,), 1, (1,), 1),
        "conv1d/2 512-512 1500": (512, 512, (1500,), (3,), 2, (1,), 1),
        "conv3d 3-64 16x112x112": (3, 64, (16, 112, 112), (3, 3, 3), 1, (1, 1, 1), 1),
        "conv_transpose2d 4x4/2 256-128 32": (256, 128, (32, 32), (4, 4), 2, (1, 1), 1),
    },
}
SHAPES = {name: shape for row in ROWS.values() for name, shape in row.items()}
BATCHES = {"3x3 stride 1": (1, 16)}
BATCH = {"3x3 1-32 28": 32}
TRAINING_BATCH = 4


def _transposed(name: str) -> bool:
    return name.startswith("conv_transpose")


def _case(row: str, name: str, batch: int, train: bool) -> Case:
    c, k, sizes, kernel, stride, padding, groups = SHAPES[name]
    if _transposed(name):
        out = [(n - 1) * stride - 2 * p + r for n, p, r in zip(sizes, padding, kernel)]
        positions = np.prod(sizes)
    else:
        out = [(n + 2 * p - r) // stride + 1 for n, p, r in zip(sizes, padding, kernel)]
        positions = np.prod(out)
    macs = batch * k * positions * (c // groups) * np.prod(kernel)
    moved = batch * (c * np.prod(sizes) + k * np.prod(out)) + k * c // groups * np.prod(kernel)
    suffix = " forward+backward" if train else ""
    return Case(
        f"{name} batch {batch}{suffix}",
        {"name": name, "batch": batch, "train": train},
        flops=float(macs) * (6 if train else 2),
        bytes=4.0 * float(moved) * (3 if train else 1),
        quick=name == "3x3 64-64 56" and batch == 1 and not train,
        bar="training step" if train else row,
    )


CASES = (
    [
        _case(row, name, batch, False)
        for row, shapes in ROWS.items()
        for batch in BATCHES.get(row, (1,))
        for name in shapes
        for batch in (BATCH.get(name, batch),)
    ]
    + [_case("", name, 16, False) for name in ("1x1 64-256 56", "5x5 16-32 28", "depthwise 96 112")]
    + [
        _case(row, name, BATCH.get(name, TRAINING_BATCH), True)
        for row, shapes in ROWS.items()
        for name in shapes
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
    c, k, sizes, kernel, _, _, groups = SHAPES[case.params["name"]]
    transposed = _transposed(case.params["name"])
    channels = (c, k) if transposed else (k, c // groups)
    shapes = [(batch, c, *sizes), (*channels, *kernel), (k,)]
    x, w, b = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
    return x, w / np.float32(np.sqrt(w.size / k)), b


def _call(case: Case, functional: Any) -> Callable[..., Any]:
    """The operation of the module `functional`, with the case's settings."""
    if case.params["name"] == "unfold":
        return lambda x: functional.unfold(x, 3, padding=1)
    if case.params["name"] == "fold":
        return lambda x: functional.fold(x, (56, 56), 3, padding=1)
    _, _, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    if _transposed(case.params["name"]):
        return lambda x, w, b: functional.conv_transpose2d(x, w, b, stride, padding)
    operation = getattr(functional, f"conv{len(sizes)}d")
    return lambda x, w, b: operation(x, w, b, stride, padding, 1, groups)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    call, arrays = _call(case, F), operands(case)
    if not case.params["train"]:
        if case.params["name"] not in SHAPES:
            return lambda: call(*arrays)
        layer, x = _layer(case, fastnn.nn, *arrays), arrays[0]

        def forward() -> Any:
            with fastnn.no_grad():
                return layer(x)

        return forward
    grad = np.ones_like(call(*arrays))

    def step() -> Any:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
        call(*tensors).backward(grad)
        return tuple(t.grad for t in tensors)

    return step


def _layer(case: Case, nn: Any, x: Any, w: Any, b: Any) -> Any:
    """The layer, which keeps its prepared weights."""
    c, k, sizes, kernel, stride, padding, groups = SHAPES[case.params["name"]]
    kind = "ConvTranspose" if _transposed(case.params["name"]) else "Conv"
    layer = getattr(nn, f"{kind}{len(sizes)}d")(c, k, kernel, stride, padding, groups=groups)
    layer.weight.data, layer.bias.data = w, b
    return layer


def torch(case: Case) -> Callable[[], Any]:
    import torch

    call = _call(case, torch.nn.functional)
    plain = [torch.from_numpy(a) for a in operands(case)]
    layouts = [plain]
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(plain[0].ndim)
    if last is not None:
        layouts.append([t.contiguous(memory_format=last) if t.ndim > 1 else t for t in plain])
    if case.params["train"]:
        return fastest(*(_torch_step(call, tensors) for tensors in layouts))
    calls: list[Callable[[], Any]] = [lambda t=tensors: call(*t) for tensors in layouts]
    if case.params["name"] in SHAPES and not _transposed(case.params["name"]):
        calls += [_torch_prepared(case, *tensors) for tensors in layouts]
    with torch.inference_mode():
        best = fastest(*calls)

    def forward() -> Any:
        with torch.inference_mode():
            return best()

    return forward


def _torch_prepared(case: Case, x: Any, w: Any, b: Any) -> Callable[[], Any]:
    """With the weights in oneDNN's own layout, as torch.compile prepares them for inference."""
    import torch

    _, _, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    strides = (stride,) * len(sizes)
    if len(sizes) == 1:  # there it is a matter of images only
        x, w, strides, padding = x[:, :, None], w[:, :, None], (1, stride), (0, *padding)
    settings = (padding, strides, (1,) * len(strides), groups)
    w = torch.ops.mkldnn._reorder_convolution_weight(w, *settings, x.shape)
    call = torch.ops.mkldnn._convolution_pointwise
    return lambda: call(x, w, b, *settings, "none", [], "")


def _torch_step(call: Callable[..., Any], tensors: list[Any]) -> Callable[[], Any]:
    grad = call(*tensors).fill_(1.0)

    def step() -> Any:
        leaves = [t.detach().requires_grad_() for t in tensors]
        call(*leaves).backward(grad)
        return tuple(t.grad for t in leaves)

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["name"] not in SHAPES:
        return None
    x, w, b = operands(case)
    _, _, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    attributes: dict[str, Any] = {"strides": [stride] * len(sizes), "pads": padding * 2}
    if _transposed(case.params["name"]):
        return onnx_models.build("ConvTranspose", {"x": x}, {"w": w, "b": b}, attributes), {"x": x}
    attributes["group"] = groups
    return onnx_models.build("Conv", {"x": x}, {"w": w, "b": b}, attributes), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["train"] or case.params["name"] not in SHAPES:
        return None
    x, w, b = operands(case)
    _, k, sizes, kernel, stride, padding, groups = SHAPES[case.params["name"]]
    layer = "Deconvolution" if _transposed(case.params["name"]) else "Convolution"
    if _transposed(case.params["name"]):
        w = w.swapaxes(0, 1)
    params = {0: k, 1: kernel[-1], 3: stride, 4: padding[-1], 5: 1, 6: w.size}
    if groups > 1:
        layer, params[7] = "ConvolutionDepthWise", groups
    if len(sizes) == 2:
        params.update({11: kernel[0], 14: padding[0]})
    else:
        layer += f"{len(sizes)}D"
    return ncnn_models.ncnn(layer, params, [ncnn_models.flagged(w), b], x)


def tflite(case: Case) -> Callable[[], Any] | None:
    if case.params["train"] or case.params["name"] not in SHAPES:
        return None
    x, w, b = operands(case)
    c, k, sizes, _, stride, padding, groups = SHAPES[case.params["name"]]
    if len(sizes) == 3:  # XNNPACK has no convolution in 3d
        return None
    import tensorflow as tf

    if len(sizes) == 1:
        x, w = x[:, :, None], w[:, :, None]
        padding = (0, *padding)
    pads = [[0, 0], *([p, p] for p in padding), [0, 0]]  # XNNPACK merges them into the convolution

    def convolution(x: Any) -> Any:
        if _transposed(case.params["name"]):
            shape = (x.shape[0], 2 * sizes[0], 2 * sizes[1], k)
            return tf.nn.conv2d_transpose(x, w.transpose(2, 3, 1, 0), shape, stride, "SAME") + b
        padded = tf.pad(x, pads)
        if c == groups == k:
            y = tf.nn.depthwise_conv2d(
                padded, w.transpose(2, 3, 0, 1), [1, stride, stride, 1], "VALID"
            )
        else:
            y = tf.nn.conv2d(padded, w.transpose(2, 3, 1, 0), stride, "VALID")
        return y + b

    return tflite_models.tflite(
        convolution, tflite_models.channels_last(x), output=tflite_models.channels_first
    )
