"""Dropout: the generator's known answers, masks, moments, gradients, edges, errors."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from reference import dropout as reference

import fastnn
import fastnn.functional as F
from fastnn import _core
from fastnn.random import initial_seed

FEATURES = [
    ("dropout1d", (5, 7, 9), 2),
    ("dropout1d", (70, 9), 1),
    ("dropout2d", (5, 17, 3, 5), 2),
    ("dropout2d", (5, 17, 3), 2),
    ("dropout3d", (3, 5, 2, 2, 3), 2),
    ("dropout3d", (65, 2, 2, 3), 1),
]

# Counter and key in, words out: kat_vectors of the Random123 library, "philox4x32 10".
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(isa, counter, key, answer):
    counter, key, answer = ([int(w, 16) for w in text.split()] for text in (counter, key, answer))
    assert reference.philox4x32(counter, key).tolist() == answer
    block = counter[0] | counter[1] << 32
    stream, seed = counter[2] | counter[3] << 32, key[0] | key[1] << 32
    words = _core.philox_words(64, seed, stream, block // 16)
    assert words[block % 16 :: 16].tolist() == answer


@pytest.mark.parametrize("n", [0, 1, 15, 63, 64, 65, 200_001])
def test_words(isa, n):
    words = same_bytes_for_every_thread_count(lambda: _core.philox_words(n, 2**63 + 7, 2**33 + 1))
    assert words.tolist() == reference.philox_words(n, 2**63 + 7, 2**33 + 1).tolist()


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 63, 64, 65, 70_003])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout(isa, dtype, n, p):
    x = np.random.default_rng(n).normal(size=n).astype(dtype)
    fastnn.manual_seed(11)
    first = F.dropout(x, p)
    assert_close(first, reference.dropout(x.astype(np.float64), p, 11, 0))
    second = F.dropout(x, p)
    assert_close(second, reference.dropout(x.astype(np.float64), p, 11, 1))


@pytest.mark.parametrize(("op", "shape", "axes"), FEATURES)
def test_feature_dropout(isa, dtype, op, shape, axes):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    fastnn.manual_seed(12)
    y = getattr(F, op)(x, 0.3)
    assert_close(y, reference.feature_dropout(x.astype(np.float64), 0.3, 12, 0, axes))


def test_alpha_dropout(isa, dtype):
    x = np.random.default_rng(1).normal(size=200_001).astype(dtype)
    fastnn.manual_seed(13)
    y = F.alpha_dropout(x, 0.3, training=True)
    assert_close(y, reference.alpha_dropout(x.astype(np.float64), 0.3, 13, 0), c=6)
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02
    z = F.feature_alpha_dropout(np.ones((40, 50, 3), dtype), 0.3, training=True)
    assert (z == z[:, :, :1]).all()
    assert len(np.unique(z)) == 2


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_share_of_dropped(p):
    n = 1_000_000
    dropped = (F.dropout(np.ones(n, np.float32), p) == 0).mean()
    assert abs(dropped - p) < 6 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("op", ["dropout", "alpha_dropout"])
def test_gradient(isa, op):
    def f(x):
        fastnn.manual_seed(14)
        return getattr(F, op)(x, 0.4, True)

    gradcheck(f, np.random.default_rng(2).normal(size=(3, 5, 7)))
    gradcheck(lambda x: (fastnn.manual_seed(1), F.dropout2d(x, 0.4))[1], np.ones((3, 5, 2, 2)))


def test_the_gradient_has_the_mask_of_its_forward(dtype):
    x = fastnn.Tensor(np.ones(1000, dtype), requires_grad=True)
    first, second = F.dropout(x, 0.3), F.dropout(x, 0.3)
    first.backward(np.ones(1000, dtype))
    assert same_bytes(x.grad, first.numpy())
    assert not same_bytes(first, second)


def test_threads_isas_and_dtypes_agree():
    x = np.ones((300, 500), np.float32)

    def both():
        fastnn.manual_seed(15)
        return F.dropout(x, 0.25), F.dropout2d(x.reshape(300, 5, 10, 10), 0.25)

    before = _core.active_isa()
    outputs = []
    for name in _core.available_isas():
        _core.use_isa(name)
        outputs.append(same_bytes_for_every_thread_count(both))
    _core.use_isa(before)
    assert all(same_bytes(output, outputs[0]) for output in outputs)
    fastnn.manual_seed(15)
    wide = F.dropout(x.astype(np.float64), 0.25)
    assert ((wide == 0) == (outputs[0][0] == 0)).all()


def test_seed():
    x = np.ones(100)
    fastnn.manual_seed(16)
    assert initial_seed() == 16
    first = F.dropout(x)
    assert not same_bytes(F.dropout(x), first)
    fastnn.manual_seed(16)
    assert same_bytes(F.dropout(x), first)


def test_nothing_and_everything(dtype):
    x = np.array([1.0, -0.0, np.nan, np.inf], dtype)
    for op in ("dropout", "alpha_dropout"):
        f = getattr(F, op)
        assert f(x, 0, True) is x
        assert f(x, 0.7, training=False) is x
        out = np.empty_like(x)
        assert f(x, 0, True, out=out) is out
        assert same_bytes(out, x)
        assert same_bytes(f(x, 1, True), np.zeros_like(x))
        t = fastnn.Tensor(x, requires_grad=True)
        assert f(t, 0.7, training=False) is t
        f(t, 1.0, True).backward(np.ones_like(x))
        assert same_bytes(t.grad, np.zeros_like(x))
        with fastnn.no_grad():
            assert f(t, 0.0, True) is t.data
    kept = F.dropout(np.full(1000, -0.0, dtype), 0.5)
    assert set(np.signbit(kept)) == {True, False}  # a kept -0 stays -0, a dropped one is 0


def test_layouts_and_inplace(dtype):
    x = np.random.default_rng(3).normal(size=(5, 3, 17)).astype(dtype)
    fastnn.manual_seed(17)
    want = F.dropout(x)
    for name, view in strided_variants(x).items():
        fastnn.manual_seed(17)
        assert same_bytes(F.dropout(view), want), name
        fastnn.manual_seed(17)
        assert F.dropout(view, inplace=True) is view
        assert same_bytes(np.ascontiguousarray(view), want), name


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"])
def test_layers(name):
    layer = getattr(fastnn.nn, name)(0.25)
    assert repr(layer) == f"{name}(p=0.25, inplace=False)"
    x = np.ones((6, 50, 2, 2, 2)[: {"Dropout1d": 3, "Dropout2d": 4}.get(name, 5)], np.float32)
    assert set(np.unique(layer(x))) == {np.float32(0), np.float32(4 / 3)}
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match=f"{name}: p must be in"):
        getattr(fastnn.nn, name)(1.5)


def test_alpha_layers():
    x = np.random.default_rng(4).normal(size=(40, 60, 3))
    for name in ("AlphaDropout", "FeatureAlphaDropout"):
        layer = getattr(fastnn.nn, name)(0.5)
        assert not same_bytes(layer(x), x)
        assert layer.eval()(x) is x


def test_bad_arguments():
    x = np.ones((2, 3))
    for p in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"dropout: p must be in 0\.\.1, got"):
            F.dropout(x, p)
    with pytest.raises(TypeError, match="dropout: p must be a number, got 'half'"):
        F.dropout(x, "half")
    with pytest.raises(TypeError, match=r"dropout: input\.dtype must be float32 or float64"):
        F.dropout(np.ones(3, int))
    with pytest.raises(ValueError, match="dropout1d: input must have 2 or 3 dimensions"):
        F.dropout1d(np.ones(3))
    with pytest.raises(ValueError, match="dropout2d: input must have 3 or 4 dimensions"):
        F.dropout2d(x)
    with pytest.raises(ValueError, match="dropout3d: input must have 4 or 5 dimensions"):
        F.dropout3d(x)
    with pytest.raises(ValueError, match="feature_alpha_dropout: input must have at least 2"):
        F.feature_alpha_dropout(np.ones(3))
    with pytest.raises(ValueError, match="dropout: out must be None while gradients are"):
        F.dropout(fastnn.Tensor(x, requires_grad=True), out=np.ones((2, 3)))
    with pytest.raises(TypeError, match="dropout: inplace must be False unless input is a"):
        F.dropout([1.0], inplace=True)
    with pytest.raises(ValueError, match=r"dropout: out\.shape must be \(2, 3\), got \(3, 2\)"):
        F.dropout(x, out=np.ones((3, 2)))


def test_rows_of_nothing_take_no_time():
    rows = np.lib.stride_tricks.as_strided(np.zeros(1), (2**40, 0, 2, 2), (0,) * 4)
    assert F.dropout2d(rows).shape == rows.shape


@pytest.mark.parametrize("op", [F.dropout, F.dropout2d])
def test_none_is_refused(op):
    with pytest.raises(TypeError, match=r"dropout\w*: input must be .*, got None"):
        op(None)


@pytest.mark.parametrize("p", [np.zeros(3), "0.5", int])
def test_p_must_be_a_number(p):
    with pytest.raises(TypeError, match=r"dropout: p must be a number"):
        F.dropout(np.ones(3), p)
