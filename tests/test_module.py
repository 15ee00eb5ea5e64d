"""Module, Parameter and the containers."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from fastnn.autograd import no_grad
from fastnn.nn import init
from fastnn.nn.container import (
    Flatten,
    Identity,
    ModuleDict,
    ModuleList,
    Sequential,
    Unflatten,
)
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter
from fastnn.nn.state import StateDictError
from fastnn.nn.utils import parameters_to_vector, vector_to_parameters
from fastnn.tensor import Tensor


class Affine(Module):
    """A small layer with every kind of state."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = size
        self.weight = Parameter(np.full((size, size), 2.0, np.float32))
        self.bias = Parameter(np.zeros(size, np.float32))
        self.register_parameter("missing", None)
        self.register_buffer("count", 0)
        self.register_buffer("mean", np.zeros(size, np.float32))
        self.register_buffer("scratch", np.zeros(1), persistent=False)

    def forward(self, input: object) -> object:
        return input @ self.weight + self.bias

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Net(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Affine()
        self.rest = Sequential(Affine(), Identity())

    def forward(self, input: object) -> object:
        return self.rest(self.first(input))


def test_registration() -> None:
    net = Net()
    names = ["first.weight", "first.bias", "rest.0.weight", "rest.0.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in net.named_parameters(recurse=False)] == []
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in net.named_children()] == ["first", "rest"]
    assert list(net.children()) == [net.first, net.rest]
    assert len(list(net.modules())) == 5
    assert [n for n, _ in net.first.named_buffers()] == ["count", "mean", "scratch"]
    assert len(list(net.buffers())) == 6
    assert net.first.missing is None
    assert net.get_submodule("rest.0") is net.rest[0]
    assert net.get_submodule("") is net
    assert net.get_parameter("rest.0.bias") is net.rest[0].bias
    with pytest.raises(AttributeError, match=r"Net: has no sub-module 'rest\.7'"):
        net.get_submodule("rest.7")
    with pytest.raises(AttributeError, match=r"Net: has no parameter 'first\.count'"):
        net.get_parameter("first.count")


def test_assignment() -> None:
    layer = Affine()
    layer.count += 1
    assert layer.count == 1
    assert layer.state_dict()["count"] is layer.count
    layer.mean = Tensor(np.ones(2, np.float32))
    assert type(layer.mean) is np.ndarray
    layer.weight = None
    assert "weight" not in layer.state_dict()
    layer.weight = Parameter(np.ones((1, 1)))
    assert layer.get_parameter("weight").shape == (1, 1)
    layer.size = Identity()
    assert [name for name, _ in layer.named_children()] == ["size"]
    del layer.size, layer.mean
    assert list(layer.children()) == []
    assert "mean" not in layer.state_dict()
    with pytest.raises(AttributeError):
        layer.mean  # noqa: B018
    layer.plain = Tensor(np.ones(1), requires_grad=True)
    assert len(list(layer.parameters())) == 2


def test_assignment_errors() -> None:
    layer = Affine()
    with pytest.raises(TypeError, match="Affine: cannot assign ndarray as parameter 'weight'"):
        layer.weight = np.ones((2, 2))
    with pytest.raises(TypeError, match="cannot assign Tensor as parameter 'missing'"):
        layer.register_parameter("missing", Tensor(np.ones(1)))
    with pytest.raises(TypeError, match="cannot assign int as child module 'first'"):
        Net().first = 1
    with pytest.raises(KeyError, match="name must not be empty or hold"):
        layer.register_buffer("a.b", 1)
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        layer.register_parameter("forward", None)

    class Forgetful(Module):
        def __init__(self) -> None:
            self.weight = Parameter(np.ones(1))

    with pytest.raises(AttributeError, match=r"Forgetful: call super\(\).__init__\(\) before"):
        Forgetful()
    with pytest.raises(NotImplementedError, match="Module: forward is not defined"):
        Module()(1)


def test_shared_parts_come_once() -> None:
    net = Net()
    net.second = net.first
    net.rest[0].weight = net.first.weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert {"first.weight", "second.weight", "rest.0.weight"} <= set(net.state_dict())


def test_forward_and_gradients() -> None:
    net = Net()
    x = np.ones((3, 2), np.float32)
    out = net(x)
    assert type(out) is Tensor
    out.sum().backward()
    assert net.first.weight.grad.shape == (2, 2)
    net.zero_grad(set_to_none=False)
    assert not net.first.weight.grad.any()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert type(net(x)) is np.ndarray


def test_modes_and_apply() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    with pytest.raises(TypeError, match="train: mode must be a bool, got int"):
        net.train(1)
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Affine", "Affine", "Identity", "Sequential", "Net"]


def test_conversion() -> None:
    net = Net()
    net(np.ones((1, 2), np.float32)).sum().backward()
    parameter = net.first.weight
    assert net.double() is net
    assert net.first.weight is parameter
    assert parameter.dtype == parameter.grad.dtype == np.float64
    assert net.first.mean.dtype == np.float64
    assert net.first.count.dtype.kind == "i"
    assert net.float().first.weight.dtype == np.float32
    with pytest.raises(TypeError, match="astype: dtype must be float32 or float64, got int"):
        net.astype(int)


def test_repr() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Affine(size=2)\n"
        "  (rest): Sequential(\n"
        "    (0): Affine(size=2)\n"
        "    (1): Identity()\n"
        "  )\n"
        ")"
    )


