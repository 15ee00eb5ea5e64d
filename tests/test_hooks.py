"""Hooks of modules, and the containers of parameters."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastnn
from fastnn import nn

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def test_a_forward_hook_sees_the_call_and_may_replace_the_output() -> None:
    layer = nn.Linear(3, 2)
    plain = layer(X).data
    seen = []
    handle = layer.register_forward_hook(lambda m, args, out: seen.append((m, args, out)))
    out = layer(X)
    assert seen[0][0] is layer
    assert seen[0][1][0] is X
    assert seen[0][2] is out
    double = layer.register_forward_hook(lambda m, args, out: 2 * out)
    np.testing.assert_array_equal(layer(X).data, 2 * plain)
    handle.remove()
    handle.remove()
    assert len(seen) == 2
    double.remove()
    assert layer._hooks is None
    np.testing.assert_array_equal(layer(X).data, plain)


def test_a_pre_hook_may_replace_the_arguments() -> None:
    layer = nn.Identity()
    with layer.register_forward_pre_hook(lambda m, args: args[0] + 1):
        with layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,), prepend=True):
            np.testing.assert_array_equal(layer(X), X * 2 + 1)
        np.testing.assert_array_equal(layer(X), X + 1)
    np.testing.assert_array_equal(layer(X), X)


def test_hooks_with_keyword_arguments() -> None:
    class Scale(nn.Module):
        def forward(self, input, factor=1.0):
            return input * factor

    layer = Scale()
    seen = []
    layer.register_forward_pre_hook(lambda m, a, k: (a, {"factor": 3.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, a, k, out: seen.append(k), with_kwargs=True)
    np.testing.assert_array_equal(layer(X, factor=2.0), X * np.float32(3))
    assert seen == [{"factor": 3.0}]
    layer.register_forward_pre_hook(lambda m, a, k: 5, with_kwargs=True)
    with pytest.raises(TypeError, match=r"must return None or a tuple \(args, kwargs\), got int"):
        layer(X)
    with pytest.raises(TypeError, match="register_forward_hook: hook must be callable, got int"):
        layer.register_forward_hook(5)


@pytest.mark.parametrize("position", [0, 1])
def test_hooks_are_called_where_layers_would_be_fused(position: int) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with fastnn.no_grad():
        expected = model(X)
        seen = []
        with model[position].register_forward_hook(lambda m, args, out: seen.append(out)):
            np.testing.assert_allclose(model(X), expected, rtol=1e-6)
        assert len(seen) == 1


def test_a_copy_has_hooks_of_its_own() -> None:
    model = nn.Identity()
    handle = model.register_forward_hook(lambda m, args, out: out + 1)
    twin = copy.deepcopy(model)
    handle.remove()
    np.testing.assert_array_equal(model(X), X)
    np.testing.assert_array_equal(twin(X), X + 1)


def test_get_buffer() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    assert model.get_buffer("0.running_mean") is model[0].running_mean
    with pytest.raises(AttributeError, match=r"has no buffer '0\.weight'"):
        model.get_buffer("0.weight")


def test_parameter_list() -> None:
    values = nn.ParameterList([np.ones(2), nn.Parameter(np.zeros(3))])
    values.append(np.full(1, 5.0)).extend([np.full(2, 6.0)])
    values[-1] = np.full(2, 7.0)
    assert list(values.state_dict()) == ["0", "1", "2", "3"]
    assert all(isinstance(v, nn.Parameter) for v in values)
    assert len(values) == 4
    assert values[-1].data[0] == 7
    assert len(values[1:3]) == 2
    assert values[1:3][0] is values[1]
    assert "(1): Parameter (3,) float64" in repr(values)
    with pytest.raises(IndexError):
        values[4] = np.ones(1)
    model = nn.Module()
    model.scales = values
    assert len(list(model.parameters())) == 4


def test_parameter_dict() -> None:
    values = nn.ParameterDict({"a": np.ones(2)})
    values["b"] = np.zeros(3)
    assert list(values) == list(values.keys()) == ["a", "b"]
    assert "b" in values
    assert [v.shape for v in values.values()] == [(2,), (3,)]
    assert values.pop("a").shape == (2,)
    assert [name for name, _ in values.items()] == ["b"]
    with pytest.raises(KeyError):
        del values["a"]
    assert len(values) == 1
    assert "(b): Parameter (3,) float64" in repr(values)


def test_fold_and_unfold_layers_are_the_functions() -> None:
    x = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    columns = nn.Unfold(2, stride=2)(x)
    np.testing.assert_array_equal(columns, fastnn.functional.unfold(x, 2, stride=2))
    fold = nn.Fold((4, 4), 2, stride=2)
    np.testing.assert_array_equal(fold(columns), x)
    assert repr(fold) == "Fold(output_size=(4, 4), kernel_size=2, dilation=1, padding=0, stride=2)"
