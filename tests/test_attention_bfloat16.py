"""Attention on arrays of ml_dtypes.bfloat16, against the same in float32."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st

import fastnn
import fastnn.functional as F

BF16 = np.dtype(ml_dtypes.bfloat16)
# What rounding a result of float32 to 8 bits may change: the sums themselves are the same.
ROUNDING = 2.0**-8


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(BF16)


def wide(arrays):
    return [None if a is None else a.astype(np.float32) for a in arrays]


def assert_rounded(y, expected):
    """Both ways add in the same order, so that only the storage differs."""
    assert y.dtype == BF16
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y, expected.astype(BF16))


def gradients(arrays, grad, **options):
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
    out = F.scaled_dot_product_attention(*tensors, **options)
    out.backward(grad)
    return [out.data, *(t.grad for t in tensors)]


sizes = st.sampled_from([1, 2, 13, 14, 15, 16, 17, 31, 32, 33, 196, 197])
widths = st.sampled_from([1, 2, 7, 8, 15, 16, 17, 33, 64, 65])


@given(queries=sizes, keys=sizes, width=widths, value_width=widths, seed=st.integers(0, 9))
def test_shapes(isa, queries, keys, width, value_width, seed):
    rng = np.random.default_rng(seed)
    arrays = (
        draw(rng, 2, queries, width),
        draw(rng, 2, keys, width),
        draw(rng, 2, keys, value_width),
    )
    assert_rounded(
        F.scaled_dot_product_attention(*arrays), F.scaled_dot_product_attention(*wide(arrays))
    )


@pytest.mark.parametrize("queries", [1, 4, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True, "causal_alignment": "lower_right"},
        {"window": (9, 3), "softcap": 4.0},
        {"lengths": [1, 0], "kv_lengths": [40, 3]},
        {"enable_gqa": True},
    ],
    ids=str,
)
def test_rules(isa, rng, queries, options):
    heads = 6 if "enable_gqa" in options else 2
    arrays = draw(rng, 2, heads, queries, 24), draw(rng, 2, 2, 55, 24), draw(rng, 2, 2, 55, 20)
    y, lse, weights = F.scaled_dot_product_attention(
        *arrays, return_lse=True, return_weights=True, **options
    )
    expected = F.scaled_dot_product_attention(
        *wide(arrays), return_lse=True, return_weights=True, **options
    )
    assert_rounded(y, expected[0])
    np.testing.assert_array_equal(lse, expected[1])
    np.testing.assert_array_equal(weights, expected[2])


def test_strides(isa, rng):
    q, k, v = (draw(rng, 2, 40, 3, 24).swapaxes(1, 2) for _ in range(3))
    expected = F.scaled_dot_product_attention(*wide((q, k, v)))
    y = F.scaled_dot_product_attention(q, k, v)
    assert_rounded(y, expected)
    assert y.swapaxes(1, 2).flags.c_contiguous  # laid out as query is
    columns = [np.repeat(x, 2, -1)[..., ::2] for x in (q, k, v)]
    assert_rounded(F.scaled_dot_product_attention(*columns), expected)


@pytest.mark.parametrize("dtype", [bool, np.float32, BF16], ids=str)
def test_masks(isa, rng, dtype):
    arrays = draw(rng, 2, 33, 16), draw(rng, 2, 40, 16), draw(rng, 2, 40, 16)
    mask = rng.random((33, 40)) < 0.7
    if dtype is not bool:
        mask = np.where(mask, rng.standard_normal(mask.shape), -np.inf).astype(dtype)
    plain = mask if dtype is bool else mask.astype(np.float32)
    assert_rounded(
        F.scaled_dot_product_attention(*arrays, mask),
        F.scaled_dot_product_attention(*wide(arrays), plain),
    )


@pytest.mark.parametrize("queries", [3, 40])
def test_nan_in_a_masked_position(isa, rng, queries):
    q, k, v = draw(rng, 1, queries, 16), draw(rng, 1, 40, 16), draw(rng, 1, 40, 16)
    mask = np.arange(40) != 7
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    k[0, 7], v[0, 7] = np.nan, np.inf
    np.testing.assert_array_equal(F.scaled_dot_product_attention(q, k, v, mask), expected)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"enable_gqa": True}], ids=str)
@pytest.mark.parametrize("queries", [5, 70])
def test_gradients(isa, rng, options, queries):
    heads = 4 if "enable_gqa" in options else 2
    arrays = draw(rng, 1, heads, queries, 20), draw(rng, 1, 2, 50, 20), draw(rng, 1, 2, 50, 24)
    grad = draw(rng, 1, heads, queries, 24)
    out, *grads = gradients(arrays, grad, **options)
    expected_out, *expected = gradients(wide(arrays), grad.astype(np.float32), **options)
    assert_rounded(out, expected_out)
    for g, e in zip(grads, expected):
        assert g.dtype == BF16
        # The output enters the gradient of the scores, and is rounded.
        error = np.abs(g.astype(np.float32) - e)
        assert (error <= ROUNDING * np.abs(e) + 4 * ROUNDING * np.abs(e).max()).all()


def test_float32_around_it(rng):
    """A float32 model whose attention is stored as bfloat16."""
    x = fastnn.Tensor(rng.standard_normal((1, 20, 16)).astype(np.float32), requires_grad=True)
    low = x.astype(BF16)
    y = F.scaled_dot_product_attention(low, low, low).astype(np.float32)
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    plain = fastnn.Tensor(low.data.astype(np.float32), requires_grad=True)
    z = F.scaled_dot_product_attention(plain, plain, plain)
    (z * z).sum().backward()
    scale = np.abs(plain.grad).max()
    np.testing.assert_allclose(x.grad, plain.grad, rtol=4 * ROUNDING, atol=8 * ROUNDING * scale)


@pytest.mark.parametrize("queries", [1, 40])
def test_same_bytes_for_every_thread_count(isa, rng, queries):
    arrays = draw(rng, 2, 3, queries, 32), draw(rng, 2, 3, 300, 32), draw(rng, 2, 3, 300, 32)
    grad = draw(rng, 2, 3, queries, 32)
    same_bytes_for_every_thread_count(lambda: gradients(arrays, grad))


@given(queries=sizes, keys=sizes, width=widths, seed=st.integers(0, 9))
def test_gradients_in_one_pass_and_in_two(isa, queries, keys, width, seed):
    """A special value among the keys, though masked, is what makes two passes of it."""
    rng = np.random.default_rng(seed)
    arrays = draw(rng, 2, queries, width), draw(rng, 2, keys, width), draw(rng, 2, keys, 5)
    arrays = tuple(np.repeat(x, 2, -1)[..., ::2] if seed % 2 else x for x in arrays)
    grad = draw(rng, 2, queries, 5)
    mask = np.arange(keys) != keys - 1
    expected = gradients(arrays, grad, attn_mask=mask)
    arrays[1][:, -1] = np.nan
    for one, two in zip(expected, gradients(arrays, grad, attn_mask=mask)):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("width", "rotary_dim"), [(2, 2), (16, 16), (34, 32), (66, 64), (5, 0)])
def test_rotary_embedding(isa, rng, width, rotary_dim, interleaved):
    options = {"rotary_dim": rotary_dim, "interleaved": interleaved}
    x = draw(rng, 2, 3, 33, width)
    expected = F.rotary_embedding(x.astype(np.float32), **options)
    assert_rounded(F.rotary_embedding(x, **options), expected)
    assert_rounded(F.rotary_embedding(x[..., ::-1].copy()[..., ::-1], **options), expected)
    out = np.empty_like(x)
    assert F.rotary_embedding(x, out=out, **options) is out
    assert_rounded(out, expected)
    t = fastnn.Tensor(x, requires_grad=True)
    grad = draw(rng, *x.shape)
    F.rotary_embedding(t, **options).backward(grad)
    wide_t = fastnn.Tensor(x.astype(np.float32), requires_grad=True)
    F.rotary_embedding(wide_t, **options).backward(grad.astype(np.float32))
    assert_rounded(t.grad, wide_t.grad)


def test_out(rng):
    arrays = [draw(rng, 2, 9, 16) for _ in range(3)]
    out = np.empty((2, 9, 16), BF16)
    assert F.scaled_dot_product_attention(*arrays, out=out) is out
    np.testing.assert_array_equal(out, F.scaled_dot_product_attention(*arrays))
    with pytest.raises(TypeError, match=r"out must be a numpy\.ndarray of bfloat16, got float32"):
        F.scaled_dot_product_attention(*arrays, out=np.empty((2, 9, 16), np.float32))
    with pytest.raises(ValueError, match="out must not share memory"):
        F.scaled_dot_product_attention(*arrays, out=arrays[1])


def test_errors(rng):
    q, k, v = (draw(rng, 2, 9, 16) for _ in range(3))
    with pytest.raises(TypeError, match=r"key\.dtype must be bfloat16 like the other arrays, got"):
        F.scaled_dot_product_attention(q, k.astype(np.float32), v)
    with pytest.raises(TypeError, match=r"value\.dtype must be float32 or float64, got bfloat16"):
        F.scaled_dot_product_attention(q.astype(np.float32), k.astype(np.float32), v)
    with pytest.raises(TypeError, match=r"attn_mask\.dtype must be bool or query's, got int64"):
        F.scaled_dot_product_attention(q, k, v, np.ones((9, 9), np.int64))
    with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
        F.scaled_dot_product_attention(fastnn.Tensor(q, True), k, v, out=np.empty_like(q))
    with pytest.raises(TypeError, match="a bfloat16 result has no gradient"):
        fastnn.Tensor(q, requires_grad=True) * 2
