"""Losses against plain NumPy: every reduction, shape, option, gradient and error.

Those of divergences, margins and distances, and CTC, are in test_margin_loss.py.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
    tolerance,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import loss as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

# Sizes that straddle lanes (2, 4, 8, 16), four of them, and a block of 64.
sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129])
reductions = st.sampled_from(["none", "mean", "sum"])

# name -> (options of a test, reference's options are the same)
REGRESSION = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": 0.7},
    "huber_loss": {"delta": 1.3},
}
POINTWISE = [*REGRESSION, "binary_cross_entropy", "binary_cross_entropy_with_logits"]


def draw(rng, shape, dtype):
    return np.asarray(2 * rng.standard_normal(shape), dtype)


def operands(name, rng, shape, dtype):
    """Input and target in the loss's domain."""
    x, t = draw(rng, shape, dtype), draw(rng, shape, dtype)
    if name.startswith("binary"):
        t = np.asarray(rng.uniform(0, 1, shape), dtype)
    if name == "binary_cross_entropy":
        x = np.asarray(rng.uniform(0.05, 0.95, shape), dtype)
    return x, t


def doubles(*arrays):
    return [None if a is None else np.asarray(a, np.float64) for a in arrays]


def check(actual, expected, losses, length=1):
    """`losses` are the terms of the sum, the unit of its rounding error."""
    actual = np.asarray(actual)
    with np.errstate(invalid="ignore"):
        scale = max(1.0, float(np.max(np.abs(losses), initial=0.0)))
    if actual.ndim == 0 and np.size(losses) > 1 and abs(expected) > scale:
        scale = abs(float(expected))
    assert_close(actual, expected, length, scale=scale)


@pytest.mark.parametrize("name", POINTWISE)
@given(n=sizes, columns=sizes, reduction=reductions, seed=st.integers(0, 99))
def test_pointwise(isa, dtype, name, n, columns, reduction, seed):
    rng = np.random.default_rng(seed)
    x, t = operands(name, rng, (n, columns), dtype)
    options = REGRESSION.get(name, {})
    actual = getattr(F, name)(x, t, reduction=reduction, **options)
    function = getattr(reference, name)
    expected = function(*doubles(x, t), reduction=reduction, **options)
    losses = function(*doubles(x, t), reduction="none", **options)
    assert type(actual) is np.ndarray
    check(actual, expected, losses, 16)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_long(isa, dtype, name, rng):
    """Several parts and blocks; sums of one sign, so that the relative error counts."""
    x, t = operands(name, rng, 70_001, dtype)
    options = REGRESSION.get(name, {})
    for reduction in ("mean", "sum"):
        actual = getattr(F, name)(x, t, reduction=reduction, **options)
        expected = getattr(reference, name)(*doubles(x, t), reduction=reduction, **options)
        np.testing.assert_allclose(actual, expected, rtol=tolerance(dtype, 64))


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_pointwise_gradient(isa, name, reduction, rng):
    x, t = operands(name, rng, (3, 11), np.float64)
    options = REGRESSION.get(name, {})
    gradcheck(lambda a, b: getattr(F, name)(a, b, reduction=reduction, **options), x, t)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_pointwise_weights(isa, dtype, reduction, rng):
    shape = (5, 7)
    w, p = (np.asarray(rng.uniform(0.5, 2, shape), dtype) for _ in range(2))
    for name, options in (
        ("mse_loss", {"weight": w}),
        ("l1_loss", {"weight": w}),
        ("huber_loss", {"weight": w}),
        ("binary_cross_entropy", {"weight": w}),
        ("binary_cross_entropy", {"weight": w[0]}),
        ("binary_cross_entropy_with_logits", {"weight": w[:, :1], "pos_weight": p[0]}),
    ):
        x, t = operands(name, rng, shape, dtype)
        actual = getattr(F, name)(x, t, reduction=reduction, **options)
        wide = {key: value.astype(np.float64) for key, value in options.items()}
        expected = getattr(reference, name)(*doubles(x, t), reduction=reduction, **wide)
        check(actual, expected, np.float64(20), 35)
        if dtype == np.float64:
            gradcheck(
                lambda a, b, name=name, options=options: getattr(F, name)(
                    a, b, reduction=reduction, **options
                ),
                x,
                t,
            )


