"""Look-ups: embedding and embedding_bag, forward and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
from harness import Case, converted

# Vocabulary, row length, shape of the ids.
SHAPES = [(50_000, 512, (64, 128)), (20_000, 32, (32, 50)), (30_000, 768, (1, 197))]


def _case(op: str, vocabulary: int, dim: int, ids: tuple[int, int], train: bool) -> Case:
    rows = ids[0] * ids[1]
    written = rows if op == "embedding" else ids[0]
    forward = 4.0 * dim * (rows + written)
    return Case(
        f"{op} {vocabulary}x{dim} ids {ids[0]}x{ids[1]}" + (" forward+backward" if train else ""),
        {"op": op, "vocabulary": vocabulary, "dim": dim, "ids": ids, "train": train},
        bytes=forward + (4.0 * dim * (rows + vocabulary) if train else 0.0),
        quick=op == "embedding" and vocabulary == 50_000 and train,
        bar="forward + backward" if op == "embedding" and vocabulary == 50_000 and train else "",
    )


CASES = [
    _case(op, *shape, train)
    for op in ("embedding", "embedding_bag")
    for shape in SHAPES
    for train in (False, True)
]


def operands(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, case.params["vocabulary"], case.params["ids"])
    shape = case.params["vocabulary"], case.params["dim"]
    return ids, rng.standard_normal(shape, dtype=np.float32)


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    op = getattr(F, case.params["op"])
    ids, weight = operands(case)
    if not case.params["train"]:
        return lambda: op(ids, weight)
    grad = np.ones_like(op(ids, weight))

    def step() -> Any:
        t = fastnn.Tensor(weight, requires_grad=True)
        op(ids, t).backward(grad)
        return t.grad

    return step


def numpy(case: Case) -> Callable[[], Any] | None:
    ids, weight = operands(case)
    if case.params["train"]:
        return None
    if case.params["op"] == "embedding":
        return lambda: weight[ids]
    return lambda: weight[ids].mean(axis=1)


def torch(case: Case) -> Callable[[], Any]:
    import torch

    op = getattr(torch.nn.functional, case.params["op"])
    ids, weight = (torch.from_numpy(a) for a in operands(case))
    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return op(ids, weight)

        return forward
    grad = torch.ones_like(op(ids, weight))

    def step() -> Any:
        t = weight.detach().requires_grad_()
        op(ids, t).backward(grad)
        return t.grad

    return step


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["op"] != "embedding":
        return None
    ids, weight = operands(case)
    model = onnx_models.build("Gather", {"ids": ids}, {"w": weight}, {"axis": 0}, ["w", "ids"])
    return model, {"ids": ids}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["train"] or case.params["op"] != "embedding":
        return None
    ids, weight = operands(case)
    params = {0: weight.shape[1], 1: len(weight), 3: weight.size}
    words = ids.astype(np.int32).reshape(1, -1)
    call = ncnn_models.ncnn("Embed", params, [ncnn_models.flagged(weight)], words)
    return converted(call, lambda y: y.reshape(*ids.shape, -1))
