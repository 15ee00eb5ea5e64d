"""Activation layers, each the function of the same name in :mod:`fastnn.functional`.

``inplace=True`` writes into the layer's input, which then has to be a plain ndarray: use it for
inference only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.functional._args import natural, number
from fastnn.nn import init
from fastnn.nn.module import Module
from fastnn.nn.parameter import empty

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Inplace(Module):
    """What the layers with nothing but `inplace` share."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


def _with_inplace(text: str, inplace: bool) -> str:
    return f"{text}, inplace=True" if inplace else text


class ReLU(_Inplace):
    """``max(input, 0)``: :func:`fastnn.functional.relu`.

    Parameters
    ----------
    inplace : bool
        See the module.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.relu(input, self.inplace)


class Hardsigmoid(_Inplace):
    """``min(max(input + 3, 0), 6) / 6``: :func:`fastnn.functional.hardsigmoid`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(_Inplace):
    """``input * hardsigmoid(input)``: :func:`fastnn.functional.hardswish`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.hardswish(input, self.inplace)


class SELU(_Inplace):
    """Scaled exponential linear unit: :func:`fastnn.functional.selu`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.selu(input, self.inplace)


class SiLU(_Inplace):
    """``input * sigmoid(input)``: :func:`fastnn.functional.silu`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.silu(input, self.inplace)


class Mish(_Inplace):
    """``input * tanh(softplus(input))``: :func:`fastnn.functional.mish`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.mish(input, self.inplace)


class Sigmoid(Module):
    """``1 / (1 + exp(-input))``: :func:`fastnn.functional.sigmoid`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """``log(sigmoid(input))``: :func:`fastnn.functional.logsigmoid`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.logsigmoid(input)


class Tanh(Module):
    """Hyperbolic tangent: :func:`fastnn.functional.tanh`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.tanh(input)


class Tanhshrink(Module):
    """``input - tanh(input)``: :func:`fastnn.functional.tanhshrink`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.tanhshrink(input)


class Softsign(Module):
    """``input / (1 + abs(input))``: :func:`fastnn.functional.softsign`."""

    def forward(self, input: ArrayLike) -> Result:
        return F.softsign(input)


class Hardtanh(Module):
    """``min(max(input, min_val), max_val)``: :func:`fastnn.functional.hardtanh`.

    Parameters
    ----------
    min_val, max_val : float
        The limits, the second larger than the first.
    inplace : bool
        See the module.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if number("Hardtanh", "max_val", max_val) <= number("Hardtanh", "min_val", min_val):
            raise ValueError(
                f"Hardtanh: max_val must be larger than min_val, got {max_val} and {min_val}"
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: ArrayLike) -> Result:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"min_val={self.min_val}, max_val={self.max_val}", self.inplace)


class ReLU6(Hardtanh):
    """``min(max(input, 0), 6)``: :func:`fastnn.functional.relu6`.

    Parameters
    ----------
    inplace : bool
        See the module.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Threshold(Module):
    """``input`` above a threshold, else a value: :func:`fastnn.functional.threshold`.

    Parameters
    ----------
    threshold : float
    value : float
        What replaces an input at or below the threshold.
    inplace : bool
        See the module.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: ArrayLike) -> Result:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"threshold={self.threshold}, value={self.value}", self.inplace)


class LeakyReLU(Module):
    """``input`` where positive, else ``negative_slope * input``.

    See :func:`fastnn.functional.leaky_relu`.

    Parameters
    ----------
    negative_slope : float
    inplace : bool
        See the module.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: ArrayLike) -> Result:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"negative_slope={self.negative_slope}", self.inplace)


