"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn.autograd import Result, TensorBase, array
from fastnn.tensor import concatenate

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _listed(op: str, parameters: Any) -> list[TensorBase]:
    tensors = list(parameters) if isinstance(parameters, Iterable) else [parameters]
    for tensor in tensors:
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"{op}: parameters must be Tensors, got {type(tensor).__name__}")
    return tensors


def parameters_to_vector(parameters: Iterable[TensorBase]) -> Result:
    """Return all elements of the parameters, one after the other; recorded.

    Raises
    ------
    TypeError
        If one is no Tensor, or the dtypes differ.
    ValueError
        If there is none.

    Examples
    --------
    >>> from fastnn import nn
    >>> parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return concatenate(_listed("parameters_to_vector", parameters), axis=None)


def vector_to_parameters(vec: Any, parameters: Iterable[TensorBase]) -> None:
    """Copy a vector into the parameters, the inverse of :func:`parameters_to_vector`.

    Raises
    ------
    TypeError
        If `vec` or a parameter is something else.
    ValueError
        If `vec` has another number of elements; nothing is changed then.

    Examples
    --------
    >>> from fastnn import nn
    >>> layer = nn.Linear(3, 2)
    >>> vector_to_parameters(np.arange(8, dtype=np.float32), layer.parameters())
    >>> layer.bias.data
    array([6., 7.], dtype=float32)
    """
    op = "vector_to_parameters"
    tensors = _listed(op, parameters)
    values = array(vec)
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise TypeError(f"{op}: vec must be an array or Tensor of floats, got {type(vec).__name__}")
    sizes = [tensor.data.size for tensor in tensors]
    if values.shape != (sum(sizes),):
        raise ValueError(f"{op}: vec.shape must be ({sum(sizes)},), got {values.shape}")
    for tensor, part in zip(tensors, np.split(values, np.cumsum(sizes)[:-1])):
        tensor.drop_packs()
        tensor.data[...] = part.reshape(tensor.data.shape)
