"""The tape: recording, the order of the backward pass, errors, and memory."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from fastnn.autograd import array, enable_grad, is_grad_enabled, no_grad, record
from fastnn.tensor import Tensor


def leaf(*shape: int, dtype: object = np.float64) -> Tensor:
    return Tensor(np.ones(shape, dtype), requires_grad=True)


class Tracked(np.ndarray):
    """An array that a weak reference can watch through the tape."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Free memory by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_array() -> None:
    x = np.ones(2)
    t = Tensor(x)
    assert array(x) is x
    assert array(t) is x
    assert array(None) is None
    assert array([1.0, 2.0]).dtype == np.float64


def test_record_returns_the_very_object() -> None:
    out = np.ones(2)
    pair = (out, None)

    def backward(grad: object, needs: object) -> tuple[None]:
        return (None,)

    assert record(out, (np.ones(2), None, 3.0, Tensor(np.ones(2))), backward) is out
    assert record(pair, (np.ones(2),), backward) is pair
    with no_grad():
        assert record(out, (leaf(2),), backward) is out


def test_record_hands_needs_and_accepts_none() -> None:
    x, y = leaf(2), leaf(2)
    seen = []

    def backward(grad: np.ndarray, needs: tuple[bool, ...]) -> tuple[object, ...]:
        seen.append((grad, needs))
        return None, None, 2 * grad, None

    indices = Tensor(np.array([0, 1]))
    record(np.ones(2), (x, np.ones(2), y, indices), backward).backward(np.ones(2))
    assert seen[0][1] == (True, False, True, False)
    assert x.grad is None
    np.testing.assert_array_equal(y.grad, [2, 2])


def test_several_outputs() -> None:
    x = leaf(2)
    seen = []

    def backward(grad: tuple[object, ...], needs: tuple[bool, ...]) -> tuple[object, ...]:
        seen.append(grad)
        return (np.full(2, 7.0),)

    outs = record((np.ones(2), np.zeros(3), np.array([1, 2]), None), (x,), backward, "many")
    assert [type(out) for out in outs] == [Tensor, Tensor, np.ndarray, type(None)]
    (outs[1] * 2).sum().backward()
    unused, used, *rest = seen[0]
    assert unused is None
    np.testing.assert_array_equal(used, [2, 2, 2])
    assert rest == [None, None]
    np.testing.assert_array_equal(x.grad, [7, 7])


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        ((np.ones(3),), r"must have shape \(2,\), got \(3,\)"),
        ((np.ones(2, np.float32),), "must be float64, got float32"),
        (([1.0, 1.0],), "must be an ndarray, got list"),
        ((np.ones(2), None), "must return 1 gradients"),
        (np.ones(2), "must return 1 gradients"),
    ],
)
def test_a_wrong_gradient_names_the_operation(gradient: object, message: str) -> None:
    out = record(np.ones(2), (leaf(2),), lambda grad, needs: gradient, name="broken")
    with pytest.raises(RuntimeError, match=f"broken: internal error.*{message}"):
        out.backward(np.ones(2))


def test_grad_has_the_shape_and_dtype_of_the_output(dtype: np.dtype) -> None:
    seen = []

    def backward(grad: np.ndarray, needs: object) -> tuple[np.ndarray]:
        seen.append(grad)
        return (grad,)

    x = leaf(dtype=dtype)
    y = record(np.ones((), dtype), (x,), backward)
    (y + y * 2).backward()
    assert type(seen[0]) is np.ndarray
    assert seen[0].shape == ()
    assert seen[0].dtype == dtype
    assert x.grad.dtype == dtype
    assert x.grad == 3


def test_modes_nest_and_decorate() -> None:
    @no_grad()
    def called(value: bool) -> bool:
        return is_grad_enabled() is value

    @no_grad
    def bare() -> bool:
        return is_grad_enabled()

    assert is_grad_enabled()
    assert called(False)
    assert bare() is False
    assert bare.__name__ == "bare"
    mode = no_grad()
    with mode:
        with enable_grad():
            assert is_grad_enabled()
            with mode:
                assert not is_grad_enabled()
        assert not is_grad_enabled()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_generators_cannot_be_decorated() -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="cannot decorate a generator"):
        no_grad(generator)


def test_mode_belongs_to_the_thread() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_long_chain() -> None:
    x = leaf(3)
    y = x
    for _ in range(10_000):
        y = y + 1.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_dropping_a_long_chain() -> None:
    y = leaf(1)
    for _ in range(100_000):
        y = y * 1.0
    del y


def test_shared_parts_are_visited_once() -> None:
    calls = []

    def double(t: Tensor) -> Tensor:
        def backward(grad: np.ndarray, needs: object) -> tuple[np.ndarray]:
            calls.append(1)
            return (2 * grad,)

        return record(2 * array(t), (t,), backward, "double")

    x = leaf(1)
    y = x
    for _ in range(40):
        y = double(y)
        y = y + y
    y.backward()
    assert len(calls) == 40
    assert x.grad == 4.0**40


def test_leaves_accumulate() -> None:
    x = leaf(2)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 5])
    x.zero_grad()
    assert x.grad is None
    x.backward(np.full(2, 4.0))
    np.testing.assert_array_equal(x.grad, [4, 4])


def test_same_bits_every_time(rng: np.random.Generator) -> None:
    values = rng.standard_normal((6, 50)).astype(np.float32)

    def gradient() -> bytes:
        x = Tensor(values[0], requires_grad=True)
        total = sum(((x * v).tanh() for v in values), x * 0)
        (total * total).sum().backward()
        return x.grad.tobytes()

    assert len({gradient() for _ in range(5)}) == 1


