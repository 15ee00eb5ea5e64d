"""Layers with weights of reduced precision, for inference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, array, no_grad
from fastnn.functional.quantized import refuse_recording
from fastnn.nn._recurrent_weights import (
    exact_matrix,
    is_reduced,
    matrix_names,
    reduce_matrices,
    to_bfloat16,
)
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter, fuses
from fastnn.nn.rnn import GRU, LSTM, RNN
from fastnn.nn.rnn_cells import GRUCell, LSTMCell, RNNCell

__all__ = ["QuantizationReport", "QuantizedLinear", "quantization_report", "quantize_dynamic"]

_M = TypeVar("_M", bound=Module)


class QuantizedLinear(Module):
    """Affine map of the last dimension with int8 weights; see :func:`quantize_dynamic`.

    ``y = x (weight * weight_scale[:, None])^T + bias``, where each row of x is quantised to 8 bits
    on the way (:func:`fastnn.functional.quantized_linear`). It has no gradient.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : numpy dtype, optional
        Of the input and the output: float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features), int8
        Zeros, until :meth:`from_float` or ``load_state_dict`` fills them.
    weight_scale : Parameter, shape (out_features,)
    bias : Parameter, shape (out_features,), or None

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.QuantizedLinear.from_float(fastnn.nn.Linear(20, 30))
    >>> layer
    QuantizedLinear(in_features=20, out_features=30, bias=True, dtype=int8)
    >>> layer(np.ones((128, 20), np.float32)).shape
    (128, 30)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.zeros((out_features, in_features), np.int8), False)
        self.weight_scale = Parameter(np.ones(out_features, dtype), False)
        self.bias = Parameter(np.zeros(out_features, dtype), False) if bias else None

    @classmethod
    def from_float(cls, linear: Linear) -> QuantizedLinear:
        """Quantise a :class:`Linear`.

        Raises
        ------
        ValueError
            If its weights are not finite.
        """
        weight = linear.weight.data
        self = cls(weight.shape[1], weight.shape[0], linear.bias is not None, weight.dtype)
        q, scale = F.quantize_per_channel(weight)
        self.weight.data, self.weight_scale.data = q, scale
        if self.bias is not None and linear.bias is not None:
            self.bias.data = linear.bias.data.copy()
        return self.train(linear.training)

    @fuses
    def forward(self, input: ArrayLike) -> Array:
        refuse_recording("quantized_linear", input, self.weight_scale, self.bias)
        return self._infer(input)

    def _infer(
        self,
        input: ArrayLike,
        activation: tuple[Any, ...] | None = None,
        residual: ArrayLike = None,
    ) -> Array:
        """activation(x W^T + b + residual); keeps the packed weight."""
        packed = self.weight.pack(_core.active_isa(), _core.pack_quantized_linear)
        return _core.quantized_linear_forward(  # type: ignore[no-any-return]
            array(input),
            packed,
            self.weight_scale.data,
            array(self.bias),
            None,
            array(residual),
            activation,
        )

    def dequantize(self) -> Array:
        """Return the weights as numbers, shape (out_features, in_features)."""
        return self.weight.data * self.weight_scale.data[:, None]

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, dtype=int8"
        )


def quantize_dynamic(
    model: _M, modules: Iterable[str | type] | None = None, *, dtype: str = "int8"
) -> _M:
    """Return a copy of `model` for inference whose layers have int8 or bfloat16 weights.

    Those are Linear layers, and the matrices of recurrent layers and cells: of an LSTM, a GRU or an
    RNN at batch 1, which spends its time reading them.

    int8: a quarter of the memory, and with AVX512_VNNI a multiple of the speed. Weights are
    quantised symmetrically, with a scale for each output channel; activations as they come, row by
    row, so that no calibration is needed.

    bfloat16: half of the memory, and with AVX512_BF16 twice the speed. Weights and activations are
    rounded to 8 bits, products are added in float32; inputs and outputs of a layer stay float32.

    :func:`quantization_report` says what it costs in accuracy.

    Parameters
    ----------
    model : Module
        Left as it is; what is not quantised is copied.
    modules : iterable of str or type, optional
        What to quantise: names of modules and types, each with everything below it. All of the
        model by default.
    dtype : str
        "int8" or "bfloat16", which needs the package ml_dtypes.

    Returns
    -------
    Module
        With a :class:`QuantizedLinear`, or a Linear with frozen bfloat16 weights, for every
        :class:`Linear`, and frozen matrices in every recurrent layer and cell, int8 ones with a
        scale for each row beside them (``weight_hh_l0_scale``). Subclasses are left alone.

    Raises
    ------
    TypeError
        If `model` is not a Module, `modules` holds something else, or a float64 layer is to get
        bfloat16 weights.
    ValueError
        If `dtype` is unknown, a name is not in the model, there is nothing to quantise, or
        weights are not finite.
    ImportError
        If `dtype` is "bfloat16" and ml_dtypes is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> from fastnn import nn
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> nn.quantize_dynamic(model, {"0"})
    Sequential(
      (0): QuantizedLinear(in_features=8, out_features=16, bias=True, dtype=int8)
      (1): ReLU()
      (2): Linear(in_features=16, out_features=4, bias=True)
    )
    """
    if not isinstance(model, Module):
        raise TypeError(f"quantize_dynamic: model must be a Module, got {type(model).__name__}")
    if dtype not in _LINEAR_TWINS:
        raise ValueError(f"quantize_dynamic: dtype must be 'int8' or 'bfloat16', got {dtype!r}")
    chosen = [model] if modules is None else _select(model, modules)
    # deepcopy takes what it finds in its memo for a module's copy.
    twins = {
        id(module): _twin(module, dtype)
        for root in chosen
        for module in root.modules()
        if type(module) in _QUANTIZED
    }
    if not twins:
        raise ValueError(
            "quantize_dynamic: model has no Linear or recurrent layer among the chosen modules"
        )
    return copy.deepcopy(model, dict(twins))


