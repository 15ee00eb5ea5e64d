"""Parameters and gradients in one flat array each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastnn.autograd import Array
from fastnn.nn.parameter import Parameter

__all__ = ["FlatParameters"]

_ALIGNMENT = 64  # bytes, a cache line: where each parameter begins


class FlatParameters:
    """Moves parameters into one array, and their gradients into another.

    Each parameter stays what it is, with `data` and `grad` as views: layers and optimizers work as
    before. A data-parallel all-reduce, a checkpoint or a norm takes the whole in one piece. Gaps
    of zeros, for alignment, lie between the parameters.

    Parameters
    ----------
    parameters : iterable of Parameter
        All of one dtype; one that comes twice is moved once.

    Attributes
    ----------
    grad : array, shape (n,)
        The gradients. ``backward`` adds to them, so clear them with :meth:`zero_grad`, which also
        takes in gradients that ``zero_grad`` of a module or an optimizer has detached.

    Raises
    ------
    TypeError
        If one is not a Parameter, or the dtypes differ.
    ValueError
        If there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> layer = nn.Linear(3, 2)
    >>> flat = nn.utils.FlatParameters(layer.parameters())
    >>> layer(np.ones((1, 3), np.float32)).sum().backward()
    >>> float(flat.grad.sum())
    8.0
    >>> flat.data[...] = 0
    >>> layer.bias.data
    array([0., 0.], dtype=float32)
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        found: dict[int, Parameter] = {}
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"FlatParameters: parameters must be Parameters, got {type(parameter).__name__}"
                )
            found[id(parameter)] = parameter
        if not found:
            raise ValueError("FlatParameters: parameters must not be empty")
        self._parameters = list(found.values())
        dtypes = sorted({str(parameter.data.dtype) for parameter in self._parameters})
        if len(dtypes) > 1:
            raise TypeError(f"FlatParameters: parameters must have one dtype, got {dtypes}")
        dtype = self._parameters[0].data.dtype
        step = _ALIGNMENT // dtype.itemsize
        self._places: list[slice] = []
        end = 0
        for parameter in self._parameters:
            begin = -(-end // step) * step
            end = begin + parameter.data.size
            self._places.append(slice(begin, end))
        self._data, self.grad = _aligned_zeros(end, dtype), _aligned_zeros(end, dtype)
        for parameter, place in zip(self._parameters, self._places):
            parameter.drop_packs()
            view = self._data[place].reshape(parameter.data.shape)
            view[...] = parameter.data
            parameter._data = view
        self._adopt_gradients()

    @property
    def data(self) -> Array:
        """The parameters, shape (n,). Asking for it drops packed weights: do not keep it."""
        for parameter in self._parameters:
            parameter.drop_packs()
        return self._data

    def zero_grad(self) -> None:
        """Fill the gradients with zeros, in one pass."""
        for parameter in self._parameters:
            parameter.grad = None
        self.grad[...] = 0
        self._adopt_gradients()

    def _adopt_gradients(self) -> None:
        """Make every parameter's gradient a view of `grad`, with the value it has."""
        for parameter, place in zip(self._parameters, self._places):
            view = self.grad[place].reshape(parameter.data.shape)
            if parameter.grad is not None:
                view[...] = parameter.grad
            parameter.grad = view


def _aligned_zeros(size: int, dtype: np.dtype[np.generic]) -> Array:
    raw = np.zeros(size * dtype.itemsize + _ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % _ALIGNMENT
    return raw[begin : begin + size * dtype.itemsize].view(dtype)
