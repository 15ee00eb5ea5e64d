"""What the element-wise operations share: the call of a kernel, and its gradient."""

from __future__ import annotations

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import (
    check_destination,
)

__all__ = ["activation"]

_KERNELS = {
    kernel[: -len("_forward")]: (
        getattr(_core, kernel),
        getattr(_core, kernel[: -len("_forward")] + "_backward"),
    )
    for family, kernel in _core.kernel_names()
    if family == "elementwise" and kernel.endswith("_forward")
}


def activation(
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
    if inplace is not False or out is not None:
        inplace = check_destination(name or op, input, inplace, out)
    forward, backward_kernel = _KERNELS[op]
    x = array(input)
    y = forward(x, out, inplace, *parameters)
    saved = y if saves_output else x

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (backward_kernel(grad, saved, *parameters),)

    return record(y, (input,), backward, name=name or op)
