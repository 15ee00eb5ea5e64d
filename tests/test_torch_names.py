"""PyTorch's methods of Tensor: values, gradients, and what is refused."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from helpers import gradcheck

from fastnn import Tensor, no_grad

X = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 4))
MATRIX = X[0]

# Each method, and what NumPy makes of the array.
METHODS = {
    "clone": (lambda t: t.clone(), lambda x: x),
    "contiguous": (lambda t: t.contiguous(), lambda x: x),
    "cpu": (lambda t: t.cpu(), lambda x: x),
    "expand": (lambda t: as_tensor(t[:1]).expand(5, -1, -1), lambda x: np.repeat(x[:1], 5, 0)),
    "expand more": (lambda t: t.expand(2, 2, 3, 4), lambda x: np.stack([x, x])),
    "expand_as": (lambda t: as_tensor(t[:1]).expand_as(X), lambda x: np.stack([x[0], x[0]])),
    "view_as": (lambda t: t.view_as(np.ones((6, 4))), lambda x: x.reshape(6, 4)),
    "reshape_as": (lambda t: t.reshape_as(np.ones(24)), lambda x: x.ravel()),
    "movedim": (lambda t: t.movedim(0, -1), lambda x: np.moveaxis(x, 0, -1)),
    "tile": (lambda t: t.tile(2, 1, 1), lambda x: np.tile(x, (2, 1, 1))),
    "repeat_interleave": (lambda t: t.repeat_interleave(2, 1), lambda x: np.repeat(x, 2, 1)),
    "flip": (lambda t: t.flip(0, 2), lambda x: np.flip(x, (0, 2))),
    "roll": (lambda t: t.roll(1, 2), lambda x: np.roll(x, 1, 2)),
    "tril": (lambda t: t.tril(), np.tril),
    "triu": (lambda t: t.triu(1), lambda x: np.triu(x, 1)),
    "unbind": (lambda t: t.unbind(1)[2], lambda x: x[:, 2]),
    "chunk": (lambda t: t.chunk(2, -1)[1], lambda x: x[..., 2:]),
    "chunk of unequal": (lambda t: t.chunk(2, 1)[1], lambda x: x[:, 2:]),
    "select": (lambda t: t.select(1, -1), lambda x: x[:, -1]),
    "narrow": (lambda t: t.narrow(2, 1, 2), lambda x: x[..., 1:3]),
    "index_select": (lambda t: t.index_select(1, [2, 2]), lambda x: x[:, [2, 2]]),
    "gather": (
        lambda t: t.gather(2, np.array([[[3, 0], [1, 1]]])),
        lambda x: np.take_along_axis(x[:1, :2], np.array([[[3, 0], [1, 1]]]), 2),
    ),
    "masked_fill": (lambda t: t.masked_fill(X > 1, -1.0), lambda x: np.where(x > 1, -1, x)),
    "add": (lambda t: t.add(X, alpha=2), lambda x: x + 2 * X),
    "sub": (lambda t: t.sub(X, alpha=2), lambda x: x - 2 * X),
    "mul": (lambda t: t.mul(3), lambda x: 3 * x),
    "div": (lambda t: t.div(X), lambda x: x / X),
    "neg": (lambda t: t.neg(), lambda x: -x),
    "square": (lambda t: t.square(), np.square),
    "reciprocal": (lambda t: t.reciprocal(), np.reciprocal),
    "rsqrt": (lambda t: t.rsqrt(), lambda x: 1 / np.sqrt(x)),
    "bmm": (lambda t: t.bmm(X.swapaxes(1, 2)), lambda x: x @ X.swapaxes(1, 2)),
    "clamp": (lambda t: t.clamp(min=1), lambda x: np.maximum(x, 1)),
    "relu": (lambda t: as_tensor(t - 1).relu(), lambda x: np.maximum(x - 1, 0)),
    "sigmoid": (lambda t: t.sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "softmax": (lambda t: t.softmax(1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "log_softmax": (
        lambda t: t.log_softmax(-1),
        lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    ),
    "logsumexp": (lambda t: t.logsumexp(0), lambda x: np.log(np.exp(x).sum(0))),
    "norm": (lambda t: t.norm(), lambda x: np.sqrt((x * x).sum())),
    "norm of rows": (
        lambda t: t.norm(1, dim=2, keepdim=True),
        lambda x: np.abs(x).sum(2, keepdims=True),
    ),
    "amax": (lambda t: t.amax(dim=(0, 2)), lambda x: x.max((0, 2))),
    "amin": (lambda t: t.amin(1, True), lambda x: x.min(1, keepdims=True)),
    "double": (lambda t: t.double(), lambda x: x),
    "type_as": (lambda t: t.type_as(X), lambda x: x),
}


def as_tensor(x: object) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


@pytest.mark.parametrize("name", METHODS)
def test_values_and_gradients(name: str) -> None:
    method, expected = METHODS[name]
    out = method(Tensor(X, requires_grad=True))
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.data, expected(X), rtol=1e-14)
    gradcheck(lambda t: method(as_tensor(t)), X)


def test_matrices() -> None:
    t = Tensor(MATRIX, requires_grad=True)
    np.testing.assert_array_equal(t.t().data, MATRIX.T)
    np.testing.assert_allclose(t.mm(t.t()).data, MATRIX @ MATRIX.T)
    gradcheck(lambda a: as_tensor(a).mm(as_tensor(a).clone().T), MATRIX)


def test_attributes() -> None:
    t = Tensor(X)
    assert (t.dim(), t.numel(), t.is_contiguous()) == (3, 24, True)
    assert t.float().dtype == np.float32
    assert t.to("cpu") is t
    assert t.to(np.float32).dtype == t.to("float32").dtype == np.float32
    assert t.long().dtype == np.int64
    assert t.requires_grad_() is t
    assert t.requires_grad
    assert t.clone().data is not t.data


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.copy_([5, 6]), [5, 6]),
        (lambda t: t.fill_(3), [3, 3]),
        (lambda t: t.zero_(), [0, 0]),
        (lambda t: t.add_(np.ones(2), alpha=2), [3, 4]),
        (lambda t: t.sub_(np.ones(2)), [0, 1]),
        (lambda t: t.mul_(Tensor(np.array([2.0, 3.0]))), [2, 6]),
        (lambda t: t.div_(2), [0.5, 1]),
        (lambda t: t.clamp_(max=1), [1, 1]),
        (lambda t: t.lerp_(np.array([3.0, 2.0]), 0.5), [2, 2]),
    ],
)
def test_in_place(change: object, expected: list) -> None:
    t = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    data = t.data
    with no_grad():
        assert change(t) is t
    assert t.data is data
    np.testing.assert_array_equal(data, expected)
    with pytest.raises(RuntimeError, match=r"_: a tensor that requires gradients .* use fastnn"):
        change(t)
    computed = t * 1
    with no_grad(), pytest.raises(RuntimeError, match="a computed tensor cannot be changed"):
        change(computed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.to("cuda:0"), "to: fastnn computes on the CPU, got 'cuda:0'"),
        (lambda t: t.t(), r"t: needs at most 2 dimensions, got shape \(2, 3, 4\)"),
        (lambda t: t.chunk(0), "chunk: chunks must be >= 1, got 0"),
        (lambda t: t.unbind(3), r"unbind: dim must be in \[-3, 2\], got 3"),
        (lambda t: t.narrow(2, 3, 2), "narrow: start and length must fit into 4, got 3 and 2"),
        (lambda t: t.gather(0, np.zeros(2, int)), "gather: index must have 3 dimensions"),
        (lambda t: t.transpose(1, 2), r"transpose: needs all 3 axes .*; swapaxes exchanges two"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Tensor(X, requires_grad=True))


def test_gradients_in_the_middle_are_kept() -> None:
    t = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    middle = t * 3
    middle.retain_grad()
    middle.retain_grad()
    ((middle * middle).sum() + middle.sum()).backward()
    np.testing.assert_array_equal(middle.grad, [7, 13])
    np.testing.assert_array_equal(t.grad, [21, 39])
    t.retain_grad()
    with pytest.raises(RuntimeError, match="retain_grad: needs a tensor that was computed"):
        Tensor(np.ones(2)).retain_grad()
    alive = weakref.ref(middle)
    del middle
    assert alive() is None


def test_hooks_see_and_change_gradients() -> None:
    seen = []
    t = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    parts = np.split(t * 3, 2)
    parts[1].register_hook(seen.append)
    parts[1].register_hook(lambda grad: 10 * grad)
    with no_grad():
        parts[0].register_hook(lambda grad: -grad)
    (parts[0] + parts[1]).backward()
    np.testing.assert_array_equal(t.grad, [-3, 30])
    np.testing.assert_array_equal(seen, [[10]])
    with pytest.raises(RuntimeError, match="register_hook: needs a tensor that was computed"):
        t.register_hook(print)
    wrong = t * 1
    wrong.register_hook(lambda grad: grad[:1])
    with pytest.raises(ValueError, match="register_hook: what the hook returns must have shape"):
        wrong.sum().backward()
