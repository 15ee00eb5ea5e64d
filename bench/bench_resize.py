"""pad, interpolate, grid_sample, pixel_shuffle, pixel_unshuffle and channel_shuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest

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
    ("bicubic x2 64x56", "interpolate", (1, 64, 56, 56), {"scale_factor": 2, "mode": "bicubic"}, 4),
    (
        "bilinear antialias /2 64x56",
        "interpolate",
        (1, 64, 56, 56),
        {"size": 28, "mode": "bilinear", "antialias": True},
        0.25,
    ),
    ("grid_sample 64x56", "grid_sample", (1, 64, 56, 56), {"align_corners": False}, 1),
    ("channel_shuffle 4 64x56", "channel_shuffle", (1, 64, 56, 56), {"groups": 4}, 1),
    ("pixel_shuffle 2 64x56", "pixel_shuffle", (1, 64, 56, 56), {"upscale_factor": 2}, 1),
    ("pixel_unshuffle 2 16x112", "pixel_unshuffle", (1, 16, 112, 112), {"downscale_factor": 2}, 1),
]

# What has a counterpart in no other peer here.
IN_PYTORCH_ONLY = ("pixel_unshuffle", "channel_shuffle", "grid_sample")

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


def more(case: Case) -> list[np.ndarray]:
    """Operands besides the first."""
    if case.params["operation"] != "grid_sample":
        return []
    batch, _, height, width = case.params["shape"]
    return [np.random.default_rng(1).uniform(-1, 1, (batch, height, width, 2)).astype(np.float32)]


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    f, x, arguments = getattr(F, case.params["operation"]), operand(case), case.params["arguments"]
    rest = more(case)
    if not case.params["train"]:
        return lambda: f(x, *rest, **arguments)
    grad = np.ones(f(x, *rest, **arguments).shape, np.float32)

    def step() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        f(t, *rest, **arguments).backward(grad)
        return t.grad

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch

    f = getattr(torch.nn.functional, case.params["operation"])
    x, arguments = torch.from_numpy(operand(case)), case.params["arguments"]
    rest = [torch.from_numpy(a) for a in more(case)]
    if not case.params["train"]:
        layouts = (x, x.contiguous(memory_format=torch.channels_last))
        with torch.inference_mode():
            best = fastest(*(lambda x=x: f(x, *rest, **arguments) for x in layouts))

        def forward() -> Any:
            with torch.inference_mode():
                return best()

        return forward
    grad = torch.ones(f(x, *rest, **arguments).shape)

    def step() -> Any:
        t = x.detach().requires_grad_()
        f(t, *rest, **arguments).backward(grad)
        return t.grad

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    operation, arguments = case.params["operation"], case.params["arguments"]
    if case.params["train"] or operation in IN_PYTORCH_ONLY or "antialias" in arguments:
        return None
    x = operand(case)
    if operation == "pixel_shuffle":
        attributes = {"blocksize": arguments["upscale_factor"], "mode": "CRD"}
        return onnx_models.build("DepthToSpace", {"x": x}, {}, attributes), {"x": x}
    if operation == "pad":
        left, right, top, bottom = arguments["pad"]
        pads = {"pads": np.array([0, 0, top, left, 0, 0, bottom, right])}
        mode = {"mode": arguments.get("mode", "constant")}
        return onnx_models.build("Pad", {"x": x}, pads, mode), {"x": x}
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(arguments.get("mode"), "nearest")
    scales = {"scales": np.array([1, 1, *[arguments["scale_factor"]] * 2], np.float32)}
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": "asymmetric" if mode == "nearest" else "half_pixel",
        "nearest_mode": "floor",
    }
    model = onnx_models.build("Resize", {"x": x}, scales, attributes, ["x", "", "scales"])
    return model, {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    operation, arguments = case.params["operation"], case.params["arguments"]
    others = operation in IN_PYTORCH_ONLY or arguments.get("mode") == "bicubic"
    if case.params["train"] or others or "antialias" in arguments:
        return None
    x = operand(case)
    if operation == "pixel_shuffle":
        return ncnn_models.ncnn("PixelShuffle", {0: arguments["upscale_factor"]}, [], x)
    if operation == "pad":
        left, right, top, bottom = arguments["pad"]
        kind = 2 if arguments.get("mode") == "reflect" else 0
        return ncnn_models.ncnn("Padding", {0: top, 1: bottom, 2: left, 3: right, 4: kind}, [], x)
    scale = float(arguments["scale_factor"])
    kind = 2 if arguments.get("mode") == "bilinear" else 1
    return ncnn_models.ncnn("Interp", {0: kind, 1: scale, 2: scale}, [], x)


def tflite(case: Case) -> Callable[[], Any] | None:
    operation, arguments = case.params["operation"], case.params["arguments"]
    if case.params["train"] or "antialias" in arguments:
        return None
    import tensorflow as tf

    x = operand(case)
    if operation == "pad" and "mode" not in arguments:
        left, right, top, bottom = arguments["pad"]
        function = lambda x: tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])  # noqa: E731
    elif arguments.get("mode") == "bilinear":
        sizes = [n * arguments["scale_factor"] for n in x.shape[2:]]
        function = lambda x: tf.image.resize(x, sizes)  # noqa: E731
    else:  # XNNPACK has no more
        return None
    return tflite_models.tflite(
        function, tflite_models.channels_last(x), output=tflite_models.channels_first
    )
