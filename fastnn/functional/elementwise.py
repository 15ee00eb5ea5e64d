"""Activations and other element-wise operations, forward and backward.

All take an array or Tensor of any shape, float32 or float64, and return one of the same shape and
dtype. A NaN in gives a NaN out. Strides are free; an input that is not contiguous is copied once.

``inplace=True`` writes the result into `input` if that is a plain ndarray, and returns it; a Tensor
is left alone, so that models written with ``inplace=True`` train. ``out`` takes the result instead:
a contiguous array of input's shape and dtype that shares no memory with it; not while a gradient is
being recorded. Common to all are the errors:

TypeError
    If input is not float32 or float64, or a parameter is not a number.
ValueError
    If `out` or `inplace` cannot be used as said above, or a parameter is out of its range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core, random
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import (
    check_destination,
    flag,
    number,
    refuse_out_while_recording,
)

__all__ = [
    "celu",
    "elu",
    "exp",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "sqrt",
    "tanh",
    "tanhshrink",
    "threshold",
]


_KERNELS = {
    kernel[: -len("_forward")]: (
        getattr(_core, kernel),
        getattr(_core, kernel[: -len("_forward")] + "_backward"),
    )
    for family, kernel in _core.kernel_names()
    if family == "elementwise" and kernel.endswith("_forward")
}


def _activation(
    op: str,
    input: ArrayLike,
    inplace: bool,
    out: Array | None,
    *parameters: float,
    saves_output: bool = False,
    name: str = "",
) -> Result:
    """Run the forward kernel of `op` and record its backward kernel.

    `parameters` go to both. The backward kernel gets the output where `saves_output`, else the
    input. `name` is the operation's where it is not the kernel's.
    """
    if inplace or out is not None:
        inplace = check_destination(name or op, input, inplace, out)
    forward, backward_kernel = _KERNELS[op]
    x = array(input)
    y = forward(x, out, inplace, *parameters)
    saved = y if saves_output else x

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (backward_kernel(grad, saved, *parameters),)

    return record(y, (input,), backward, name=name or op)


def relu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Rectified linear unit: ``max(input, 0)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return _activation("relu", input, inplace, out, saves_output=True)


def relu6(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Rectified linear unit up to six: ``min(max(input, 0), 6)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return _activation("relu6", input, inplace, out)


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
    return _activation("leaky_relu", input, inplace, out, negative_slope)


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
        return _activation("leaky_relu", input, inplace, out, slope, name="rrelu")
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
    return _activation("threshold", input, inplace, out, threshold, value)


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
    return _activation("hardtanh", input, inplace, out, min_val, max_val)


def hardsigmoid(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Piecewise linear sigmoid: ``min(max(input + 3, 0), 6) / 6``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.hardsigmoid(np.array([-3.0, 0.0, 6.0]))
    array([0. , 0.5, 1. ])
    """
    return _activation("hardsigmoid", input, inplace, out)


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
    return _activation("hardswish", input, inplace, out)


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
    return _activation("hardshrink", input, False, out, lambd)


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
    return _activation("softshrink", input, False, out, lambd)


