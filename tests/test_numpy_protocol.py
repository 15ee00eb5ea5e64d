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


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_ufuncs_are_recorded(ufunc: np.ufunc, rng: np.random.Generator) -> None:
    arrays = [positive(rng, 3, 3) for _ in range(ufunc.nin)]
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


def test_every_recorded_function_is_tried_here() -> None:
    tried = {np.concatenate, np.einsum, np.stack, np.where, np.split}
    marks = test_functions_of_one_array_are_recorded.pytestmark
    tried |= {function for mark in marks for function, _ in mark.args[1]}
    assert tried == set(FUNCTIONS)


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
        "np.vstack": lambda: np.vstack([t, t]),
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