def test_pos_weight_gradient(rng):
    x, t = operands("binary_cross_entropy_with_logits", rng, (4, 3), np.float64)
    gradcheck(
        lambda x, t, p: F.binary_cross_entropy_with_logits(x, t, pos_weight=p),
        x,
        t,
        rng.uniform(0.5, 2, 3),
    )


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_strides_threads_and_batches(isa, dtype, name, rng):
    function = getattr(F, name)
    x, t = operands(name, rng, (7, 19), dtype)
    expected = function(x, t, reduction="none")
    for layout, view in strided_variants(x).items():
        assert same_bytes(function(view, t, reduction="none"), expected), layout
    assert same_bytes(function(x[2:3], t[2:3], reduction="none"), expected[2:3])

    x, t = operands(name, rng, 100_003, dtype)

    def forward_and_backward():
        a = fastnn.Tensor(x, requires_grad=True)
        y = function(a, t)
        y.backward()
        return y, a.grad, function(x, t, reduction="none")

    same_bytes_for_every_thread_count(forward_and_backward)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_nan_and_infinity(isa, dtype, name):
    function = getattr(F, name)
    n = 37
    for position in (0, 20, n - 1):
        x, t = np.full(n, 0.5, dtype), np.full(n, 0.5, dtype)
        x[position] = np.nan
        assert np.isnan(function(x, t))
        y = function(x, t, reduction="none")
        assert np.array_equal(np.isnan(y), np.isnan(x))
    if name != "binary_cross_entropy":
        assert function(np.full(3, np.inf, dtype), np.zeros(3, dtype)) == np.inf


def test_binary_extremes(isa, dtype):
    x, t = np.array([0, 1, 0, 1], dtype), np.array([0, 1, 1, 0], dtype)
    assert np.array_equal(
        F.binary_cross_entropy(x, t, reduction="none"), np.array([0, 0, 100, 100], dtype)
    )
    a = fastnn.Tensor(x, requires_grad=True)
    F.binary_cross_entropy(a, t, reduction="sum").backward()
    assert np.isfinite(a.grad).all()
    big = np.array([1000, -1000, 1000, -1000], dtype)
    y = F.binary_cross_entropy_with_logits(big, np.array([1, 0, 0, 1], dtype), reduction="none")
    assert np.array_equal(y, np.array([0, 0, 1000, 1000], dtype))


def test_smooth_l1_with_beta_zero_is_l1(dtype, rng):
    x, t = draw(rng, 33, dtype), draw(rng, 33, dtype)
    x[3] = t[3]
    assert same_bytes(F.smooth_l1_loss(x, t, beta=0.0), F.l1_loss(x, t))
    a = fastnn.Tensor(x, requires_grad=True)
    F.smooth_l1_loss(a, t, reduction="sum", beta=0.0).backward()
    assert np.array_equal(a.grad, np.sign(x - t))


