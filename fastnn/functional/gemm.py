"""Matrix products: linear, matmul, bmm, grouped_mm. All run on one GEMM engine.

An element of every product is one chain of fused multiply-adds in the order of the summed index.
A row alone therefore has the same bits as the same row inside a batch, and the number of threads
changes nothing.

linear and matmul also take arrays of ``ml_dtypes.bfloat16``, alone or beside float32 ones, which
are then rounded to bfloat16 first. Products are added in float32, in pairs, the second of a pair
before the first; the result is float32 if an operand is, else bfloat16. Subnormal numbers may
count as zero (AVX512_BF16 does that).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import (
    check_out,
    number,
    recorded,
    refuse_none,
    refuse_out_while_recording,
)
from fastnn.functional._fused import Activation
from fastnn.functional._grouped import grouped_mm

__all__ = ["bilinear", "bmm", "column_sum", "grouped_mm", "linear", "matmul"]


def linear(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    *,
    scale: float = 1.0,
    residual: ArrayLike = None,
    activation: str | tuple[Any, ...] | None = None,
    out: Array | None = None,
) -> Result:
    """Affine map of the last dimension: ``input @ weight.T + bias``.

    With the keyword arguments ``activation(scale * input @ weight.T + bias + residual)``, applied
    to each tile of the product while it is in cache. (While a gradient is being recorded they are
    operations of their own.)

    Parameters
    ----------
    input : array or Tensor, shape (..., in_features), float32, float64 or bfloat16
    weight : array or Tensor, shape (out_features, in_features) or (in_features,)
        Of input's dtype; bfloat16 also goes with float32, and then the result is float32.
    bias : array or Tensor, shape (out_features,) or (), optional
    scale : float
    residual : array or Tensor of the result's shape, optional
    activation : str or tuple, optional
        The name of an activation in this module, or a tuple of the name and its parameters:
        ``"relu"``, ``("leaky_relu", 0.2)``; ``"gelu_tanh"`` is gelu's approximation.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (..., out_features), or (...) for a one-dimensional weight

    Raises
    ------
    TypeError
        For other dtypes, or other mixed ones; for a bfloat16 result while a gradient is recorded.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.linear(np.ones((1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[3.5]])
    >>> F.linear(np.ones((1, 2)), np.array([[1.0, -2.0]]), activation="relu")
    array([[0.]])
    """
    x, w, b = array(input), array(weight), array(bias)
    if out is not None:
        refuse_out_while_recording("linear", out, input, weight, bias, residual)
    if scale != 1.0 or residual is not None or activation is not None:
        fused = None if activation is None else Activation("linear", activation)
        if recorded(input, weight, bias, residual):
            return _unfused_linear(input, weight, bias, scale, residual, fused)
        native = None if fused is None else fused.native
        return _core.linear_forward(x, w, b, out, scale, array(residual), native)
    y = _core.linear_forward(x, w, b, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        matrix = w if w.ndim == 2 else w[None]
        count = math.prod(x.shape[:-1])
        rows = grad.reshape(count, matrix.shape[0])
        grad_x = grad_w = grad_b = None
        if needs[0]:
            grad_x = _shaped(_core.matmul_forward(rows, matrix), x.shape)
        if needs[1]:
            columns = x.reshape(count, x.shape[-1])
            grad_w = _shaped(_core.matmul_forward(rows.T, columns), w.shape)
        if needs[2]:
            grad_b = _shaped(_core.axis_sum(rows, 0, False, False), b.shape)
        return grad_x, grad_w, grad_b

    return record(y, (input, weight, bias), backward, name="linear")


def _shaped(a: Array, shape: tuple[int, ...]) -> Array:
    """Reshape `a`; itself where it has the shape, since a view takes longer to give out."""
    return a if a.shape == shape else a.reshape(shape)


def _unfused_linear(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike,
    scale: float,
    residual: ArrayLike,
    activation: Activation | None,
) -> Result:
    y: Any = linear(input, weight, bias if scale == 1.0 else None)
    if scale != 1.0:
        y = number("linear", "scale", scale) * y
        if bias is not None:
            y = _sum(y, bias)
    if residual is not None:
        if np.shape(residual) != y.shape:
            raise ValueError(
                f"linear: residual.shape must be {y.shape} (the output's shape), "
                f"got {np.shape(residual)}"
            )
        y = _sum(y, residual)
    return y if activation is None else activation(y)


def _sum(a: Any, b: Any) -> Result:
    return b + a if isinstance(a, np.ndarray) else a + b  # so that a Tensor comes first


def matmul(input: ArrayLike, other: ArrayLike, *, out: Array | None = None) -> Result:
    """Matrix product with NumPy's broadcasting rules (``numpy.matmul``).

    Parameters
    ----------
    input : array or Tensor, shape (..., M, K) or (K,), float32, float64 or bfloat16
    other : array or Tensor, shape (..., K, N) or (K,)
        Of input's dtype; bfloat16 also goes with float32, and then the result is float32.
        Leading dimensions broadcast; any strides are read in place.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (..., M, N); a one-dimensional operand's dimension is left out

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For 0-d operands or shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    a, b = array(input), array(other)
    if a is None or b is None:
        refuse_none("matmul", input=a, other=b)
    if a.ndim == 0 or b.ndim == 0:
        name = "input" if a.ndim == 0 else "other"
        raise ValueError(f"matmul: {name} must have at least 1 dimension, got shape ()")
    if out is not None:
        refuse_out_while_recording("matmul", out, input, other)
    matrix_a = a if a.ndim > 1 else a[None, :]
    matrix_b = b if b.ndim > 1 else b[:, None]
    full = None if out is None else _with_matrix_axes(out, a, b)
    product = _core.matmul_forward(matrix_a, matrix_b, None, full)
    y = out if out is not None else _without_vector_axes(product, a, b)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        g = grad.reshape(product.shape)
        grad_a = grad_b = None
        if needs[0]:
            grad_a = _core.matmul_forward(g, matrix_b.swapaxes(-1, -2))
            grad_a = _sum_to_shape(grad_a, matrix_a.shape).reshape(a.shape)
        if needs[1]:
            grad_b = _core.matmul_forward(matrix_a.swapaxes(-1, -2), g)
            grad_b = _sum_to_shape(grad_b, matrix_b.shape).reshape(b.shape)
        return grad_a, grad_b

    return record(y, (input, other), backward, name="matmul")


def _without_vector_axes(product: Array, a: Array, b: Array) -> Array:
    if a.ndim == 1:
        product = product[..., 0, :]
    return product[..., 0] if b.ndim == 1 else product


def _with_matrix_axes(out: Any, a: Array, b: Array) -> Any:
    if isinstance(out, np.ndarray):
        if b.ndim == 1:
            out = out[..., None]
        if a.ndim == 1:
            out = out[..., None, :]
    return out


def _sum_to_shape(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum the axes that broadcasting repeated."""
    extra = grad.ndim - len(shape)
    if extra:
        grad = grad.sum(axis=tuple(range(extra)))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=repeated, keepdims=True) if repeated else grad


def bmm(input: ArrayLike, mat2: ArrayLike, *, out: Array | None = None) -> Result:
    """Product of two batches of matrices of the same length.

    Parameters
    ----------
    input : array or Tensor, shape (B, M, K), float32 or float64
    mat2 : array or Tensor, shape (B, K, N)
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (B, M, N)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.bmm(np.ones((2, 1, 3)), np.ones((2, 3, 1))).ravel()
    array([3., 3.])
    """
    a, b = array(input), array(mat2)
    refuse_none("bmm", input=a, mat2=b)
    for name, value in (("input", a), ("mat2", b)):
        if value.ndim != 3:
            raise ValueError(f"bmm: {name} must have 3 dimensions, got shape {value.shape}")
    if a.shape[0] != b.shape[0]:
        raise ValueError(
            f"bmm: mat2.shape[0] must be {a.shape[0]} (input.shape[0]), got {b.shape[0]}"
        )
    return matmul(input, mat2, out=out)


def bilinear(
    input1: ArrayLike,
    input2: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    *,
    out: Array | None = None,
) -> Result:
    """Bilinear form: ``y[..., o] = input1[..., :] @ weight[o] @ input2[..., :] + bias[o]``.

    Parameters
    ----------
    input1 : array or Tensor, shape (..., in1), float32 or float64
    input2 : array or Tensor, shape (..., in2)
    weight : array or Tensor, shape (out, in1, in2)
    bias : array or Tensor, shape (out,), optional
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (..., out)

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.bilinear(np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 2, 3)))
    array([[6.]])
    """
    x1, x2, w, b = array(input1), array(input2), array(weight), array(bias)
    refuse_none("bilinear", input1=x1, input2=x2, weight=w)
    refuse_out_while_recording("bilinear", out, input1, input2, weight, bias)
    if x1.dtype.char not in "fd":
        raise TypeError(f"bilinear: input1.dtype must be float32 or float64, got {x1.dtype}")
    if w.ndim != 3:
        raise ValueError(f"bilinear: weight must have 3 dimensions, got shape {w.shape}")
    outputs, in1, in2 = w.shape
    for name, value, size, axis in (("input1", x1, in1, 1), ("input2", x2, in2, 2)):
        if value.ndim == 0 or value.shape[-1] != size:
            raise ValueError(
                f"bilinear: {name}.shape[-1] must be {size} (weight.shape[{axis}]), "
                f"got shape {value.shape}"
            )
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ValueError(
            f"bilinear: input2.shape[:-1] must be {x1.shape[:-1]} (input1.shape[:-1]), "
            f"got {x2.shape[:-1]}"
        )
    if b is not None and b.shape != (outputs,):
        raise ValueError(f"bilinear: bias.shape must be ({outputs},), got {b.shape}")
    if b is not None and b.dtype != x1.dtype:
        raise TypeError(f"bilinear: bias.dtype must be {x1.dtype} (input1's), got {b.dtype}")
    shape = (*x1.shape[:-1], outputs)
    if out is not None:
        check_out("bilinear", out, shape, x1.dtype, x1, x2, w, b)
    count = math.prod(x1.shape[:-1])
    left, right = x1.reshape(count, in1), x2.reshape(count, in2)
    # half[n, o, j] = sum_i left[n, i] w[o, i, j]
    half = _core.matmul_forward(left, w.transpose(1, 0, 2).reshape(in1, outputs * in2))
    half = half.reshape(count, outputs, in2)
    into = None if out is None else out.reshape(count, outputs, 1)
    y = _core.matmul_forward(half, right[:, :, None], None, into)[..., 0]
    if b is not None:
        y += b

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        g = grad.reshape(count, outputs)
        grads: list[Array | None] = [None] * 4
        if needs[0]:
            outer = (g[:, :, None] * right[:, None, :]).reshape(count, outputs * in2)
            flat = w.transpose(0, 2, 1).reshape(outputs * in2, in1)
            grads[0] = _core.matmul_forward(outer, flat).reshape(x1.shape)
        if needs[1]:
            grads[1] = _core.matmul_forward(g[:, None, :], half)[:, 0].reshape(x2.shape)
        if needs[2]:
            scaled = (g[:, :, None] * left[:, None, :]).reshape(count, outputs * in1)
            grads[2] = _core.matmul_forward(scaled.T, right).reshape(w.shape)
        if needs[3]:
            grads[3] = _core.axis_sum(g, 0, False, False)
        return tuple(grads)

    y = y.reshape(shape) if out is None else out
    return record(y, (input1, input2, weight, bias), backward, name="bilinear")


def column_sum(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Sum over all dimensions but the last, in an order that depends on the shape alone.

    Parameters
    ----------
    input : array or Tensor, shape (..., N), float32 or float64
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (N,)

    Raises
    ------
    TypeError, ValueError
        For another dtype, or no dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.column_sum(np.ones((3, 2)))
    array([3., 3.])
    """
    x = array(input)
    refuse_out_while_recording("column_sum", out, input)
    y = _core.axis_sum(x, tuple(range(x.ndim - 1)), False, False, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (np.broadcast_to(grad, x.shape),)

    return record(y, (input,), backward, name="column_sum")
