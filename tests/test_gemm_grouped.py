"""grouped_mm against NumPy, and against the products of its groups one by one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st
from reference import gemm as reference

import fastnn
import fastnn.functional as F

KINDS = ["rows", "columns", "depth", "stacks"]
sizes = st.lists(st.sampled_from([0, 1, 2, 7, 8, 9, 14, 15, 16, 17, 33, 130]), max_size=5)


def operands(rng, kind, sizes, others, dtype="f8", rest=3):
    """Return a, b and offs; `rest` indices of the dimension that is cut are in no group."""
    first, second = others
    offs = np.cumsum(sizes, dtype=np.int64)
    total, groups = sum(sizes) + rest, len(sizes)
    shape_a, shape_b = {
        "rows": ((total, first), (groups, first, second)),
        "columns": ((groups, first, second), (second, total)),
        "depth": ((first, total), (total, second)),
        "stacks": ((groups, first, second), (groups, second, first)),
    }[kind]
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in (shape_a, shape_b))
    return a, b, None if kind == "stacks" else offs


@pytest.mark.parametrize("kind", KINDS)
@given(
    sizes=sizes, others=st.tuples(*[st.sampled_from([0, 1, 8, 9, 17, 31])] * 2), bias=st.booleans()
)
def test_values(isa, dtype, kind, sizes, others, bias):
    rng = np.random.default_rng(0)
    a, b, offs = operands(rng, kind, sizes, others, dtype)
    add = rng.standard_normal(b.shape[-1]).astype(dtype) if bias else None
    y = F.grouped_mm(a, b, offs=offs, bias=add)
    expected = reference.grouped_mm(
        a.astype("f8"), b.astype("f8"), offs, None if add is None else add.astype("f8")
    )
    assert_close(y, expected, a.shape[-1] + 1, scale=10.0)


@pytest.mark.parametrize("kind", ["rows", "depth", "stacks"])
def test_a_bias_for_each_group(dtype, kind, rng):
    a, b, offs = operands(rng, kind, [3, 0, 20], (8, 17), dtype)
    bias = rng.standard_normal((3, b.shape[-1])).astype(dtype)
    y = F.grouped_mm(a, b, offs=offs, bias=bias)
    assert_close(y, reference.grouped_mm(a, b, offs, bias), 30, scale=10.0)


def test_bytes_are_those_of_matmul(isa, dtype, rng):
    sizes = [1, 0, 14, 15, 300, 5]
    a, b, offs = operands(rng, "rows", sizes, (300, 77), dtype)
    y = F.grouped_mm(a, b.swapaxes(1, 2).copy().swapaxes(1, 2), offs=offs.astype(np.int32))
    for g, (begin, end) in enumerate(zip([0, *offs[:-1]], offs, strict=True)):
        assert y[begin:end].tobytes() == F.matmul(a[begin:end], b[g]).tobytes()
    assert not y[offs[-1] :].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[200, 1, 0, 30], [2] * 60, [5], []])
def test_same_bytes_for_every_thread_count(dtype, kind, sizes, rng):
    a, b, offs = operands(rng, kind, sizes, (130, 257), dtype)
    same_bytes_for_every_thread_count(lambda: F.grouped_mm(a, b, offs=offs))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[2, 0, 3], [1], []])
@pytest.mark.parametrize("bias", [None, 1, 2])
def test_gradients(kind, sizes, bias, rng):
    a, b, offs = operands(rng, kind, sizes, (2, 3))
    if bias is None or (bias == 2 and kind == "columns"):
        gradcheck(lambda a, b: F.grouped_mm(a, b, offs=offs), a, b)
        return
    add = rng.standard_normal((len(sizes), b.shape[-1])[2 - bias :])
    gradcheck(lambda a, b, bias: F.grouped_mm(a, b, offs=offs, bias=bias), a, b, add)


def test_gradients_do_not_follow_offs_that_change(rng):
    a, b, offs = operands(rng, "rows", [2, 3], (4, 5), rest=0)
    x = fastnn.Tensor(a, requires_grad=True)
    y = F.grouped_mm(x, b, offs=offs)
    offs[0] = 5
    y.sum().backward()
    assert_close(x.grad[2:], np.broadcast_to(b[1].sum(1), (3, 4)), 5, scale=10.0)


def test_out_and_strides(dtype, rng):
    a, b, offs = operands(rng, "rows", [4, 9], (6, 7), dtype)
    expected = F.grouped_mm(a, b, offs=offs)
    out = np.empty_like(expected)
    assert F.grouped_mm(a, b, offs=offs, out=out) is out
    assert out.tobytes() == expected.tobytes()
    spaced = np.repeat(np.asfortranarray(a), 2, axis=1)[::-1][::-1, ::2]
    assert F.grouped_mm(spaced, b[:, ::-1][:, ::-1], offs=offs).tobytes() == expected.tobytes()


A, B = np.ones((5, 3)), np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.grouped_mm(A, B), ValueError, "offs must be given"),
        (lambda: F.grouped_mm(B, B.swapaxes(1, 2), offs=[1, 2]), ValueError, "offs must be None"),
        (lambda: F.grouped_mm(A, B, offs=[1, 2, 3]), ValueError, r"mat_b.shape\[0\] must be 3"),
        (lambda: F.grouped_mm(A, B, offs=[3, 2]), ValueError, "offs must rise .* got 2 after 3"),
        (lambda: F.grouped_mm(A, B, offs=[-1, 2]), ValueError, "offs must rise .* got -1"),
        (lambda: F.grouped_mm(A, B, offs=[1, 6]), ValueError, "offs must rise from 0 to at most 5"),
        (lambda: F.grouped_mm(A, B, offs=[1.0, 2.0]), TypeError, "offs.dtype must be an integer"),
        (lambda: F.grouped_mm(A, B, offs=[[1, 2]]), ValueError, "offs must have 1 dim"),
        (lambda: F.grouped_mm(A, B[:, :2], offs=[1, 2]), ValueError, r"mat_b.shape\[1\] must be 3"),
        (lambda: F.grouped_mm(A[0], B, offs=[1, 2]), ValueError, "mat_a must have 2 dim"),
        (lambda: F.grouped_mm(A, B[None], offs=[1, 2]), ValueError, "mat_b must have 2 dim"),
        (lambda: F.grouped_mm(A, B.astype("f4"), offs=[1, 2]), TypeError, "mat_b.dtype must be"),
        (lambda: F.grouped_mm(A.astype(int), B, offs=[1, 2]), TypeError, "mat_a.dtype must be"),
        (lambda: F.grouped_mm(None, B, offs=[1, 2]), TypeError, "mat_a must be .*, got None"),
        (
            lambda: F.grouped_mm(A, B, offs=[1, 2], bias=np.ones(3)),
            ValueError,
            r"bias.shape must be \(4,\)",
        ),
        (
            lambda: F.grouped_mm(A, B, offs=[1, 2], bias=np.ones((3, 4))),
            ValueError,
            r"bias.shape must be \(2, 4\)",
        ),
        (
            lambda: F.grouped_mm(B, np.ones((4, 7)), offs=[1, 2], bias=np.ones((2, 7))),
            ValueError,
            r"bias.shape must be \(7,\)",
        ),
        (
            lambda: F.grouped_mm(A, B, offs=[1, 2], out=np.empty((5, 3))),
            ValueError,
            r"out.shape must be \(5, 4\)",
        ),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_agrees_with_pytorch(rng):
    torch = pytest.importorskip("torch")
    for kind in KINDS:
        a, b, offs = operands(rng, kind, [3, 0, 5], (8, 16), np.float32, rest=0)
        given = None if offs is None else torch.from_numpy(offs.astype(np.int32))
        expected = torch.nn.functional.grouped_mm(
            torch.from_numpy(a), torch.from_numpy(b), offs=given
        )
        assert_close(F.grouped_mm(a, b, offs=offs), expected.numpy(), 10, scale=10.0)