def test_regression_broadcasts_with_a_warning(rng):
    x, t = draw(rng, (4, 3), np.float64), draw(rng, (3,), np.float64)
    with pytest.warns(UserWarning, match=r"mse_loss: target has shape \(3,\), input \(4, 3\)"):
        y = F.mse_loss(x, t)
    np.testing.assert_allclose(y, np.mean((x - t) ** 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradcheck(F.mse_loss, x, t)
        with pytest.raises(ValueError, match="shapes must broadcast"):
            F.mse_loss(x, np.zeros(5))


def test_empty(dtype):
    empty = np.zeros((0, 3), dtype)
    for name in POINTWISE:
        function = getattr(F, name)
        assert np.isnan(function(empty, empty))
        assert function(empty, empty, reduction="sum") == 0
        assert function(empty, empty, reduction="none").shape == (0, 3)
        a = fastnn.Tensor(empty, requires_grad=True)
        function(a, empty, reduction="sum").backward()
        assert a.grad.shape == (0, 3)


# Class indices and probabilities.

CLASS_SHAPES = [
    (5,),
    (3, 1),
    (4, 10),
    (3, 17),
    (2, 1100),
    (2, 5, 1),
    (2, 3, 67),
    (2, 21, 3, 5),
    (1, 4, 2, 3, 11),
    (0, 4),
    (3, 4, 0),
]


def class_case(rng, shape, dtype, ignore=-100):
    """Logits, indices with some ignored, probabilities, weights."""
    logits = draw(rng, shape, dtype)
    positions = shape[:1] + shape[2:] if len(shape) > 1 else ()
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = rng.integers(0, classes, positions)
    if len(shape) > 1:
        target[rng.random(positions) < 0.2] = ignore
    probabilities = np.asarray(rng.uniform(0, 1, shape), dtype)
    weight = np.asarray(rng.uniform(0.5, 2, classes), dtype)
    return logits, np.asarray(target), probabilities, weight


@pytest.mark.parametrize("shape", CLASS_SHAPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(isa, dtype, shape, reduction, rng):
    logits, indices, probabilities, weight = class_case(rng, shape, dtype)
    for target in (indices, probabilities):
        for w in (None, weight):
            for smoothing in (0.0, 0.3):
                options = {"reduction": reduction, "label_smoothing": smoothing}
                actual = F.cross_entropy(logits, target, w, **options)
                wide = [a if a is indices else doubles(a)[0] for a in (logits, target, w)]
                expected = reference.cross_entropy(*wide, **options)
                classes = weight.size
                check(actual, expected, np.float64(10 * classes), 16)


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 5), (2, 3, 2, 20)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_gradient(isa, shape, reduction, rng):
    logits, indices, probabilities, weight = class_case(rng, shape, np.float64)
    for w in (None, weight):
        for smoothing in (0.0, 0.3):
            options = {"weight": w, "reduction": reduction, "label_smoothing": smoothing}
            gradcheck(lambda x, o=options: F.cross_entropy(x, indices, **o), logits)
            gradcheck(lambda x, t, o=options: F.cross_entropy(x, t, **o), logits, probabilities)


@given(n=sizes, classes=sizes.filter(bool), inner=sizes, seed=st.integers(0, 99))
def test_cross_entropy_shapes(isa, dtype, n, classes, inner, seed):
    rng = np.random.default_rng(seed)
    n = min(n, 5)
    for shape in ((n, classes), (n, classes, min(inner, 70))):
        logits, indices, probabilities, _ = class_case(rng, shape, dtype)
        for target in (indices, probabilities):
            a = fastnn.Tensor(logits, requires_grad=True)
            y = F.cross_entropy(a, target, reduction="sum", label_smoothing=0.1)
            wide = [logits.astype(np.float64), target if target is indices else doubles(target)[0]]
            expected = reference.cross_entropy(*wide, reduction="sum", label_smoothing=0.1)
            check(y.numpy(), expected, np.float64(10 * classes), 64)
            y.backward()
            b = fastnn.Tensor(wide[0], requires_grad=True)
            F.cross_entropy(b, wide[1], reduction="sum", label_smoothing=0.1).backward()
            assert_close(a.grad, b.grad, 8, scale=float(max(classes, 4)))


def test_cross_entropy_large_logits(isa, dtype):
    """The statistics hold the maximum apart, so a large offset costs no accuracy."""
    logits = np.array([[1.0, 2.0, 4.0, 0.5]], dtype)
    for shape in ((1, 4), (1, 4, 1, 1), (1, 4, 2)):
        x = np.broadcast_to(logits.reshape((1, 4) + (1,) * (len(shape) - 2)), shape)
        target = np.full(shape[:1] + shape[2:], 2)
        expected = F.cross_entropy(x, target)
        for offset in (4096.0, -4096.0):
            a = fastnn.Tensor(np.ascontiguousarray(x + dtype.type(offset)), requires_grad=True)
            y = F.cross_entropy(a, target, reduction="sum")
            np.testing.assert_allclose(y.numpy() / target.size, expected, rtol=tolerance(dtype, 4))
            y.backward()
            assert abs(a.grad.sum()) < tolerance(dtype, 8)
    x = np.array([[1e30, 0, -1e30]], dtype)
    assert F.cross_entropy(x, np.array([0])) == 0


@pytest.mark.parametrize("inner", [1, 3, 64, 70])
def test_cross_entropy_special_values(isa, dtype, inner, rng):
    shape = (3, 6, inner) if inner > 1 else (3, 6)
    logits = draw(rng, shape, dtype)
    target = np.zeros((3, inner) if inner > 1 else 3, np.int64)

    x = logits.copy()
    x[1, 2] = -np.inf  # a class that cannot be
    wide = reference.cross_entropy(x.astype(np.float64), target)
    check(F.cross_entropy(x, target), wide, np.float64(10), 16)
    x[1, 2] = np.nan
    losses = F.cross_entropy(x, target, reduction="none")
    assert np.isnan(losses[1]).all()
    assert np.isfinite(losses[[0, 2]]).all()
    x[1] = -np.inf
    assert np.isnan(F.cross_entropy(x, target, reduction="none")[1]).all()
    x[1] = np.inf
    assert np.isnan(F.cross_entropy(x, target, reduction="none")[1]).all()

    target[1] = -100  # ignored, whatever the logits are
    for smoothing in (0.0, 0.2):
        x[1] = np.nan
        a = fastnn.Tensor(x, requires_grad=True)
        y = F.cross_entropy(a, target, label_smoothing=smoothing)
        expected = reference.cross_entropy(
            logits[[0, 2]].astype(np.float64), target[[0, 2]], label_smoothing=smoothing
        )
        check(y.numpy(), expected, np.float64(10), 16)
        y.backward()
        assert np.array_equal(a.grad[1], np.zeros_like(a.grad[1]))
        assert np.isfinite(a.grad).all()


def test_all_ignored(isa, dtype):
    logits, target = np.zeros((2, 3), dtype), np.full(2, -100)
    for function in (F.cross_entropy, F.nll_loss):
        assert np.isnan(function(logits, target))
        assert function(logits, target, reduction="sum") == 0
        assert np.array_equal(function(logits, target, reduction="none"), np.zeros(2, dtype))
    assert F.cross_entropy(logits, np.array([0, 7]), ignore_index=7) == pytest.approx(np.log(3))


@pytest.mark.parametrize("shape", CLASS_SHAPES)
def test_nll_loss(isa, dtype, shape, rng):
    log_p, target, _, weight = class_case(rng, shape, dtype)
    for w in (None, weight):
        for reduction in ("none", "mean", "sum"):
            actual = F.nll_loss(log_p, target, w, reduction=reduction)
            wide = doubles(w)[0]
            expected = reference.nll_loss(
                log_p.astype(np.float64), target, wide, reduction=reduction
            )
            check(actual, expected, np.float64(20), 8)
            if dtype == np.float64 and 0 < log_p.size < 200:
                gradcheck(lambda x, w=w, r=reduction: F.nll_loss(x, target, w, reduction=r), log_p)


@pytest.mark.parametrize("shape", [(67, 300), (3, 5, 9001)])
def test_class_losses_threads_and_batches(isa, dtype, shape, rng):
    logits, target, probabilities, weight = class_case(rng, shape, dtype)

    def run():
        outputs = []
        for t in (target, probabilities):
            a = fastnn.Tensor(logits, requires_grad=True)
            y = F.cross_entropy(a, t, weight, label_smoothing=0.1)
            y.backward()
            outputs += [y, a.grad, F.cross_entropy(logits, t, reduction="none")]
        a = fastnn.Tensor(logits, requires_grad=True)
        y = F.nll_loss(a, target, weight)
        y.backward()
        return [*outputs, y, a.grad]

    outputs = same_bytes_for_every_thread_count(run)
    alone = F.cross_entropy(logits[1:2], target[1:2], reduction="none")
    assert same_bytes(alone, outputs[2][1:2])


def test_class_losses_strides(isa, dtype, rng):
    logits, target, _, _ = class_case(rng, (4, 7, 5), dtype)
    expected = F.cross_entropy(logits, target)
    for layout, view in strided_variants(logits).items():
        assert same_bytes(F.cross_entropy(view, target), expected), layout
    for layout, view in strided_variants(target).items():
        assert same_bytes(F.cross_entropy(logits, view), expected), layout
    assert same_bytes(F.cross_entropy(logits, target.astype(np.int16)), expected)


def test_reductions_give_arrays_without_dimensions(dtype, rng):
    """Every loss gives a 0-d array of the dtype for an array, and a Tensor for a Tensor."""
    x, y, z = (np.asarray(rng.uniform(0.1, 0.9, (4, 3)), dtype) for _ in range(3))
    labels = np.array([1, -1, 1, -1])
    sequence = (np.log(x)[:, None, :], np.array([[1, 2]]), [4], [2])
    for name, arguments in {
        "binary_cross_entropy": (x, y),
        "binary_cross_entropy_with_logits": (x, y),
        "cosine_embedding_loss": (x, y, labels),
        "cross_entropy": (x, np.array([0, 1, 2, 0])),
        "ctc_loss": sequence,
        "gaussian_nll_loss": (x, y, z),
        "hinge_embedding_loss": (x, labels[:, None]),
        "huber_loss": (x, y),
        "kl_div": (x, y),
        "l1_loss": (x, y),
        "margin_ranking_loss": (x, y, labels[:, None]),
        "mse_loss": (x, y),
        "nll_loss": (x, np.array([0, 1, 2, 0])),
        "poisson_nll_loss": (x, y),
        "smooth_l1_loss": (x, y),
        "soft_margin_loss": (x, np.broadcast_to(labels[:, None], (4, 3))),
        "triplet_margin_loss": (x, y, z),
    }.items():
        for reduction in ("sum", "mean"):
            if (name, reduction) == ("kl_div", "mean"):
                reduction = "batchmean"
            value = getattr(F, name)(*arguments, reduction=reduction)
            assert type(value) is np.ndarray, name
            assert (value.shape, value.dtype) == ((), dtype), name
            first = fastnn.Tensor(arguments[0], requires_grad=True)
            again = getattr(F, name)(first, *arguments[1:], reduction=reduction)
            assert type(again) is fastnn.Tensor
            assert same_bytes(again, value)
            again.backward()
            assert first.grad.dtype == dtype
    # What the last two are made of.
    for function in (F.cosine_similarity, F.pairwise_distance):
        assert function(x, y).dtype == dtype


def test_out(dtype, rng):
    x, t = draw(rng, (4, 3), dtype), np.array([0, 2, 1, 1])
    out = np.empty((), dtype)
    assert F.cross_entropy(x, t, out=out) is out
    assert same_bytes(out, F.cross_entropy(x, t))
    losses = np.empty((4, 3), dtype)
    assert F.mse_loss(x, 2 * x, reduction="none", out=losses) is losses
    with pytest.raises(ValueError, match="out must not share memory"):
        F.mse_loss(x, 2 * x, reduction="none", out=x)
    with pytest.raises(ValueError, match=r"out.shape must be \(\)"):
        F.mse_loss(x, 2 * x, out=losses)
    with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
        F.mse_loss(fastnn.Tensor(x, requires_grad=True), 2 * x, out=out)


BAD = [
    (lambda x: F.mse_loss(x, x, reduction="average"), ValueError, "mse_loss: reduction must be"),
    (lambda x: F.mse_loss(x, x, reduction=None), ValueError, "'mean' or 'sum', got None"),
    (lambda x: F.nll_loss(x, x, reduction=1), ValueError, "'mean' or 'sum', got 1"),
    (lambda x: F.mse_loss(x, None), TypeError, "target must be a numpy.ndarray"),
    (lambda x: F.mse_loss(None, x), TypeError, "input must be a numpy.ndarray"),
    (lambda x: F.mse_loss(x, x, True), ValueError, "size_average must be None"),
    (lambda x: F.mse_loss(x, x, None, False), ValueError, "reduce must be None"),
    (lambda x: F.mse_loss(x, x.astype(np.float32)), TypeError, "target.dtype must be float64"),
    (lambda x: F.mse_loss(x.astype(np.float16), x), TypeError, "input.dtype must be float32 or"),
    (lambda x: F.mse_loss(x, x, weight=x[0]), ValueError, r"weight.shape must be \(4, 3\)"),
    (lambda x: F.smooth_l1_loss(x, x, beta=-1), ValueError, "beta must be >= 0, got -1.0"),
    (lambda x: F.smooth_l1_loss(x, x, beta="a"), TypeError, "beta must be a number, got 'a'"),
    (lambda x: F.huber_loss(x, x, delta=0), ValueError, "delta must be > 0, got 0.0"),
    (
        lambda x: F.binary_cross_entropy(x + 1, x),
        ValueError,
        r"input\[0, 1\] must be a probability in \[0, 1\], got 1.5",
    ),
    (
        lambda x: F.binary_cross_entropy(x, x[0]),
        ValueError,
        r"target.shape must be \(4, 3\) \(input.shape\), got \(3,\)",
    ),
    (
        lambda x: F.binary_cross_entropy_with_logits(x, x, pos_weight=np.ones(4)),
        ValueError,
        r"pos_weight.shape must broadcast to \(4, 3\)",
    ),
    (
        lambda x: F.cross_entropy(x, np.array([0, 1, 3, 0])),
        ValueError,
        r"cross_entropy: target\[2\] must be in 0..2 \(input has 3 classes\) or ignore_index "
        r"-100, got 3",
    ),
    (
        lambda x: F.cross_entropy(x[:, :, None], np.array([[0], [1], [-1], [0]])),
        ValueError,
        r"target\[2, 0\] must be in 0..2",
    ),
    (lambda x: F.nll_loss(x, np.array([0, -5, 1, 0])), ValueError, r"nll_loss: target\[1\]"),
    (lambda x: F.cross_entropy(x, np.zeros(3, int)), ValueError, r"target.shape must be \(4,\)"),
    (lambda x: F.cross_entropy(x, np.zeros(4)), TypeError, "target.dtype must be an integer"),
    (lambda x: F.cross_entropy(x, np.zeros((4, 3), int)), TypeError, "target.dtype must be float"),
    (lambda x: F.cross_entropy(x, x, ignore_index=1), ValueError, "ignore_index must be negative"),
    (lambda x: F.cross_entropy(x, x, ignore_index=0.5), TypeError, "ignore_index must be an int"),
    (lambda x: F.cross_entropy(x, x, label_smoothing=1.5), ValueError, r"must be in \[0, 1\]"),
    (lambda x: F.cross_entropy(x, x, np.ones(4)), ValueError, r"weight.shape must be \(3,\)"),
    (lambda x: F.cross_entropy(x, x, np.ones(3, np.float32)), TypeError, "weight.dtype"),
    (lambda x: F.cross_entropy(x[:, :0], np.zeros(4, int)), ValueError, "must be >= 1"),
    (lambda x: F.cross_entropy(np.float64(1), np.int64(0)), ValueError, "at least 1 dimensions"),
    (lambda x: F.cross_entropy(x, None), TypeError, "target must be a numpy.ndarray"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.array([[0.0, 0.5, 1.0]] * 4))


LAYERS = [
    (nn.CrossEntropyLoss(label_smoothing=0.1), F.cross_entropy, {"label_smoothing": 0.1}),
    (nn.NLLLoss(reduction="sum"), F.nll_loss, {"reduction": "sum"}),
    (nn.BCELoss(), F.binary_cross_entropy, {}),
    (nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits, {}),
    (nn.MSELoss(), F.mse_loss, {}),
    (nn.L1Loss(), F.l1_loss, {}),
    (nn.SmoothL1Loss(beta=0.5), F.smooth_l1_loss, {"beta": 0.5}),
    (nn.HuberLoss(delta=0.5), F.huber_loss, {"delta": 0.5}),
]


@pytest.mark.parametrize(("layer", "function", "options"), LAYERS)
def test_layers(layer, function, options, rng):
    x = rng.uniform(0.1, 0.9, (4, 3))
    classes = isinstance(layer, (nn.CrossEntropyLoss, nn.NLLLoss))
    target = rng.integers(0, 3, 4) if classes else rng.uniform(0.1, 0.9, (4, 3))
    assert same_bytes(layer(x, target), function(x, target, **options))
    assert repr(layer).startswith(type(layer).__name__)


def test_layer_arguments():
    with pytest.raises(ValueError, match="MSELoss: reduction must be one of"):
        nn.MSELoss(reduction="average")
    with pytest.raises(ValueError, match="L1Loss: size_average must be None"):
        nn.L1Loss(True)
    weight = np.array([1.0, 2.0, 3.0])
    layer = nn.CrossEntropyLoss(weight)
    assert same_bytes(layer.state_dict()["weight"], weight)
