"""Tensor: what each operation returns, its gradient, dtypes and errors."""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest
from helpers import assert_close, gradcheck
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.autograd import no_grad
from fastnn.nn import Parameter
from fastnn.tensor import Tensor, clip, concatenate, split, stack, where

UNARY = ["exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "abs", "__neg__"]
BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
}


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape)


def leaf(value: object, dtype: object = np.float64) -> Tensor:
    return Tensor(np.array(value, dtype), requires_grad=True)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, rng: np.random.Generator) -> None:
    x = positive(rng, 3, 4)
    expected = -x if name == "__neg__" else getattr(np, name)(x)
    y = getattr(Tensor(x), name)()
    if name in ("exp", "log", "tanh"):  # kernels of our own
        np.testing.assert_array_max_ulp(y, expected, 2)
    else:
        np.testing.assert_array_equal(y, expected)
    gradcheck(lambda t: getattr(t if isinstance(t, Tensor) else Tensor(t), name)(), x)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0))
def test_binary_broadcasts(name: str, shapes: hnp.BroadcastableShapes) -> None:
    rng = np.random.default_rng(1)
    a, b = (positive(rng, *shape) for shape in shapes.input_shapes)
    np.testing.assert_array_equal(BINARY[name](Tensor(a), Tensor(b)), BINARY[name](a, b))
    gradcheck(BINARY[name], a, b)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", [2, 2.5, np.float64(2.5), np.int64(2), True])
def test_scalars_take_the_dtype(name: str, other: object, dtype: np.dtype) -> None:
    t = leaf([1.0, 2.0], dtype)
    for out in (BINARY[name](t, other), BINARY[name](other, t)):
        assert isinstance(out, Tensor)
        assert out.dtype == dtype
        out.backward(np.ones(2, dtype))
    gradcheck(lambda a: BINARY[name](other, a), np.array([1.0, 2.0]))


def test_array_on_the_left(dtype: np.dtype) -> None:
    t = leaf([1.0, 2.0], dtype)
    a = np.array([[3.0], [4.0]], dtype)
    for name, operation in BINARY.items():
        out = operation(a, t)
        assert isinstance(out, Tensor), name
        np.testing.assert_array_equal(out, operation(a, t.data))
    assert isinstance(np.float32(1) * leaf([1.0], np.float32), Tensor)


def test_bool_arrays_act_as_masks(dtype: np.dtype) -> None:
    t = leaf([1.0, 2.0], dtype)
    out = t * np.array([True, False])
    assert out.dtype == dtype
    out.sum().backward()
    np.testing.assert_array_equal(t.grad, [1, 0])


@pytest.mark.parametrize("other", [np.ones(2, np.float32), np.ones(2, np.int64)])
def test_mixed_dtypes_are_refused(other: np.ndarray) -> None:
    t = leaf([1.0, 2.0])
    for operation in (*BINARY.values(), lambda a, b: a @ b):
        with pytest.raises(TypeError, match=r"one dtype, got .* convert one with \.astype"):
            operation(t, other)
        with pytest.raises(TypeError, match=r"convert one with \.astype\(np\.float"):
            operation(other, t)


def test_foreign_operands_are_left_to_python() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        leaf([1.0]) + "text"
    with pytest.raises(TypeError, match="unsupported operand"):
        [1.0] @ leaf([1.0])


def test_power_at_zero() -> None:
    x = leaf([0.0, 0.0, 2.0])
    (x ** np.array([0.0, 2.0, 3.0])).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [0, 0, 12])
    exponent = leaf([0.0, 2.0])
    (np.zeros(2) ** exponent).backward(np.ones(2))
    np.testing.assert_array_equal(exponent.grad, [0, 0])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 2)),
        ((4,), (4,)),
        ((4,), (4, 2)),
        ((3, 4), (4,)),
        ((5, 1, 3, 4), (2, 4, 2)),
        ((4,), (5, 4, 2)),
        ((5, 3, 4), (4,)),
        ((3, 0), (0, 2)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    np.testing.assert_allclose(Tensor(x) @ Tensor(y), x @ y, atol=1e-12)
    gradcheck(lambda s, t: s @ t, x, y)
    assert isinstance(x @ Tensor(y, requires_grad=True), Tensor)


def test_matmul_of_integers() -> None:
    np.testing.assert_array_equal(Tensor([[1, 2]]) @ np.array([[3], [4]]), [[11]])


REDUCTIONS = ["sum", "mean", "max", "min", "var"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), [1], ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: object, keepdims: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4))
    plain = tuple(axis) if isinstance(axis, list) else axis
    expected = getattr(np, name)(x, axis=plain, keepdims=keepdims)
    for options in (
        {"axis": axis, "keepdims": keepdims},
        {"dim": axis, "keepdim": keepdims},
    ):
        out = getattr(Tensor(x), name)(**options)
        assert type(out) is np.ndarray
        assert_close(out, expected, 24)
    gradcheck(lambda t: getattr(t if isinstance(t, Tensor) else Tensor(t), name)(axis, keepdims), x)