def softsign(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``input / (1 + abs(input))``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return _activation("softsign", input, False, out)


def sigmoid(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Logistic function: ``1 / (1 + exp(-input))``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.sigmoid(np.array([0.0]))
    array([0.5])
    """
    return _activation("sigmoid", input, False, out, saves_output=True)


def logsigmoid(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``log(sigmoid(input))``, without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.logsigmoid(np.array([-1000.0]))
    array([-1000.])
    """
    return _activation("logsigmoid", input, False, out)


def tanh(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.tanh(np.array([0.0, 100.0]))
    array([0., 1.])
    """
    return _activation("tanh", input, False, out, saves_output=True)


def tanhshrink(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``input - tanh(input)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.tanhshrink(np.array([0.0, 100.0]))
    array([ 0., 99.])
    """
    return _activation("tanhshrink", input, False, out)


def elu(
    input: ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: Array | None = None
) -> Result:
    """Exponential linear unit: ``input`` where positive, else ``alpha * (exp(input) - 1)``.

    Source: Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep Network Learning by
    Exponential Linear Units, 2015.

    Parameters
    ----------
    input : array or Tensor
    alpha : float
        Minus the limit for very negative inputs.
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.elu(np.array([-100.0, 2.0]))
    array([-1.,  2.])
    """
    return _activation("elu", input, inplace, out, alpha)


def celu(
    input: ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: Array | None = None
) -> Result:
    """Continuously differentiable ELU: ``input`` where positive, else
    ``alpha * (exp(input / alpha) - 1)``.

    Source: Barron, Continuously Differentiable Exponential Linear Units, 2017.

    Parameters
    ----------
    input : array or Tensor
    alpha : float
        Minus the limit for very negative inputs; not 0.
    inplace, out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.celu(np.array([-100.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    if number("celu", "alpha", alpha) == 0:
        raise ValueError("celu: alpha must not be 0")
    return _activation("celu", input, inplace, out, alpha)


def selu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Scaled ELU, which keeps a network's activations near mean 0 and variance 1.

    ``scale * elu(input, alpha)`` with scale 1.0507 and alpha 1.6733.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.selu(np.array([0.0, 1.0]))
    array([0.        , 1.05070099])
    """
    return _activation("selu", input, inplace, out)


def softplus(
    input: ArrayLike, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Result:
    """Smooth ReLU: ``log(1 + exp(beta * input)) / beta``.

    Parameters
    ----------
    input : array or Tensor
    beta : float
    threshold : float
        Where ``beta * input`` exceeds it, the result is the input itself.
    out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softplus(np.array([0.0, 50.0]))
    array([ 0.69314718, 50.        ])
    """
    return _activation("softplus", input, False, out, beta, threshold)


def silu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """Sigmoid linear unit (swish): ``input * sigmoid(input)``.

    Source: Elfwing, Uchibe and Doya, Sigmoid-Weighted Linear Units, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.silu(np.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return _activation("silu", input, inplace, out)


def mish(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Result:
    """``input * tanh(softplus(input))``.

    Source: Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.mish(np.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return _activation("mish", input, inplace, out)


def gelu(input: ArrayLike, approximate: str = "none", *, out: Array | None = None) -> Result:
    """Gaussian error linear unit: ``input * Phi(input)``, Phi the normal distribution function.

    At -inf it is 0, the limit.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.

    Parameters
    ----------
    input : array or Tensor
    approximate : {"none", "tanh"}
        With "tanh", Phi(x) is ``0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.
    out : see the module

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.gelu(np.array([0.0, 10.0]))
    array([ 0., 10.])
    """
    if approximate == "none":
        return _activation("gelu", input, False, out)
    if approximate == "tanh":
        return _activation("gelu_tanh", input, False, out)
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


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


def glu(input: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Result:
    """Gated linear unit: ``a * sigmoid(b)`` for the halves `a` and `b` of the axis `dim`.

    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, 2016.

    Parameters
    ----------
    input : array or Tensor, with an even ``shape[dim]``
    dim : int
    out : array, optional
        Like input, with half the size along `dim`.

    Returns
    -------
    array or Tensor, half as large along `dim`

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.glu(np.array([4.0, 6.0, 0.0, 0.0]))
    array([2., 3.])
    """
    if out is not None:
        refuse_out_while_recording("glu", out, input)
    x = array(input)
    y = _core.glu_forward(x, dim, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (_core.glu_backward(grad, x, dim),)

    return record(y, (input,), backward, name="glu")


def exp(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Exponential function, within 1 unit in the last place."""
    return _activation("exp", input, False, out, saves_output=True)


def log(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Natural logarithm, within 1 unit in the last place."""
    return _activation("log", input, False, out)


def sqrt(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Square root."""
    return _activation("sqrt", input, False, out, saves_output=True)
