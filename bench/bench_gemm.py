"""Matrix products: ``linear`` as a layer would run it, forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest, within

# By row of the targets: (m, n, k).
ROWS = {
    "square": [(1024, 1024, 1024), (2048, 2048, 2048)],
    "rectangular": [
        (3072, 128, 1024),
        (1760, 128, 1760),
        (35, 8457, 2560),
        (128, 361, 1152),
        (2048, 1024, 1024),
    ],
    "skinny": [(1, 1024, 1024), (1, 4096, 4096), (4, 1024, 1024), (8, 2048, 512)],
    "tiny": [(16, 16, 16), (32, 32, 32), (64, 64, 64), (100, 100, 100)],
}

CASES = (
    [
        Case(
            f"linear {m}x{n}x{k}",
            {"m": m, "n": n, "k": k, "train": False},
            flops=2.0 * m * n * k,
            bytes=4.0 * (m * k + k * n + m * n),
            quick=(m, n, k) in {(1024, 1024, 1024), (1, 1024, 1024)},
            bar=bar,
        )
        for bar, shapes in ROWS.items()
        for m, n, k in shapes
    ]
    + [
        Case(
            f"linear {m}x{n}x{k} forward+backward",
            {"m": m, "n": n, "k": k, "train": True},
            flops=6.0 * m * n * k,
            bytes=12.0 * (m * k + k * n + m * n),
            bar="forward + backward",
        )
        for shapes in ROWS.values()
        for m, n, k in shapes
    ]
    + [
        Case(
            f"grouped_mm {tokens} tokens, {groups} experts of {n}x{k}",
            {"groups": groups, "tokens": tokens, "n": n, "k": k, "train": False},
            flops=2.0 * tokens * n * k,
            bytes=4.0 * (groups * n * k + tokens * (n + k)),
        )
        for tokens, groups, n, k in [(2048, 8, 512, 512), (16, 16, 1024, 512)]
    ]
    + [Case("column_sum 4096x1024", {"rows": 4096, "cols": 1024}, bytes=4.0 * 4096 * 1024)]
)


def operands(case: Case) -> tuple[np.ndarray, ...]:
    """x (m, k), weight (n, k), bias (n,)."""
    m, n, k = (case.params[name] for name in "mnk")
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (n, k), (n,)))


def experts(case: Case) -> tuple[np.ndarray, ...]:
    """x (tokens, k) sorted by expert, weights (groups, n, k), the ends of the unlike groups."""
    groups, tokens, n, k = (case.params[name] for name in ("groups", "tokens", "n", "k"))
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s, dtype=np.float32) for s in ((tokens, k), (groups, n, k)))
    return x, w, np.cumsum(rng.multinomial(tokens, rng.dirichlet(np.ones(groups)))).astype("i4")


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    if "rows" in case.params:
        x = np.ones((case.params["rows"], case.params["cols"]), np.float32)
        return lambda: F.column_sum(x)
    if "groups" in case.params:
        x, w, offs = experts(case)
        return lambda: F.grouped_mm(x, w.swapaxes(1, 2), offs=offs)
    x, w, b = operands(case)
    layer = fastnn.nn.Linear(w.shape[1], w.shape[0])
    layer.load_state_dict({"weight": w, "bias": b})
    if not case.params["train"]:
        return within(fastnn.no_grad, lambda: layer(x))
    grad = np.ones((len(x), len(w)), np.float32)

    def step() -> Any:
        layer.zero_grad()
        t = fastnn.Tensor(x, requires_grad=True)
        layer(t).backward(grad)
        return t.grad, layer.weight.grad, layer.bias.grad

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    if "rows" in case.params:
        x = np.ones((case.params["rows"], case.params["cols"]), np.float32)
        return lambda: x.sum(axis=0)
    if case.params["train"] or "groups" in case.params:
        return None
    x, w, b = operands(case)
    return lambda: x @ w.T + b


def torch(case: Case) -> Callable[[], Any]:
    import torch

    if "rows" in case.params:
        t = torch.ones(case.params["rows"], case.params["cols"])
        return lambda: t.sum(0)
    if "groups" in case.params:
        x, w, offs = (torch.from_numpy(a) for a in experts(case))
        return lambda: torch.nn.functional.grouped_mm(x, w.transpose(1, 2), offs=offs)
    x, w, b = (torch.from_numpy(a) for a in operands(case))
    layer = torch.nn.Linear(w.shape[1], w.shape[0])
    layer.load_state_dict({"weight": w, "bias": b})
    if not case.params["train"]:
        # Weights in the layouts of oneDNN and MKL, as torch.compile prepares them for inference.
        calls = [lambda: layer(x)]
        with torch.inference_mode():
            onednn = torch.ops.mkldnn._reorder_linear_weight(w, len(x))
            calls.append(lambda: torch.ops.mkldnn._linear_pointwise(x, onednn, b, "none", [], ""))
            if torch.backends.mkl.is_available():
                mkl = torch.ops.mkl._mkl_reorder_linear_weight(w, len(x))
                calls.append(lambda: torch.ops.mkl._mkl_linear(x, mkl, w, b, len(x)))
            best = fastest(*calls)
        return within(torch.inference_mode, best)
    grad = torch.ones(len(x), len(w))

    def step() -> Any:
        layer.zero_grad()
        t = x.detach().requires_grad_()
        layer(t).backward(grad)
        return t.grad, layer.weight.grad, layer.bias.grad

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if "m" not in case.params or case.params["train"]:
        return None
    x, w, b = operands(case)
    constants = {"w": np.ascontiguousarray(w.T), "b": b}
    return onnx_models.build("Gemm", {"x": x}, constants, {}), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if "m" not in case.params or case.params["train"]:
        return None
    x, w, b = operands(case)
    n, k = w.shape
    weight, bias = ncnn_models.flagged(w), ncnn_models.flagged(b)
    gemm = {3: 1, 5: 1, 6: 1, 8: n, 9: k, 10: 4}
    return fastest(
        ncnn_models.ncnn("InnerProduct", {0: n, 1: 1, 2: w.size}, [weight, b], x[None]),
        ncnn_models.ncnn("Gemm", gemm, [weight, bias], x[None]),
    )


def tflite(case: Case) -> Callable[[], Any] | None:
    if "m" not in case.params or case.params["train"]:
        return None
    import tensorflow as tf

    x, w, b = operands(case)
    return tflite_models.tflite(lambda x: tf.matmul(x, w, transpose_b=True) + b, x)