class RReLU(Module):
    """``input`` where positive, else a random multiple of it: :func:`fastnn.functional.rrelu`.

    Parameters
    ----------
    lower, upper : float
        The interval of the factor; in evaluation it is their mean.
    inplace : bool
        See the module.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: ArrayLike) -> Result:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"lower={self.lower}, upper={self.upper}", self.inplace)


class ELU(Module):
    """Exponential linear unit: :func:`fastnn.functional.elu`.

    Parameters
    ----------
    alpha : float
    inplace : bool
        See the module.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: ArrayLike) -> Result:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"alpha={self.alpha}", self.inplace)


class CELU(ELU):
    """Continuously differentiable ELU: :func:`fastnn.functional.celu`.

    Parameters
    ----------
    alpha : float
    inplace : bool
        See the module.
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.celu(input, self.alpha, self.inplace)


class GELU(Module):
    """Gaussian error linear unit: :func:`fastnn.functional.gelu`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: ArrayLike) -> Result:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class GLU(Module):
    """One half of an axis times the sigmoid of the other: :func:`fastnn.functional.glu`.

    Parameters
    ----------
    dim : int
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: ArrayLike) -> Result:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softplus(Module):
    """``log(1 + exp(beta * input)) / beta``: :func:`fastnn.functional.softplus`.

    Parameters
    ----------
    beta, threshold : float
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: ArrayLike) -> Result:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardshrink(Module):
    """``input`` where ``abs(input) > lambd``, else 0: :func:`fastnn.functional.hardshrink`.

    Parameters
    ----------
    lambd : float
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: ArrayLike) -> Result:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink):
    """`input` moved towards zero by up to `lambd`: :func:`fastnn.functional.softshrink`.

    Parameters
    ----------
    lambd : float
    """

    def forward(self, input: ArrayLike) -> Result:
        return F.softshrink(input, self.lambd)


class PReLU(Module):
    """Leaky ReLU with learned slopes: :func:`fastnn.functional.prelu`.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels (the input's second axis).
    init : float
        Where the slopes start.
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.num_parameters = natural("PReLU", "num_parameters", num_parameters, 1)
        self.init = number("PReLU", "init", init)
        self.weight = empty("PReLU", (self.num_parameters,), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to `init`."""
        init.constant_(self.weight, self.init)

    def forward(self, input: ArrayLike) -> Result:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


# The layers that are an activation: its name and parameters, or None where its function would
# refuse them.
_FUSABLE: dict[type[Module], Callable[[Any], tuple[Any, ...] | None]] = {
    CELU: lambda m: ("celu", m.alpha) if m.alpha != 0 else None,
    ELU: lambda m: ("elu", m.alpha),
    GELU: lambda m: {"none": ("gelu",), "tanh": ("gelu_tanh",)}.get(m.approximate),
    Hardshrink: lambda m: ("hardshrink", m.lambd),
    Hardsigmoid: lambda m: ("hardsigmoid",),
    Hardswish: lambda m: ("hardswish",),
    Hardtanh: lambda m: ("hardtanh", m.min_val, m.max_val),
    LeakyReLU: lambda m: ("leaky_relu", m.negative_slope),
    LogSigmoid: lambda m: ("logsigmoid",),
    Mish: lambda m: ("mish",),
    ReLU: lambda m: ("relu",),
    ReLU6: lambda m: ("relu6",),
    SELU: lambda m: ("selu",),
    SiLU: lambda m: ("silu",),
    Sigmoid: lambda m: ("sigmoid",),
    Softplus: lambda m: ("softplus", m.beta, m.threshold),
    Softshrink: lambda m: ("softshrink", m.lambd) if m.lambd >= 0 else None,
    Softsign: lambda m: ("softsign",),
    Tanh: lambda m: ("tanh",),
    Tanhshrink: lambda m: ("tanhshrink",),
    Threshold: lambda m: ("threshold", m.threshold, m.value),
}


def fused_activation(module: Module | None) -> tuple[Any, ...] | None:
    """Return what the layer before `module` can apply in its stead, or None."""
    if module is not None and module._hooks is not None:
        return None
    describe = _FUSABLE.get(type(module))  # type: ignore[arg-type]
    return None if describe is None else describe(module)
