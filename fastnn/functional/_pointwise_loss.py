"""What the losses share: arguments, broadcasting and the recording of element-wise ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn import _reduce as R
from fastnn._elementwise import unbroadcast
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import check_out, refuse_out_while_recording


def refuse_legacy(op: str, size_average: Any, reduce: Any) -> None:
    """Raise unless PyTorch's old reduction arguments are left at None."""
    if size_average is not None or reduce is not None:
        name = "size_average" if size_average is not None else "reduce"
        raise ValueError(f"{op}: {name} must be None; use reduction='none', 'mean' or 'sum'")


def operand(op: str, name: str, value: ArrayLike) -> Array:
    """Return the array behind an argument that must not be None."""
    if value is None:
        raise TypeError(f"{op}: {name} must be a numpy.ndarray or fastnn.Tensor, got NoneType")
    a: Array = array(value)
    return a


def same_shape(op: str, x: Array, t: Array) -> None:
    """Raise unless the target has the input's shape."""
    if t.shape != x.shape:
        raise ValueError(f"{op}: target.shape must be {x.shape} (input.shape), got {t.shape}")


def check_reduction(
    op: str, reduction: Any, allowed: tuple[str, ...] = ("none", "mean", "sum")
) -> None:
    """Raise unless the reduction is one of those allowed."""
    if reduction not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{op}: reduction must be one of {names}, got {reduction!r}")


def reduced(losses: Any, reduction: str) -> Result:
    """Reduce an array or Tensor of losses; a plain result is a 0-d array."""
    if reduction == "none":
        return losses
    reduce = R.mean if reduction == "mean" else R.sum
    return reduce(losses, None, False)


def write(op: str, result: Any, out: Array | None, *inputs: Any) -> Result:
    """Return `result`, or copy it to `out` if that may take it.

    Raises
    ------
    TypeError, ValueError
        If `out` is not an array of the result's shape and dtype, or overlaps an input.
    """
    if out is None:
        return result
    check_out(op, out, result.shape, result.dtype, *map(array, inputs))
    out[...] = result
    return out


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
    x, t, z = operand(op, "input", input), operand(op, "target", target), array(third)
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
