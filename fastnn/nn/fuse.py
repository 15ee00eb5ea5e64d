"""fuse: a model for inference with normalisation, activations and sums folded into its layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastnn.autograd import Array, ArrayLike, Result, is_grad_enabled
from fastnn.nn._conv_nd import ConvNd
from fastnn.nn._conv_transpose import ConvTransposeNd
from fastnn.nn.container import Identity, Sequential
from fastnn.nn.conv import SeparableConv2d
from fastnn.nn.dropout import _Dropout
from fastnn.nn.elementwise import fused_activation
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter, can_fuse
from fastnn.nn.norm import _BatchNorm

__all__ = ["Fused", "fuse"]


class Fused(Module):
    """A layer with the activation that follows it in its epilogue; :func:`fuse` makes it.

    ``forward(input, residual=None)`` is ``activation(layer(input) + residual)``, in one pass
    under ``no_grad``.

    Parameters
    ----------
    layer : Linear, Conv1d, Conv2d, Conv3d or their transposes
    activation : Module
        An element-wise activation.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> block = Fused(fastnn.nn.Conv2d(3, 3, 3, padding=1), fastnn.nn.ReLU())
    >>> x = np.ones((1, 3, 8, 8), np.float32)
    >>> with fastnn.no_grad():
    ...     block(x, residual=x).shape
    (1, 3, 8, 8)
    """

    def __init__(self, layer: Module, activation: Module) -> None:
        super().__init__()
        if not isinstance(layer, Module) or not can_fuse(layer):
            raise TypeError(
                f"Fused: layer must be Linear or a convolution, got {type(layer).__name__}"
            )
        epilogue = fused_activation(activation) if isinstance(activation, Module) else None
        if epilogue is None:
            raise TypeError(
                f"Fused: activation must be an element-wise activation without parameters to "
                f"train, got {type(activation).__name__}"
            )
        self.layer: Any = layer
        self.activation = activation
        self._epilogue = epilogue

    def forward(self, input: ArrayLike, residual: ArrayLike | None = None) -> Result:
        if not is_grad_enabled():
            return self.layer._infer(input, self._epilogue, residual)
        y = self.layer(input)
        result: Result = self.activation(y if residual is None else y + residual)
        return result


def fuse(model: Module) -> Module:
    """Return a copy of `model` for inference, with layers merged; `model` stays as it is.

    In every ``Sequential``, at any depth, what follows a convolution or a ``Linear`` is merged
    into it:

    - a ``BatchNorm`` is folded into weight and bias;
    - an element-wise activation goes into the epilogue;
    - ``Dropout`` and ``Identity``, which do nothing in evaluation, are left out.

    A ``Sequential`` with names 0, 1, ... is numbered anew. Modules of other types are searched for
    ``Sequential`` containers, but the order in which their own ``forward`` calls its layers is not
    known: these stay as they are.

    Parameters
    ----------
    model : Module
        In evaluation mode, all of it.

    Returns
    -------
    Module
        In evaluation mode. It computes the same up to rounding: folding changes the order of a
        product and a sum.

    Raises
    ------
    TypeError
        If `model` is not a Module.
    ValueError
        If a module is in training mode, where batch normalisation depends on the batch.

    Notes
    -----
    A ``BatchNorm1d`` behind a ``Linear`` is taken to normalise the features of a batch (N, C).

    Examples
    --------
    >>> import fastnn
    >>> nn = fastnn.nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    >>> fuse(model.eval())
    Sequential(
      (0): Fused(
        (layer): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
        (activation): ReLU()
      )
    )
    """
    if not isinstance(model, Module):
        raise TypeError(f"fuse: model must be a Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if module.training:
            where = f" in {name!r}" if name else ""
            raise ValueError(f"fuse: model must be in evaluation mode, call eval(); not so{where}")
    fused = copy.deepcopy(model)
    for module in list(fused.modules()):
        # A subclass with a forward of its own may use its layers in another order.
        if isinstance(module, Sequential) and type(module).forward is Sequential.forward:
            _fuse_sequential(module)
    return fused.eval()


def _fuse_sequential(container: Sequential) -> None:
    kept: list[tuple[str, Module]] = []
    for name, module in container._modules.items():
        if module is None:
            continue
        if isinstance(module, (_Dropout, Identity)):
            continue
        merged = _merge(kept[-1][1], module) if kept else None
        if merged is None:
            kept.append((name, module))
        else:
            kept[-1] = (kept[-1][0], merged)
    numbered = all(name == str(i) for i, name in enumerate(container._modules))
    for name in list(container._modules):
        delattr(container, name)
    for i, (name, module) in enumerate(kept):
        container.register_module(str(i) if numbered else name, module)


def _merge(layer: Module, follower: Module) -> Module | None:
    """One module for `layer` followed by `follower`, or None; neither is changed."""
    if isinstance(layer, SeparableConv2d):
        pointwise = _merge(layer.pointwise, follower)
        if pointwise is None:
            return None
        separable = copy.deepcopy(layer)
        separable.register_module("pointwise", pointwise)
        return separable
    if isinstance(layer, (ConvNd, Linear)) and isinstance(follower, _BatchNorm):
        return _fold(layer, follower)
    if can_fuse(layer) and fused_activation(follower) is not None:
        return Fused(layer, follower)
    return None


def _fold(layer: ConvNd | Linear, norm: _BatchNorm) -> Module | None:
    """`layer` with ``(y - mean) / sqrt(var + eps) * gamma + beta`` in its weight and bias."""
    mean, var = norm.running_mean, norm.running_var
    weight = layer.weight.data
    if mean is None or var is None or norm.num_features != _out_channels(layer):
        return None
    if mean.dtype != weight.dtype:
        return None
    scale = 1 / np.sqrt(var.astype(np.float64) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.data
    shift = -mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias.data * scale
    if norm.bias is not None:
        shift = shift + norm.bias.data
    folded = copy.deepcopy(layer)
    folded.weight.data = _scaled(layer, scale).astype(weight.dtype)
    folded.bias = Parameter(shift.astype(weight.dtype), layer.weight.requires_grad)
    return folded


def _out_channels(layer: ConvNd | Linear) -> int:
    return layer.out_features if isinstance(layer, Linear) else layer.out_channels


def _scaled(layer: ConvNd | Linear, scale: Array) -> Array:
    """The weight in float64, multiplied by a factor for each output channel."""
    weight = layer.weight.data
    if not isinstance(layer, ConvTransposeNd):
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    # (in, out / groups, *kernel), in blocks of a group
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    factors = scale.reshape(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
    scaled: Array = (grouped * factors).reshape(weight.shape)
    return scaled
