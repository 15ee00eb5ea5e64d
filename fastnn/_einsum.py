"""einsum of Tensors and arrays: sums, products and matrix products that record themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _elementwise as E
from fastnn import _reduce as R
from fastnn import _shape as S
from fastnn.autograd import array

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts: str, *operands: Any) -> Any:
    """Sum of products over named axes, as ``numpy.einsum`` with subscripts in a string.

    Operands are contracted from left to right, each pair by one matrix product: the bytes are the
    same for every number of threads.

    Parameters
    ----------
    subscripts : str
        Such as "bhqd,bhkd->bhqk". Axes named twice in an operand are its diagonal; "..." stands for
        axes that broadcast; without "->" the axes named once remain, in alphabetical order.
    *operands : Tensor or ndarray
        Of one dtype.

    Raises
    ------
    TypeError
        If `subscripts` is not a str, or the dtypes differ.
    ValueError
        If the subscripts do not fit the operands.

    Examples
    --------
    >>> einsum("ij,kj->ik", np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[11., 17.]])
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a str, got {type(subscripts).__name__}")
    S.one_dtype("einsum", operands)
    terms, output = _parse(subscripts, [array(o).shape for o in operands])
    value, axes = operands[0], terms[0]
    value, axes = _reduce_alone(value, axes, {*output}.union(*terms[1:]))
    for i, (operand, term) in enumerate(zip(operands[1:], terms[1:]), start=1):
        later = {*output}.union(*terms[i + 1 :])
        operand, term = _reduce_alone(operand, term, later | set(axes))
        value, axes = _product(value, axes, operand, term, later)
    value, axes = _reduce_alone(value, axes, set(output))
    order = tuple(axes.index(a) for a in output)
    if order == tuple(range(len(order))):
        return value if value is not operands[0] else S.reshape(value, array(value).shape)
    return S.transpose(value, order)


def _parse(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """Return one letter an axis for each operand and for the result, "..." spelled out."""
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} operands, got {len(shapes)} arrays"
        )
    named = [term.replace("...", "") for term in terms]
    letters = "".join(named) + output.replace("...", "")
    if not all(c in LETTERS for c in letters) or any(t.count("...") > 1 for t in [*terms, output]):
        raise ValueError(
            f"einsum: subscripts must be letters, ',', '...' and '->', got {subscripts!r}"
        )
    free = [c for c in LETTERS if c not in letters]
    hidden = [len(s) - len(n) for s, n in zip(shapes, named)]
    for term, count, shape in zip(terms, hidden, shapes):
        if count < 0 or (count > 0 and "..." not in term):
            raise ValueError(f"einsum: {term!r} does not fit an operand of shape {shape}")
    rest = "".join(free[: max(hidden, default=0)])
    full = [t.replace("...", rest[len(rest) - n :]) for t, n in zip(terms, hidden)]
    if arrow:
        output = output.replace("...", rest)
    else:
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        output = rest + "".join(once)
    if len(set(output)) < len(output) or not set(output) <= set("".join(full)):
        raise ValueError(
            f"einsum: the result's axes must be those of operands, each once, got {subscripts!r}"
        )
    sizes: dict[str, int] = {}
    for term, shape in zip(full, shapes):
        for axis, size in zip(term, shape):
            known = sizes.setdefault(axis, size)
            if size not in (1, known) and known != 1:
                raise ValueError(
                    f"einsum: axis {axis!r} of {subscripts!r} has sizes {known} and {size}"
                )
            sizes[axis] = size if known == 1 else known
    return full, output


def _reduce_alone(value: Any, axes: str, wanted: set[str]) -> tuple[Any, str]:
    """Take diagonals, and sum over the axes that neither the others nor the result have."""
    while len(set(axes)) < len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        first, second = axes.index(twice), axes.rindex(twice)
        rest = [i for i in range(len(axes)) if i not in (first, second)]
        value = S.transpose(value, (first, second, *rest))
        count = np.arange(max(array(value).shape[:2]))
        ones = [np.zeros_like(count) if n == 1 else count for n in array(value).shape[:2]]
        value = S.index(value, tuple(ones))
        axes = twice + "".join(axes[i] for i in rest)
    gone = tuple(i for i, a in enumerate(axes) if a not in wanted)
    if not gone:
        return value, axes
    return R.sum(value, gone, False), "".join(a for a in axes if a in wanted)


def _product(a: Any, a_axes: str, b: Any, b_axes: str, wanted: set[str]) -> tuple[Any, str]:
    """Multiply two operands and sum over the axes that are not wanted any more."""
    sizes = dict(zip(a_axes, array(a).shape))
    for axis, size in zip(b_axes, array(b).shape):
        sizes[axis] = max(size, sizes.get(axis, 1)) if sizes.get(axis) != 0 else 0
    # An axis of length 1 that the other operand has longer is one that this operand has not.
    a, a_axes = _without_ones(a, a_axes, b_axes, sizes)
    b, b_axes = _without_ones(b, b_axes, a_axes, sizes)
    shared = [x for x in a_axes if x in b_axes]
    batch = [x for x in shared if x in wanted]
    summed = [x for x in shared if x not in wanted]
    rows = [x for x in a_axes if x not in b_axes]
    columns = [x for x in b_axes if x not in a_axes]
    result = "".join(batch + rows + columns)
    if not summed:
        spread_a = _arrange(a, a_axes, [[x] for x in batch + rows] + [[] for _ in columns], sizes)
        middle: list[list[str]] = [[] for _ in rows]
        spread_b = _arrange(
            b, b_axes, [[x] for x in batch] + middle + [[x] for x in columns], sizes
        )
        return E.multiply(spread_a, spread_b), result
    left = _arrange(a, a_axes, [batch, rows, summed], sizes)
    right = _arrange(b, b_axes, [batch, summed, columns], sizes)
    return S.reshape(E.matmul(left, right), tuple(sizes[x] for x in result)), result


def _without_ones(value: Any, axes: str, other: str, sizes: dict[str, int]) -> tuple[Any, str]:
    shape = array(value).shape
    gone = tuple(i for i, x in enumerate(axes) if x in other and shape[i] == 1 and sizes[x] != 1)
    if not gone:
        return value, axes
    return S.squeeze(value, gone), "".join(x for i, x in enumerate(axes) if i not in gone)


def _arrange(value: Any, axes: str, groups: list[list[str]], sizes: dict[str, int]) -> Any:
    """Bring the axes into the groups' order and join each group into one axis."""
    order = tuple(axes.index(x) for group in groups for x in group)
    if order != tuple(range(len(order))):
        value = S.transpose(value, order)
    return S.reshape(value, tuple(int(np.prod([sizes[x] for x in g])) for g in groups))
