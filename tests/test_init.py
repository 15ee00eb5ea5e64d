"""Initialisers and the random state."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from fastnn import random
from fastnn.functional import conv2d
from fastnn.nn import init
from fastnn.nn.module import Parameter

SIZE = (200, 300)


@pytest.mark.parametrize(
    ("function", "arguments", "std"),
    [
        (init.uniform_, (-1.0, 3.0), 4 / math.sqrt(12)),
        (init.normal_, (1.0, 2.0), 2.0),
        (init.xavier_uniform_, (2.0,), 2 * math.sqrt(2 / 500)),
        (init.xavier_normal_, (), math.sqrt(2 / 500)),
        (init.kaiming_uniform_, (math.sqrt(5),), math.sqrt(1 / 3 / 300)),
        (init.kaiming_normal_, (0, "fan_out", "relu"), math.sqrt(2 / 200)),
        (init.trunc_normal_, (), 0.8796),
    ],
)
def test_initialisers(function: object, arguments: tuple, std: float, dtype: np.dtype) -> None:
    random.manual_seed(3)
    p = Parameter(np.empty(SIZE, dtype))
    assert function(p, *arguments) is p
    assert p.dtype == dtype
    assert abs(p.data.std() / std - 1) < 0.02
    random.manual_seed(3)
    np.testing.assert_array_equal(function(np.empty(SIZE, dtype), *arguments), p.data)


def test_fans_of_a_convolution() -> None:
    random.manual_seed(0)
    weight = init.kaiming_uniform_(np.empty((8, 4, 3, 5)))
    bound = math.sqrt(2) * math.sqrt(3 / 60)
    assert 0.95 * bound < weight.max() <= bound


def test_truncated_normal_stays_inside() -> None:
    for mean, std, a, b in ((0, 1, -0.5, 0.1), (5, 1, -2, 2), (0, 0, 1, 2), (0, 1e-3, -1, 1)):
        x = init.trunc_normal_(np.empty(1000, np.float32), mean, std, a, b)
        assert x.min() >= a
        assert x.max() <= b


def test_orthogonal() -> None:
    tall = init.orthogonal_(np.empty((6, 2, 2)), gain=2.0).reshape(6, 4)
    np.testing.assert_allclose(tall.T @ tall, 4 * np.eye(4), atol=1e-12)
    wide = init.orthogonal_(np.empty((3, 5)))
    np.testing.assert_allclose(wide @ wide.T, np.eye(3), atol=1e-12)
    assert init.orthogonal_(np.empty((0, 5))).shape == (0, 5)


def test_constants() -> None:
    assert (init.constant_(np.empty(3), 2.5) == 2.5).all()
    assert (init.zeros_(np.empty(3)) == 0).all()
    assert (init.ones_(np.empty(3)) == 1).all()
    np.testing.assert_array_equal(init.eye_(np.empty((2, 3))), np.eye(2, 3))


def test_gains() -> None:
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    with pytest.raises(ValueError, match=r"nonlinearity must be one of linear, .*, got 'swish'"):
        init.calculate_gain("swish")


def test_initialiser_errors() -> None:
    with pytest.raises(TypeError, match="zeros_: tensor must be a Tensor or ndarray"):
        init.zeros_(np.zeros(2, int))
    with pytest.raises(TypeError, match=r"uniform_: tensor must be .* got list"):
        init.uniform_([1.0])
    with pytest.raises(ValueError, match="normal_: std must be >= 0, got -1"):
        init.normal_(np.empty(2), std=-1)
    with pytest.raises(ValueError, match="uniform_: b must be >= a, got a=1 and b=0"):
        init.uniform_(np.empty(2), 1, 0)
    with pytest.raises(ValueError, match=r"xavier_normal_: tensor must have at least 2 dim"):
        init.xavier_normal_(np.empty(2))
    with pytest.raises(ValueError, match="kaiming_normal_: mode must be"):
        init.kaiming_normal_(np.empty((2, 2)), mode="fan")


def test_random_state() -> None:
    random.manual_seed(-1)
    assert random.initial_seed() == 2**64 - 1
    first = [random.next_philox_key() for _ in range(3)]
    assert first == [(2**64 - 1, 0), (2**64 - 1, 1), (2**64 - 1, 2)]
    random.manual_seed(7)
    assert random.next_philox_key() == (7, 0)
    draws = random.generator().random(4)
    random.manual_seed(np.int64(7))
    np.testing.assert_array_equal(random.generator().random(4), draws)
    with pytest.raises(TypeError, match="manual_seed: seed must be an int, got float"):
        random.manual_seed(1.5)


def test_dirac_passes_the_input_on(rng):
    x = rng.normal(size=(2, 6, 5, 5)).astype(np.float32)
    weight = init.dirac_(np.ones((6, 3, 3, 3), np.float32), groups=2)
    np.testing.assert_array_equal(conv2d(x, weight, padding=1, groups=2), x)
    assert init.dirac_(np.ones((4, 3, 3))).sum() == 3
    assert init.dirac_(np.ones((2, 3, 0))).shape == (2, 3, 0)
    with pytest.raises(ValueError, match=r"dirac_: tensor must have 3 to 5 .* shape \(2, 3\)"):
        init.dirac_(np.ones((2, 3)))


def test_sparse_leaves_a_share_of_each_column():
    weight = init.sparse_(np.empty((10, 4)), 0.25, std=2)
    assert (np.count_nonzero(weight == 0, axis=0) == 3).all()
    with pytest.raises(ValueError, match=r"sparse_: sparsity must be in \[0, 1\], got 2"):
        init.sparse_(np.empty((10, 4)), 2)


@pytest.mark.parametrize("name", sorted(set(init.__all__) - {"calculate_gain"}))
def test_every_initialiser_names_itself(name):
    function = getattr(init, name)
    more = {"constant_": (0.0,), "sparse_": (0.5,)}.get(name, ())
    for bad in (None, "a", np.zeros((2, 2), np.int64)):
        with pytest.raises(TypeError, match=f"^{name}: tensor must be a Tensor or ndarray"):
            function(bad, *more)
    if "generator" in inspect.signature(function).parameters:
        with pytest.raises(TypeError, match=r": generator must be a numpy\.random\."):
            function(np.zeros((4, 4)), *more, generator="a")