def test_var_with_ddof(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4))
    np.testing.assert_array_equal(Tensor(x).var(1, ddof=1), x.var(1, ddof=1))
    gradcheck(lambda t: (t if isinstance(t, Tensor) else Tensor(t)).var(0, ddof=1), x)
    np.testing.assert_array_equal(Tensor(x).var(1, correction=1), x.var(1, ddof=1))
    np.testing.assert_array_equal(Tensor(x).std(dim=1, correction=1), x.std(1, ddof=1))


def test_extremum_shares_ties_and_follows_nan() -> None:
    x = leaf([[1.0, 3.0, 3.0], [np.nan, 5.0, 5.0]])
    x.max(axis=1).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [1, 0, 0]])


def test_axis_and_dim_together_are_refused() -> None:
    with pytest.raises(TypeError, match="sum: give axis or dim, not both"):
        leaf([1.0]).sum(axis=0, dim=0)


SHAPES = {
    "reshape": lambda t: t.reshape(4, -1),
    "reshape tuple": lambda t: t.reshape((6, 4)),
    "transpose": lambda t: t.transpose(2, 0, 1),
    "transpose negative": lambda t: t.transpose(-1, 0, 1),
    "transpose all": lambda t: t.transpose(),
    "T": lambda t: t.T,
    "swapaxes": lambda t: t.swapaxes(0, -1),
    "slice": lambda t: t[1:, ::-2, 1],
    "ellipsis": lambda t: t[..., None, 0],
    "integers": lambda t: t[np.array([1, 0, 1, 1])],
    "list": lambda t: t[[0, 0], :, [1, 1]],
    "boolean": lambda t: t[np.arange(24).reshape(2, 3, 4) % 3 == 0],
    "boolean axis": lambda t: t[:, np.array([True, False, True])],
    "mixed": lambda t: t[0, [[1, 2], [1, 1]], 1:3],
    "scalar": lambda t: t[1, 2, 3],
    "none": lambda t: t[:0],
}


@pytest.mark.parametrize("name", SHAPES)
def test_moving_and_picking(name: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4))
    out = SHAPES[name](Tensor(x))
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, SHAPES[name](x))
    gradcheck(SHAPES[name], x)


TENSOR_ONLY = {
    "permute": (lambda t: t.permute(2, 0, 1), (4, 2, 1)),
    "view": (lambda t: t.view(-1), (8,)),
    "flatten": (lambda t: t.flatten(), (8,)),
    "flatten from": (lambda t: t.flatten(1), (2, 4)),
    "flatten to": (lambda t: t.flatten(0, 1), (2, 4)),
    "squeeze": (lambda t: t.squeeze(), (2, 4)),
    "squeeze axis": (lambda t: t.squeeze(1), (2, 4)),
    "squeeze dim": (lambda t: t.squeeze(dim=1), (2, 4)),
    "unsqueeze": (lambda t: t.unsqueeze(-1), (2, 1, 4, 1)),
    "expand_dims": (lambda t: t.expand_dims((0, 2)), (1, 2, 1, 1, 4)),
    "broadcast_to": (lambda t: t.broadcast_to(5, 2, 3, 4), (5, 2, 3, 4)),
}


@pytest.mark.parametrize("name", TENSOR_ONLY)
def test_shape_methods(name: str, rng: np.random.Generator) -> None:
    function, shape = TENSOR_ONLY[name]
    x = rng.standard_normal((2, 1, 4))
    assert function(Tensor(x)).shape == shape
    gradcheck(lambda t: function(t if isinstance(t, Tensor) else Tensor(t)), x)


