"""Activations that other operations apply in their epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import Result
from fastnn.functional._args import number

# Names and default parameters, as in the functions of the same names; gelu_tanh is gelu with
# approximate="tanh".
DEFAULTS: dict[str, tuple[float, ...]] = {
    "celu": (1.0,),
    "elu": (1.0,),
    "gelu": (),
    "gelu_tanh": (),
    "hardshrink": (0.5,),
    "hardsigmoid": (),
    "hardswish": (),
    "hardtanh": (-1.0, 1.0),
    "leaky_relu": (0.01,),
    "logsigmoid": (),
    "mish": (),
    "relu": (),
    "relu6": (),
    "selu": (),
    "sigmoid": (),
    "silu": (),
    "softplus": (1.0, 20.0),
    "softshrink": (0.5,),
    "softsign": (),
    "tanh": (),
    "tanhshrink": (),
}


class Activation:
    """An activation by name, with its parameters.

    Parameters
    ----------
    op : str
        The operation whose argument this is, for messages.
    value : str or tuple
        A name, or a name and parameters: ``"relu"``, ``("leaky_relu", 0.2)``.

    Attributes
    ----------
    native : tuple
        What the kernels take: the name and all parameters.
    """

    def __init__(self, op: str, value: Any) -> None:
        name, *given = value if isinstance(value, tuple) and value else (value,)
        if not isinstance(name, str):
            raise TypeError(
                f"{op}: activation must be a name or a tuple of a name and numbers, got {value!r}"
            )
        if name not in DEFAULTS:
            raise ValueError(f"{op}: activation must be one of {', '.join(DEFAULTS)}, got {name!r}")
        defaults = DEFAULTS[name]
        if len(given) > len(defaults):
            raise ValueError(
                f"{op}: activation {name!r} has {len(defaults)} parameters, got {len(given)}"
            )
        self.name = name
        self.parameters = (
            *(number(op, "activation's parameter", p) for p in given),
            *defaults[len(given) :],
        )
        self(np.empty(0))  # the function itself refuses bad parameters
        self.native = (name, *self.parameters)

    def __call__(self, input: Any) -> Result:
        if self.name == "gelu_tanh":
            return F.gelu(input, approximate="tanh")
        function: Any = getattr(F, self.name)
        return function(input, *self.parameters)
