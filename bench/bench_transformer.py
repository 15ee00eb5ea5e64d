"""A layer of a Transformer encoder, as sentence encoders have it: width 384, 12 heads, gelu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, fastest

WIDTH, HEADS, INNER, POSITIONS = 384, 12, 1536, 128
HEAD = WIDTH // HEADS
EPS = 1e-5


def _case(batch: int, train: bool) -> Case:
    rows = batch * POSITIONS
    macs = rows * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER + 2 * POSITIONS * WIDTH)
    weights = 4 * WIDTH * WIDTH + 2 * WIDTH * INNER
    return Case(
        f"encoder layer batch {batch}{' forward+backward' if train else ''}",
        {"batch": batch, "train": train},
        flops=2.0 * macs * (3 if train else 1),
        bytes=4.0 * (weights + 2 * rows * WIDTH) * (3 if train else 1),
        tolerance=1e-3 if train else 1e-4,
        quick=batch == 1 and not train,
        bar="forward + backward" if train else "forward",
    )


CASES = [_case(batch, train) for train in (False, True) for batch in (1, 16)]


def operands(case: Case) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """x (batch, positions, width) and the weights, by PyTorch's names."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.params["batch"], POSITIONS, WIDTH), dtype=np.float32)
    shapes = {
        "self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
        "self_attn.in_proj_bias": (3 * WIDTH,),
        "self_attn.out_proj.weight": (WIDTH, WIDTH),
        "self_attn.out_proj.bias": (WIDTH,),
        "linear1.weight": (INNER, WIDTH),
        "linear1.bias": (INNER,),
        "linear2.weight": (WIDTH, INNER),
        "linear2.bias": (WIDTH,),
        "norm1.weight": (WIDTH,),
        "norm1.bias": (WIDTH,),
        "norm2.weight": (WIDTH,),
        "norm2.bias": (WIDTH,),
    }
    bound = WIDTH**-0.5
    weights = {n: rng.uniform(-bound, bound, s).astype(np.float32) for n, s in shapes.items()}
    for norm in ("norm1.weight", "norm2.weight"):
        weights[norm] += 1
    return x, weights


def _layer(case: Case, nn: Any, convert: Callable[[np.ndarray], Any]) -> Any:
    """The layer of the module `nn`, ready to train or to infer."""
    _, weights = operands(case)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, dropout=0.0, activation="gelu", batch_first=True
    )
    layer.load_state_dict({name: convert(w) for name, w in weights.items()})
    return layer.train(case.params["train"])


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    x, _ = operands(case)
    layer = _layer(case, fastnn.nn, np.asarray)
    if not case.params["train"]:

        def forward() -> Any:
            with fastnn.no_grad():
                return layer(x)

        return forward
    grad = np.ones_like(x)

    def step() -> Any:
        layer.zero_grad()
        t = fastnn.Tensor(x, requires_grad=True)
        layer(t).backward(grad)
        return t.grad, layer.linear1.weight.grad, layer.self_attn.in_proj_weight.grad

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch

    x = torch.from_numpy(operands(case)[0])
    layer = _layer(case, torch.nn, torch.from_numpy)
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return layer(x)

        return forward
    grad = torch.ones_like(x)

    def step() -> Any:
        layer.zero_grad()
        t = x.detach().requires_grad_()
        layer(t).backward(grad)
        return t.grad, layer.linear1.weight.grad, layer.self_attn.in_proj_weight.grad

    return step


