"""Activations and other element-wise operations."""

from __future__ import annotations

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record

__all__ = ["relu"]


def relu(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Rectified linear unit: ``max(input, 0)``, element by element; NaN stays NaN.

    Parameters
    ----------
    input : array or Tensor, any shape, float32 or float64
    out : array, optional
        Where to write the result: contiguous, of input's shape and dtype, not overlapping it.
        Not allowed while a gradient is being recorded.

    Returns
    -------
    array or Tensor of input's shape and dtype

    Raises
    ------
    TypeError
        If input is not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    y = _core.relu_forward(array(input), out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (_core.relu_backward(grad, y),)

    return record(y, (input,), backward, name="relu")