def test_indices_may_be_tensors() -> None:
    x = leaf([1.0, 2.0, 3.0])
    x[Tensor([2, 2, 0])].backward(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_array_equal(x.grad, [100, 0, 11])


def test_shape_errors_name_the_operation() -> None:
    x = leaf(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="flatten: start_dim must be in"):
        x.flatten(5)
    with pytest.raises(ValueError, match="flatten: start_dim must not come after"):
        x.flatten(1, 0)
    with pytest.raises(TypeError, match="reshape: needs integers, got str"):
        x.reshape("a")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joining(axis: int, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    np.testing.assert_array_equal(
        concatenate([Tensor(a), b], axis), np.concatenate([a, b], axis=axis)
    )
    np.testing.assert_array_equal(stack((a, Tensor(b)), dim=axis), np.stack([a, b], axis=axis))
    gradcheck(lambda s, t: concatenate([s, t, s], dim=axis), a, b)
    gradcheck(lambda s, t: stack([s, t, t], axis), a, b)


def test_joining_refuses() -> None:
    with pytest.raises(TypeError, match=r"concatenate: both operands must have one dtype"):
        concatenate([np.ones(1, np.float32), leaf([1.0])])
    with pytest.raises(ValueError, match="stack: tensors must not be empty"):
        stack([])
    with pytest.raises(TypeError, match="stack: tensors must be a list or tuple, got Tensor"):
        stack(leaf([1.0]))


@pytest.mark.parametrize(("sections", "axis"), [(2, 0), ([1, 3], 0), (3, 1), ([2], -1)])
def test_split(sections: object, axis: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 3))
    for ours, theirs in zip(split(Tensor(x), sections, axis), np.split(x, sections, axis)):
        np.testing.assert_array_equal(ours, theirs)
    gradcheck(lambda t: split(t, sections, dim=axis), x)


def test_where_and_clip(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((3, 4)), rng.standard_normal(4)
    mask = a > b
    np.testing.assert_array_equal(where(mask, Tensor(a), b), np.where(mask, a, b))
    gradcheck(lambda s, t: where(mask, s, t), a, b)
    gradcheck(lambda s: where(mask, 0.0, s), a)
    for bounds in ((-0.5, 0.5), (None, 0.5), (-0.5, None)):
        np.testing.assert_array_equal(clip(Tensor(a), *bounds), np.clip(a, *bounds))
        gradcheck(lambda s, bounds=bounds: clip(s, *bounds), a)
    with pytest.raises(ValueError, match="clip: min or max must be given"):
        clip(leaf([1.0]))


def test_comparisons_are_bool_arrays() -> None:
    t = leaf([1.0, 2.0])
    for out in (t < 2, t <= 2, t > t, t >= t, t == 1, t != t, np.ones(2) < t, np.ones(2) == t):
        assert type(out) is np.ndarray
        assert out.dtype == bool
    assert {t: "hashed by identity"}[t]


def test_plain_arrays_unless_recording() -> None:
    x = Tensor(np.ones((2, 2)))
    t = leaf(np.ones((2, 2)))
    functions = [
        *(lambda s, f=f: f(s, s) for f in BINARY.values()),
        *(lambda s, n=n: getattr(s, n)() for n in [*UNARY, *REDUCTIONS, "flatten"]),
        lambda s: s[0],
        lambda s: s.T,
        lambda s: s @ s,
        lambda s: concatenate([s, s]),
        lambda s: split(s, 2)[0],
        lambda s: s.astype(np.float32),
    ]
    for function in functions:
        assert type(function(x)) is np.ndarray
        assert type(function(t)) is Tensor
        with no_grad():
            assert type(function(t)) is np.ndarray


def test_attributes_and_conversions() -> None:
    t = leaf([[1.0, 2.0, 3.0]], np.float32)
    assert (t.shape, t.ndim, t.size, t.dtype) == ((1, 3), 2, 3, np.float32)
    assert t.numpy() is t.data
    assert np.asarray(t) is t.data
    assert np.asarray(t, np.float64).dtype == np.float64
    assert t[0, 1].item() == 2.0
    assert float(t[0, 1]) == 2.0
    assert int(t[0, 2]) == 3
    assert t.tolist() == [[1.0, 2.0, 3.0]]
    assert len(t) == 1
    assert [type(row) for row in t] == [Tensor]
    assert t.argmax() == 2
    detached = t.detach()
    assert detached.data is t.data
    assert not detached.requires_grad
    assert repr(t) == "Tensor([[1., 2., 3.]], dtype=float32, requires_grad=True)"
    t.astype(np.float64).sum().backward()
    assert t.grad.dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [np.zeros(2, np.float16), np.zeros(2, complex), np.array(["a"]), np.array([None]), None],
)
def test_data_of_other_dtypes_is_refused(value: object) -> None:
    with pytest.raises(
        TypeError, match="Tensor: data must be float32, float64, bfloat16, integer or bool"
    ):
        Tensor(value)


def test_integers_need_no_gradient() -> None:
    assert Tensor([1, 2]).dtype.kind == "i"
    with pytest.raises(
        TypeError, match="requires_grad needs float32, float64 or bfloat16 data, got int"
    ):
        Tensor([1, 2], requires_grad=True)
    t = Tensor([1, 2])
    with pytest.raises(TypeError, match="requires_grad needs"):
        t.requires_grad = True


def test_byte_order_is_made_native() -> None:
    assert Tensor(np.ones(2, ">f4")).dtype == np.dtype(np.float32)
    assert Tensor(np.ones(2, ">f4")).dtype.isnative


def test_data_and_grad_setters() -> None:
    t = leaf([1.0, 2.0])
    t.grad = np.ones(2)
    t.data = np.zeros(2)
    assert t.grad is not None
    t.data = np.zeros(3)
    assert t.grad is None
    with pytest.raises(ValueError, match=r"grad must have shape \(3,\), got \(2,\)"):
        t.grad = np.ones(2)
    with pytest.raises(TypeError, match="grad must be float64, got float32"):
        t.grad = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="data of a computed tensor must stay"):
        (t * 2).data = np.zeros(1)
    with pytest.raises(RuntimeError, match="requires_grad of a computed tensor"):
        (t * 2).requires_grad = False
    with pytest.raises(TypeError, match="item assignment is not recorded"):
        t[0] = 1.0


