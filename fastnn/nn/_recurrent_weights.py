"""Weights of recurrent layers and cells as kernels take them: packed, or of reduced precision."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, TypeVar

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn._core import active_isa
from fastnn.autograd import Array
from fastnn.nn.module import Module, Parameter

_M = TypeVar("_M", bound=Module)

_PACK_RECURRENT = {gates: partial(_core.pack_recurrent, gates=gates) for gates in (1, 3, 4)}
_MATRICES = ("weight_ih", "weight_hh", "weight_hr")


def packed_weights(
    gates: int,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    w_hr: Any = None,
    peephole: Any = None,
) -> tuple[Any, ...]:
    """One direction's weights for `_core.rnn_forward`, the two matrices packed and kept so.

    The tuple is kept beside w_hh's packs. It is as good as new while w_ih has the packs that it had
    and the others are the same arrays.
    """
    isa = active_isa()
    b_ih = None if b_ih is None else b_ih._data
    b_hh = None if b_hh is None else b_hh._data
    w_hr = None if w_hr is None else w_hr._data
    peephole = None if peephole is None else peephole._data
    packs = w_hh._packs
    if packs is not None:
        kept = packs.get((isa, "direction"))
        if kept is not None and kept[0] is w_ih._packs:
            weights: tuple[Any, ...] = kept[1]
            if (
                weights[2] is b_ih
                and weights[3] is b_hh
                and weights[4] is w_hr
                and weights[5] is peephole
            ):
                return weights
    pack = _PACK_RECURRENT[gates]
    w_ih_packed, w_hh_packed = w_ih.pack((isa, gates), pack), w_hh.pack((isa, gates), pack)
    weights = (w_ih_packed, w_hh_packed, b_ih, b_hh, w_hr, peephole)
    w_hh._packs[isa, "direction"] = w_ih._packs, weights
    return weights


def reduced_weights(parameters: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    """One direction's weights for `_core.rnn_forward`, the matrices of reduced precision.

    `names` are those of w_ih, w_hh, b_ih, b_hh, w_hr and the peepholes.
    """
    isa = _core.active_isa()

    def given(name: str) -> Any:
        parameter = parameters.get(name)
        if parameter is None or not name.startswith(_MATRICES):
            return None if parameter is None else parameter._data
        scale = parameters.get(name + "_scale")
        if scale is None:
            return parameter.pack(isa, _core.pack_linear)
        return parameter.pack(isa, _core.pack_quantized_linear), scale._data

    return tuple([given(name) for name in names])


def reduce_matrices(layer: _M, dtype: str) -> _M:
    """Return a copy of a recurrent layer or cell with matrices of "int8" or "bfloat16"."""
    twin = copy.deepcopy(layer)
    for name in matrix_names(layer):
        weight = getattr(layer, name).data
        if dtype == "int8":
            weight, scale = F.quantize_per_channel(weight)
            setattr(twin, name + "_scale", Parameter(scale, False))
        else:
            weight = to_bfloat16(type(layer).__name__, weight)
        setattr(twin, name, Parameter(weight, False))
    twin.requires_grad_(False)
    twin._reduced = True
    return twin


def is_reduced(layer: Module) -> bool:
    """Return whether a module is a recurrent layer or cell made by :func:`reduce_matrices`."""
    return getattr(layer, "_reduced", False)


def matrix_names(layer: Module) -> list[str]:
    """Names of a recurrent layer's or cell's matrices."""
    return [
        name
        for name, parameter in layer._parameters.items()
        if parameter is not None and parameter._data.ndim == 2 and name.startswith(_MATRICES)
    ]


def exact_matrix(layer: Module, name: str) -> Array:
    """Return a matrix of reduced precision as numbers."""
    weight, scale = getattr(layer, name).data, layer._parameters.get(name + "_scale")
    if scale is None:
        return weight.astype(np.float32)  # type: ignore[no-any-return]
    return weight * scale.data[:, None]  # type: ignore[no-any-return]


def to_bfloat16(layer: str, weight: Array) -> Array:
    """Round a weight; `layer` is what messages call the layer."""
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError(
            "quantize_dynamic: dtype='bfloat16' needs the package ml_dtypes"
        ) from error
    if weight.dtype == np.float64:
        raise TypeError(
            f"quantize_dynamic: a {layer} with bfloat16 weights takes float32 inputs, got a "
            "float64 layer; convert the model with .float()"
        )
    return weight.astype(bfloat16)


def reduced_repr(layer: Module) -> str:
    """Say in `extra_repr` what quantize_dynamic made of a layer or cell."""
    if not is_reduced(layer):
        return ""
    return f", dtype={getattr(layer, matrix_names(layer)[0]).data.dtype}"