def _bfloat16_linear(linear: Linear) -> Linear:
    weight = to_bfloat16("Linear", linear.weight.data)
    twin = copy.deepcopy(linear)
    twin.weight = Parameter(weight, False)
    return twin.requires_grad_(False)


_LINEAR_TWINS: dict[str, Callable[[Linear], Module]] = {
    "int8": QuantizedLinear.from_float,
    "bfloat16": _bfloat16_linear,
}
_RECURRENT: tuple[type[Module], ...] = (LSTM, GRU, RNN, LSTMCell, GRUCell, RNNCell)
_QUANTIZED = (Linear, *_RECURRENT)


def _twin(module: Module, dtype: str) -> Module:
    if isinstance(module, Linear):
        return _LINEAR_TWINS[dtype](module)
    return reduce_matrices(module, dtype)


def _select(model: Module, modules: Iterable[str | type]) -> list[Module]:
    if isinstance(modules, (str, type)):
        raise TypeError("quantize_dynamic: modules must be a set of names and types, got one")
    named = dict(model.named_modules(remove_duplicate=False))
    chosen = []
    for item in modules:
        if isinstance(item, type):
            chosen += [module for module in named.values() if isinstance(module, item)]
        elif not isinstance(item, str):
            raise TypeError(f"quantize_dynamic: modules must hold names and types, got {item!r}")
        elif item not in named:
            raise ValueError(f"quantize_dynamic: modules: the model has no module {item!r}")
        else:
            chosen.append(named[item])
    return chosen


@dataclass(frozen=True)
class QuantizationReport:
    """What quantisation costs; every error is relative, ``norm(difference) / norm(exact)``.

    Attributes
    ----------
    weight_errors : dict of str to float
        Of each quantised layer's weights, by the layer's name; of a recurrent layer's matrices.
    output_error : float or None
        Of the outputs on the sample; None without one.
    largest_difference : float or None
        The largest difference between two outputs.
    """

    weight_errors: dict[str, float]
    output_error: float | None = None
    largest_difference: float | None = None

    def __str__(self) -> str:
        lines = [f"{name or 'weight'}: {error:.2%}" for name, error in self.weight_errors.items()]
        if self.output_error is not None:
            lines.append(
                f"output: {self.output_error:.2%}, at most {self.largest_difference:.3g} off"
            )
        return "\n".join(lines)


@no_grad
def quantization_report(model: Module, quantized: Module, *inputs: Any) -> QuantizationReport:
    """Compare a model with its twin from :func:`quantize_dynamic`.

    Parameters
    ----------
    model, quantized : Module
        Both are called as they are: set them to evaluation mode first where that matters.
    *inputs : arrays
        A sample to call both with; without one only the weights are compared.

    Returns
    -------
    QuantizationReport

    Raises
    ------
    ValueError
        If `quantized` has no quantised layer, or one that `model` lacks.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> from fastnn import nn
    >>> fastnn.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
    >>> report = nn.quantization_report(
    ...     model, nn.quantize_dynamic(model), np.ones((4, 64), np.float32)
    ... )
    >>> max(report.weight_errors.values()) < 0.01 and report.output_error < 0.02
    True
    """
    exact = dict(model.named_modules())
    errors = {}
    for name, layer in quantized.named_modules():
        weights = _reduced_weights(layer)
        kind = Linear if isinstance(layer, QuantizedLinear) else type(layer)
        twin = exact.get(name)
        if weights and type(twin) is not kind:
            raise ValueError(f"quantization_report: model has no {kind.__name__} called {name!r}")
        for key, weight in weights.items():
            label = name if kind is Linear else f"{name}.{key}".lstrip(".")
            errors[label] = _relative([getattr(twin, key).data], [weight])[0]
    if not errors:
        raise ValueError("quantization_report: quantized has no quantised layer")
    if not inputs:
        return QuantizationReport(errors)
    return QuantizationReport(
        errors, *_relative(_arrays(model(*inputs)), _arrays(quantized(*inputs)))
    )


def _reduced_weights(layer: Module) -> dict[str, Array]:
    """Return the weights of a layer that quantize_dynamic made, as numbers."""
    if isinstance(layer, QuantizedLinear):
        return {"weight": layer.dequantize()}
    if isinstance(layer, Linear) and layer.weight.data.dtype.name == "bfloat16":
        return {"weight": layer.weight.data.astype(np.float32)}
    if is_reduced(layer):
        return {name: exact_matrix(layer, name) for name in matrix_names(layer)}
    return {}


def _arrays(output: Any) -> list[Array]:
    """List the floating-point arrays of an output."""
    if isinstance(output, (tuple, list)):
        return [a for part in output for a in _arrays(part)]
    if isinstance(output, dict):
        return _arrays(list(output.values()))
    a = np.asarray(array(output))
    return [a] if a.dtype.kind == "f" else []


def _relative(exact: list[Array], approximate: list[Array]) -> tuple[float, float]:
    """Return norm(difference) / norm(exact) over all arrays, and the largest difference."""
    square = norm = largest = 0.0
    for a, b in zip(exact, approximate):
        difference = np.abs(a.astype(np.float64) - b)
        square += float(np.sum(difference**2))
        norm += float(np.sum(a.astype(np.float64) ** 2))
        largest = max(largest, float(difference.max(initial=0)))
    return float(np.sqrt(square / norm)) if norm > 0 else float(square > 0), largest