def test_copies_and_pickles() -> None:
    t = leaf([1.0, 2.0])
    t.grad = np.array([3.0, 4.0])
    for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert twin.data is not t.data
        assert twin.requires_grad
        np.testing.assert_array_equal(twin.data, t.data)
        np.testing.assert_array_equal(twin.grad, t.grad)
    with pytest.raises(RuntimeError, match="a computed tensor cannot be copied"):
        copy.deepcopy(t * 2)


@given(st.data())
def test_repeated_indices_accumulate(data: st.DataObject) -> None:
    index = data.draw(hnp.arrays(np.int64, st.integers(0, 12), elements=st.integers(-4, 3)))
    x = leaf(np.zeros(4))
    grad = np.arange(1.0, 1 + len(index))
    x[index].backward(grad)
    expected = np.zeros(4)
    for position, value in zip(index, grad):
        expected[position] += value
    np.testing.assert_array_equal(x.grad, expected)


def test_formatting() -> None:
    assert f"{leaf(1.23456):.2f}" == "1.23"
    assert round(leaf(1.23456), 2) == 1.23
    assert round(leaf(1.7)) == 2
    assert f"{leaf([1.0])}" == "Tensor([1.], requires_grad=True)"
    with pytest.raises(TypeError, match="unsupported format string"):
        format(leaf([1.0, 2.0]), ".2f")


