"""scaled_dot_product_attention: encoders, decoders, cross-attention and decoding."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case

# (batch, heads, heads of key and value, queries, keys, width, causal)
SHAPES = [
    (1, 16, 16, 384, 384, 64, False),
    (8, 12, 12, 197, 197, 64, False),
    (8, 12, 12, 128, 128, 64, False),
    (1, 25, 25, 1024, 1024, 64, False),
    (1, 25, 25, 1024, 1024, 64, True),
    (1, 8, 8, 2048, 2048, 64, False),
    (1, 8, 8, 2048, 2048, 64, True),
    (1, 16, 16, 4096, 4096, 128, True),
    (1, 32, 8, 2048, 2048, 128, True),
    (16, 12, 12, 64, 64, 32, False),
    (64, 8, 8, 32, 32, 32, False),
    (2, 8, 8, 1024, 77, 80, False),
    (1, 32, 8, 1, 4096, 128, False),
    (8, 16, 16, 1, 1024, 64, False),
]


def _case(shape: tuple[Any, ...], train: bool) -> Case:
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
        quick=shape == SHAPES[0] and not train,
    )


CASES = [_case(shape, False) for shape in SHAPES] + [
    _case(shape, True) for shape in SHAPES if shape[3] > 1
]


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


def openvino(case: Case) -> Callable[[], Any] | None:
    arrays, options = _operands(case)
    if case.params["train"] or options["enable_gqa"]:
        return None
    import openvino
    from openvino import opset13

    parameters = [opset13.parameter(a.shape, np.float32) for a in arrays]
    node = opset13.scaled_dot_product_attention(*parameters, causal=options["is_causal"])
    return onnx_models.openvino_call(openvino.Model([node], parameters), list(arrays))


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    """Run com.microsoft's MultiHeadAttention, which takes (batch, position, heads * width)."""
    arrays, options = _operands(case)
    if case.params["train"] or options["is_causal"] or options["enable_gqa"]:
        return None
    import onnxruntime as ort
    from onnx import TensorProto, helper

    batch, heads, queries, width = arrays[0].shape
    flat = [
        np.ascontiguousarray(a.transpose(0, 2, 1, 3)).reshape(batch, a.shape[2], heads * width)
        for a in arrays
    ]
    node = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft", num_heads=heads
    )
    graph = helper.make_graph(
        [node],
        "case",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape)
            for name, a in zip("qkv", flat)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 9
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = ort.InferenceSession(
        model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    for name, a in zip("qkv", flat):
        binding.bind_cpu_input(name, a)
    binding.bind_output("y")
    shape = (batch, queries, heads, width)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy().reshape(shape).transpose(0, 2, 1, 3)

    return call
