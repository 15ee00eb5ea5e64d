"""Parameters and gradients in one flat array each."""

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim


def network():
    fastnn.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))


def train(model, optimizer, clear, steps=4):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        clear()
        model(rng.standard_normal((7, 2, 6, 6), dtype=np.float32)).sum().backward()
        optimizer.step()
    return [p.data.copy() for p in model.parameters()]


@pytest.mark.parametrize("algorithm", [optim.SGD, optim.AdamW])
def test_training_is_the_same(isa, algorithm):
    plain, flat = network(), network()
    optimizer = algorithm(plain.parameters(), lr=0.01)
    expected = train(plain, optimizer, optimizer.zero_grad)
    arena = nn.utils.FlatParameters(flat.parameters())
    actual = train(flat, algorithm(flat.parameters(), lr=0.01), arena.zero_grad)
    for a, e in zip(actual, expected):
        np.testing.assert_array_equal(a, e)
    for parameter in flat.parameters():
        assert np.shares_memory(parameter.data, arena.data)
        assert np.shares_memory(parameter.grad, arena.grad)
        assert parameter.data.ctypes.data % 64 == 0
        assert parameter.grad.ctypes.data % 64 == 0


def test_packed_weights_do_not_become_stale(rng):
    layer = nn.Linear(64, 64)
    arena = nn.utils.FlatParameters(layer.parameters())
    x = rng.standard_normal((8, 64), dtype=np.float32)
    with fastnn.no_grad():
        layer(x)
        arena.data[...] = 0
        np.testing.assert_array_equal(layer(x), np.zeros_like(x))


def test_what_was_there_is_kept(rng):
    layer = nn.Linear(4, 3)
    layer(rng.standard_normal((2, 4), dtype=np.float32)).sum().backward()
    weight, grad = layer.weight.data.copy(), layer.weight.grad.copy()
    arena = nn.utils.FlatParameters([layer.weight, layer.weight, layer.bias])
    np.testing.assert_array_equal(layer.weight.data, weight)
    np.testing.assert_array_equal(layer.weight.grad, grad)
    assert arena.grad.sum() == pytest.approx(grad.sum() + layer.bias.grad.sum(), rel=1e-5)
    state = {name: np.full_like(value, 2) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    assert np.shares_memory(layer.weight.data, arena.data)
    np.testing.assert_array_equal(layer.weight.data, 2)
    layer.zero_grad()
    arena.zero_grad()
    assert np.shares_memory(layer.bias.grad, arena.grad)
    assert not arena.grad.any()


def test_errors():
    with pytest.raises(ValueError, match="must not be empty"):
        nn.utils.FlatParameters([])
    with pytest.raises(TypeError, match="must be Parameters, got ndarray"):
        nn.utils.FlatParameters([np.ones(2)])
    two = [nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2, np.float32))]
    with pytest.raises(TypeError, match="must have one dtype"):
        nn.utils.FlatParameters(two)
