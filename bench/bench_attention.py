"""scaled_dot_product_attention: encoders, decoders, cross-attention and decoding; and
rotary_embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
import tflite_models
from harness import Case, converted, fastest

# By row of the targets: (batch, heads, heads of key and value, queries, keys, width, causal).
ROWS = {
    "encoder": [
        (1, 16, 16, 384, 384, 64, False),
        (8, 12, 12, 197, 197, 64, False),
        (8, 12, 12, 128, 128, 64, False),
    ],
    "long": [
        (1, 25, 25, 1024, 1024, 64, False),
        (1, 8, 8, 2048, 2048, 64, False),
    ],
    "long causal": [
        (1, 25, 25, 1024, 1024, 64, True),
        (1, 8, 8, 2048, 2048, 64, True),
    ],
    "wide causal": [
        (1, 16, 16, 4096, 4096, 128, True),
        (1, 32, 8, 2048, 2048, 128, True),
    ],
    "small and cross": [
        (16, 12, 12, 64, 64, 32, False),
        (64, 8, 8, 32, 32, 32, False),
        (2, 8, 8, 1024, 77, 80, False),
    ],
    "decode": [
        (1, 32, 8, 1, 4096, 128, False),
        (8, 16, 16, 1, 1024, 64, False),
    ],
}


def _case(row: str, shape: tuple[Any, ...], train: bool) -> Case:
    batch, heads, kv_heads, queries, keys, width, causal = shape
    # Query i sees keys 0 .. i: count only what must be computed.
    pairs = queries * (queries + 1) // 2 if causal else queries * keys
    size = batch * width * (2 * heads * queries + 2 * kv_heads * keys)
    name = f"attention B{batch} H{heads}/{kv_heads} {queries}x{keys} d{width}"
    return Case(
        name + (" causal" if causal else "") + (" forward+backward" if train else ""),
        {"shape": shape, "train": train},
        flops=(14.0 if train else 4.0) * batch * heads * pairs * width,
        bytes=(12.0 if train else 4.0) * size,
        reads=queries == 1,
        quick=shape == ROWS["encoder"][0] and not train,
        bar=f"{row}, {'forward + backward' if train else 'forward'}",
    )


CASES = [
    _case(row, shape, train)
    for train in (False, True)
    for row, shapes in ROWS.items()
    for shape in shapes
    if not train or row != "decode"
]

# (batch, heads, positions, width, interleaved)
CASES += [
    Case(
        f"rotary_embedding {shape}",
        {"rotary": shape, "train": False},
        bytes=8.0 * np.prod(shape[:4]),
        bar="rotary",
    )
    for shape in [(1, 32, 1024, 128, False), (8, 12, 256, 64, False), (8, 12, 256, 64, True)]
]


def _rotary_tables(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The input, and cosines and sines of every position and pair."""
    *shape, _ = case.params["rotary"]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    frequencies = 10000.0 ** (-np.arange(0, shape[-1], 2) / shape[-1])
    angles = np.arange(shape[-2])[:, None] * frequencies
    return x, np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _operands(case: Case) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
    """(query, key, value), the options."""
    batch, heads, kv_heads, queries, keys, width, causal = case.params["shape"]
    rng = np.random.default_rng(0)
    shapes = [
        (batch, h, n, width) for h, n in ((heads, queries), (kv_heads, keys), (kv_heads, keys))
    ]
    arrays = tuple(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return arrays, {"is_causal": causal, "enable_gqa": heads != kv_heads}


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    if "rotary" in case.params:
        x, interleaved = _rotary_tables(case)[0], case.params["rotary"][-1]
        return lambda: F.rotary_embedding(x, interleaved=interleaved)
    arrays, options = _operands(case)
    if not case.params["train"]:
        return lambda: F.scaled_dot_product_attention(*arrays, **options)
    grad = np.ones(arrays[0].shape, np.float32)

    def step() -> Any:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
        F.scaled_dot_product_attention(*tensors, **options).backward(grad)
        return tuple(t.grad for t in tensors)

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    if "rotary" in case.params:
        return None
    (q, k, v), options = _operands(case)
    if case.params["train"] or options["is_causal"] or options["enable_gqa"]:
        return None

    def forward() -> Any:
        scores = q @ k.swapaxes(-1, -2)
        scores *= q.shape[-1] ** -0.5
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return scores @ v

    return forward


def torch(case: Case) -> Callable[[], Any]:
    import torch

    if "rotary" in case.params:
        return _torch_rotary(case)
    arrays, options = _operands(case)
    attention = torch.nn.functional.scaled_dot_product_attention
    tensors = [torch.from_numpy(a) for a in arrays]
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return attention(*tensors, **options)

        return forward
    grad = torch.ones(tensors[0].shape)

    def step() -> Any:
        leaves = [t.detach().requires_grad_() for t in tensors]
        attention(*leaves, **options).backward(grad)
        return tuple(t.grad for t in leaves)

    return step


def _torch_rotary(case: Case) -> Callable[[], Any]:
    """As in the models of Hugging Face, from prepared cosines and sines."""
    import torch

    interleaved = case.params["rotary"][-1]
    x, *tables = map(torch.from_numpy, _rotary_tables(case))
    if interleaved:
        cosine, sine = (t.repeat_interleave(2, -1) for t in tables)
    else:
        cosine, sine = (torch.cat([t, t], -1) for t in tables)

    def forward() -> Any:
        with torch.inference_mode():
            if interleaved:
                turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
            else:
                first, second = x.chunk(2, -1)
                turned = torch.cat([-second, first], -1)
            return x * cosine + turned * sine

    return forward


def _onnxruntime_rotary(case: Case) -> Callable[[], Any]:
    x, cosine, sine = _rotary_tables(case)
    batch, _, length, _ = x.shape
    positions = np.broadcast_to(np.arange(length), (batch, length)).copy()
    model = onnx_models.build(
        "RotaryEmbedding",
        {"x": x},
        {"positions": positions, "cosine": cosine, "sine": sine},
        {"interleaved": int(case.params["rotary"][-1])},
        domain="com.microsoft",
    )
    return onnx_models.onnxruntime(model, {"x": x})


def _mask(queries: int, keys: int) -> np.ndarray:
    """What to add to the scores so that query i sees keys 0 .. i."""
    return np.triu(np.full((queries, keys), -1e30, np.float32), 1)


def _grouped(case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """The queries that share keys below each other, and the causal mask for them."""
    (q, k, _), options = _operands(case)
    batch, heads, queries, width = q.shape
    kv_heads, keys = k.shape[1:3]
    mask = np.tile(_mask(queries, keys), (heads // kv_heads, 1)) if options["is_causal"] else None
    return q.reshape(batch, kv_heads, -1, width), mask


def openvino(case: Case) -> Callable[[], Any] | None:
    if "rotary" in case.params:
        return None
    if case.params["train"]:
        return None
    import openvino
    from openvino import opset13

    arrays, options = _operands(case)
    q, mask = _grouped(case) if options["enable_gqa"] else (arrays[0], None)
    parameters = [opset13.parameter(a.shape, np.float32) for a in (q, *arrays[1:])]
    masks = [] if mask is None else [opset13.constant(mask)]
    causal = options["is_causal"] and mask is None
    node = opset13.scaled_dot_product_attention(*parameters, *masks, causal=causal)
    call = onnx_models.openvino_call(openvino.Model([node], parameters), [q, *arrays[1:]])
    return converted(call, lambda y: y.reshape(arrays[0].shape))


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    """Run ONNX's Attention or one of the operators of com.microsoft, whichever is quicker.

    The latter take (batch, position, heads * width).
    """
    if "rotary" in case.params:
        return _onnxruntime_rotary(case)
    if case.params["train"]:
        return None
    arrays, options = _operands(case)
    batch, heads, queries, width = arrays[0].shape
    kv_heads, keys = arrays[1].shape[1:3]
    inputs = dict(zip("qkv", arrays))
    flat = {n: a.swapaxes(1, 2).reshape(batch, a.shape[2], -1) for n, a in inputs.items()}
    causal = int(options["is_causal"])
    attention = onnx_models.build("Attention", inputs, {}, {"is_causal": causal})
    calls = [onnx_models.onnxruntime(attention, inputs)]

    def heads_first(y: np.ndarray) -> np.ndarray:
        return y.reshape(batch, queries, heads, width).swapaxes(1, 2)

    def contributed(operator: str, constants: Any, attributes: Any, **settings: Any) -> None:
        settings["domain"] = "com.microsoft"
        attributes["num_heads"] = heads
        model = onnx_models.build(operator, flat, constants, attributes, **settings)
        calls.append(converted(onnx_models.onnxruntime(model, flat), heads_first))

    if heads == kv_heads:
        contributed("MultiHeadAttention", {}, {"unidirectional": causal})
    if causal:
        lengths = {"last": np.full(batch, keys - 1, np.int32), "total": np.int32([keys])}
        order = ["q", "k", "v", "", "", "last", "total"]
        attributes = {"kv_num_heads": kv_heads}
        # The cache's new keys and values are among its outputs.
        contributed("GroupQueryAttention", lengths, attributes, order=order, unused_outputs=2)
    return fastest(*calls)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if "rotary" in case.params:
        return None
    arrays, options = _operands(case)
    if case.params["train"]:
        return None
    if not options["is_causal"]:
        return ncnn_models.ncnn("SDPA", {}, [], *arrays)
    batch, _, queries, _ = arrays[0].shape
    mask = np.broadcast_to(_mask(queries, arrays[1].shape[2]), (batch, queries, queries))
    return ncnn_models.ncnn("SDPA", {5: 1}, [], *arrays, mask)


def tflite(case: Case) -> Callable[[], Any] | None:
    """Run two batched products with softmax between them."""
    if "rotary" in case.params:
        return None
    if case.params["train"]:
        return None
    import tensorflow as tf

    arrays, _ = _operands(case)

    q, mask = _grouped(case)
    scale = np.float32(q.shape[-1] ** -0.5)

    def attention(q: Any, k: Any, v: Any) -> Any:
        scores = tf.matmul(q * scale, k, transpose_b=True)
        return tf.matmul(tf.nn.softmax(scores if mask is None else scores + mask), v)

    return tflite_models.tflite(
        attention, q, *arrays[1:], output=lambda y: y.reshape(arrays[0].shape)
    )
