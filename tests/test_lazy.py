"""Lazy layers are the layers that they stand in for, once they have seen an input."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn import lazy

SHAPES = {"1d": (2, 3, 9), "2d": (2, 3, 9, 8), "3d": (2, 3, 4, 5, 4), "ar": (2, 7, 3)}


def build(name):
    arguments = () if "Norm" in name else (4,) if name == "LazyLinear" else (4, 3)
    return getattr(nn, name)(*arguments), getattr(nn, name[4:])(3, *arguments)


@pytest.mark.parametrize("name", lazy.__all__)
def test_the_first_call_makes_the_layer(name, rng):
    layer, plain = build(name)
    assert repr(layer).startswith(f"{name}(")
    parameters = list(layer.parameters())
    x = rng.normal(size=SHAPES[name[-2:]]).astype(np.float32)
    fastnn.manual_seed(0)
    layer(x)
    fastnn.manual_seed(0)
    plain.reset_parameters()
    plain(x)
    assert type(layer) is type(plain)
    assert repr(layer) == repr(plain)
    assert layer.__dict__.keys() == plain.__dict__.keys()
    assert list(map(id, layer.parameters())) == list(map(id, parameters))
    for (key, value), wanted in zip(layer.state_dict().items(), plain.state_dict().values()):
        np.testing.assert_array_equal(value, wanted, err_msg=key)
    np.testing.assert_array_equal(layer.eval()(x), plain.eval()(x))


def test_an_optimizer_may_come_first(rng):
    model = nn.Sequential(
        *(nn.LazyConv2d(4, 3, groups=1), nn.LazyBatchNorm2d(), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(2)),
    )
    optimizer = fastnn.optim.Adam(model.parameters(), lr=0.05)
    x = rng.normal(size=(8, 1, 6, 6)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0).astype(np.int64)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = fastnn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    copied = copy.deepcopy(model)
    with fastnn.no_grad():
        np.testing.assert_array_equal(copied.eval()(x), model.eval()(x))


def test_conversion_and_freezing_come_before_the_first_call():
    layer = nn.LazyLinear(2).double().requires_grad_(False)
    out = layer(np.ones((1, 3)))
    assert out.dtype == np.float64
    assert layer.weight.shape == (2, 3)
    assert not layer.weight.requires_grad


def test_bad_arguments_and_inputs():
    with pytest.raises(ValueError, match="kernel_size must be >= 1, got 0"):
        nn.LazyConv2d(4, 0)
    with pytest.raises(ValueError, match="out_channels must be divisible by groups = 3"):
        nn.LazyConv1d(4, 3, 1, 0, 1, 3)
    with pytest.raises(ValueError, match=r"LazyConv2d: input has too few dimensions: shape \(2,\)"):
        nn.LazyConv2d(4, 3)(np.ones(2, np.float32))
    layer = nn.LazyConv2d(4, 3, groups=2)
    with pytest.raises(ValueError, match="in_channels must be divisible by groups = 2, got 3"):
        layer(np.ones((1, 3, 5, 5), np.float32))
    assert layer(np.ones((1, 2, 5, 5), np.float32)).shape == (1, 4, 3, 3)