def _model(case: Case, contributed: bool) -> tuple[bytes, dict[str, np.ndarray]] | None:
    """The layer in ONNX; with `contributed`, attention is ONNX Runtime's own operator."""
    if case.params["train"]:
        return None
    from onnx import helper

    x, weights = operands(case)
    constants = {n: a.T.copy() if a.ndim == 2 else a for n, a in weights.items()}
    constants["heads"] = np.array([0, POSITIONS, HEADS, HEAD])
    constants["joined"] = np.array([0, POSITIONS, WIDTH])
    constants["scale"] = np.float32(HEAD**-0.5)
    nodes = []

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def linear(source: str, name: str, separator: str, output: str) -> str:
        product = node("MatMul", [source, f"{name}{separator}weight"], f"{output}_product")
        return node("Add", [product, f"{name}{separator}bias"], output)

    def norm(source: str, name: str, output: str) -> str:
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return node("LayerNormalization", inputs, output, axis=-1, epsilon=EPS)

    projected = linear("x", "self_attn.in_proj", "_", "projected")
    nodes.append(helper.make_node("Split", [projected], ["q", "k", "v"], axis=-1, num_outputs=3))
    if contributed:
        attended = node(
            "MultiHeadAttention",
            ["q", "k", "v"],
            "attended",
            domain="com.microsoft",
            num_heads=HEADS,
        )
    else:
        for name, axes in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            apart = node("Reshape", [name, "heads"], f"{name}_apart")
            node("Transpose", [apart], f"{name}_heads", perm=axes)
        scores = node("MatMul", ["q_heads", "k_heads"], "scores")
        shares = node("Softmax", [node("Mul", [scores, "scale"], "scaled")], "shares", axis=-1)
        mixed = node("MatMul", [shares, "v_heads"], "mixed")
        turned = node("Transpose", [mixed], "turned", perm=[0, 2, 1, 3])
        attended = node("Reshape", [turned, "joined"], "attended")
    first = node("Add", ["x", linear(attended, "self_attn.out_proj", ".", "out")], "first")
    middle = norm(first, "norm1", "middle")
    inner = node("Gelu", [linear(middle, "linear1", ".", "inner")], "active")
    second = node("Add", [middle, linear(inner, "linear2", ".", "outer")], "second")
    norm(second, "norm2", "y")
    return onnx_models.serialised(nodes, {"x": x}, constants), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    models = [_model(case, contributed) for contributed in (False, True)]
    return fastest(*(onnx_models.onnxruntime(*m) for m in models if m)) if models[0] else None


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case, False)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["train"]:
        return None
    x, weights = operands(case)
    described, flagged = ncnn_models.described, ncnn_models.flagged
    gemm = {3: 1, 5: 1, 6: 1, 10: 4}
    layers = [
        "Split twice 1 2 x0 a b",
        described("MultiHeadAttention", {0: WIDTH, 1: HEADS, 2: WIDTH * WIDTH}, ["a"], "attended"),
        described("BinaryOp", {}, ["b", "attended"], "first"),
        described("LayerNorm", {0: WIDTH, 1: EPS}, ["first"], "middle"),
        "Split again 1 2 middle c d",
        described("Gemm", {**gemm, 8: INNER, 9: WIDTH}, ["c"], "inner"),
        described("GELU", {}, ["inner"], "active"),
        described("Gemm", {**gemm, 8: WIDTH, 9: INNER}, ["active"], "outer"),
        described("BinaryOp", {}, ["d", "outer"], "second"),
        described("LayerNorm", {0: WIDTH, 1: EPS}, ["second"], "y"),
    ]
    attention = []
    for w, b in zip(
        np.split(weights["self_attn.in_proj_weight"], 3),
        np.split(weights["self_attn.in_proj_bias"], 3),
    ):
        attention += [flagged(w), b]
    return ncnn_models.network(
        layers,
        [
            *attention,
            flagged(weights["self_attn.out_proj.weight"]),
            weights["self_attn.out_proj.bias"],
            weights["norm1.weight"],
            weights["norm1.bias"],
            flagged(weights["linear1.weight"]),
            flagged(weights["linear1.bias"]),
            flagged(weights["linear2.weight"]),
            flagged(weights["linear2.bias"]),
            weights["norm2.weight"],
            weights["norm2.bias"],
        ],
        x,
    )


def tflite(case: Case) -> Callable[[], Any] | None:
    if case.params["train"]:
        return None
    import tensorflow as tf

    x, weights = operands(case)

    def linear(x: Any, name: str, separator: str = ".") -> Any:
        product = tf.matmul(x, weights[f"{name}{separator}weight"], transpose_b=True)
        return product + weights[f"{name}{separator}bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        scaled = centred * tf.math.rsqrt(variance + EPS)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def layer(x: Any) -> Any:
        projected = linear(x, "self_attn.in_proj", "_")
        q, k, v = (
            tf.transpose(tf.reshape(part, (-1, POSITIONS, HEADS, HEAD)), (0, 2, 1, 3))
            for part in tf.split(projected, 3, axis=-1)
        )
        shares = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * HEAD**-0.5)
        attended = tf.transpose(tf.matmul(shares, v), (0, 2, 1, 3))
        attended = tf.reshape(attended, (-1, POSITIONS, WIDTH))
        middle = norm(x + linear(attended, "self_attn.out_proj"), "norm1")
        inner = tf.nn.gelu(linear(middle, "linear1"))
        return norm(middle + linear(inner, "linear2"), "norm2")

    return tflite_models.tflite(layer, x)
