"""What the tests share: byte comparison over threads, gradients, tolerances, odd strides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import fastnn
from fastnn import _core


def arrays_of(output: Any) -> list[np.ndarray]:
    """List the arrays of an output: Tensors, arrays, scalars; tuples, lists and dicts in order."""
    if output is None:
        return []
    if isinstance(output, Mapping):
        return [array for value in output.values() for array in arrays_of(value)]
    if isinstance(output, (tuple, list)):
        return [array for value in output for array in arrays_of(value)]
    if isinstance(output, fastnn.Tensor):
        return [output.numpy()]
    return [np.asarray(output)]


def same_bytes(actual: Any, expected: Any) -> bool:
    """Whether two outputs agree in structure, shape, dtype and every bit (NaN payloads too)."""
    left, right = arrays_of(actual), arrays_of(expected)
    return len(left) == len(right) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(left, right)
    )


def same_bytes_for_every_thread_count(
    fn: Callable[[], Any], threads: Sequence[int] = (1, 2, 3, 7)
) -> Any:
    """Run `fn` with each number of threads, assert equal bytes, return the first output.

    All threads take part, also where one would have finished before the others came.
    """
    before = fastnn.get_num_threads()
    _core.wait_for_every_worker(True)
    try:
        fastnn.set_num_threads(threads[0])
        first = fn()
        kept = [array.copy() for array in arrays_of(first)]
        for count in threads[1:]:
            fastnn.set_num_threads(count)
            assert same_bytes(fn(), kept), f"{count} threads differ from {threads[0]}"
    finally:
        _core.wait_for_every_worker(False)
        fastnn.set_num_threads(before)
    return first


def assert_bytes_depend_on_values_alone(call: Callable[[Any], Any], x: np.ndarray) -> None:
    """Neither threads nor the rest of the batch nor strides change a byte of `call` on images.

    Of its gradient neither do the threads.
    """

    def both() -> Any:
        t = fastnn.Tensor(x, requires_grad=True)
        y = call(t)
        y.backward(np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype))
        return y, t.grad

    whole = same_bytes_for_every_thread_count(both)[0].numpy()
    assert same_bytes(call(x[1:2])[0], whole[1])
    for name, view in strided_variants(x).items():
        assert same_bytes(call(view), whole), name


def numeric_gradient(
    f: Callable[..., Any],
    *arrays: np.ndarray,
    eps: float = 6e-6,
    elements: Sequence[Iterable[int] | None] | None = None,
) -> list[np.ndarray | None]:
    """Central differences, in float64, of a scalar function of `arrays`.

    The step is ``eps * max(1, |x|)``; the default is the cube root of float64's epsilon, at which
    the truncation error (step^2) and the rounding error (epsilon / step) meet, near 1e-10.
    Integer and bool arrays are constants and get None. `elements` may give, for each array, the
    flat indices to differentiate; the others are left at NaN.
    """
    values = [np.array(a, np.float64) if a.dtype.kind == "f" else a for a in arrays]
    gradients: list[np.ndarray | None] = []
    for position, x in enumerate(values):
        if x.dtype.kind != "f":
            gradients.append(None)
            continue
        gradient = np.full(x.shape, np.nan)
        chosen = None if elements is None else elements[position]
        for i in range(x.size) if chosen is None else chosen:
            centre = x.flat[i]
            step = eps * max(1.0, abs(centre))
            x.flat[i] = centre + step
            above, width = float(f(*values)), x.flat[i]
            x.flat[i] = centre - step
            below, width = float(f(*values)), width - x.flat[i]
            x.flat[i] = centre
            gradient.flat[i] = (above - below) / width
        gradients.append(gradient)
    return gradients


def gradcheck(
    f: Callable[..., Any],
    *arrays: np.ndarray,
    eps: float = 6e-6,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    max_elements: int = 100,
    seed: int = 0,
) -> None:
    """Assert that autograd's gradients of `f` are those of central differences in float64.

    `f` maps the arrays (as Tensors, then as plain arrays) to one output or a tuple of outputs.
    Every output is weighted by random numbers, so that the whole Jacobian takes part. Floating
    arrays are differentiated, others are passed as they are. Of an array with more than
    `max_elements` elements, a random choice of that many is compared.

    `atol` counts in units of the sum that is differentiated, ``max(1, sum |weight * output|)``:
    that is what central differences round to.
    """
    rng = np.random.default_rng(seed)
    arrays = tuple(np.array(a, np.float64) if a.dtype.kind == "f" else a for a in arrays)
    tensors = [
        fastnn.Tensor(a.copy(), requires_grad=True) if a.dtype.kind == "f" else a for a in arrays
    ]

    outputs = f(*tensors)
    outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    weights = [rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape) for y in outputs]
    if len(outputs) == 1:
        outputs[0].backward(weights[0])
    else:
        total = (outputs[0] * weights[0]).sum()
        for y, weight in zip(outputs[1:], weights[1:]):
            total = total + (y * weight).sum()
        total.backward()

    def weighted_sum(*plain: np.ndarray) -> float:
        with fastnn.no_grad():
            result = arrays_of(f(*plain))
        return sum(float(np.sum(y * weight)) for y, weight in zip(result, weights))

    elements = [
        rng.choice(a.size, max_elements, replace=False) if a.size > max_elements else range(a.size)
        for a in arrays
    ]
    expected = numeric_gradient(weighted_sum, *arrays, eps=eps, elements=elements)
    magnitudes = [np.abs(y * w).sum() for y, w in zip(arrays_of(outputs), weights)]
    scale = max(1.0, float(sum(magnitudes)))
    for position, (tensor, numeric, chosen) in enumerate(zip(tensors, expected, elements)):
        if numeric is None:
            continue
        analytic = tensor.grad
        assert analytic is not None, f"argument {position} got no gradient"
        assert analytic.shape == numeric.shape, (
            f"argument {position}: gradient has shape {analytic.shape}, its array {numeric.shape}"
        )
        assert analytic.dtype == np.float64
        index = np.fromiter(chosen, np.int64)
        np.testing.assert_allclose(
            analytic.reshape(-1)[index],
            numeric.reshape(-1)[index],
            rtol=rtol,
            atol=atol * scale,
            err_msg=f"gradient of argument {position}",
        )


def tolerance(dtype: Any, reduction_length: int = 1, c: float = 4.0) -> float:
    """Relative error allowed after `reduction_length` rounded steps: ``c * eps * length``."""
    return c * float(np.finfo(dtype).eps) * max(1, reduction_length)


def assert_close(
    actual: Any,
    expected64: Any,
    reduction_length: int = 1,
    *,
    c: float = 4.0,
    scale: float | np.ndarray | None = None,
) -> None:
    """Assert ``|actual - expected64| <= tolerance * scale``, element by element.

    `actual` is in the dtype under test, which sets the tolerance; `expected64` comes from the
    float64 reference. `scale` is the size of the terms that were added up (an array, for example
    ``abs(a) @ abs(b)``, or a number); by default the largest finite ``|expected64|``, at least 1,
    which suits inputs of order one. NaN must meet NaN, and an infinity the same infinity.
    """
    actual = arrays_of(actual)[0]
    expected = np.asarray(expected64, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype in (np.float32, np.float64), f"dtype {actual.dtype}"
    if actual.size == 0:
        return

    finite = np.isfinite(expected)
    if scale is None:
        scale = max(1.0, float(np.max(np.abs(expected[finite]), initial=0.0)))
    allowed = tolerance(actual.dtype, reduction_length, c) * np.broadcast_to(scale, actual.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(actual.astype(np.float64) - expected)
        same_special = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    good = np.where(finite, error <= allowed, same_special)
    if good.all():
        return
    bad = np.argwhere(~good)
    first = tuple(int(i) for i in bad[0])
    raise AssertionError(
        f"{len(bad)} of {actual.size} elements differ; first at {first}: "
        f"got {actual[first]!r}, expected {expected[first]!r}, "
        f"error {error[first]:.3g}, allowed {allowed[first]:.3g}"
    )


def strided_variants(array: np.ndarray) -> dict[str, np.ndarray]:
    """Lay the same values out in the ways that a kernel has to cope with, by name.

    contiguous; transposed memory order; negative strides on every axis; an offset view inside a
    larger array filled with NaN; every second element of the last axis; every second of every
    axis; an address that is not a multiple of the element size (the binding has to copy).
    """
    array = np.asarray(array)
    poison: Any = np.nan if array.dtype.kind == "f" else 77
    backwards = (..., *[slice(None, None, -1)] * array.ndim)

    larger = np.full([n + 5 for n in array.shape], poison, array.dtype)
    offset = larger[(..., *[slice(3, 3 + n) for n in array.shape])]

    def spread(axes: int) -> np.ndarray:
        """Room for twice the elements along the last `axes` axes, viewed at every second."""
        kept = array.ndim - axes
        wide = np.full(
            [n if i < kept else 2 * n for i, n in enumerate(array.shape)], poison, array.dtype
        )
        return wide[(..., *[slice(None, None, 2)] * axes)]

    raw = np.zeros(array.nbytes + 1, np.uint8)
    variants = {
        "contiguous": np.empty(array.shape, array.dtype),
        "transposed": np.empty(array.shape, array.dtype, order="F"),
        "negative": np.empty(array.shape, array.dtype)[backwards],
        "offset": offset,
        "every_second_last": spread(min(1, array.ndim)),
        "every_second": spread(array.ndim),
        "misaligned": np.ndarray(array.shape, array.dtype, buffer=raw, offset=1),
    }
    for view in variants.values():
        view[...] = array
    return variants
