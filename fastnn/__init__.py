"""Hand-written neural-network kernels on NumPy arrays.

``fastnn.functional`` holds the operations, ``fastnn.nn`` the layers, ``fastnn.optim`` the
optimizers; ``fastnn.fit`` trains a model. Names and semantics follow PyTorch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import functional, nn
from fastnn._core import (
    get_conv_precision,
    get_num_threads,
    set_conv_precision,
    set_num_threads,
)
from fastnn.autograd import enable_grad, is_grad_enabled, no_grad
from fastnn.config import show_config
from fastnn.random import manual_seed
from fastnn.tensor import (
    Tensor,
    clip,
    concatenate,
    einsum,
    maximum,
    minimum,
    split,
    stack,
    where,
)

if TYPE_CHECKING:
    from fastnn import optim, text
    from fastnn.serialization import load, save
    from fastnn.training import History, evaluate, fit, predict

__version__ = "0.1.0"

__all__ = [
    "History",
    "Tensor",
    "clip",
    "concatenate",
    "einsum",
    "enable_grad",
    "evaluate",
    "fit",
    "functional",
    "get_conv_precision",
    "get_num_threads",
    "is_grad_enabled",
    "load",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "predict",
    "save",
    "set_conv_precision",
    "set_num_threads",
    "show_config",
    "split",
    "stack",
    "text",
    "where",
]

# Imported on first use, so that `import fastnn` stays quick.
_LAZY = {
    "History": "fastnn.training",
    "evaluate": "fastnn.training",
    "fit": "fastnn.training",
    "load": "fastnn.serialization",
    "predict": "fastnn.training",
    "save": "fastnn.serialization",
}
_LAZY_MODULES = ("optim", "text", "training", "serialization")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LAZY_MODULES:
        return import_module(f"fastnn.{name}")
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}{_hint(name)}")


def _hint(name: str) -> str:
    """Say where else a name of PyTorch's or NumPy's is."""
    import numpy

    renamed = {"cat": "concatenate", "clamp": "clip", "from_numpy": "Tensor", "tensor": "Tensor"}
    if name in renamed:
        return f"; use fastnn.{renamed[name]}"
    for module in (functional, nn, numpy):
        if not name.startswith("_") and hasattr(module, name):
            return f"; use {module.__name__}.{name}"
    return ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LAZY_MODULES})
