"""Products of groups of matrices of unlike size, as a mixture of experts has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import refuse_none, refuse_out_while_recording


def grouped_mm(
    mat_a: ArrayLike,
    mat_b: ArrayLike,
    *,
    offs: Any = None,
    bias: ArrayLike = None,
    out: Array | None = None,
) -> Result:
    """Product of each group of matrices: ``y[g] = a[g] @ b[g] + bias[g]``.

    An operand of three dimensions is a stack of a matrix for each group. One of two dimensions
    holds those of all groups side by side, cut up at `offs`:

    ========= ========= ================== ======================================
    mat_a     mat_b     result             what `offs` cuts
    ========= ========= ================== ======================================
    (M, K)    (G, K, N) (M, N)             rows, as tokens sorted by their expert
    (G, M, K) (K, N)    (M, N)             columns of mat_b and of the result
    (M, K)    (K, N)    (G, M, N)          the summed dimension
    (G, M, K) (G, K, N) (G, M, N)          nothing
    ========= ========= ================== ======================================

    Each group's product has the bytes that :func:`matmul` gives. Threads share large and small
    groups evenly.

    Parameters
    ----------
    mat_a, mat_b : array or Tensor, float32 or float64
        Any strides are read in place, so that weights (G, N, K) are passed as
        ``weight.swapaxes(1, 2)``.
    offs : array of integers, shape (G,), optional
        Where each group ends in the dimension that is cut: it begins where the one before ends,
        and may be empty. What lies past the last end is in no group, and zero in the result.
    bias : array or Tensor, shape (N,), or (G, N) unless columns are cut, optional
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones; for offs that are not integers.
    ValueError
        For shapes that do not fit, or offs that fall or pass the dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> tokens = np.arange(5.0)[:, None]
    >>> experts = np.array([[[1.0]], [[10.0]], [[100.0]]])
    >>> F.grouped_mm(tokens, experts, offs=np.array([2, 2, 5])).ravel()
    array([  0.,   1., 200., 300., 400.])
    """
    a, b, bias_array = array(mat_a), array(mat_b), array(bias)
    refuse_none("grouped_mm", mat_a=a, mat_b=b)
    refuse_out_while_recording("grouped_mm", out, mat_a, mat_b, bias)
    ends = None if offs is None else np.array(offs)  # a copy, which the gradients may rely on
    y = _core.grouped_mm_forward(a, b, ends, bias_array, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        grad_a = grad_b = grad_bias = None
        if needs[0]:
            grad_a = _core.grouped_mm_forward(grad, b.swapaxes(-1, -2), ends)
        if needs[1]:
            grad_b = _core.grouped_mm_forward(a.swapaxes(-1, -2), grad, ends)
        if needs[2]:
            grad_bias = _bias_gradient(grad, ends, a.ndim, bias_array.shape)
        return grad_a, grad_b, grad_bias

    return record(y, (mat_a, mat_b, bias), backward, name="grouped_mm")


def _bias_gradient(grad: Array, ends: Any, rank_a: int, shape: tuple[int, ...]) -> Array:
    """Sum over the rows of each group, and over the groups if they share a bias."""
    sums: Array = np.empty(shape, grad.dtype)
    if len(shape) == 1:
        end = None if grad.ndim == 3 else ends[-1] if ends.size else 0
        rows = grad[:end] if rank_a == 2 else grad
        _core.axis_sum(rows, tuple(range(rows.ndim - 1)), False, False, sums)
        if grad.ndim == 2 and rank_a == 3:  # columns are cut; those in no group have no bias
            sums[end:] = 0
        return sums
    groups = grad if grad.ndim == 3 else np.split(grad, ends)[:-1]
    for row, group in zip(sums, groups, strict=True):
        _core.axis_sum(group, 0, False, False, row)
    return sums
