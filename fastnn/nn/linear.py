"""Linear and bilinear layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn._core import linear_infer
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import flag, natural
from fastnn.nn import init
from fastnn.nn.module import Module, fuses
from fastnn.nn.parameter import empty

__all__ = ["Bilinear", "Linear"]


class Linear(Module):
    """Affine map ``y = x W^T + b`` of the last dimension.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Uniform in +-1/sqrt(in_features), as in PyTorch.
    bias : Parameter, shape (out_features,), or None
        The same distribution.

    Notes
    -----
    Under ``no_grad`` the weight is packed once and kept; while it is, its array is read-only. The
    optimizer, ``load_state_dict``, assigning ``.data`` and recording drop the pack. An activation
    that follows in a ``Sequential`` is then applied as the product's epilogue.

    A weight may be an array of ``ml_dtypes.bfloat16``, for inference: ``layer.weight =
    Parameter(weight, requires_grad=False)``; see :func:`fastnn.nn.quantize_dynamic`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.Linear(20, 30)
    >>> layer(np.ones((128, 20), np.float32)).shape
    (128, 30)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_features = natural(name, "in_features", in_features)
        self.out_features = natural(name, "out_features", out_features)
        self.weight = empty(name, (self.out_features, self.in_features), dtype)
        self.bias = empty(name, (self.out_features,), dtype) if flag(name, "bias", bias) else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    @fuses
    def forward(self, input: ArrayLike) -> Result:
        if is_grad_enabled():
            return F.linear(input, self.weight, self.bias)
        return linear_infer(array(input), self.weight, self.bias)

    def _infer(
        self,
        input: ArrayLike,
        activation: tuple[Any, ...] | None = None,
        residual: ArrayLike = None,
    ) -> Array:
        """activation(x W^T + b + residual), without recording; keeps the packed weight."""
        added = None if residual is None else array(residual)
        y: Array = linear_infer(array(input), self.weight, self.bias, activation, added)
        return y

    def extra_repr(self) -> str:
        dtype = self.weight.data.dtype
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}" + (f", dtype={dtype}" if dtype.kind != "f" else "")
        )


class Bilinear(Module):
    """``y[o] = x1 W[o] x2 + b[o]``.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool
    dtype : numpy dtype, optional

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
        Uniform in +-1/sqrt(in1_features).
    bias : Parameter, shape (out_features,), or None

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.Bilinear(3, 4, 5)
    >>> layer(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)).shape
    (2, 5)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in1_features = natural(name, "in1_features", in1_features, 1)
        self.in2_features = natural(name, "in2_features", in2_features)
        self.out_features = natural(name, "out_features", out_features)
        shape = self.out_features, self.in1_features, self.in2_features
        self.weight = empty(name, shape, dtype)
        self.bias = empty(name, shape[:1], dtype) if flag(name, "bias", bias) else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: ArrayLike, input2: ArrayLike) -> Result:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
