"""Margin losses of classes against plain NumPy, and PyTorch where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes, same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st
from reference import loss as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

ROWS, CLASSES = st.sampled_from([0, 1, 2, 5]), st.sampled_from([1, 2, 3, 8, 15, 16, 17, 70])
SEEDS = st.integers(0, 99)


def labels(rng, n, classes):
    """Rows of distinct labels that -1 may end."""
    y = rng.permuted(np.tile(np.arange(classes), (n, 1)), axis=1)
    y[rng.random(y.shape) < 0.3] = -1
    return y


def doubles(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


@given(n=ROWS, classes=CLASSES, seed=SEEDS, p=st.sampled_from([1, 2]), weighted=st.booleans())
def test_multi_margin_loss(isa, dtype, n, classes, seed, p, weighted):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, classes)).astype(dtype), rng.integers(0, classes, n)
    weight = rng.uniform(0.5, 2, classes).astype(dtype) if weighted else None
    expected = reference.multi_margin_loss(*doubles(x), y, p, 0.5, weight)
    actual = F.multi_margin_loss(x, y, p, 0.5, weight, reduction="none")
    assert_close(actual, expected, 8 + classes, scale=50)
    if n:
        mean = F.multi_margin_loss(x, y, p, 0.5, weight)
        assert_close(mean, expected.mean(), 16 + n + classes, scale=50)
        one = F.multi_margin_loss(x[0], y[0], p, 0.5, weight)
        assert_close(one, expected[0], 8 + classes, scale=50)


@given(n=ROWS, classes=CLASSES, seed=SEEDS)
def test_multilabel_margin_loss(isa, dtype, n, classes, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, classes)).astype(dtype), labels(rng, n, classes)
    expected = reference.multilabel_margin_loss(*doubles(x), y)
    actual = F.multilabel_margin_loss(x, y, reduction="none")
    assert_close(actual, expected, 8 + classes, scale=100)


@given(n=ROWS, classes=CLASSES, seed=SEEDS)
def test_soft_margin_losses(isa, dtype, n, classes, seed):
    rng = np.random.default_rng(seed)
    x = (3 * rng.standard_normal((n, classes))).astype(dtype)
    y = rng.choice([-1, 1], x.shape)
    expected = reference.soft_margin_loss(*doubles(x), y, reduction="none")
    assert_close(F.soft_margin_loss(x, y, reduction="none"), expected, 8, scale=20)
    weight = rng.uniform(0.5, 2, classes).astype(dtype)
    expected = reference.multilabel_soft_margin_loss(*doubles(x), (y + 1) / 2, weight)
    actual = F.multilabel_soft_margin_loss(x, (y + 1) / 2, weight, reduction="none")
    assert_close(actual, expected, 8 + classes, scale=40)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients(isa, reduction):
    rng = np.random.default_rng(0)
    x, y, many = rng.standard_normal((4, 6)), rng.integers(0, 6, 4), labels(rng, 4, 6)
    sign, weight = rng.choice([-1, 1], x.shape), rng.uniform(0.5, 2, 6)
    for p in (1, 2):
        gradcheck(lambda t, p=p: F.multi_margin_loss(t, y, p, 1, weight, reduction=reduction), x)
    gradcheck(lambda t: F.multilabel_margin_loss(t, many, reduction=reduction), x)
    gradcheck(lambda t: F.soft_margin_loss(t, sign, reduction=reduction), x)
    positive = (sign + 1) / 2
    gradcheck(lambda t: F.multilabel_soft_margin_loss(t, positive, weight, reduction=reduction), x)


def test_one_row_alone_and_threads(isa, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((500, 130)).astype(dtype), rng.integers(0, 130, 500)
    many = labels(rng, 500, 130)
    many[:, 5:] = -1

    def both():
        found = []
        for f, target in ((F.multi_margin_loss, y), (F.multilabel_margin_loss, many)):
            t = fastnn.Tensor(x, requires_grad=True)
            loss = f(t, target)
            loss.backward()
            found += [loss.numpy(), t.grad, f(x, target, reduction="none")]
        return found

    found = same_bytes_for_every_thread_count(both)
    assert same_bytes(F.multi_margin_loss(x[7], y[7]), found[2][7])
    assert same_bytes(F.multi_margin_loss(x[7], y[7:8], reduction="none"), found[2][7:8])
    assert same_bytes(F.multilabel_margin_loss(x[7], many[7]), found[5][7])


def test_nan_shows(isa, dtype):
    x = np.zeros((3, 40), dtype)
    x[0, 3] = x[1, 39] = np.nan
    y, many = np.array([3, 2, 5]), np.full(x.shape, -1)
    many[:, 0] = [3, 2, 5]
    for f, target in ((F.multi_margin_loss, y), (F.multilabel_margin_loss, many)):
        found = f(x, target, reduction="none")
        np.testing.assert_array_equal(np.isnan(found), [True, True, False])


def test_large_scores(dtype):
    x = np.array([[1000.0, -1000.0]], dtype)
    np.testing.assert_array_equal(F.soft_margin_loss(x, np.array([[1, 1]]), reduction="sum"), 1000)
    np.testing.assert_array_equal(F.multilabel_soft_margin_loss(x, np.array([[1, 0]])), 0)


def test_layers(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 5)).astype(dtype), rng.integers(0, 5, 3)
    weight = rng.uniform(0.5, 2, 5).astype(dtype)
    many, sign = labels(rng, 3, 5), rng.choice([-1, 1], x.shape)
    pairs = [
        (nn.MultiMarginLoss(2, 0.5, weight)(x, y), F.multi_margin_loss(x, y, 2, 0.5, weight)),
        (nn.MultiLabelMarginLoss()(x, many), F.multilabel_margin_loss(x, many)),
        (nn.SoftMarginLoss(reduction="sum")(x, sign), F.soft_margin_loss(x, sign, reduction="sum")),
        (
            nn.MultiLabelSoftMarginLoss(weight)(x, sign > 0),
            F.multilabel_soft_margin_loss(x, sign > 0, weight),
        ),
    ]
    for layer, function in pairs:
        np.testing.assert_array_equal(layer, function)
    assert set(nn.MultiMarginLoss(weight=weight).state_dict()) == {"weight"}


def test_out(dtype):
    x, y = np.ones((2, 3), dtype), np.array([0, 1])
    out = np.empty(2, dtype)
    assert F.multi_margin_loss(x, y, reduction="none", out=out) is out


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: F.multi_margin_loss(x, np.array([0, 3])),
            ValueError,
            r"target\[1\] must be in 0..2, got 3",
        ),
        (lambda x: F.multi_margin_loss(x, np.array([0.0, 1])), TypeError, "integer type"),
        (lambda x: F.multi_margin_loss(x, np.array([0])), ValueError, r"target.shape must be \(2,"),
        (lambda x: F.multi_margin_loss(x, np.array([0, 1]), 3), ValueError, "p must be 1 or 2"),
        (lambda x: F.multi_margin_loss(x[:, :0], np.array([0, 1])), ValueError, "C > 0"),
        (
            lambda x: F.multi_margin_loss(x, np.array([0, 1]), weight=np.ones(2, x.dtype)),
            ValueError,
            r"weight.shape must be \(3,\)",
        ),
        (lambda x: F.multilabel_margin_loss(x, np.array([0, 1])), ValueError, "target.shape"),
        (
            lambda x: F.multilabel_margin_loss(x, np.full(x.shape, -2)),
            ValueError,
            r"target\[0, 0\] must be in -1..2, got -2",
        ),
        (lambda x: F.multi_margin_loss(x[0], np.array([0, 1])), ValueError, "target.shape"),
        (lambda x: F.multi_margin_loss(x[0], np.array(-1)), ValueError, "target must be in 0..2"),
        (lambda x: F.soft_margin_loss(x, x[0]), ValueError, "target.shape"),
        (lambda x: F.soft_margin_loss(x.astype(int), x), TypeError, "float32 or float64"),
        (lambda x: F.soft_margin_loss(None, x), TypeError, "input must be"),
        (lambda x: F.soft_margin_loss(x, x, reduction="max"), ValueError, "reduction"),
        (lambda x: F.multilabel_soft_margin_loss(x, x[0]), ValueError, "target.shape"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((2, 3)))


def test_against_torch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y, many = rng.standard_normal((6, 9)).astype(dtype), rng.integers(0, 9, 6), labels(rng, 6, 9)
    sign = rng.choice([-1, 1], x.shape).astype(dtype)
    for name, target, options in (
        ("multi_margin_loss", y, {"p": 2, "margin": 0.3}),
        ("multilabel_margin_loss", many, {}),
        ("soft_margin_loss", sign, {}),
        ("multilabel_soft_margin_loss", (sign + 1) / 2, {}),
    ):
        for reduction in ("none", "mean", "sum"):
            theirs = getattr(torch.nn.functional, name)(
                torch.from_numpy(x), torch.from_numpy(target), reduction=reduction, **options
            )
            ours = getattr(F, name)(x, target, reduction=reduction, **options)
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)
