"""Linear maps with int8 weights, for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, array
from fastnn.functional._args import recorded

__all__ = ["quantize_per_channel", "quantized_linear"]


def quantized_linear(
    input: ArrayLike,
    weight: ArrayLike,
    weight_scale: ArrayLike,
    bias: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Array:
    """Affine map with int8 weights: ``input @ (weight * weight_scale[:, None]).T + bias``.

    Each row of `input` is quantised to 8 bits on the way, so that the products are of integers
    (AVX512_VNNI where the processor has it)::

        scale = (max(x, 0) - min(x, 0)) / 255,  zero = round(-min(x, 0) / scale)
        q = clip(round(x / scale) + zero, 0, 255)
        y[j] = sum_k (q[k] - zero) weight[j, k] * scale * weight_scale[j] + bias[j]

    An element of a row is off by at most half its scale, a zero by nothing. The range is that of
    the row's own values: one outlier spoils only its row, and a row without negative values, as
    after ReLU, uses all 256 levels. The sums are exact: the same bytes come out on every
    instruction set, for every number of threads, and for a row alone or in a batch.

    Parameters
    ----------
    input : array or Tensor, shape (..., in_features), float32 or float64
        A row that holds NaN or infinity gives a row of NaN.
    weight : array, shape (out_features, in_features), int8
        For instance from :func:`quantize_per_channel`.
    weight_scale : array, shape (out_features,), of input's dtype
    bias : array, shape (out_features,), of input's dtype, optional
    out : array, optional
        Where to write the result.

    Returns
    -------
    array, shape (..., out_features)

    Raises
    ------
    RuntimeError
        While a gradient is being recorded for an argument: there is none.
    TypeError
        For other dtypes, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> weight, scale = F.quantize_per_channel(np.array([[1.0, -0.5], [0.25, 2.0]]))
    >>> F.quantized_linear(np.array([[255.0, 0.0]]), weight, scale).round(1)
    array([[255. ,  64.3]])
    """
    refuse_recording("quantized_linear", input, weight_scale, bias)
    y: Array = _core.quantized_linear_forward(
        array(input), array(weight), array(weight_scale), array(bias), out
    )
    return y


def refuse_recording(op: str, *inputs: Any) -> None:
    """Raise RuntimeError if a gradient is being recorded for one of the inputs."""
    if recorded(*inputs):
        raise RuntimeError(
            f"{op}: has no gradient; use fastnn.no_grad(), or train the model before "
            "it is quantised"
        )


def quantize_per_channel(weight: ArrayLike) -> tuple[Array, Array]:
    """Quantise a weight to int8, symmetrically, with one scale an output channel.

    ``scale = max(abs(weight[j])) / 127``, ``q[j] = round(weight[j] / scale[j])``; the scale of a
    channel of zeros is 1.

    Parameters
    ----------
    weight : array or Tensor, shape (out_features, ...), float32 or float64

    Returns
    -------
    q : array, int8, of weight's shape
    scale : array, shape (out_features,), of weight's dtype

    Raises
    ------
    TypeError, ValueError
        For another dtype, no dimension, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.quantize_per_channel(np.array([[1.0, -0.5], [0.0, 0.0]]))
    (array([[127, -64],
           [  0,   0]], dtype=int8), array([0.00787402, 1.        ]))
    """
    w = array(weight)
    if not isinstance(w, np.ndarray) or w.dtype.char not in "fd":
        kind = w.dtype if isinstance(w, np.ndarray) else type(w).__name__
        raise TypeError(
            f"quantize_per_channel: weight must be an array of float32 or float64, got {kind}"
        )
    if w.ndim == 0:
        raise ValueError("quantize_per_channel: weight must have at least 1 dimension, got ()")
    axes = tuple(range(1, w.ndim))
    largest = np.abs(w).max(axis=axes, initial=0, keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError("quantize_per_channel: weight must be finite, got NaN or infinity")
    # A scale below the normal numbers would lose bits of its own.
    scale = np.maximum(largest / 127, np.finfo(w.dtype).tiny)
    scale[largest == 0] = 1
    return np.rint(w / scale).astype(np.int8), scale.reshape(len(w))