def test_methods_with_numpys_names(rng: np.random.Generator) -> None:
    x = rng.uniform(0.5, 2, (3, 3))
    methods = {
        "copy": lambda t: t.copy(),
        "round": lambda t: t.round(1),
        "repeat": lambda t: t.repeat(2, 0),
        "take": lambda t: t.take([0, 0, 5]),
        "diagonal": lambda t: t.diagonal(1),
        "trace": lambda t: t.trace(),
        "dot": lambda t: t.dot(x),
        "cumprod": lambda t: t.cumprod(1),
        "modulo": lambda t: t % 0.75,
        "modulo of": lambda t: 7.3 % t,
        "floor division": lambda t: t // 0.75,
        "positive": lambda t: +t,
    }
    for name, method in methods.items():
        out = method(leaf(x))
        assert isinstance(out, Tensor), name
        np.testing.assert_allclose(out.data, method(x), rtol=1e-14, err_msg=name)
        gradcheck(method, x)
    assert leaf(x).mT.shape == (3, 3)
    assert leaf(x).device == "cpu"
    assert (leaf(x).nbytes, leaf(x).itemsize, leaf(x).strides) == (72, 8, (24, 8))


OPERATIONS = {
    "+=": (operator.iadd, operator.add),
    "-=": (operator.isub, operator.sub),
    "*=": (operator.imul, operator.mul),
    "/=": (operator.itruediv, operator.truediv),
}


@pytest.mark.parametrize("sign", OPERATIONS)
def test_operators_in_place(sign: str, dtype: np.dtype) -> None:
    in_place, operation = OPERATIONS[sign]
    for other in (2, np.array([3, 4], dtype), Tensor(np.array([3, 4], dtype), requires_grad=True)):
        t = leaf([1.0, 2.0], dtype)
        data, expected = t.data, operation(t.data, np.asarray(other, dtype))
        with no_grad():
            assert in_place(t, other) is t
        assert t.data is data
        np.testing.assert_array_equal(data, expected)
        with pytest.raises(RuntimeError, match=rf"\{sign}: a tensor that requires gradients"):
            in_place(t, other)
    computed = leaf([1.0, 2.0], dtype) * 1
    before = computed
    computed = in_place(computed, 2)
    assert computed is not before
    assert isinstance(computed, Tensor)
    plain = Tensor(np.ones(2, dtype))
    assert in_place(plain, 2) is plain
    assert in_place(plain, leaf([1.0, 2.0], dtype)) is not plain
    with pytest.raises(TypeError, match=rf"\{sign}: both operands must have one dtype"):
        in_place(plain, np.ones(2, np.float16))


def test_a_packed_parameter_is_changed_in_place() -> None:
    weight = Parameter(np.ones(2))
    weight.pack("form", lambda data: data.copy())
    with no_grad():
        weight -= 0.5
        weight.mul_(2).add_(np.ones(2), alpha=3)
    np.testing.assert_array_equal(weight.data, [4, 4])
    assert isinstance(weight, Parameter)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: stack([x], 3), ValueError, r"stack: axis must be in \[-3, 2\], got 3"),
        (lambda x: stack([x], "a"), TypeError, "stack: axis must be an int, got 'a'"),
        (lambda x: stack([x, x[:1]]), ValueError, r"stack: tensors\[1\] must have the shape of"),
        (lambda x: concatenate([x], 2), ValueError, r"concatenate: axis must be in \[-2, 1\]"),
        (
            lambda x: concatenate([x, x[:, :1]]),
            ValueError,
            r"concatenate: tensors\[1\] must have .*, except for axis 0, \(2, 3\), got \(2, 1\)",
        ),
        (lambda x: concatenate([x[0, 0]]), ValueError, "concatenate: tensors.0. must have at leas"),
        (lambda x: split(x, 2, 2), ValueError, r"split: axis must be in \[-2, 1\], got 2"),
        (lambda x: split(x, 2, 1), ValueError, "split: indices_or_sections must divide 3"),
        (lambda x: split(x, 0), ValueError, "split: indices_or_sections must be >= 1, got 0"),
        (lambda x: split(x, None), TypeError, "split: indices_or_sections must be an int"),
        (lambda x: split(x, [0.5]), TypeError, "split: indices_or_sections must be an int"),
        (lambda x: np.add(x, None), TypeError, "add: both operands must be arrays or numbers"),
    ],
)
def test_bad_arguments_of_joining_and_cutting(call: object, error: type, message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call(leaf(np.zeros((2, 3))))


def test_concatenating_all_elements(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 3)), rng.standard_normal(4)
    np.testing.assert_array_equal(concatenate([a, b], None), np.concatenate([a, b], None))
    gradcheck(lambda s, t: concatenate([s, t], axis=None), a, b)
