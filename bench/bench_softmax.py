"""softmax, log_softmax, softmin and logsumexp: one group a case, one row a library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import _core

# (shape, dim): attention scores, a language model's rows, a vocabulary, channels of an image.
SHAPES = [((3072, 197), 1), ((8192, 768), 1), ((64, 50257), 1), ((16, 21, 64, 64), 1)]


def numpy_softmax(x: np.ndarray, dim: int) -> np.ndarray:
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


def numpy_log_softmax(x: np.ndarray, dim: int) -> np.ndarray:
    shifted = x - x.max(dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))


def numpy_softmin(x: np.ndarray, dim: int) -> np.ndarray:
    return numpy_softmax(-x, dim)


def numpy_logsumexp(x: np.ndarray, dim: int) -> np.ndarray:
    largest = x.max(dim, keepdims=True)
    return (np.log(np.exp(x - largest).sum(dim, keepdims=True)) + largest).squeeze(dim)


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (F.softmax, numpy_softmax),
    "log_softmax": (F.log_softmax, numpy_log_softmax),
    "softmin": (F.softmin, numpy_softmin),
    "logsumexp": (F.logsumexp, numpy_logsumexp),
}

CASES = [(name, shape, dim) for name in OPERATIONS for shape, dim in SHAPES]


def forward(library: str, name: str, x: np.ndarray, dim: int) -> Callable[[], Any]:
    """Return the call to time; skips where the library is not installed."""
    if library == "torch":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(_core.get_num_threads())
        t = torch.from_numpy(x)
        f = torch.logsumexp if name == "logsumexp" else getattr(torch.nn.functional, name)
        return lambda: f(t, dim)
    f = OPERATIONS[name][0 if library == "fastnn" else 1]
    return lambda: f(x, dim)


@pytest.mark.parametrize("library", ["fastnn", "numpy", "torch"])
@pytest.mark.parametrize(("name", "shape", "dim"), CASES)
def test_forward(benchmark, library, name, shape, dim):
    benchmark.group = f"{name} {shape} dim {dim}"
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    call = forward(library, name, x, dim)
    np.testing.assert_allclose(call(), OPERATIONS[name][1](x, dim), rtol=1e-4, atol=1e-6)
    benchmark(call)


@pytest.mark.parametrize("library", ["fastnn", "torch"])
@pytest.mark.parametrize(("name", "shape", "dim"), CASES[: 2 * len(SHAPES)])
def test_backward(benchmark, library, name, shape, dim):
    benchmark.group = f"{name} backward {shape} dim {dim}"
    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    y = OPERATIONS[name][0](x, dim)
    if library == "fastnn":
        backward = getattr(_core, f"{name}_backward")
        benchmark(lambda: backward(grad, y, dim))
        return
    torch = pytest.importorskip("torch")
    torch.set_num_threads(_core.get_num_threads())
    g, t = torch.from_numpy(grad), torch.from_numpy(y)
    backward = getattr(torch.ops.aten, f"_{name}_backward_data")
    benchmark(lambda: backward(g, t, dim, torch.float32))
