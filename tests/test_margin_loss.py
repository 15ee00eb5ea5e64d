"""Divergences, margins, distances and CTC against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import loss as reference

import fastnn
import fastnn.functional as F
from fastnn import nn

sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129])
REDUCTIONS = ["none", "mean", "sum"]


def doubles(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def draw(rng, shape, dtype=np.float64):
    return np.asarray(2 * rng.standard_normal(shape), dtype)


@pytest.mark.filterwarnings("ignore:kl_div")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
@given(n=sizes, columns=sizes, seed=st.integers(0, 99))
def test_kl_div(isa, dtype, reduction, log_target, n, columns, seed):
    rng = np.random.default_rng(seed)
    x = draw(rng, (n, columns), dtype)
    t = np.asarray(rng.uniform(0, 1, (n, columns)), dtype)
    t[0, 0] = 0
    options = {"reduction": reduction, "log_target": log_target}
    expected = reference.kl_div(*doubles(x, t), **options)
    scale = 10.0 if reduction in ("none", "mean") else 10.0 * columns * n
    assert_close(F.kl_div(x, t, **options), expected, 4, scale=scale)


def test_kl_div_gradient_and_warning(isa):
    rng = np.random.default_rng(0)
    x, t = draw(rng, (3, 19)), rng.uniform(0.1, 1, (3, 19))
    for reduction in ("none", "sum", "batchmean"):
        for log_target in (False, True):
            gradcheck(
                lambda a, b, r=reduction, lt=log_target: F.kl_div(a, b, reduction=r, log_target=lt),
                x,
                t,
            )
    gradcheck(lambda a, b: F.kl_div(a, b, reduction="batchmean"), x, t[:1])
    with pytest.warns(UserWarning, match="'batchmean' gives the divergence"):
        F.kl_div(x, t)
    a = fastnn.Tensor(np.zeros((1, 2)), requires_grad=True)
    F.kl_div(np.zeros((1, 2)), a, reduction="sum").backward()
    assert np.array_equal(a.grad, [[0, 0]])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_hinge_and_ranking(isa, dtype, reduction, rng):
    for n in (1, 16, 37):
        x, z = draw(rng, n, dtype), draw(rng, n, dtype)
        t = rng.choice([-1, 1], n)
        cases = [
            (F.hinge_embedding_loss, reference.hinge_embedding_loss, (x,)),
            (F.margin_ranking_loss, reference.margin_ranking_loss, (x, z)),
        ]
        for function, expected, inputs in cases:
            wanted = expected(*doubles(*inputs), t, margin=0.7, reduction=reduction)
            for labels in (t, t.astype(dtype)):
                actual = function(*inputs, labels, margin=0.7, reduction=reduction)
                assert_close(actual, wanted, 8, scale=10.0 * n)
            if dtype == np.float64:
                gradcheck(
                    lambda *a, f=function, t=t: f(*a, t, margin=0.7, reduction=reduction), *inputs
                )
    x = np.array([[1.0], [2.0]])
    gradcheck(lambda a, b: F.margin_ranking_loss(a, b, np.array([[1, -1, 1]])), x, x[:1] + 0.3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_poisson_and_gaussian(dtype, reduction, rng):
    x = rng.uniform(0.1, 3, (4, 5)).astype(dtype)
    t = rng.integers(0, 5, (4, 5)).astype(dtype)
    for log_input in (True, False):
        for full in (True, False):
            options = {"log_input": log_input, "full": full, "reduction": reduction}
            actual = F.poisson_nll_loss(x, t, **options)
            assert type(actual) is np.ndarray
            assert_close(actual, reference.poisson_nll_loss(*doubles(x, t), **options), 64)
            if dtype == np.float64:
                gradcheck(lambda a, o=options: F.poisson_nll_loss(a, t, **o), x)
    v = rng.uniform(0.1, 2, (4, 5)).astype(dtype)
    for var in (v, v[:, :1], v[:, 0], 0.5):
        for full in (True, False):
            actual = F.gaussian_nll_loss(x, t, var, full=full, reduction=reduction)
            wide = var if isinstance(var, float) else doubles(var.reshape(4, -1))[0]
            expected = reference.gaussian_nll_loss(
                *doubles(x, t), wide, full=full, reduction=reduction
            )
            assert_close(actual, expected, 256)
    if dtype == np.float64:
        gradcheck(lambda *a: F.gaussian_nll_loss(*a, reduction=reduction), x, t, v)
        gradcheck(lambda *a: F.gaussian_nll_loss(*a, reduction=reduction), x, t, v[:, 0])


@given(rows=sizes, size=sizes, seed=st.integers(0, 99))
def test_cosine_similarity(isa, dtype, rows, size, seed):
    rng = np.random.default_rng(seed)
    a, b = draw(rng, (rows, size), dtype), draw(rng, (rows, size), dtype)
    expected = reference.cosine_similarity(*doubles(a, b))
    assert_close(F.cosine_similarity(a, b), expected, 16)
    last_first = F.cosine_similarity(a.T, b.T, dim=0)
    assert same_bytes(last_first, F.cosine_similarity(a, b))


def test_cosine_similarity_gradient(isa, rng):
    a, b = draw(rng, (3, 18, 2)), draw(rng, (3, 18, 2))
    gradcheck(F.cosine_similarity, a, b)
    gradcheck(lambda a, b: F.cosine_similarity(a, b, dim=-1), a, b[:1, :, :])
    gradcheck(lambda a, b: F.cosine_similarity(a, b, eps=100.0), a, b)
    a[0] = 0
    t = fastnn.Tensor(a, requires_grad=True)
    F.cosine_similarity(t, b).sum().backward()
    assert np.isfinite(t.grad).all()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf])
def test_pairwise_distance(isa, dtype, p, rng):
    for shape in ((4, 1), (3, 17), (2, 3, 65), (2, 5000)):
        a, b = draw(rng, shape, dtype), draw(rng, shape, dtype)
        actual = F.pairwise_distance(a, b, p)
        expected = reference.pairwise_distance(*doubles(a, b), p)
        np.testing.assert_allclose(actual, expected, rtol=300 * np.finfo(dtype).eps)
        assert F.pairwise_distance(a, b, p, keepdim=True).shape == (*shape[:-1], 1)
    if dtype == np.float64:
        a, b = draw(rng, (3, 9)), draw(rng, (3, 9))
        gradcheck(lambda a, b: F.pairwise_distance(a, b, p), a, b)
        gradcheck(lambda a, b: F.pairwise_distance(a, b, p, keepdim=True), a, b[0])
    same = fastnn.Tensor(np.ones((1, 3), dtype), requires_grad=True)
    F.pairwise_distance(same, np.ones((1, 3), dtype), p, eps=0.0).sum().backward()
    assert np.array_equal(same.grad, np.zeros((1, 3)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cosine_embedding_and_triplet(isa, dtype, reduction, rng):
    a, b, c = (draw(rng, (7, 19), dtype) for _ in range(3))
    t = rng.choice([-1, 1], 7)
    actual = F.cosine_embedding_loss(a, b, t, 0.1, reduction=reduction)
    expected = reference.cosine_embedding_loss(*doubles(a, b), t, 0.1, reduction=reduction)
    assert_close(actual, expected, 32)
    for options in ({}, {"swap": True}, {"p": 3.0, "margin": 2.0}):
        actual = F.triplet_margin_loss(a, b, c, reduction=reduction, **options)
        expected = reference.triplet_margin_loss(*doubles(a, b, c), reduction=reduction, **options)
        assert_close(actual, expected, 64, scale=100.0)
        if dtype == np.float64:
            gradcheck(
                lambda *x, o=options: F.triplet_margin_loss(*x, reduction=reduction, **o), a, b, c
            )
    if dtype == np.float64:
        gradcheck(lambda a, b: F.cosine_embedding_loss(a, b, t, 0.1, reduction=reduction), a, b)
        single = F.cosine_embedding_loss(a[0], b[0], np.array(t[0]), 0.1, reduction="none")
        assert single.shape == ()
    own = F.triplet_margin_with_distance_loss(
        a, b, c, distance_function=lambda x, y: F.pairwise_distance(x, y, 1.0), reduction=reduction
    )
    assert same_bytes(own, F.triplet_margin_loss(a, b, c, p=1.0, reduction=reduction))


def test_rows_threads_batches_and_strides(isa, dtype, rng):
    a, b = draw(rng, (301, 257), dtype), draw(rng, (301, 257), dtype)

    def run():
        outputs = []
        for function in (F.cosine_similarity, F.pairwise_distance):
            x, y = (fastnn.Tensor(v, requires_grad=True) for v in (a, b))
            z = function(x, y)
            z.sum().backward()
            outputs += [z, x.grad, y.grad]
        return outputs

    outputs = same_bytes_for_every_thread_count(run)
    for function, together in (
        (F.cosine_similarity, outputs[0]),
        (F.pairwise_distance, outputs[3]),
    ):
        assert same_bytes(function(a[5:6], b[5:6]), together.numpy()[5:6])
        for view in strided_variants(a[:3]).values():
            assert same_bytes(function(view, b[:3]), function(a[:3], b[:3]))


# CTC: (steps, batch, classes, longest target)
CTC_SHAPES = [(1, 1, 2, 1), (5, 3, 4, 2), (12, 2, 3, 4), (40, 3, 6, 17), (30, 2, 40, 9)]


def ctc_case(rng, shape, dtype):
    steps, batch, classes, longest = shape
    x = draw(rng, (steps, batch, classes))
    log_probs = reference.log_softmax(x, -1).astype(dtype)
    targets = rng.integers(1, classes, (batch, longest))
    input_lengths = rng.integers(max(1, steps // 2), steps + 1, batch)
    target_lengths = rng.integers(0, longest + 1, batch)
    input_lengths[0], target_lengths[0] = steps, longest
    return log_probs, targets, input_lengths, target_lengths


@pytest.mark.parametrize("shape", CTC_SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_ctc_loss(isa, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    log_probs, targets, steps, labels = case = ctc_case(rng, shape, dtype)
    expected = reference.ctc_loss(log_probs.astype(np.float64), targets, steps, labels)
    losses = F.ctc_loss(*case, reduction="none")
    assert_close(losses, expected, 4 * shape[0])
    finite = np.where(np.isinf(expected), 0, expected)
    zeroed = {"zero_infinity": True}
    assert_close(F.ctc_loss(*case, reduction="none", **zeroed), finite, 4 * shape[0])
    assert_close(F.ctc_loss(*case, reduction="sum", **zeroed), finite.sum(), 8 * shape[0])
    mean = np.mean(finite / np.maximum(labels, 1))
    assert_close(F.ctc_loss(*case, **zeroed), mean, 4 * shape[0])
    flat = np.concatenate([row[:n] for row, n in zip(targets, labels)])
    assert same_bytes(F.ctc_loss(log_probs, flat, steps, labels, reduction="none"), losses)
    one = F.ctc_loss(log_probs[:, 0], targets[0], steps[0], labels[0], reduction="none")
    assert one.shape == ()
    assert same_bytes(one, losses[0])


@pytest.mark.parametrize("shape", [(4, 2, 3, 2), (9, 2, 4, 5)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc_loss_gradient(isa, shape, reduction, rng):
    log_probs, *rest = ctc_case(rng, shape, np.float64)
    for inputs in (log_probs, 2 * log_probs):
        gradcheck(lambda x: F.ctc_loss(x, *rest, reduction=reduction, zero_infinity=True), inputs)
    gradcheck(lambda x: F.ctc_loss(x, rest[0][0], 4, 1, blank=2), log_probs[:4, 0])


def test_ctc_loss_special_cases(isa, dtype, rng):
    log_probs = np.log(np.full((3, 1, 4), 0.25)).astype(dtype)
    # A repeated label needs a blank between.
    assert F.ctc_loss(log_probs, np.array([[1, 1]]), [3], [2], reduction="sum") == pytest.approx(
        -math.log(0.25**3), rel=1e-6
    )
    impossible = np.array([[1, 1, 1]])
    assert F.ctc_loss(log_probs, impossible, [3], [3]) == np.inf
    for zero, check in ((True, lambda g: np.array_equal(g, np.zeros_like(g))), (False, None)):
        x = fastnn.Tensor(log_probs, requires_grad=True)
        F.ctc_loss(x, impossible, [3], [3], zero_infinity=zero).backward()
        if check is not None:
            assert check(x.grad)
        else:
            assert np.isnan(x.grad).any()
    # Nothing to say, and nothing heard.
    assert F.ctc_loss(log_probs, np.zeros((1, 0), int), [3], [0], reduction="sum") == pytest.approx(
        -3 * math.log(0.25), rel=1e-6
    )
    assert F.ctc_loss(log_probs, np.zeros((1, 0), int), [0], [0], reduction="sum") == 0
    # Steps after a sample's length and labels after its target are not read.
    x = np.full((5, 1, 4), np.nan, dtype)
    x[:3] = log_probs
    t = fastnn.Tensor(x, requires_grad=True)
    y = F.ctc_loss(t, np.array([[1, 2, 99]]), [3], [2])
    y.backward()
    assert same_bytes(y, F.ctc_loss(log_probs, np.array([[1, 2]]), [3], [2]))
    assert np.array_equal(t.grad[3:], np.zeros((2, 1, 4)))
    assert np.isfinite(t.grad).all()
    x[1] = np.nan
    assert np.isnan(F.ctc_loss(x, np.array([[1, 2]]), [3], [2]))
    # An impossible class at one step.
    x[:3] = log_probs
    x[1, 0, 1] = -np.inf
    t = fastnn.Tensor(x, requires_grad=True)
    F.ctc_loss(t, np.array([[1, 2]]), [3], [2]).backward()
    assert np.isfinite(t.grad).all()


def test_ctc_loss_long_input(isa, rng):
    """float32 stays near float64 over a long input, where the loss itself exceeds 2000."""
    x = reference.log_softmax(draw(rng, (700, 1, 20)), -1)
    targets = rng.integers(1, 20, (1, 90))
    grads = []
    for dtype in (np.float32, np.float64):
        t = fastnn.Tensor(x.astype(dtype), requires_grad=True)
        y = F.ctc_loss(t, targets, [700], [90], reduction="sum")
        y.backward()
        grads.append((y.numpy(), t.grad))
    np.testing.assert_allclose(grads[0][0], grads[1][0], rtol=3e-6)
    np.testing.assert_allclose(grads[0][1], grads[1][1], atol=1e-3)


def test_ctc_loss_threads_and_batches(isa, dtype, rng):
    log_probs, targets, steps, labels = case = ctc_case(rng, (60, 9, 11, 8), dtype)

    def run():
        x = fastnn.Tensor(log_probs, requires_grad=True)
        y = F.ctc_loss(x, *case[1:], reduction="none", zero_infinity=True)
        y.sum().backward()
        return y, x.grad

    losses, _ = same_bytes_for_every_thread_count(run)
    alone = F.ctc_loss(log_probs[:, 2:3], targets[2:3], steps[2:3], labels[2:3], reduction="none")
    assert same_bytes(alone, losses.numpy()[2:3])
    for view in strided_variants(log_probs).values():
        again = F.ctc_loss(view, *case[1:], reduction="none", zero_infinity=True)
        assert same_bytes(again, losses.numpy())


X = np.zeros((3, 2, 4))
BAD = [
    (lambda: F.kl_div(X, None, reduction="sum"), TypeError, "target must be a numpy.ndarray"),
    (lambda: F.cosine_similarity(X, None), TypeError, "x2 must be a numpy.ndarray"),
    (lambda: F.triplet_margin_loss(X, X, None), TypeError, "negative must be a numpy.ndarray"),
    (lambda: F.ctc_loss(X, None, [3, 3], [1, 1]), TypeError, "targets must be a numpy.ndarray"),
    (lambda: F.gaussian_nll_loss(X, None, 1.0), TypeError, "target must be a numpy.ndarray"),
    (lambda: F.kl_div(X, X, reduction="median"), ValueError, "kl_div: reduction must be one of"),
    (lambda: F.kl_div(X, X, True), ValueError, "kl_div: size_average must be None"),
    (lambda: F.kl_div(X, np.ones(5), reduction="sum"), ValueError, "shapes must broadcast"),
    (lambda: F.hinge_embedding_loss(X, X, "a"), TypeError, "margin must be a number, got 'a'"),
    (lambda: F.margin_ranking_loss(X, X, X[0]), ValueError, "same number of dimensions"),
    (lambda: F.cosine_similarity(X, X, dim=3), ValueError, r"dim must be in -3\.\.2, got 3"),
    (lambda: F.cosine_similarity(X, X, dim=0.5), TypeError, "dim must be an int, got 0.5"),
    (lambda: F.cosine_similarity(X, np.ones(5)), ValueError, "shapes must broadcast"),
    (lambda: F.cosine_similarity(X, X.astype(np.float32)), TypeError, "x2.dtype must be float64"),
    (lambda: F.pairwise_distance(X, X, p=-1), ValueError, "p must be >= 0, got -1.0"),
    (lambda: F.cosine_embedding_loss(X, X, X), ValueError, "target must have shape"),
    (lambda: F.cosine_embedding_loss(X[0], X[0], np.ones(3)), ValueError, r"target.shape must be"),
    (lambda: F.triplet_margin_loss(X, X, X, margin=0), ValueError, "margin must be > 0, got 0.0"),
    (lambda: F.triplet_margin_loss(X, X, X[0]), ValueError, "same number of dimensions"),
    (lambda: F.poisson_nll_loss(X, X, reduction="x"), ValueError, "reduction must be 'none'"),
    (lambda: F.gaussian_nll_loss(X, X, X - 1), ValueError, "var must be >= 0, got -1.0"),
    (lambda: F.gaussian_nll_loss(X, X, np.ones(7)), ValueError, r"var.shape must be \(3, 2, 4\)"),
    (lambda: F.ctc_loss(X[0, 0], [1], 1, 1), ValueError, "log_probs must have 3 dimensions"),
    (
        lambda: F.ctc_loss(X, np.ones((2, 1), int), [3, 4], [1, 1]),
        ValueError,
        r"input_lengths\[1\]",
    ),
    (lambda: F.ctc_loss(X, np.ones((2, 1), int), [3, 3], [1, 2]), ValueError, r"target_lengths\[1"),
    (lambda: F.ctc_loss(X, np.ones((2, 1), int), [3], [1, 1]), ValueError, "input_lengths.shape"),
    (
        lambda: F.ctc_loss(X, np.ones((3, 1), int), [3, 3], [1, 1]),
        ValueError,
        r"targets.shape\[0\]",
    ),
    (lambda: F.ctc_loss(X, np.ones(3, int), [3, 3], [1, 1]), ValueError, "must add up to 3"),
    (lambda: F.ctc_loss(X, np.full((2, 1), 4), [3, 3], [1, 1]), ValueError, r"must be in 0\.\.3"),
    (
        lambda: F.ctc_loss(X, np.ones((2, 1), int), [3, 3], [1, 1], 4),
        ValueError,
        "blank must be in",
    ),
    (lambda: F.ctc_loss(X, np.ones((2, 1)), [3, 3], [1, 1]), TypeError, "targets.dtype must be an"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_layers(rng):
    a, b, c = (rng.uniform(0.1, 1, (4, 6)) for _ in range(3))
    t = np.array([1, -1, 1, -1])
    cases = [
        (nn.HingeEmbeddingLoss(2.0), (a, np.ones((4, 6))), F.hinge_embedding_loss, {"margin": 2.0}),
        (nn.MarginRankingLoss(0.1), (a, b, c), F.margin_ranking_loss, {"margin": 0.1}),
        (nn.CosineEmbeddingLoss(0.1), (a, b, t), F.cosine_embedding_loss, {"margin": 0.1}),
        (
            nn.TripletMarginLoss(p=1, swap=True),
            (a, b, c),
            F.triplet_margin_loss,
            {"p": 1, "swap": True},
        ),
        (nn.TripletMarginWithDistanceLoss(), (a, b, c), F.triplet_margin_with_distance_loss, {}),
        (nn.PoissonNLLLoss(full=True), (a, b), F.poisson_nll_loss, {"full": True}),
        (nn.GaussianNLLLoss(eps=0.5), (a, b, c), F.gaussian_nll_loss, {"eps": 0.5}),
        (nn.CosineSimilarity(dim=0), (a, b), F.cosine_similarity, {"dim": 0}),
        (nn.PairwiseDistance(1.0), (a, b), F.pairwise_distance, {"p": 1.0}),
        (nn.KLDivLoss(reduction="batchmean"), (a, b), F.kl_div, {"reduction": "batchmean"}),
    ]
    for layer, inputs, function, options in cases:
        assert same_bytes(layer(*inputs), function(*inputs, **options)), layer
    log_probs, *rest = ctc_case(rng, (6, 2, 4, 2), np.float64)
    layer = nn.CTCLoss(blank=1, reduction="sum")
    rest[0][...] = 2
    assert same_bytes(layer(log_probs, *rest), F.ctc_loss(log_probs, *rest, 1, "sum"))


def test_out(rng):
    a, b, c = (rng.uniform(0.1, 1, (4, 6)) for _ in range(3))
    sequence = (reference.log_softmax(a[:, None, :], -1), np.array([[1, 2]]), [4], [2])
    for function, inputs in (
        (F.cosine_similarity, (a, b)),
        (F.pairwise_distance, (a, b)),
        (F.cosine_embedding_loss, (a, b, np.array([1, -1, 1, -1]))),
        (F.triplet_margin_loss, (a, b, c)),
        (F.triplet_margin_with_distance_loss, (a, b, c)),
        (F.poisson_nll_loss, (a, b)),
        (F.gaussian_nll_loss, (a, b, c)),
        (F.hinge_embedding_loss, (a, b)),
        (F.ctc_loss, sequence),
    ):
        name, expected = function.__name__, function(*inputs)
        out = np.empty_like(expected)
        assert function(*inputs, out=out) is out
        assert same_bytes(out, expected)
        with pytest.raises(TypeError, match=f"{name}: out must be a numpy.ndarray of float64"):
            function(*inputs, out=out.astype(np.float32))
        with pytest.raises(ValueError, match=rf"{name}: out.shape must be"):
            function(*inputs, out=np.empty(7))
        with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
            function(fastnn.Tensor(inputs[0], requires_grad=True), *inputs[1:], out=out)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writable"):
            function(*inputs, out=out)
    with pytest.raises(ValueError, match="out must not share memory"):
        F.cosine_similarity(a, b, out=a.reshape(-1)[:4])


@pytest.mark.filterwarnings("ignore")
def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    TF = torch.nn.functional
    a, b, c = (rng.uniform(-1, 1, (5, 7)) for _ in range(3))
    t = rng.choice([-1.0, 1.0], 5)
    _, targets, steps, labels = ctc_case(rng, (20, 4, 6, 5), np.float64)
    logits = rng.standard_normal((20, 4, 6))
    cases = [
        ("kl_div", (a, np.abs(b)), {"reduction": "batchmean"}),
        ("kl_div", (a, b), {"log_target": True}),
        ("hinge_embedding_loss", (a, np.sign(b)), {}),
        ("margin_ranking_loss", (a, b, np.sign(c)), {"margin": 0.3}),
        ("cosine_embedding_loss", (a, b, t), {"margin": 0.1}),
        ("cosine_similarity", (a, b), {"dim": 0}),
        ("pairwise_distance", (a, b), {"p": 3.0}),
        ("triplet_margin_loss", (a, b, c), {"swap": True}),
        ("poisson_nll_loss", (a, np.abs(5 * b)), {"full": True}),
        ("gaussian_nll_loss", (a, b, np.abs(c)), {"full": True}),
        ("ctc_loss", (logits, targets, steps, labels), {"zero_infinity": True}),
    ]
    for name, inputs, options in cases:
        theirs = [torch.tensor(x) for x in inputs]
        ours = list(inputs)
        theirs[0].requires_grad_()
        ours[0] = fastnn.Tensor(ours[0], requires_grad=True)
        first = [theirs[0], ours[0]]
        if name == "ctc_loss":
            theirs[0] = theirs[0].log_softmax(-1)
            ours[0] = F.log_softmax(ours[0], -1)
        wanted, actual = getattr(TF, name)(*theirs, **options), getattr(F, name)(*ours, **options)
        np.testing.assert_allclose(actual.numpy(), wanted.detach().numpy(), rtol=1e-6, atol=1e-9)
        wanted.sum().backward()
        actual.sum().backward()
        np.testing.assert_allclose(
            first[1].grad, first[0].grad.numpy(), rtol=1e-6, atol=1e-9, err_msg=name
        )


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, np.inf])
def test_pdist(dtype, p, rng):
    x = rng.standard_normal((6, 5)).astype(dtype)
    assert_close(F.pdist(x, p), reference.pdist(*doubles(x), p), 64)
    assert F.pdist(x[:1], p).shape == (0,)
    if dtype == np.float64 and p != 0.5:
        gradcheck(lambda a: F.pdist(a, p), x)


def test_pdist_of_equal_rows_and_errors():
    x = fastnn.Tensor(np.ones((3, 2)), requires_grad=True)
    F.pdist(x).sum().backward()
    np.testing.assert_array_equal(x.grad, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="pdist: input must have 2 dimensions"):
        F.pdist(np.ones(3))
