"""What the losses share: arguments, broadcasting and the recording of element-wise ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn._elementwise import unbroadcast
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import refuse_out_while_recording


def refuse_legacy(op: str, size_average: Any, reduce: Any) -> None:
    """Raise unless PyTorch's old reduction arguments are left at None."""
    if size_average is not None or reduce is not None:
        name = "size_average" if size_average is not None else "reduce"
        raise ValueError(f"{op}: {name} must be None; use reduction='none', 'mean' or 'sum'")


def number(op: str, name: str, value: Any) -> float:
    """Return a real number as a float."""
    if type(value) is float:
        return value
    if isinstance(value, (bool, str)):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}") from None


def broadcast(op: str, *arrays: Array) -> list[Array]:
    """Broadcast, as read-only views; ValueError names the operation and the shapes."""
    try:
        shape = np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise ValueError(f"{op}: the arguments' shapes must broadcast, got {shapes}") from None
    return [a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays]


def warn_of_broadcasting(op: str, x: Array, t: Array) -> None:
    """Warn where a target of another shape than the input is probably a mistake."""
    warnings.warn(
        f"{op}: target has shape {t.shape}, input {x.shape}; they are broadcast, which is "
        "probably not meant. Give both the same shape.",
        UserWarning,
        stacklevel=4,
    )


def pointwise(
    op: str,
    kernels: tuple[Any, Any],
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    *,
    weight: Array | None = None,
    third: ArrayLike = None,
    parameter: float = 0.0,
    flag: bool = False,
    divisor: float | None = None,
    out: Array | None = None,
) -> Result:
    """Compute and record an element-wise loss of arrays that broadcast.

    `kernels` are its forward and backward kernel. `divisor` is what the sum is divided by, the
    number of elements if it is None and the reduction is "mean".
    """
    x, t, z = array(input), array(target), array(third)
    shapes = (x.shape, t.shape, None if z is None else z.shape)
    if out is not None:
        refuse_out_while_recording(op, out, input, target, third)
    if x.shape != t.shape or (z is not None and z.shape != x.shape):
        x, t, *rest = broadcast(op, *(a for a in (x, t, z) if a is not None))
        z = rest[0] if rest else None
    forward_kernel, backward_kernel = kernels
    y = forward_kernel(x, t, weight, z, parameter, flag, reduction, divisor, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        scale = divisor
        if scale is None:
            scale = float(x.size) if reduction == "mean" else 1.0
        gradients = backward_kernel(grad, x, t, weight, z, parameter, flag, scale, needs)
        return tuple(
            g if g is None or shape is None else unbroadcast(g, shape)
            for g, shape in zip(gradients, shapes)
        )

    return record(y, (input, target, third), backward, name=op)
