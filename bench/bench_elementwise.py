"""Activations on 1 M elements (cache) and 16 M (memory), forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
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
# Elements, and the row of the targets.
SIZES = {"1M": (1 << 20, "cache"), "16M": (1 << 24, "memory")}
QUICK = {"gelu", "relu", "silu"}
TARGETED = {"gelu", "silu", "tanh", "sigmoid", "exp"}
# Operator and attributes; the numbers that Clip takes as operands are in its attributes here.
ONNX: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {"min": 0.0, "max": 6.0}),
    "hardtanh": ("Clip", {"min": -1.0, "max": 1.0}),
    "leaky_relu": ("LeakyRelu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "sqrt": ("Sqrt", {}),
    "gelu": ("Gelu", {}),
    "gelu tanh": ("Gelu", {"approximate": "tanh"}),
    "silu": ("QuickGelu", {"alpha": 1.0}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6}),
    "hardswish": ("HardSwish", {}),
    "hardshrink": ("Shrink", {"lambd": 0.5}),
    "softshrink": ("Shrink", {"lambd": 0.5, "bias": 0.5}),
    "mish": ("Mish", {}),
    "elu": ("Elu", {}),
    "celu": ("Celu", {"alpha": 0.5}),
    "selu": ("Selu", {}),
    "prelu": ("PRelu", {}),
}
NCNN: dict[str, tuple[str, dict[int, float]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: 0.0, 1: 6.0}),
    "hardtanh": ("Clip", {0: -1.0, 1: 1.0}),
    "leaky_relu": ("ReLU", {0: 0.01}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("TanH", {}),
    "exp": ("UnaryOp", {0: 7}),
    "log": ("UnaryOp", {0: 8}),
    "sqrt": ("UnaryOp", {0: 5}),
    "gelu": ("GELU", {}),
    "gelu tanh": ("GELU", {0: 1}),
    "silu": ("Swish", {}),
    "softplus": ("Softplus", {}),
    "hardsigmoid": ("HardSigmoid", {0: 1 / 6}),
    "hardswish": ("HardSwish", {0: 1 / 6}),
    "mish": ("Mish", {}),
    "elu": ("ELU", {0: 1.0}),
    "celu": ("CELU", {0: 0.5}),
    "selu": ("SELU", {}),
    "glu": ("GLU", {0: 1}),
}


def _case(op: str, args: tuple[Any, ...], size: str, train: bool) -> Case:
    words = [op, *map(str, args), size, *(["forward+backward"] if train else [])]
    return Case(
        " ".join(words),
        {"op": op, "args": args, "n": SIZES[size][0], "train": train},
        bytes=SIZES[size][0] * (20.0 if train else 8.0),
        quick=op in QUICK and not args and size == "1M" and not train,
        bar=SIZES[size][1] if op in TARGETED and not args and not train else "",
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


def _name(case: Case) -> str:
    """The operation, and what tells the two kinds of gelu apart."""
    variant = " tanh" if case.params["args"] == ("tanh",) else ""
    return case.params["op"] + variant


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or _name(case) not in ONNX:
        return None
    x, *slopes = operands(case)
    operator, attributes = ONNX[_name(case)]
    if operator == "Clip":
        limits = {name: np.float32(value) for name, value in attributes.items()}
        return onnx_models.build(operator, {"x": x}, limits, {}), {"x": x}
    domain = "com.microsoft" if operator == "QuickGelu" else ""
    constants = dict(zip(["slope"], slopes))
    return onnx_models.build(operator, {"x": x}, constants, attributes, domain=domain), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["train"] or _name(case) not in NCNN:
        return None
    layer, params = NCNN[_name(case)]
    (x,) = operands(case)
    return ncnn_models.ncnn(layer, params, [], x[None])


def tflite(case: Case) -> Callable[[], Any] | None:
    if case.params["train"]:
        return None
    import tensorflow as tf

    function = {
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "hardtanh": lambda x: tf.maximum(tf.minimum(x, 1.0), -1.0),
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.01),
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "exp": tf.exp,
        "sqrt": tf.sqrt,
        "gelu": tf.nn.gelu,
        "gelu tanh": lambda x: tf.nn.gelu(x, approximate=True),
        "silu": lambda x: x * tf.sigmoid(x),
        "hardswish": lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6),
        "elu": tf.nn.elu,
    }.get(_name(case))
    return None if function is None else tflite_models.tflite(function, *operands(case))