def test_second_backward_is_an_error() -> None:
    x = leaf(2)
    part = x * 2
    loss = part.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad, [4, 4])
    for again in (loss, part.sum()):
        with pytest.raises(RuntimeError, match=r"already used and freed.*retain_graph=True"):
            again.backward()


def test_backward_errors() -> None:
    x = leaf(2)
    with pytest.raises(RuntimeError, match="does not require gradients"):
        Tensor(np.ones(1)).backward()
    with pytest.raises(ValueError, match=r"can be left out only for .* got shape \(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"backward: gradient must have shape \(2,\), got \(3,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(TypeError, match="backward: gradient must be float64, got float32"):
        (x * 2).backward(np.ones(2, np.float32))
    (x * 2).backward([1, 2])
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_replaced_data_is_noticed() -> None:
    x = leaf(2)
    y = (x * 2).sum()
    x.data = np.ones(3)
    with pytest.raises(RuntimeError, match="data of a leaf was replaced"):
        y.backward()


def test_a_reshaped_gradient_is_not_copied() -> None:
    addresses = []

    def backward(grad, needs):
        fresh = np.full((1, 2), 3.0)
        addresses.append(fresh.ctypes.data)
        return (fresh.reshape(2),)

    x = leaf(2)
    record(np.ones(2), (x,), backward).backward(np.ones(2))
    assert x.grad.ctypes.data == addresses[0]


def test_gradients_share_no_memory() -> None:
    x, y, given = leaf(2), leaf(2), np.ones(2)
    (x + y).backward(given)
    assert not np.shares_memory(x.grad, y.grad)
    assert not np.shares_memory(x.grad, given)
    kept = np.full(2, 3.0)
    z = leaf(2)
    saved = record(np.ones(2), (z,), lambda grad, needs: (kept,))
    saved.backward(np.ones(2), retain_graph=True)
    assert not np.shares_memory(z.grad, kept)
    z.zero_grad()
    saved.backward(np.ones(2))
    assert not np.shares_memory(z.grad, kept)
    saved = record(np.ones(2), (z,), lambda grad, needs: (kept.reshape(1, 2).reshape(2),))
    z.zero_grad()
    saved.backward(np.ones(2))
    assert not np.shares_memory(z.grad, kept)
    w = leaf(2, 3)
    w.sum().backward()
    assert w.grad.flags.writeable
    w.T.reshape(6).backward(np.arange(6.0))
    assert w.grad.flags.c_contiguous


def test_a_fresh_gradient_is_not_copied() -> None:
    addresses = []

    def backward(grad: np.ndarray, needs: object) -> tuple[np.ndarray]:
        fresh = np.full(1000, 2.0)
        addresses.append(fresh.ctypes.data)
        return (fresh,)

    x = leaf(1000)
    record(np.ones(1000), (x,), backward).backward(np.ones(1000))
    assert x.grad.ctypes.data == addresses[0]


def test_a_failing_backward_leaves_gradients_alone() -> None:
    x = leaf(2)

    def backward(grad: np.ndarray, needs: object) -> tuple[np.ndarray]:
        raise KeyboardInterrupt

    broken = record(np.ones(2), (x,), backward)
    with pytest.raises(KeyboardInterrupt):
        (broken + x).backward(np.ones(2))
    assert x.grad is None


@pytest.mark.usefixtures("no_collector")
def test_memory_is_freed_without_the_collector() -> None:
    def build() -> tuple[Tensor, list[weakref.ref[object]]]:
        x = leaf(2)
        saved = np.ones(2).view(Tracked)

        def backward(grad: np.ndarray, needs: object) -> tuple[np.ndarray]:
            return (np.asarray(grad * saved),)

        middle = record(np.ones(2), (x,), backward)
        loss = (middle * middle).sum()
        return loss, [weakref.ref(saved), weakref.ref(x), weakref.ref(middle._node)]

    loss, watched = build()
    assert [ref() is not None for ref in watched] == [True, True, True]
    loss.backward()
    assert [ref() is None for ref in watched] == [True, True, True]

    loss, watched = build()
    del loss
    assert [ref() is None for ref in watched] == [True, True, True]


@pytest.mark.usefixtures("no_collector")
def test_operations_leave_no_cycles() -> None:
    x = Tensor(np.arange(9.0).reshape(3, 3) / 9, requires_grad=True)
    out = x
    for name in ("exp", "tanh", "T", "abs"):
        out = getattr(out, name) if name == "T" else getattr(out, name)()
    out = (out @ out)[0].reshape(3, 1).max(axis=0) + out.mean() / out.var()
    node = weakref.ref(out._node)
    del out
    assert node() is None


def test_a_cycle_is_collected() -> None:
    def build() -> weakref.ref[object]:
        held: list[object] = []
        out = record(np.ones(2), (leaf(2),), lambda grad, needs: (held and grad,))
        held.append(out)
        return weakref.ref(out._node)

    node = build()
    assert node() is not None
    gc.collect()
    assert node() is None


def test_threads_may_meet_in_a_graph() -> None:
    x = Tensor(np.ones((200, 200)), requires_grad=True)
    y = x
    for _ in range(10):
        y = (y @ x) * 0.001
    total = y.sum()
    errors = []

    def run() -> None:
        try:
            total.backward()
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) >= 3
    assert all("already used" in error for error in errors)
