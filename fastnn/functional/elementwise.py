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

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._activation import activation
from fastnn.functional._args import (
    number,
    refuse_out_while_recording,
)
from fastnn.functional._piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    rrelu,
    softshrink,
    threshold,
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


def softsign(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``input / (1 + abs(input))``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return activation("softsign", input, False, out)


def sigmoid(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Logistic function: ``1 / (1 + exp(-input))``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.sigmoid(np.array([0.0]))
    array([0.5])
    """
    return activation("sigmoid", input, False, out, saves_output=True)


def logsigmoid(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``log(sigmoid(input))``, without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.logsigmoid(np.array([-1000.0]))
    array([-1000.])
    """
    return activation("logsigmoid", input, False, out)


def tanh(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.tanh(np.array([0.0, 100.0]))
    array([0., 1.])
    """
    return activation("tanh", input, False, out, saves_output=True)


def tanhshrink(input: ArrayLike, *, out: Array | None = None) -> Result:
    """``input - tanh(input)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.tanhshrink(np.array([0.0, 100.0]))
    array([ 0., 99.])
    """
    return activation("tanhshrink", input, False, out)


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
    return activation("elu", input, inplace, out, alpha)


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
    return activation("celu", input, inplace, out, alpha)


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
    return activation("selu", input, inplace, out)


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
    return activation("softplus", input, False, out, beta, threshold)


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
    return activation("silu", input, inplace, out)


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
    return activation("mish", input, inplace, out)


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
        return activation("gelu", input, False, out)
    if approximate == "tanh":
        return activation("gelu_tanh", input, False, out)
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


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
    return activation("exp", input, False, out, saves_output=True)


def log(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Natural logarithm, within 1 unit in the last place."""
    return activation("log", input, False, out)


def sqrt(input: ArrayLike, *, out: Array | None = None) -> Result:
    """Square root."""
    return activation("sqrt", input, False, out, saves_output=True)
