"""sum and mean over axes of a Tensor against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, same_bytes, same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st
from reference import elementwise as reference

import fastnn
from fastnn import _core

SIZES = st.sampled_from([0, 1, 2, 5, 15, 16, 17, 65, 129])


@given(data=st.data(), rank=st.integers(0, 4), seed=st.integers(0, 99), keepdims=st.booleans())
def test_sum_and_mean(isa, dtype, data, rank, seed, keepdims):
    shape = tuple(data.draw(SIZES) if axis < 3 else 3 for axis in range(rank))
    axes = data.draw(st.none() | st.sets(st.integers(0, max(rank - 1, 0))).map(tuple))
    if rank == 0:
        axes = None if axes is None else ()
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    t = fastnn.Tensor(x)
    count = x.size if axes is None else int(np.prod([shape[a] for a in axes]))
    expected = reference.sum(x.astype(np.float64), axes, keepdims)
    total = t.sum(axes, keepdims)
    assert total.dtype == dtype
    assert not np.shares_memory(total, x)
    scale = max(float(np.sqrt(count)), 1.0) * 4
    assert_close(total, expected, 70, scale=scale)
    if count:
        assert_close(t.mean(axes, keepdims), expected / count, 70, scale=scale / count)
    reverse = t.T.sum(None if axes is None else tuple(rank - 1 - a for a in axes))
    assert_close(reverse, reference.sum(x.astype(np.float64), axes).T, 70 + count, scale=scale)


def test_long_rows_and_threads(isa, dtype, rng):
    x = rng.standard_normal((3, 100_003)).astype(dtype) + dtype.type(100)
    t, columns = fastnn.Tensor(x), fastnn.Tensor(np.ascontiguousarray(x.T))

    def sums():
        return [t.sum(), t.sum(1), t.sum(0), columns.sum(0), columns.sum(1)]

    whole, rows, down, *_ = same_bytes_for_every_thread_count(sums)
    exact = x.astype(np.float64)
    assert_close(whole, exact.sum(), 3, scale=np.abs(exact).sum())
    assert_close(rows, exact.sum(1), 3, scale=np.abs(exact).sum(1))
    assert_close(down, exact.sum(0), 3, scale=np.abs(exact).sum(0))
    assert same_bytes(fastnn.Tensor(x[1:2]).sum(1), rows[1:2])


def test_nan_and_empty(isa, dtype):
    x = np.zeros((40, 33), dtype)
    x[7, 32] = np.nan
    t = fastnn.Tensor(x)
    for axis in (None, 0, 1):
        assert np.isnan(t.sum(axis)).sum() == 1
    empty = fastnn.Tensor(np.zeros((0, 3), dtype))
    for axis in (None, 0, 1):
        np.testing.assert_array_equal(empty.sum(axis), np.zeros((0, 3)).sum(axis))
    assert np.isnan(empty.mean())
    assert np.isnan(empty.mean(0)).all()


@pytest.mark.parametrize(
    ("axis", "error"), [(2, ValueError), (-3, ValueError), ((0, 0), ValueError), ("a", TypeError)]
)
def test_errors(axis, error):
    with pytest.raises(error, match="axis must"):
        fastnn.Tensor(np.ones((2, 3))).sum(axis)


def test_out_of_the_kernel(dtype):
    x = np.ones((2, 3), dtype)
    out = np.empty(3, dtype)
    assert _core.axis_sum(x, 0, False, False, out) is out
    with pytest.raises(ValueError, match=r"out.shape must be \(3,\)"):
        _core.axis_sum(x, 0, False, False, np.empty(2, dtype))
