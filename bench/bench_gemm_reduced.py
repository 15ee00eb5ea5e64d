"""Matrix products of reduced precision for inference: ``quantized_linear`` with int8 weights, and
``linear`` on bfloat16 arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case, fastest, within

SHAPES = [
    (1024, 1024, 1024),
    (3072, 128, 1024),
    (128, 361, 1152),
    (1, 1024, 1024),
    (1, 4096, 4096),
    (4, 1024, 1024),
    (8, 2048, 512),
]

CASES = [
    Case(
        f"quantized_linear {m}x{n}x{k}",
        {"m": m, "n": n, "k": k, "dtype": "int8"},
        flops=2.0 * m * n * k,
        bytes=4.0 * (m * k + m * n) + 1.0 * k * n,
        # The peers scale all rows of the activations alike, and some use 7 bits of them.
        tolerance=0.1,
        peak="int8_gops",
        quick=(m, n, k) == (1024, 1024, 1024),
    )
    for m, n, k in SHAPES
] + [
    Case(
        f"linear bfloat16 {m}x{n}x{k}",
        {"m": m, "n": n, "k": k, "dtype": "bfloat16"},
        flops=2.0 * m * n * k,
        bytes=2.0 * (m * k + m * n + k * n),
        tolerance=0.01,  # of a result with 8 bits
        peak="bfloat16_gflops",
        quick=(m, n, k) == (1024, 1024, 1024),
    )
    for m, n, k in SHAPES
]


def operands(case: Case) -> tuple[np.ndarray, ...]:
    """x (m, k), weight (n, k), bias (n,)."""
    m, n, k = (case.params[name] for name in "mnk")
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (n, k), (n,)))


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    x, w, b = operands(case)
    linear = fastnn.nn.Linear(w.shape[1], w.shape[0])
    linear.load_state_dict({"weight": w, "bias": b})
    layer = fastnn.nn.quantize_dynamic(linear, dtype=case.params["dtype"])
    if case.params["dtype"] == "bfloat16":
        x = x.astype(layer.weight.data.dtype)

    return within(fastnn.no_grad, lambda: layer(x))


def torch(case: Case) -> Callable[[], Any]:
    import torch

    x, w, b = (torch.from_numpy(a) for a in operands(case))
    linear = torch.nn.Linear(w.shape[1], w.shape[0])
    linear.load_state_dict({"weight": w, "bias": b})
    if case.params["dtype"] == "bfloat16":
        return bfloat16_torch(x, linear)
    model = torch.nn.Sequential(linear)
    layer = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)

    return within(torch.inference_mode, lambda: layer(x))


def bfloat16_torch(x: Any, linear: Any) -> Callable[[], Any]:
    import torch

    x, layer = x.bfloat16(), linear.bfloat16()
    with torch.inference_mode():
        # The weight in oneDNN's layout, as torch.compile prepares it for inference.
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight, len(x))

        def prepared() -> Any:
            return torch.ops.mkldnn._linear_pointwise(x, packed, layer.bias, "none", [], "")

        best = fastest(lambda: layer(x), prepared)

    # `float` is called where somebody looks; NumPy knows no bfloat16.
    return within(torch.inference_mode, lambda: best().float)


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    if case.params["dtype"] == "bfloat16":
        return None
    x, w, b = operands(case)
    scale = np.abs(w).max(1) / np.float32(127)
    levels = np.rint(w / scale[:, None]).astype(np.int8)
    constants = {
        "w": np.ascontiguousarray(levels.T),
        "scale": scale,
        "zero": np.zeros(len(w), np.int8),
        "b": b,
    }
    model = onnx_models.build(
        "DynamicQuantizeMatMul", {"x": x}, constants, {}, domain="com.microsoft"
    )
    return onnx_models.onnxruntime(model, {"x": x})
