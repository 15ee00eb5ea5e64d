"""Activations made of straight pieces: ReLU and its relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core, random
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._activation import activation
from fastnn.functional._args import (
    check_destination,
    flag,
    number,
    refuse_out_while_recording,
)

__all__ = [
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "softshrink",
    "threshold",
]


def relu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Rectified linear unit: ``max(input, 0)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return activation("relu", input, inplace, out, saves_output=True)


def relu6(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Rectified linear unit up to six: ``min(max(input, 0), 6)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return activation("relu6", input, inplace, out)


def leaky_relu(
    input: ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Leaky ReLU: ``input`` where it is positive, else ``negative_slope * input``.

    Parameters
    ----------
    input : array or Tensor
    negative_slope : float
        What a negative input is multiplied by.
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return activation("leaky_relu", input, inplace, out, negative_slope)


def rrelu(
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Randomised leaky ReLU: ``input`` where it is positive, else ``a input``.

    In training a is drawn for each element, evenly between `lower` and `upper`; otherwise it is
    their mean (Xu et al. 2015, "Empirical evaluation of rectified activations").

    Parameters
    ----------
    input : array or Tensor
    lower, upper : float
        The interval of a.
    training : bool
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.rrelu(np.array([-8.0, 2.0]), 0.25, 0.75)
    array([-4.,  2.])
    """
    lower, upper = number("rrelu", "lower", lower), number("rrelu", "upper", upper)
    if not lower <= upper:
        raise ValueError(f"rrelu: lower must be at most upper ({upper}), got {lower}")
    if not flag("rrelu", "training", training):
        slope = (lower + upper) / 2
        return activation("leaky_relu", input, inplace, out, slope, name="rrelu")
    inplace = check_destination("rrelu", input, inplace, out)
    x = array(input)
    # The kernel checks input and out; its result is what does not change.
    y = _core.relu_forward(x, out, False)
    slopes = random.generator().random(x.shape, dtype=x.dtype)
    slopes *= x.dtype.type(upper - lower)
    slopes += x.dtype.type(lower)
    np.copyto(slopes, 1, where=x > 0)
    np.multiply(x, slopes, out=y)
    if inplace:
        x[...] = y
        y = x

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (grad * slopes,)

    return record(y, (input,), backward, name="rrelu")


def threshold(
    input: ArrayLike,
    threshold: float,
    value: float,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Threshold: ``input`` where it exceeds `threshold`, else `value`.

    Parameters
    ----------
    input : array or Tensor
    threshold : float
    value : float
        What replaces an input at or below the threshold.
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.threshold(np.array([-1.0, 2.0]), 0.5, 20.0)
    array([20.,  2.])
    """
    return activation("threshold", input, inplace, out, threshold, value)


def hardtanh(
    input: ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Clip to an interval: ``min(max(input, min_val), max_val)``.

    Parameters
    ----------
    input : array or Tensor
    min_val, max_val : float
        The limits; the gradient at and beyond them is 0.
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hardtanh(np.array([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    low, high = number("hardtanh", "min_val", min_val), number("hardtanh", "max_val", max_val)
    if low > high:
        raise ValueError(f"hardtanh: min_val must be <= max_val, got {min_val} and {max_val}")
    return activation("hardtanh", input, inplace, out, min_val, max_val)


def hardsigmoid(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Piecewise linear sigmoid: ``min(max(input + 3, 0), 6) / 6``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hardsigmoid(np.array([-3.0, 0.0, 6.0]))
    array([0. , 0.5, 1. ])
    """
    return activation("hardsigmoid", input, inplace, out)


def hardswish(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """``input * hardsigmoid(input)``.

    Source: Howard et al., Searching for MobileNetV3, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hardswish(np.array([-3.0, 3.0]))
    array([-0.,  3.])
    """
    return activation("hardswish", input, inplace, out)


def hardshrink(input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Result:
    """Hard shrinkage: ``input`` where ``abs(input) > lambd``, else 0.

    Parameters
    ----------
    input : array or Tensor
    lambd : float
        The threshold.
    out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hardshrink(np.array([-1.0, 0.25, 1.0]))
    array([-1.,  0.,  1.])
    """
    return activation("hardshrink", input, False, out, lambd)


def softshrink(input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Result:
    """Soft shrinkage: ``sign(input) * max(abs(input) - lambd, 0)``.

    Parameters
    ----------
    input : array or Tensor
    lambd : float
        How much the input is moved towards zero; not negative.
    out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softshrink(np.array([-1.0, 0.25, 1.0]))
    array([-0.5,  0. ,  0.5])
    """
    if number("softshrink", "lambd", lambd) < 0:
        raise ValueError(f"softshrink: lambd must be >= 0, got {lambd}")
    return activation("softshrink", input, False, out, lambd)


def prelu(input: ArrayLike, weight: ArrayLike, *, out: Array | None = None) -> Result:
    """Leaky ReLU with a learned slope: ``input`` where positive, else ``weight * input``.

    Source: He et al., Delving Deep into Rectifiers, 2015.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...) or any
    weight : array or Tensor, shape (C,) or (1,) or ()
        One slope for every channel, or one for all.
    out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.prelu(np.array([[-1.0, -1.0]]), np.array([0.5, 0.25]))
    array([[-0.5 , -0.25]])
    """
    if out is not None:
        refuse_out_while_recording("prelu", out, input, weight)
    x, w = array(input), array(weight)
    y = _core.prelu_forward(x, w, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Any:
        return _core.prelu_backward(grad, x, w, *needs)

    return record(y, (input, weight), backward, name="prelu")
