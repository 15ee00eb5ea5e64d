"""linear, matmul, bmm, bilinear and column_sum against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes_for_every_thread_count, strided_variants
from hypothesis import given
from hypothesis import strategies as st
from reference import gemm as reference

import fastnn
import fastnn.functional as F

# Sizes that straddle lanes (4, 8, 16), groups of columns (8, 16, 32) and rows of a tile (5, 6, 14).
sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 31, 32, 33, 65])
# The summed index also straddles a block of depth (128 doubles, 256 floats).
depths = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 129, 255, 256, 257, 520])


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def scale_of(a, b):
    """What the terms of each sum add up to: the unit of its rounding error."""
    return np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64)) + 1e-30


def check_product(y, a, b, extra=0.0):
    expected = reference.matmul(a.astype(np.float64), b.astype(np.float64)) + extra
    assert_close(y, expected, a.shape[-1] + 1, c=1, scale=scale_of(a, b) + np.abs(extra))


@given(m=sizes, n=sizes, k=depths, seed=st.integers(0, 99))
def test_matmul_shapes(isa, dtype, m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
    check_product(F.matmul(a, b), a, b)


@pytest.mark.parametrize("shape", [(600, 33, 300), (3, 2100, 40), (4200, 9, 5), (1, 700, 600)])
def test_matmul_crosses_every_block(isa, dtype, shape, rng):
    m, n, k = shape
    a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
    check_product(F.matmul(a, b), a, b)


@pytest.mark.parametrize("shape", [(40, 1100, 700), (45, 300, 2100)])
def test_transposed_matmul_crosses_every_block(isa, dtype, shape, rng):
    m, k, n = shape
    a, b = rng.standard_normal((k, m)).astype(dtype).T, rng.standard_normal((k, n)).astype(dtype)
    assert F.matmul(a, b).tobytes() == F.matmul(np.ascontiguousarray(a), b).tobytes()


@pytest.mark.parametrize("transposed", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("shape", [(30, 700, 1030), (31, 1100, 1024)])
def test_blocks_of_rows_serve_every_block_of_columns(isa, dtype, shape, transposed, rng):
    m, n, k = shape
    a = draw(rng, (k, m), dtype).T if transposed[0] else draw(rng, (m, k), dtype)
    b = draw(rng, (n, k), dtype).T if transposed[1] else draw(rng, (k, n), dtype)
    check_product(F.matmul(a, b), a, b)


def test_matmul_strides(isa, dtype, rng):
    a, b = draw(rng, (19, 37), dtype), draw(rng, (37, 21), dtype)
    for left_name, left in strided_variants(a).items():
        for right_name, right in strided_variants(b).items():
            y = F.matmul(left, right)
            assert y.tobytes() == F.matmul(a, b).tobytes(), (left_name, right_name)


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [
        ((2, 3, 4, 5), (5, 6)),
        ((2, 3, 4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (1, 3, 5, 6)),
        ((4, 5), (7, 5, 6)),
        ((5,), (5, 6)),
        ((4, 5), (5,)),
        ((5,), (5,)),
        ((3, 4, 5), (5,)),
        ((5,), (3, 5, 6)),
        ((0, 4, 5), (5, 6)),
    ],
)
def test_matmul_broadcasting(dtype, shape_a, shape_b, rng):
    a, b = draw(rng, shape_a, dtype), draw(rng, shape_b, dtype)
    y = F.matmul(a, b)
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert np.shape(y) == expected.shape
    assert_close(y, expected, 5, scale=10.0)
    if 0 not in shape_a:
        gradcheck(F.matmul, a, b)


def test_bmm(dtype, rng):
    a, b = draw(rng, (3, 4, 5), dtype), draw(rng, (3, 5, 6), dtype)
    assert_close(F.bmm(a, b), reference.matmul(a.astype("f8"), b.astype("f8")), 5, scale=10.0)
    gradcheck(F.bmm, a, b)


@given(rows=sizes, inputs=depths, outputs=sizes, bias=st.booleans())
def test_linear(isa, dtype, rows, inputs, outputs, bias):
    rng = np.random.default_rng(1)
    x, w = draw(rng, (rows, inputs), dtype), draw(rng, (outputs, inputs), dtype)
    b = draw(rng, (outputs,), dtype) if bias else None
    check_product(F.linear(x, w, b), x, w.T, 0.0 if b is None else b.astype(np.float64))


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,)])
def test_linear_leading_dimensions(leading, rng):
    x, w, b = draw(rng, (*leading, 5), "f8"), draw(rng, (4, 5), "f8"), draw(rng, (4,), "f8")
    assert_close(F.linear(x, w, b), reference.linear(x, w, b), 6, scale=10.0)
    gradcheck(F.linear, x, w, b)
    assert_close(F.linear(x, w[0]), reference.linear(x, w[0]), 6, scale=10.0)


def test_bilinear(rng):
    x1, x2 = draw(rng, (2, 3, 4), "f8"), draw(rng, (2, 3, 5), "f8")
    w, b = draw(rng, (6, 4, 5), "f8"), draw(rng, (6,), "f8")
    assert_close(F.bilinear(x1, x2, w, b), reference.bilinear(x1, x2, w, b), 20, scale=20.0)
    gradcheck(F.bilinear, x1, x2, w, b)


@pytest.mark.parametrize(
    ("count", "in1", "in2", "outputs"), list(itertools.product([0, 2], repeat=4))
)
def test_bilinear_of_nothing(count, in1, in2, outputs):
    shapes = [(count, in1), (count, in2), (outputs, in1, in2), (outputs,)]
    tensors = [fastnn.Tensor(np.ones(s), requires_grad=True) for s in shapes]
    y = F.bilinear(*tensors)
    assert np.array_equal(y.numpy(), np.full((count, outputs), in1 * in2 + 1.0))
    y.sum().backward()
    assert [t.grad.shape for t in tensors] == shapes
    assert np.array_equal(tensors[2].grad, np.full(shapes[2], float(count)))


def test_long_batch_of_empty_products():
    # Nothing may be allocated for each of the 2^40 products.
    y = F.matmul(np.empty((2**40, 0, 3), np.float32), np.ones((3, 2), np.float32))
    assert y.shape == (2**40, 0, 2)


@given(rows=st.sampled_from([0, 1, 127, 128, 129, 1000]), cols=sizes)
def test_column_sum(isa, dtype, rows, cols):
    x = draw(np.random.default_rng(2), (rows, cols), dtype)
    scale = np.abs(x.astype(np.float64)).sum(axis=0) + 1e-30
    assert_close(F.column_sum(x), reference.column_sum(x.astype("f8")), 150, c=1, scale=scale)


def test_column_sum_gradient(rng):
    gradcheck(F.column_sum, draw(rng, (3, 4, 5), "f8"))


@pytest.mark.parametrize("shape", [(300, 300, 300), (5, 900, 400), (900, 5, 400), (1, 3000, 300)])
def test_same_bytes_for_every_thread_count(isa, dtype, shape, rng):
    m, n, k = shape
    a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
    same_bytes_for_every_thread_count(lambda: F.matmul(a, b))
    same_bytes_for_every_thread_count(lambda: F.matmul(np.stack([a] * 3), b))
    same_bytes_for_every_thread_count(lambda: F.column_sum(a))


@pytest.mark.parametrize("rows", [2, 5, 14, 15, 40, 300])
def test_row_alone_has_the_bytes_of_its_batch(isa, dtype, rows, rng):
    x, w, b = draw(rng, (rows, 300), dtype), draw(rng, (77, 300), dtype), draw(rng, (77,), dtype)
    whole = F.linear(x, w, b)
    for i in (0, rows // 2, rows - 1):
        assert F.linear(x[i], w, b).tobytes() == whole[i].tobytes()
        # A transposed weight is another path through packing, not another order of the sum.
        again = F.matmul(x[i : i + 1], np.ascontiguousarray(w.T)) + b
        assert again.tobytes() == whole[i].tobytes()


@pytest.mark.parametrize("offset", [0, 1, 4, 13])
@pytest.mark.parametrize(("inputs", "outputs"), [(300, 35), (1024, 16), (1031, 3), (2048, 1)])
def test_weights_anywhere_in_a_line_give_the_same_bytes(isa, dtype, offset, inputs, outputs, rng):
    x, b = draw(rng, (16, inputs), dtype), draw(rng, (outputs,), dtype)
    memory = draw(rng, (outputs * inputs + offset,), dtype)
    w = memory[offset:].reshape(outputs, inputs)
    packed = fastnn._core.pack_linear(w)
    for rows in (1, 3, 14, 16):
        y = F.linear(x[:rows], w, b)
        check_product(y, x[:rows], w.T, b)
        assert y.tobytes() == fastnn._core.linear_forward(x[:rows], packed, b).tobytes()


@pytest.mark.parametrize("k", [0, 1, 2, 7, 8, 9])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (15, 33), (18, 64), (33, 130)])
def test_short_sums(isa, dtype, m, n, k, rng):
    a, w, r = draw(rng, (k, m), dtype), draw(rng, (n, k), dtype), draw(rng, (m, n), dtype)
    in_place = np.ascontiguousarray(w.T).T  # rows of the second factor are contiguous
    check_product(F.matmul(a.T, in_place.T), a.T, w.T)
    # All that an epilogue does, as for weights that are packed.
    arguments = (r[0], None, 0.5, r, ("leaky_relu", 0.1))
    x = np.ascontiguousarray(a.T)
    y = fastnn._core.linear_forward(x, in_place, *arguments)
    expected = fastnn._core.linear_forward(x, fastnn._core.pack_linear(w), *arguments)
    assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_specials_stay_in_their_row_and_column(isa, dtype, value, rng):
    a, b = draw(rng, (20, 30), dtype), draw(rng, (30, 40), dtype)
    clean = F.matmul(a, b)
    a[3, 7] = value
    y = F.matmul(a, b)
    assert not np.isfinite(y[3]).any()
    rest = np.arange(20) != 3
    assert y[rest].tobytes() == clean[rest].tobytes()


def test_out(rng):
    a, b = draw(rng, (4, 5), "f4"), draw(rng, (5, 6), "f4")
    out = np.empty((4, 6), np.float32)
    assert F.matmul(a, b, out=out) is out
    assert out.tobytes() == F.matmul(a, b).tobytes()
    assert F.linear(a, np.ascontiguousarray(b.T), out=out) is out
    with pytest.raises(ValueError, match=r"out must not share memory"):
        F.matmul(a, np.zeros((5, 5), "f4"), out=a)
    with pytest.raises(ValueError, match=r"out.shape must be \(4, 6\), got \(4, 7\)"):
        F.matmul(a, b, out=np.empty((4, 7), "f4"))
    with pytest.raises(TypeError, match=r"out must be a numpy.ndarray of float32, got float64"):
        F.matmul(a, b, out=np.empty((4, 6)))
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"out must be writable"):
        F.matmul(a, b, out=out)
    with pytest.raises(ValueError, match=r"C-contiguous"):
        F.matmul(a, b, out=np.empty((6, 4), "f4").T)
    weight = fastnn.Tensor(b, requires_grad=True)
    with pytest.raises(ValueError, match=r"out must be None while gradients are recorded"):
        F.matmul(a, weight, out=np.empty((4, 6), "f4"))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.matmul(np.ones((2, 3)), np.ones((4, 2))), ValueError, r"other.shape\[0\] must"),
        (lambda: F.matmul(np.ones((2, 3)), np.float64(1)), ValueError, "other must have at least"),
        (lambda: F.matmul(np.ones((2, 2)), np.ones((2, 2), "f4")), TypeError, "other.dtype must"),
        (lambda: F.matmul(np.ones((2, 2), int), np.ones((2, 2))), TypeError, "input.dtype must"),
        (lambda: F.matmul(np.ones((2, 2, 2)), np.ones((3, 2, 2))), ValueError, "must broadcast"),
        (lambda: F.matmul(np.ones((2, 2), ">f4"), np.ones((2, 2))), TypeError, "input.dtype"),
        (lambda: F.bmm(np.ones((2, 2)), np.ones((3, 2, 2))), ValueError, "input must have 3"),
        (lambda: F.bmm(np.ones((1, 2, 2)), np.ones((3, 2, 2))), ValueError, r"mat2.shape\[0\]"),
        (lambda: F.linear(np.ones((2, 3)), np.ones((4, 2))), ValueError, r"weight.shape\[1\] must"),
        (lambda: F.linear(np.ones(()), np.ones((4, 2))), ValueError, "input must have at least"),
        (lambda: F.linear(np.ones(2), np.ones((1, 4, 2))), ValueError, "weight must have 2"),
        (lambda: F.linear(np.ones(2), np.ones((4, 2)), np.ones(3)), ValueError, "bias.shape must"),
        (lambda: F.linear(np.ones(2), None), TypeError, "weight must be a numpy.ndarray"),
        (
            lambda: F.matmul(
                np.broadcast_to(np.ones(()), (2**40, 1)), np.broadcast_to(np.ones(()), (1, 2**40))
            ),
            ValueError,
            "too many elements",
        ),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_linear_layer_matches_pytorch_names():
    layer = fastnn.nn.Linear(5, 3)
    assert {name: value.shape for name, value in layer.state_dict().items()} == {
        "weight": (3, 5),
        "bias": (3,),
    }
    assert np.abs(layer.weight.data).max() <= 1 / np.sqrt(5)
    assert fastnn.nn.Linear(5, 3, bias=False).bias is None


@given(rows=sizes, inputs=depths, outputs=sizes)
def test_packed_weight_gives_the_same_bytes(isa, dtype, rows, inputs, outputs):
    rng = np.random.default_rng(3)
    layer = fastnn.nn.Linear(inputs, outputs, dtype=dtype)
    x = draw(rng, (rows, inputs), dtype)
    with fastnn.no_grad():
        first, second = layer(x), layer(x)
    expected = F.linear(x, layer.weight.data, layer.bias.data)
    assert first.tobytes() == second.tobytes() == expected.tobytes()


def test_packed_weight_is_never_stale(rng):
    layer = fastnn.nn.Linear(4, 3)
    x = draw(rng, (2, 4), "f4")

    def infer():
        with fastnn.no_grad():
            return layer(x)

    infer()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.data[0, 0] = 1
    layer(x).sum().backward()
    layer.weight.data[...] = 2  # recording dropped the pack
    assert_close(infer(), reference.linear(x, layer.weight.data, layer.bias.data), 5, scale=20.0)
    fastnn.optim.SGD(layer.parameters(), lr=0.5).step()
    assert_close(infer(), reference.linear(x, layer.weight.data, layer.bias.data), 5, scale=20.0)
    layer.load_state_dict({"weight": np.ones((3, 4), "f4"), "bias": np.zeros(3, "f4")})
    assert_close(infer(), np.repeat(x.sum(1, keepdims=True), 3, 1), 5, scale=20.0)
    with pytest.raises(
        ValueError, match=r"input.shape\[1\] must be 4 \(weight.shape\[1\]\), got 5"
    ):
        fastnn.no_grad()(layer)(np.ones((2, 5), "f4"))
    with pytest.raises(TypeError, match=r"weight.dtype must be float64"):
        fastnn.no_grad()(layer)(np.ones((2, 4)))


@pytest.mark.parametrize("product", [F.matmul, F.bmm, lambda a, b: F.bilinear(a, a, b)])
def test_none_is_refused(product):
    with pytest.raises(TypeError, match=r"^(matmul|bmm|bilinear): \w+ must be .*, got None"):
        product(np.ones((2, 3, 4)), None)


def test_bilinear_refuses_a_bias_of_another_dtype():
    x, w = np.ones((3, 2)), np.ones((4, 2, 2))
    with pytest.raises(TypeError, match=r"bilinear: bias\.dtype must be float64"):
        F.bilinear(x, x, w, np.ones(4, np.float32))
