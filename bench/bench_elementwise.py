"""Activations on 1 M elements (cache) and 16 M (memory), forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case

# Operation and the arguments after its input.
OPERATIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("gelu", ()),
    ("gelu", ("tanh",)),
    ("silu", ()),
    ("tanh", ()),
    ("sigmoid", ()),
    ("exp", ()),
    ("relu", ()),
    ("relu6", ()),
    ("leaky_relu", ()),
    ("threshold", (0.25, -1.5)),
    ("hardtanh", ()),
    ("hardsigmoid", ()),
    ("hardswish", ()),
    ("hardshrink", ()),
    ("softshrink", ()),
    ("softsign", ()),
    ("logsigmoid", ()),
    ("tanhshrink", ()),
    ("elu", ()),
    ("celu", (0.5,)),
    ("selu", ()),
    ("softplus", ()),
    ("mish", ()),
    ("log", ()),
    ("sqrt", ()),
    ("glu", ()),
    ("prelu", ()),
]
SIZES = {"1M": 1 << 20, "16M": 1 << 24}
QUICK = {"gelu", "relu", "silu"}
ONNX = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "exp": "Exp",
    "gelu": "Gelu",
    "softsign": "Softsign",
    "hardswish": "HardSwish",
    "mish": "Mish",
}


def _case(op: str, args: tuple[Any, ...], size: str, train: bool) -> Case:
    words = [op, *map(str, args), size, *(["forward+backward"] if train else [])]
    return Case(
        " ".join(words),
        {"op": op, "args": args, "n": SIZES[size], "train": train},
        bytes=SIZES[size] * (20.0 if train else 8.0),
        quick=op in QUICK and not args and size == "1M" and not train,
    )


CASES = [_case(op, args, size, False) for op, args in OPERATIONS for size in SIZES] + [
    _case(op, args, "1M", True) for op, args in OPERATIONS
]


def operands(case: Case) -> list[np.ndarray]:
    """Rows of 1024; positive where the operation wants it; prelu's slopes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.params["n"] // 1024, 1024), dtype=np.float32)
    if case.params["op"] in ("log", "sqrt"):
        x = np.abs(x) + np.float32(0.1)
    return [x, np.full(1024, 0.25, np.float32)] if case.params["op"] == "prelu" else [x]


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    op, args = getattr(F, case.params["op"]), case.params["args"]
    arrays = operands(case)
    if not case.params["train"]:
        return lambda: op(*arrays, *args)
    grad = np.ones_like(op(*arrays, *args))

    def step() -> Any:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
        op(*tensors, *args).backward(grad)
        return tuple(t.grad for t in tensors)

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    plain = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh}
    if case.params["train"] or case.params["op"] not in plain:
        return None
    (x,) = operands(case)
    return lambda: plain[case.params["op"]](x)


def torch(case: Case) -> Callable[[], Any]:
    import torch

    name = case.params["op"]
    function = getattr(torch if name in ("exp", "log", "sqrt") else torch.nn.functional, name)
    named = {"approximate": "tanh"} if case.params["args"] == ("tanh",) else {}
    args = () if named else case.params["args"]
    tensors = [torch.from_numpy(a) for a in operands(case)]
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return function(*tensors, *args, **named)

        return forward
    grad = torch.ones_like(function(*tensors, *args, **named))

    def step() -> Any:
        leaves = [t.detach().requires_grad_() for t in tensors]
        function(*leaves, *args, **named).backward(grad)
        return tuple(t.grad for t in leaves)

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["args"] or case.params["op"] not in ONNX:
        return None
    (x,) = operands(case)
    return onnx_models.build(ONNX[case.params["op"]], {"x": x}, {}, {}), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)
