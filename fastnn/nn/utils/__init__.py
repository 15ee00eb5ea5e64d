"""Limits on gradients, between ``backward`` and the optimizer's step; parameters in one array."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn import _core
from fastnn._in_place import in_place
from fastnn.autograd import Array, TensorBase
from fastnn.functional._args import number
from fastnn.nn.utils import rnn as rnn
from fastnn.nn.utils.arena import FlatParameters
from fastnn.nn.utils.vector import parameters_to_vector, vector_to_parameters

__all__ = [
    "FlatParameters",
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "vector_to_parameters",
]


def _grads(name: str, parameters: TensorBase | Iterable[TensorBase]) -> list[Array]:
    tensors = [parameters] if isinstance(parameters, TensorBase) else list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"{name}: parameters must be Tensors, got {type(tensor).__name__}")
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def clip_grad_norm_(
    parameters: TensorBase | Iterable[TensorBase],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> np.float64:
    """Scale all gradients in place so that their joint norm is at most `max_norm`.

    They are multiplied by ``min(1, max_norm / (norm + 1e-6))``, where `norm` is that of all
    gradients put into one vector, computed in float64.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    norm_type : float
        p of the p-norm; ``math.inf`` for the largest magnitude.
    error_if_nonfinite : bool
        Whether a norm that is NaN or infinite is an error.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        If `max_norm` is negative or `norm_type` not positive.
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is set.

    Examples
    --------
    >>> from fastnn.tensor import Tensor
    >>> x = Tensor(np.zeros(2), requires_grad=True)
    >>> x.grad = np.array([3.0, 4.0])
    >>> float(clip_grad_norm_(x, 1.0))
    5.0
    >>> x.grad.round(4)
    array([0.6, 0.8])
    """
    grads = _grads("clip_grad_norm_", parameters)
    if not number("clip_grad_norm_", "max_norm", max_norm) >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be >= 0, got {max_norm}")
    if not number("clip_grad_norm_", "norm_type", norm_type) > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be > 0, got {norm_type}")
    total = _norm(grads, float(norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}")
    # A NaN norm makes every gradient NaN, so that it is noticed.
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:
        for arrays in _by_dtype(grads):
            with in_place(arrays) as work:
                _core.scale_arrays(work, factor)
    return total


def _by_dtype(arrays: list[Array]) -> list[list[Array]]:
    groups: dict[Any, list[Array]] = {}
    for array in arrays:
        groups.setdefault(array.dtype, []).append(array)
    return list(groups.values())


def _norm(grads: list[Array], p: float) -> np.float64:
    if p == 2:
        squares = (_core.sum_of_squares(arrays) for arrays in _by_dtype(grads))
        return np.float64(math.sqrt(sum(squares)))
    if math.isinf(p):
        return np.float64(np.max([np.max(np.abs(g), initial=0) for g in grads] or [0]))
    powers = (np.abs(g, dtype=np.float64) ** p for g in grads)
    return np.float64(sum(power.sum() for power in powers) ** (1 / p))


def clip_grad_value_(parameters: TensorBase | Iterable[TensorBase], clip_value: float) -> None:
    """Limit every element of every gradient to ``[-clip_value, clip_value]``, in place.

    Raises
    ------
    ValueError
        If `clip_value` is negative.
    """
    if not number("clip_grad_value_", "clip_value", clip_value) >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be >= 0, got {clip_value}")
    for grad in _grads("clip_grad_value_", parameters):
        np.clip(grad, -clip_value, clip_value, out=grad)