def test_state_dict_round_trip() -> None:
    source, target = Net(), Net()
    for parameter in source.parameters():
        init.normal_(parameter)
    source.first.count += 5
    state = source.state_dict()
    assert list(state)[:4] == ["first.weight", "first.bias", "first.count", "first.mean"]
    held = target.first.weight.data
    wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in state.items()}
    assert target.load_state_dict(wide) == ([], [])
    assert target.first.weight.data is held
    for name, value in target.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
        assert value.dtype == state[name].dtype
    target.load_state_dict({k: Tensor(v) for k, v in state.items()})
    target.load_state_dict(target.state_dict())


def test_load_state_dict_lists_all_problems_and_changes_nothing() -> None:
    net = Net()
    state = {name: np.ones_like(value) for name, value in net.state_dict().items()}
    before = {name: value.copy() for name, value in net.state_dict().items()}
    del state["first.bias"]
    state["extra"] = np.ones(1)
    state["rest.0.weight"] = np.ones((3, 2))
    state["rest.0.count"] = np.ones(())
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "first.bias".\n'
        '\tUnexpected key(s) in state_dict: "extra".\n'
        "\tsize mismatch for rest.0.weight: copying a param with shape (3, 2) from checkpoint, "
        "the shape in current model is (2, 2).\n"
        "\tdtype mismatch for rest.0.count: cannot copy float64 into int64."
    )
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(StateDictError, match="size mismatch"):
        net.load_state_dict(state, strict=False)
    del state["rest.0.weight"], state["rest.0.count"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["first.bias", "rest.0.weight", "rest.0.count"]
    assert result.unexpected_keys == ["extra"]
    assert net.first.weight.data.min() == 1
    with pytest.raises(TypeError, match="state_dict must be a mapping, got list"):
        net.load_state_dict([])


def test_copies_are_independent() -> None:
    net = Net()
    net.first.weight.pack("form", np.copy)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.first.weight._packs is None
        twin.first.weight.data[...] = 9
        assert net.first.weight.data.max() == 2
        assert twin.get_parameter("first.weight") is twin.first.weight
        assert type(twin.first.weight) is Parameter


def packed(parameter: Parameter) -> bool:
    return not parameter.data.flags.writeable


def test_packs_are_kept_and_guard_the_array() -> None:
    p = Parameter(np.ones((2, 3)))
    form = p.pack("t", lambda data: data.T.copy())
    assert p.pack("t", lambda data: pytest.fail("built twice")) is form
    with pytest.raises(ValueError, match="read-only"):
        p.data[0] = 1
    p.drop_packs()
    p.data[0] = 5
    assert p.pack("t", lambda data: data.T.copy())[0, 0] == 5


def test_everything_that_writes_drops_the_packs() -> None:
    layer = Affine()
    p = layer.weight
    state = {name: value.copy() for name, value in layer.state_dict().items()}

    def load() -> None:
        layer.load_state_dict(state)

    def assign() -> None:
        p.data = np.zeros((2, 2), np.float32)

    def track() -> None:
        layer(np.ones((1, 2), np.float32))

    for change in (load, assign, track, lambda: init.zeros_(p), layer.double):
        p.pack("form", np.copy)
        assert packed(p)
        change()
        assert not packed(p)
        assert p._packs is None


def test_parameter_owns_its_memory() -> None:
    base = np.zeros((3, 2))
    for view in (base[1:], base.T, np.broadcast_to(base, (2, 3, 2)), base.T.copy(order="K")):
        p = Parameter(view)
        assert not np.shares_memory(p.data, base)
        assert p.data.flags.c_contiguous
        assert p.data.flags.writeable
    p = Parameter(base)
    assert p.data is base
    p.data = base[:1]
    assert not np.shares_memory(p.data, base)
    assert repr(Parameter(np.ones(1))) == (
        "Parameter containing:\nTensor([1.], requires_grad=True)"
    )
    assert type(p + 1) is Tensor


def test_sequential() -> None:
    model = Sequential(Affine(), Flatten(), Identity())
    assert len(model) == 3
    assert isinstance(model[-1], Identity)
    part = model[:2]
    assert part[0] is model[0]
    assert list(part.state_dict()) == ["0.weight", "0.bias", "0.count", "0.mean"]
    model[1] = Identity()
    assert isinstance(model[1], Identity)
    del model[0]
    assert [type(m) for m in model] == [Identity, Identity]
    model.insert(0, Flatten())
    assert isinstance(model.append(Affine()), Sequential)
    assert [name for name, _ in model.named_children()] == ["0", "1", "2", "3"]
    named = Sequential(OrderedDict(first=Affine(), second=Identity()))
    assert isinstance(named.first, Affine)
    assert list(named[1:]._modules) == ["second"]
    with pytest.raises(IndexError, match=r"Sequential: index must be in \[-4, 3\], got 4"):
        model[4]
    with pytest.raises(TypeError, match="cannot assign function as child module '0'"):
        Sequential(lambda x: x)


def test_module_list() -> None:
    layers = ModuleList([Affine() for _ in range(3)])
    layers.append(Affine()).extend([Affine()])
    assert len(layers) == 5
    assert len(list(layers.parameters())) == 10
    assert layers[1:3][0] is layers[1]
    del layers[1:]
    assert [name for name, _ in layers.named_children()] == ["0"]


def test_module_dict() -> None:
    heads = ModuleDict({"a": Affine()})
    heads.update({"b": Identity()})
    assert "b" in heads
    assert list(heads) == list(heads.keys()) == ["a", "b"]
    assert [name for name, _ in heads.items()] == ["a", "b"]
    assert next(iter(heads.values())) is heads["a"]
    assert isinstance(heads.pop("b"), Identity)
    assert len(heads) == 1
    with pytest.raises(KeyError):
        del heads["b"]


def test_flatten_and_unflatten() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    assert type(Flatten()(x)) is np.ndarray
    np.testing.assert_array_equal(Flatten()(x), x.reshape(2, 12))
    np.testing.assert_array_equal(Flatten(0, 1)(x), x.reshape(6, 4))
    np.testing.assert_array_equal(Unflatten(1, (3, -1))(x.reshape(2, 12)), x)
    t = Tensor(x, requires_grad=True)
    Unflatten(-1, (2, 2))(t).sum().backward()
    assert t.grad.shape == x.shape
    with pytest.raises(ValueError, match=r"unflattened_size \(5, -1\) does not fit .* size 4"):
        Unflatten(2, (5, -1))(x)
    with pytest.raises(ValueError, match="Unflatten: dim must be in"):
        Unflatten(3, (2, 2))(x)


def test_to_converts_or_stays() -> None:
    layer = Linear(2, 2)
    assert layer.to("cpu") is layer.to(np.float64) is layer
    assert layer.weight.dtype == np.float64
    with pytest.raises(ValueError, match="to: fastnn computes on the CPU, got 'cuda'"):
        layer.to("cuda")


def test_parameters_as_a_vector() -> None:
    layer = Linear(3, 2)
    vector = parameters_to_vector(layer.parameters())
    expected = np.concatenate([layer.weight.data.ravel(), layer.bias.data])
    np.testing.assert_array_equal(vector.data, expected)
    (vector * vector).sum().backward()
    np.testing.assert_array_equal(layer.bias.grad, 2 * layer.bias.data)
    with no_grad():
        layer(np.ones((1, 3), np.float32))  # packs the weight
    vector_to_parameters(vector * 2, layer.parameters())
    np.testing.assert_array_equal(parameters_to_vector(layer.parameters()).data, 2 * expected)
    with pytest.raises(ValueError, match=r"vec\.shape must be \(8,\), got \(7,\)"):
        vector_to_parameters(expected[1:], layer.parameters())
    with pytest.raises(TypeError, match="vec must be an array or Tensor of floats, got list"):
        vector_to_parameters([1, 2], layer.parameters())
    with pytest.raises(TypeError, match="parameters must be Tensors, got int"):
        parameters_to_vector([1])
    with pytest.raises(ValueError, match="tensors must not be empty"):
        parameters_to_vector([])
