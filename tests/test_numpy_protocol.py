"""NumPy's own functions on Tensors: recorded, computed on the arrays, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import gradcheck

import fastnn
from fastnn import Tensor
from fastnn._numpy_protocol import FUNCTIONS, UFUNCS


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape)


# Ufuncs that want larger or smaller numbers than 0.5 .. 2.
SHIFTS = {np.arccosh: 1}
SMALL = (np.arcsin, np.arccos, np.arctanh)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_ufuncs_are_recorded(ufunc: np.ufunc, rng: np.random.Generator) -> None:
    scale = 0.45 if ufunc in SMALL else 1
    arrays = [SHIFTS.get(ufunc, 0) + scale * positive(rng, 3, 3) for _ in range(ufunc.nin)]
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    out = ufunc(*tensors)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.data, ufunc(*arrays), rtol=1e-14)
    gradcheck(ufunc, *arrays)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (np.clip, (0.8, 1.5)),
        (np.broadcast_to, ((2, 3, 4),)),
        (np.expand_dims, (1,)),
        (np.swapaxes, (0, 1)),
        (np.reshape, ((4, 3),)),
        (np.transpose, ()),
        (np.transpose, ((1, 0),)),
        (np.squeeze, ()),
        (np.ravel, ()),
        (np.sum, (1,)),
        (np.mean, ()),
        (np.max, (0,)),
        (np.min, (1,)),
        (np.var, (0,)),
        (np.std, (1,)),
        (np.prod, ()),
        (np.prod, (1,)),
        (np.cumsum, ()),
        (np.cumsum, (0,)),
        (np.amax, (1,)),
        (np.amin, ()),
        (np.copy, ()),
        (np.moveaxis, (0, 1)),
        (np.rollaxis, (1,)),
        (np.flip, ()),
        (np.flip, (1,)),
        (np.fliplr, ()),
        (np.flipud, ()),
        (np.roll, (5,)),
        (np.roll, (1, 0)),
        (np.rot90, ()),
        (np.tile, ((2, 1, 2),)),
        (np.repeat, (2,)),
        (np.repeat, ([1, 0, 3], 0)),
        (np.take, ([3, 3, 0],)),
        (np.take, (np.array([[0, 1]]), 1)),
        (np.take_along_axis, (np.array([[0], [3], [3]]), 1)),
        (np.delete, (1, 0)),
        (np.diag, ()),
        (np.diagonal, (1,)),
        (np.tril, (-1,)),
        (np.triu, ()),
        (np.atleast_1d, ()),
        (np.atleast_2d, ()),
        (np.atleast_3d, ()),
        (np.diff, ()),
        (np.diff, (2, 0)),
        (np.pad, (1,)),
        (np.pad, (((1, 2), (0, 1)), "edge")),
        (np.pad, (2, "reflect")),
        (np.pad, (1, "symmetric")),
        (np.pad, (1, "wrap")),
        (np.sort, ()),
        (np.sort, (0,)),
        (np.sort, (None,)),
        (np.round, (1,)),
        (np.trace, ()),
        (np.trace, (1,)),
        (np.cumprod, ()),
        (np.cumprod, (1,)),
        (np.linalg.norm, ()),
        (np.linalg.norm, (None, 0)),
        (np.linalg.norm, ("fro",)),
        (np.linalg.norm, (2, 1, True)),
        (np.linalg.norm, (1, 0)),
        (np.linalg.norm, (np.inf, 1)),
    ],
)
def test_functions_of_one_array_are_recorded(
    function: object, arguments: tuple, rng: np.random.Generator
) -> None:
    x = positive(rng, 3, 4)
    out = function(Tensor(x, requires_grad=True), *arguments)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.data, function(x, *arguments), rtol=1e-14)
    gradcheck(lambda t: function(t, *arguments), x)


def test_functions_of_several_arrays_are_recorded(rng: np.random.Generator) -> None:
    a, b = positive(rng, 2, 4), positive(rng, 2, 4)
    gradcheck(lambda s, t: np.concatenate([s, t], axis=1), a, b)
    gradcheck(lambda s, t: np.stack((s, t), axis=-1), a, b)
    gradcheck(lambda s, t: np.where(a > 1, s, t), a, b)
    gradcheck(lambda t: np.split(t, 2, axis=1)[1], a)
    gradcheck(lambda t: np.concatenate([t, b]), a)
    gradcheck(lambda s, t: np.einsum("ij,kj->ik", s, t), a, b)


@pytest.mark.parametrize("join", [np.vstack, np.hstack, np.dstack, np.column_stack, np.append])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 2)])
def test_joining_is_recorded(join: object, shape: tuple, rng: np.random.Generator) -> None:
    def joined(s: object, t: object) -> object:
        return join(s, t) if join is np.append else join([s, t])

    a, b = positive(rng, *shape), positive(rng, *shape)
    out = joined(Tensor(a, requires_grad=True), b)
    assert isinstance(out, Tensor)
    np.testing.assert_array_equal(out.data, joined(a, b))
    gradcheck(joined, a, b)


def test_append_along_an_axis(rng: np.random.Generator) -> None:
    a, b = positive(rng, 2, 3), positive(rng, 1, 3)
    np.testing.assert_array_equal(np.append(Tensor(a), b, 0), np.append(a, b, 0))
    gradcheck(lambda s, t: np.append(s, t, 0), a, b)


@pytest.mark.parametrize(
    ("cut", "arguments"),
    [
        (np.array_split, (3,)),
        (np.array_split, ([1, 2], 2)),
        (np.split, (2,)),
        (np.hsplit, (3,)),
        (np.vsplit, ([1],)),
        (np.dsplit, (2,)),
    ],
)
def test_cutting_is_recorded(cut: object, arguments: tuple, rng: np.random.Generator) -> None:
    x = positive(rng, 4, 3, 2)
    parts = cut(Tensor(x, requires_grad=True), *arguments)
    for part, expected in zip(parts, cut(x, *arguments)):
        assert isinstance(part, Tensor)
        np.testing.assert_array_equal(part.data, expected)
    gradcheck(lambda t: cut(t, *arguments), x)


@pytest.mark.parametrize("product", [np.dot, np.inner, np.outer, np.vdot, np.tensordot])
@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3,)), ((3, 3), (3, 3)), ((2, 3, 3), (3, 3)), ((), (3,)), ((3,), (2, 3, 3))]
)
def test_products_are_recorded(
    product: object, a: tuple, b: tuple, rng: np.random.Generator
) -> None:
    x, y = positive(rng, *a), positive(rng, *b)
    try:
        expected = product(x, y)
    except (IndexError, ValueError):  # does not fit: no matter how that is said
        with pytest.raises((IndexError, ValueError)):
            product(Tensor(x), Tensor(y))
        return
    out = product(Tensor(x, requires_grad=True), y)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.data, expected, rtol=1e-14)
    gradcheck(product, x, y)


@pytest.mark.parametrize("axes", [0, 1, 2, (0, 1), ([0, 1], [1, 0]), (-1, 0)])
def test_tensordot(axes: object, rng: np.random.Generator) -> None:
    x, y = positive(rng, 3, 3), positive(rng, 3, 3, 2)
    np.testing.assert_allclose(np.tensordot(Tensor(x), Tensor(y), axes), np.tensordot(x, y, axes))
    gradcheck(lambda s, t: np.tensordot(s, t, axes), x, y)


def test_cumprod_of_zeros(rng: np.random.Generator) -> None:
    gradcheck(np.cumprod, np.array([2.0, 0.0, 3.0, 0.0, 1.0]))


def test_the_gradient_of_a_norm_of_zero_is_zero() -> None:
    t = Tensor(np.zeros(3), requires_grad=True)
    np.linalg.norm(t).backward()
    np.testing.assert_array_equal(t.grad, 0)


def test_modes_and_norms_that_are_not_recorded() -> None:
    t = Tensor(np.ones((2, 2)), requires_grad=True)
    with pytest.raises(TypeError, match=r"np\.pad: mode 'mean' is not recorded; use one of"):
        np.pad(t, 1, "mean")
    with pytest.raises(TypeError, match=r"np\.linalg\.norm: ord 'nuc' is not recorded"):
        np.linalg.norm(t, "nuc")


def test_every_recorded_function_is_tried_here() -> None:
    tried = {np.concatenate, np.einsum, np.stack, np.where}
    for test in (
        test_functions_of_one_array_are_recorded,
        test_joining_is_recorded,
        test_cutting_is_recorded,
        test_products_are_recorded,
    ):
        for mark in test.pytestmark:
            values = [value[0] if isinstance(value, tuple) else value for value in mark.args[1]]
            tried |= {value for value in values if callable(value)}
    assert tried >= set(FUNCTIONS)


def test_an_array_on_the_left_gives_a_tensor() -> None:
    t = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    a = np.array([3.0, 4.0])
    for out in (a + t, a - t, a * t, a / t, a**t, a @ t, np.float64(2) * t, np.maximum(a, t)):
        assert isinstance(out, Tensor)
    assert isinstance(a < t, np.ndarray)
    (a * t).sum().backward()
    np.testing.assert_array_equal(t.grad, a)


@pytest.mark.parametrize("function", [np.maximum, np.minimum])
def test_equal_elements_share_the_gradient_and_nan_wins(function: np.ufunc) -> None:
    a = Tensor(np.array([1.0, 2.0, np.nan]), requires_grad=True)
    b = Tensor(np.array([1.0, 3.0, 0.0]), requires_grad=True)
    out = function(a, b)
    np.testing.assert_array_equal(out.data, function(a.data, b.data))
    out.backward(np.ones(3))
    np.testing.assert_array_equal(a.grad + b.grad, np.ones(3))
    assert a.grad[0] == b.grad[0] == 0.5
    assert a.grad[2] == 1


def test_what_has_no_gradient_gives_an_array() -> None:
    t = Tensor(np.array([[3.0, 1.0], [2.0, np.inf]]), requires_grad=True)
    np.testing.assert_array_equal(np.argsort(t), np.argsort(t.data))
    np.testing.assert_array_equal(np.isinf(t), np.isinf(t.data))
    assert np.shape(t) == (2, 2)
    assert np.array_equal(t, t.data)
    assert type(np.zeros_like(t)) is np.ndarray
    assert np.result_type(t, np.float32) == np.float64


def test_a_gradient_is_never_lost_silently() -> None:
    t = Tensor(np.array([[3.0, 1.0], [2.0, 4.0]]), requires_grad=True)
    for name, call in {
        "np.median": lambda: np.median(t),
        "np.add.reduce": lambda: np.add.reduce(t),
        "np.add": lambda: np.add(t, t, dtype=np.float64),
        "np.sum": lambda: np.sum(t, dtype=np.float64),
        "np.kron": lambda: np.kron(t, t),
    }.items():
        with pytest.raises(TypeError, match=rf"{name}: this use is not recorded"):
            call()
        with fastnn.no_grad():
            assert not isinstance(call(), Tensor)
    assert np.median(t.detach()) == 2.5


def test_adding_in_place_to_an_array_is_refused_before_it_writes() -> None:
    total = np.zeros(2)
    t = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(TypeError, match="not recorded"):
        total += t
    np.testing.assert_array_equal(total, 0)
    with fastnn.no_grad():
        total += t
    np.testing.assert_array_equal(total, 1)
    assert type(total) is np.ndarray


def test_dtypes_still_do_not_mix() -> None:
    t = Tensor(np.ones(2, np.float32), requires_grad=True)
    with pytest.raises(TypeError, match=r"one dtype, got float64 and float32"):
        np.ones(2) + t
    with pytest.raises(TypeError, match=r"concatenate: .* one dtype"):
        np.concatenate([t, np.ones(2)])
