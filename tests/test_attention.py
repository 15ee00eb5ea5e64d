"""scaled_dot_product_attention against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import attention as reference

import fastnn
import fastnn.functional as F
from fastnn import _core

# Sizes that straddle lanes (4, 8, 16), groups of lanes (8, 16, 32) and rows of a tile (5, 6, 14).
sizes = st.sampled_from([1, 2, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 65])
# Keys and queries also straddle a block of rows (at most 220 .. 224).
lengths = st.sampled_from([1, 2, 5, 14, 15, 16, 17, 32, 33, 97, 130, 219, 221, 223, 224, 225, 450])


def draw(rng, shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


def inputs(rng, lead, queries, keys, width, value_width, dtype=np.float64, kv_lead=None):
    kv_lead = lead if kv_lead is None else kv_lead
    return (
        draw(rng, (*lead, queries, width), dtype),
        draw(rng, (*kv_lead, keys, width), dtype),
        draw(rng, (*kv_lead, keys, value_width), dtype),
    )


def check(q, k, v, attn_mask=None, **options):
    """Compare output, weights and log-sum-exp with the reference."""
    actual = F.scaled_dot_product_attention(
        q, k, v, attn_mask, return_lse=True, return_weights=True, **options
    )
    wide = [a.astype(np.float64) for a in (q, k, v)]
    expected = reference.scaled_dot_product_attention(*wide, attn_mask, **options)
    out, lse, weights = actual
    length = q.shape[-1] + k.shape[-2] + 8
    assert_close(out, expected[0], length, c=2)
    assert_close(weights, expected[1], length, c=2, scale=1.0)
    assert_close(lse, expected[2], length, c=2)
    alone = F.scaled_dot_product_attention(q, k, v, attn_mask, **options)
    assert alone.tobytes() == out.tobytes()
    return out


@given(queries=lengths, keys=lengths, width=sizes, value_width=sizes, seed=st.integers(0, 99))
def test_shapes(isa, dtype, queries, keys, width, value_width, seed):
    rng = np.random.default_rng(seed)
    check(*inputs(rng, (2,), queries, keys, width, value_width, dtype))


@given(
    queries=lengths,
    keys=lengths,
    causal=st.booleans(),
    alignment=st.sampled_from(["upper_left", "lower_right"]),
    window=st.sampled_from([None, (3, None), (None, 20), (0, 0), (100, 7), (17, 150)]),
    softcap=st.sampled_from([None, 2.0]),
    alibi=st.booleans(),
    ragged=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rules(isa, dtype, queries, keys, causal, alignment, window, softcap, alibi, ragged, seed):
    rng = np.random.default_rng(seed)
    q, k, v = inputs(rng, (2, 2), queries, keys, 8, 5, dtype)
    check(
        q,
        k,
        v,
        is_causal=causal,
        causal_alignment=alignment,
        window=window,
        softcap=softcap,
        alibi_slopes=np.array([0.5, 0.03], dtype) if alibi else None,
        lengths=rng.integers(0, queries + 1, 2) if ragged else None,
        kv_lengths=rng.integers(0, keys + 1, 2) if ragged else None,
    )


MASK_SHAPES = [(2, 3, 40, 150), (3, 40, 150), (2, 1, 1, 150), (40, 1), (1, 150), (150,), ()]


@pytest.mark.parametrize("boolean", [True, False])
def test_masks(isa, dtype, rng, boolean):
    q, k, v = inputs(rng, (2, 3), 40, 150, 16, 8, dtype)
    for shape in MASK_SHAPES:
        allowed = rng.random(shape) < 0.6
        bias = np.where(allowed, draw(rng, shape), -np.inf).astype(dtype)
        check(q, k, v, allowed if boolean else bias)


@pytest.mark.parametrize("boolean", [True, False])
def test_mask_strides(isa, rng, boolean):
    q, k, v = inputs(rng, (2,), 40, 150, 16, 8)
    mask = rng.random((40, 150)) < 0.5
    mask = mask if boolean else np.where(mask, draw(rng, mask.shape), -np.inf)
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    for name, view in strided_variants(mask).items():
        assert F.scaled_dot_product_attention(q, k, v, view).tobytes() == expected.tobytes(), name


def test_blocks_that_a_mask_empties(isa, rng):
    q, k, v = inputs(rng, (1,), 70, 500, 8, 8)
    mask = np.zeros((70, 500), bool)
    mask[:, 400:420] = True
    mask[3, 10] = True
    mask[40] = False
    out = check(q, k, v, mask)
    assert (out[0, 40] == 0).all()


def test_slopes_may_be_a_list(rng, dtype):
    q, k, v = inputs(rng, (2,), 9, 9, 8, 8, dtype)
    expected = F.scaled_dot_product_attention(q, k, v, alibi_slopes=np.array([0.5, 0.25], dtype))
    y = F.scaled_dot_product_attention(q, k, v, alibi_slopes=[0.5, 0.25])
    assert y.tobytes() == expected.tobytes()


def test_input_strides(isa, dtype, rng):
    q, k, v = inputs(rng, (2,), 21, 35, 17, 9, dtype)
    expected = F.scaled_dot_product_attention(q, k, v)
    for position, x in enumerate((q, k, v)):
        for name, view in strided_variants(x).items():
            args = [q, k, v]
            args[position] = view
            y = F.scaled_dot_product_attention(*args)
            assert y.tobytes() == expected.tobytes(), (position, name)


def test_output_is_laid_out_as_query(rng):
    x = draw(rng, (2, 7, 3, 4))
    heads = x.transpose(0, 2, 1, 3)
    out = F.scaled_dot_product_attention(heads, heads, heads)
    plain = F.scaled_dot_product_attention(*[np.ascontiguousarray(heads)] * 3)
    assert out.strides == heads.strides
    assert plain.flags.c_contiguous
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize(
    ("lead", "kv_lead", "gqa"),
    [
        ((), (), False),
        ((3,), (), False),
        ((2, 3), (1, 3), False),
        ((3,), (2, 1), False),
        ((2, 6), (2, 2), True),
        ((6,), (1,), True),
        ((2, 1, 4), (2, 3, 2), True),
    ],
)
def test_leading_dimensions(isa, rng, lead, kv_lead, gqa):
    q, k, v = inputs(rng, lead, 9, 20, 5, 6, kv_lead=kv_lead)
    check(q, k, v, enable_gqa=gqa)
    gradcheck(lambda *a: F.scaled_dot_product_attention(*a, enable_gqa=gqa), q, k, v)


def test_empty_dimensions(isa, dtype):
    def shape(q, k, v):
        return F.scaled_dot_product_attention(*(np.ones(s, dtype) for s in (q, k, v))).shape

    assert shape((2, 0, 4), (2, 3, 4), (2, 3, 5)) == (2, 0, 5)
    assert shape((0, 2, 4), (0, 3, 4), (0, 3, 5)) == (0, 2, 5)
    assert shape((2, 2, 4), (2, 3, 4), (2, 3, 0)) == (2, 2, 0)
    no_keys = F.scaled_dot_product_attention(
        np.ones((2, 3), dtype), np.ones((0, 3), dtype), np.ones((0, 4), dtype)
    )
    np.testing.assert_array_equal(no_keys, np.zeros((2, 4)))
    no_width = F.scaled_dot_product_attention(
        np.ones((2, 0), dtype), np.ones((4, 0), dtype), np.arange(4, dtype=dtype)[:, None]
    )
    np.testing.assert_array_equal(no_width, np.full((2, 1), 1.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", ["bool", "float", "causal", "lengths"])
def test_masked_positions_never_leak(isa, dtype, rng, value, how):
    q, k, v = inputs(rng, (2, 1), 37, 150, 8, 20, dtype)
    bad = slice(37, 150)
    options = {
        "bool": {"attn_mask": np.arange(150) < 37},
        "float": {"attn_mask": np.where(np.arange(150) < 37, 0, -np.inf).astype(dtype)},
        "causal": {"is_causal": True},
        "lengths": {"kv_lengths": np.array([37])},
    }[how]

    def run(k, v):
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in (q, k, v)]
        out = F.scaled_dot_product_attention(*tensors, **options)
        out.backward(np.ones(out.shape, dtype))
        return [out.numpy()] + [t.grad for t in tensors]

    expected = run(k, v)
    poisoned_k, poisoned_v = k.copy(), v.copy()
    poisoned_k[..., bad, :] = value
    poisoned_v[..., bad, :] = value
    for actual, good in zip(run(poisoned_k, poisoned_v), expected):
        assert np.isfinite(good).all()
        assert actual.tobytes() == good.tobytes()


def test_a_special_value_reaches_only_the_queries_that_see_it(isa, dtype, rng):
    q, k, v = inputs(rng, (1,), 50, 50, 8, 20, dtype)
    v[0, 20, 3] = np.nan
    v[0, 30, 4] = np.inf
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert np.isfinite(out[0, :20]).all()
    assert np.isnan(out[0, 20:, 3]).all()
    assert np.isfinite(out[0, :30, 4]).all()
    assert np.isposinf(out[0, 30:, 4]).all()
    assert np.isfinite(np.delete(out, [3, 4], axis=2)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_special_scores_make_nan(isa, dtype, rng, value):
    q, k, v = inputs(rng, (1,), 5, 6, 4, 4, dtype)
    q[0, 2, 1] = value
    out = F.scaled_dot_product_attention(q, np.abs(k), v)
    assert np.isnan(out[0, 2]).all()
    assert np.isfinite(np.delete(out, 2, axis=1)).all()


def test_a_query_that_sees_nothing(isa, dtype, rng):
    q, k, v = (fastnn.Tensor(a, requires_grad=True) for a in inputs(rng, (2,), 6, 7, 3, 4, dtype))
    mask = np.ones((6, 7), bool)
    mask[2] = False
    q.data[:, 2] = np.nan
    out, lse = F.scaled_dot_product_attention(q, k, v, mask, return_lse=True)
    assert (out.numpy()[:, 2] == 0).all()
    assert np.isneginf(lse.numpy()[:, 2]).all()
    grad = np.ones(out.shape, dtype)
    grad[:, 2] = np.nan
    out.backward(grad)
    assert (q.grad[:, 2] == 0).all()
    assert np.isfinite(q.grad).all()
    assert np.isfinite(k.grad).all()
    assert np.isfinite(v.grad).all()


def test_large_scores(isa, dtype, rng):
    q, k, v = inputs(rng, (1,), 20, 200, 8, 8, dtype)
    check(q, k, v, scale=0.0)
    out = F.scaled_dot_product_attention(q, k, v, scale=1e4)
    best = np.argmax(q[0] @ k[0].T, axis=1)
    np.testing.assert_allclose(out[0], v[0][best], rtol=1e-3)


GRADIENT_CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.7},
    "window": {"window": (6, 3), "causal_alignment": "lower_right"},
    "softcap": {"softcap": 1.5},
    "alibi": {"alibi_slopes": np.array([0.3, 0.1])},
    "lengths": {"lengths": np.array([8, 0]), "kv_lengths": np.array([20, 11])},
    "lse": {"return_lse": True},
    "weights": {"return_weights": True},
    "all": {"return_weights": True, "return_lse": True, "softcap": 2.0, "is_causal": True},
}


@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradients(case, rng):
    options = GRADIENT_CASES[case]
    q, k, v = inputs(rng, (2, 2), 9, 20, 5, 6)
    gradcheck(lambda *a: F.scaled_dot_product_attention(*a, **options), q, k, v)


@pytest.mark.parametrize("shape", [(2, 2, 9, 20), (2, 1, 1, 20), (9, 1)])
def test_gradient_of_the_bias(rng, shape):
    q, k, v = inputs(rng, (2, 2), 9, 20, 5, 6)
    gradcheck(lambda *a: F.scaled_dot_product_attention(*a, softcap=3.0), q, k, v, draw(rng, shape))


def reference_gradients(q, k, v, grad, allowed):
    """Gradients of query, key and value for boolean (L, S) `allowed`, in float64."""
    q, k, v, grad = (a.astype(np.float64) for a in (q, k, v, grad))
    scale = q.shape[-1] ** -0.5
    out, weights, _ = reference.scaled_dot_product_attention(q, k, v, allowed)
    grad_weights = grad @ np.swapaxes(v, -1, -2)
    grad_scores = weights * (grad_weights - (grad * out).sum(-1, keepdims=True))
    return (
        scale * grad_scores @ k,
        scale * np.swapaxes(grad_scores, -1, -2) @ q,
        np.swapaxes(weights, -1, -2) @ grad,
    )


@given(
    queries=lengths,
    keys=lengths,
    width=sizes,
    value_width=sizes,
    causal=st.booleans(),
    seed=st.integers(0, 99),
)
def test_backward_shapes(isa, dtype, queries, keys, width, value_width, causal, seed):
    rng = np.random.default_rng(seed)
    arrays = inputs(rng, (2,), queries, keys, width, value_width, dtype)
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
    out = F.scaled_dot_product_attention(*tensors, is_causal=causal)
    grad = draw(rng, out.shape, dtype)
    out.backward(grad)
    allowed = reference.allowed_by_limits(queries, keys, is_causal=causal)
    for t, expected in zip(tensors, reference_gradients(*arrays, grad, allowed)):
        assert_close(t.grad, expected, width + value_width + queries + keys, c=2)


def test_some_gradients(rng):
    """A gradient alone has the bytes that it has among all."""
    arrays = inputs(rng, (2, 2), 40, 50, 8, 8)
    everything = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
    F.scaled_dot_product_attention(*everything).sum().backward()
    for position in range(3):
        some = list(arrays)
        some[position] = fastnn.Tensor(arrays[position], requires_grad=True)
        F.scaled_dot_product_attention(*some).sum().backward()
        assert some[position].grad.tobytes() == everything[position].grad.tobytes()


def forward_and_backward(arrays, **options):
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
    out = F.scaled_dot_product_attention(*tensors, **options)
    out.backward(np.cos(np.arange(out.numpy().size, dtype=out.dtype)).reshape(out.shape))
    return [out.numpy(), *(t.grad for t in tensors)]


@pytest.mark.parametrize("lead", [(1,), (2, 3)])
def test_same_bytes_for_every_thread_count(isa, dtype, rng, lead):
    arrays = inputs(rng, lead, 300, 310, 16, 8, dtype)
    same_bytes_for_every_thread_count(lambda: forward_and_backward(arrays, is_causal=True))


def test_an_item_alone_has_the_same_bytes(isa, dtype, rng):
    arrays = inputs(rng, (5, 2), 70, 160, 16, 8, dtype)
    batch = F.scaled_dot_product_attention(*arrays)
    alone = F.scaled_dot_product_attention(*(a[3:4] for a in arrays))
    assert alone.tobytes() == batch[3:4].tobytes()


# Decoding: few queries take keys and values unpacked, in chunks of 512 and at most 64 parts


@given(
    queries=st.integers(1, 8),
    group=st.sampled_from([1, 2, 3, 4]),
    keys=st.sampled_from([1, 7, 8, 16, 31, 32, 33, 129, 300, 511, 512, 513, 1030]),
    width=sizes,
    value_width=sizes,
    ragged=st.booleans(),
    masked=st.booleans(),
    window=st.sampled_from([None, (40, 0), (300, None)]),
    seed=st.integers(0, 99),
)
def test_decoding(
    isa, dtype, queries, group, keys, width, value_width, ragged, masked, window, seed
):
    rng = np.random.default_rng(seed)
    arrays = inputs(rng, (2, 2 * group), queries, keys, width, value_width, dtype, (2, 2))
    mask = (rng.random((2 * group, queries, keys)) < 0.5) if masked else None
    check(
        *arrays,
        mask,
        enable_gqa=True,
        window=window,
        causal_alignment="lower_right",
        kv_lengths=rng.integers(0, keys + 1, 2) if ragged else None,
    )


def test_decoding_over_many_keys(isa, dtype, rng):
    arrays = inputs(rng, (2,), 1, 33000, 3, 5, dtype)  # parts of several chunks
    check(*arrays)
    check(*arrays, window=(300, 0), causal_alignment="lower_right")
    check(*arrays, kv_lengths=600)


def test_decoding_skips_what_is_masked(isa, dtype, rng):
    q, k, v = inputs(rng, (4,), 3, 700, 8, 20, dtype, (1,))
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, kv_lengths=400)
    k[:, 400:], v[:, 400:] = np.nan, np.inf
    actual = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, kv_lengths=400)
    assert actual.tobytes() == expected.tobytes()
    v[:, 17, 3] = np.nan
    mask = np.ones((4, 3, 700), bool)
    mask[..., 400:] = False
    mask[2, 1, 17] = False
    out = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
    assert np.isnan(np.delete(out[..., 3].ravel(), 2 * 3 + 1)).all()
    assert np.isfinite(out[2, 1]).all()
    assert np.isfinite(np.delete(out, 3, axis=2)).all()


@pytest.mark.parametrize("lead", [(1,), (2, 3)])
def test_decoding_has_the_same_bytes_for_every_thread_count(isa, dtype, rng, lead):
    arrays = inputs(rng, lead, 2, 3000, 16, 8, dtype)
    same_bytes_for_every_thread_count(lambda: F.scaled_dot_product_attention(*arrays))
    whole = F.scaled_dot_product_attention(*arrays)
    alone = F.scaled_dot_product_attention(*(a[:1] for a in arrays))
    assert alone.tobytes() == whole[:1].tobytes()


# Dropout


def test_dropout_drops_and_scales(isa, rng):
    q, k, v = inputs(rng, (2, 3), 40, 150, 8, 150)
    v[:] = np.eye(150)
    plain = F.scaled_dot_product_attention(q, k, v)
    fastnn.manual_seed(3)
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    kept = out != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(out[kept], plain[kept] / 0.75, rtol=1e-12)
    assert (F.scaled_dot_product_attention(q, k, v, dropout_p=1.0) == 0).all()


def test_dropout_is_the_same_in_every_pass(isa, rng):
    q, k, v = inputs(rng, (2, 2), 9, 150, 5, 6)

    def f(q, k, v):
        fastnn.manual_seed(1)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, return_weights=True)

    out, weights = f(q, k, v)
    np.testing.assert_allclose(out, weights @ v, rtol=1e-12, atol=1e-14)
    gradcheck(f, q, k, v)


def test_dropout_is_the_same_on_every_isa_and_thread_count(dtype, rng):
    arrays = inputs(rng, (3,), 150, 130, 8, 8, dtype)
    kept = []
    for name in _core.available_isas():
        _core.use_isa(name)

        def run():
            fastnn.manual_seed(7)
            return forward_and_backward(arrays, dropout_p=0.5)

        same_bytes_for_every_thread_count(run)
        fastnn.manual_seed(7)
        weights = F.scaled_dot_product_attention(*arrays, dropout_p=0.5, return_weights=True)[1]
        kept.append(weights != 0)
    assert all((k == kept[0]).all() for k in kept)


# Errors

BAD = [
    ({"query": np.ones(4)}, ValueError, "query must have at least 2 dimensions"),
    ({"query": np.ones((2, 3, 4), np.float16)}, TypeError, "query.dtype must be float32 or"),
    ({"query": [[1.0]] * 3}, ValueError, "key.shape"),
    ({"key": np.ones((2, 5, 3))}, ValueError, r"key.shape\[2\] must be 4"),
    ({"key": np.ones((2, 5, 4), np.float32)}, TypeError, "key.dtype must be float64"),
    ({"key": np.ones((3, 5, 4))}, ValueError, "leading dimensions of key and value"),
    ({"value": np.ones((2, 6, 4))}, ValueError, r"value.shape\[1\] must be 5"),
    ({"attn_mask": np.ones((4, 5), bool)}, ValueError, "attn_mask.shape must broadcast"),
    ({"attn_mask": np.ones((1, 2, 3, 5), bool)}, ValueError, "attn_mask.shape must broadcast"),
    ({"attn_mask": np.ones((3, 5), np.int64)}, TypeError, "attn_mask.dtype must be bool or"),
    ({"attn_mask": np.ones((3, 5), np.float32)}, TypeError, "attn_mask.dtype must be float64"),
    (
        {"attn_mask": np.ones((3, 5), bool), "is_causal": True},
        ValueError,
        "attn_mask must be None with is_causal",
    ),
    ({"is_causal": "a"}, TypeError, "is_causal must be a bool"),
    ({"enable_gqa": "a"}, TypeError, "enable_gqa must be a bool"),
    ({"scale": "a"}, TypeError, "scale must be a number"),
    ({"dropout_p": 1.5}, ValueError, "dropout_p must be in 0..1"),
    ({"dropout_p": "a"}, TypeError, "dropout_p must be a number"),
    ({"causal_alignment": "left"}, ValueError, "causal_alignment must be"),
    ({"window": 3}, TypeError, "window must be a tuple"),
    ({"window": (1, -1)}, ValueError, "window must not be negative"),
    ({"window": (1.5, 2)}, TypeError, r"window\[0\] must be an int"),
    ({"softcap": -1.0}, ValueError, "softcap must be positive"),
    ({"softcap": 0.0}, ValueError, "softcap must be positive"),
    ({"alibi_slopes": np.ones(3)}, ValueError, "alibi_slopes.shape must broadcast"),
    ({"lengths": 4}, ValueError, "lengths must be in 0..3, got 4"),
    ({"kv_lengths": -1}, ValueError, "kv_lengths must be in 0..5, got -1"),
    ({"kv_lengths": [1, 2, 3]}, ValueError, "kv_lengths.shape must broadcast"),
    ({"kv_lengths": [1.5]}, TypeError, "kv_lengths.dtype must be an integer"),
    ({"enable_gqa": True, "query": np.ones((3, 3, 4))}, ValueError, "must be a multiple"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_errors(change, error, message):
    arguments = {
        "query": np.ones((2, 3, 4)),
        "key": np.ones((2, 5, 4)),
        "value": np.ones((2, 5, 6)),
    }
    with pytest.raises(error, match=f"scaled_dot_product_attention: .*{message}"):
        F.scaled_dot_product_attention(**{**arguments, **change})


def test_gqa_needs_heads():
    x = np.ones((3, 4))
    with pytest.raises(ValueError, match="at least 3 dimensions"):
        F.scaled_dot_product_attention(x, x, x, enable_gqa=True)


def test_read_only_inputs(rng):
    q, k, v = inputs(rng, (1,), 3, 4, 5, 6)
    for a in (q, k, v):
        a.flags.writeable = False
    check(q, k, v)


# PyTorch


@pytest.mark.parametrize(
    ("mask", "causal", "gqa"), [*itertools.product([None, "bool", "float"], [False], [False, True]),
                                (None, True, True)]
)  # fmt: skip
def test_agrees_with_pytorch(rng, mask, causal, gqa):
    torch = pytest.importorskip("torch")
    q, k, v = inputs(rng, (2, 4), 19, 33, 8, 6, kv_lead=(2, 2) if gqa else None)
    m = {
        None: None,
        "bool": rng.random((4, 19, 33)) < 0.7,
        "float": draw(rng, (2, 1, 19, 33)),
    }[mask]
    ours = [fastnn.Tensor(a, requires_grad=True) for a in (q, k, v)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    out = F.scaled_dot_product_attention(*ours, m, is_causal=causal, enable_gqa=gqa)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, None if m is None else torch.tensor(m), is_causal=causal, enable_gqa=gqa
    )
    grad = draw(rng, out.shape)
    out.backward(grad)
    expected.backward(torch.tensor(grad))
    np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-10, atol=1e-12)


# Rotary embedding


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(dtype, rng, interleaved):
    x = draw(rng, (2, 3, 5, 8), dtype)
    y = F.rotary_embedding(x, interleaved=interleaved)
    assert y.dtype == dtype
    expected = reference.rotary_embedding(
        x.astype(np.float64), np.arange(5), interleaved=interleaved
    )
    assert_close(y, expected, 8)
    positions = rng.integers(0, 1000, (2, 1, 5))
    y = F.rotary_embedding(x, positions, interleaved=interleaved, base=500.0, rotary_dim=4)
    expected = reference.rotary_embedding(
        x[..., :4].astype(np.float64), positions, 500.0, interleaved
    )
    assert_close(y[..., :4], expected, 8)
    np.testing.assert_array_equal(y[..., 4:], x[..., 4:])
    gradcheck(
        lambda x: F.rotary_embedding(x, interleaved=interleaved, rotary_dim=6), x[:1].astype(float)
    )


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("shape", "rotary_dim"),
    [
        ((3, 31, 2), 2),
        ((2, 3, 33, 30), 30),
        ((65, 1, 34), 32),
        ((2, 70, 66), 64),
        ((2, 4, 5), 0),
        ((0, 3, 4), 4),
        ((2, 0, 4), 4),
        ((2, 2, 0), 0),
    ],
)
def test_rotary_shapes(isa, dtype, rng, shape, rotary_dim, interleaved):
    x = draw(rng, shape, dtype)
    for positions in (None, rng.integers(-5, 3000, shape[:-1]), np.array([1 << 21])):
        y = F.rotary_embedding(x, positions, rotary_dim=rotary_dim, interleaved=interleaved)
        where = np.arange(shape[-2]) if positions is None else positions
        expected = reference.rotary_embedding(
            x[..., :rotary_dim].astype(np.float64), where, interleaved=interleaved
        )
        # Angles are rounded to float64 before their sine is taken.
        angle = np.abs(where).max(initial=1)
        error = 16 * np.finfo(dtype).eps + 8 * np.finfo(np.float64).eps * angle
        np.testing.assert_allclose(y[..., :rotary_dim], expected, rtol=0, atol=error)
        np.testing.assert_array_equal(y[..., rotary_dim:], x[..., rotary_dim:])
    heads_inside = np.moveaxis(x, 0, -2).copy().swapaxes(0, -2) if x.ndim == 3 else x[..., ::-1]
    np.testing.assert_array_equal(
        F.rotary_embedding(heads_inside, rotary_dim=rotary_dim),
        F.rotary_embedding(heads_inside.copy(), rotary_dim=rotary_dim),
    )


def test_rotary_is_the_same_alone_and_on_every_thread(rng):
    x = draw(rng, (3, 70, 40, 24), np.float32)
    positions = rng.integers(0, 1000, (3, 1, 40))
    y = same_bytes_for_every_thread_count(lambda: F.rotary_embedding(x, positions))
    for i in range(3):
        alone = F.rotary_embedding(x[i, :2], positions[i])
        assert alone.tobytes() == y[i, :2].tobytes()


def test_rotary_products_depend_on_the_distance(rng):
    q, k = draw(rng, (1, 8)), draw(rng, (1, 8))
    products = [F.rotary_embedding(q, [p + 3]) @ F.rotary_embedding(k, [p]).T for p in (0, 10, 100)]
    np.testing.assert_allclose(products, products[0][None].repeat(3, 0), rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(4),), ValueError, "input must have at least 2"),
        ((np.ones((2, 4), int),), TypeError, "input.dtype must be"),
        ((np.ones((2, 3)),), ValueError, "rotary_dim must be even"),
        ((np.ones((2, 4)), [0.5, 1]), TypeError, "positions.dtype must be an integer"),
        ((np.ones((2, 4)), [0, 1, 2]), ValueError, "positions.shape must broadcast"),
    ],
)
def test_rotary_errors(arguments, error, message):
    with pytest.raises(error, match=f"rotary_embedding: {message}"):
        F.rotary_embedding(*arguments)


@pytest.mark.parametrize("base", [0, -1.0, float("inf"), float("nan")])
def test_rotary_base(base):
    with pytest.raises(ValueError, match="rotary_embedding: base must be positive and finite"):
        F.rotary_embedding(np.ones((2, 4)), base=base)
