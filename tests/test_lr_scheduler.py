"""Schedules of the learning rate against their closed forms, and against PyTorch if installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastnn.nn.module import Parameter
from fastnn.optim import SGD, Adagrad, Adam, lr_scheduler
from fastnn.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

STEPS = 25


def sgd(**options):
    return SGD([Parameter(np.ones(1))], **{"lr": 0.5, "momentum": 0.9, **options})


def rates(scheduler, steps=STEPS):
    values = []
    for _ in range(steps):
        values.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return values


def interpolated(start, end, total):
    return lambda t: start + (end - start) * min(t, total) / total


def restarts_at(*starts):
    """Cosines from each start to the next."""

    def factor(t):
        run = max(i for i, start in enumerate(starts) if start <= t)
        length = starts[run + 1] - starts[run]
        return (1 + math.cos(math.pi * (t - starts[run]) / length)) / 2

    return factor


def triangle(up, down, height=lambda t: 1):
    """From 0.1 to 0.9 and back, as factors of 0.5."""

    def factor(t):
        share = np.interp(t % (up + down), [0, up, up + down], [0, 1, 0])
        return (0.1 + 0.8 * share * height(t)) / 0.5

    return factor


CASES = [
    (StepLR, {"step_size": 4, "gamma": 0.5}, lambda t: 0.5 ** (t // 4)),
    (
        MultiStepLR,
        {"milestones": [3, 8, 8], "gamma": 0.5},
        lambda t: 0.5 ** ((t >= 3) + 2 * (t >= 8)),
    ),
    (ExponentialLR, {"gamma": 0.9}, lambda t: 0.9**t),
    (ConstantLR, {"factor": 0.25, "total_iters": 6}, lambda t: 0.25 if t < 6 else 1),
    (LinearLR, {}, interpolated(1 / 3, 1, 5)),
    (LinearLR, {"start_factor": 1, "end_factor": 0.1, "total_iters": 8}, interpolated(1, 0.1, 8)),
    (LambdaLR, {"lr_lambda": lambda t: 1 / (1 + t)}, lambda t: 1 / (1 + t)),
    (CosineAnnealingLR, {"T_max": 10}, lambda t: (1 + math.cos(math.pi * t / 10)) / 2),
    (CosineAnnealingLR, {"T_max": 1}, lambda t: (1 + math.cos(math.pi * t)) / 2),
    (
        CosineAnnealingLR,
        {"T_max": 7, "eta_min": 0.05},
        lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / 7)) / 2,
    ),
    (PolynomialLR, {}, lambda t: max(0, 1 - t / 5)),
    (PolynomialLR, {"total_iters": 30, "power": 2.5}, lambda t: (1 - t / 30) ** 2.5),
    (MultiplicativeLR, {"lr_lambda": lambda t: t}, math.factorial),
    (
        CosineAnnealingWarmRestarts,
        {"T_0": 5, "eta_min": 0.05},
        lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * (t % 5) / 5)) / 2,
    ),
    (CosineAnnealingWarmRestarts, {"T_0": 3, "T_mult": 2}, restarts_at(0, 3, 9, 21, 45)),
    (CyclicLR, {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 4}, triangle(4, 4)),
    (
        CyclicLR,
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 2, "step_size_down": 5},
        triangle(2, 5),
    ),
    (
        CyclicLR,
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 3, "mode": "triangular2"},
        triangle(3, 3, lambda t: 0.5 ** (t // 6)),
    ),
    (
        CyclicLR,
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9},
        triangle(3, 3, lambda t: 0.9**t),
    ),
    (
        CyclicLR,
        {
            "base_lr": 0.1,
            "max_lr": 0.9,
            "step_size_up": 3,
            "scale_fn": lambda cycle: 1 / cycle,
            "cycle_momentum": False,
        },
        triangle(3, 3, lambda t: 1 / (1 + t // 6)),
    ),
]


@pytest.mark.parametrize(("cls", "options", "factor"), CASES)
def test_closed_form(cls, options, factor):
    wanted = [0.5 * factor(t) for t in range(STEPS)]
    np.testing.assert_allclose(rates(cls(sgd(), **options)), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("cls", "options", "factor"), CASES)
def test_state_dict_continues(cls, options, factor):
    first = cls(sgd(), **options)
    wanted = rates(first, 12)
    optimizer = sgd()
    second = cls(optimizer, **options)
    half = cls(sgd(), **options)
    rates(half, 6)
    second.load_state_dict(half.state_dict())
    optimizer.load_state_dict(half.optimizer.state_dict())
    assert rates(second, 6) == wanted[6:]


def test_continuing_from_last_epoch():
    optimizer = sgd()
    rates(ExponentialLR(optimizer, 0.5), 3)
    assert optimizer.param_groups[0]["lr"] == 0.5 / 8
    scheduler = ExponentialLR(optimizer, 0.5, last_epoch=2)
    assert scheduler.last_epoch == 3
    assert rates(scheduler, 2) == [0.5 / 8, 0.5 / 16]


def test_two_schedulers_multiply():
    optimizer = sgd()
    first, second = ExponentialLR(optimizer, 0.5), LambdaLR(sgd(), lambda t: 1)
    third = StepLR(optimizer, 2, 0.1)
    for _ in range(2):
        for scheduler in (first, second, third):
            scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 0.25 * 0.1)


def test_one_cycle():
    optimizer = sgd()
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=21, pct_start=1 / 3)
    values, momenta = [], []
    for step in range(21):
        values.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        if step < 20:
            scheduler.step()
    assert values[0] == pytest.approx(1 / 25)
    assert values[6] == pytest.approx(1)
    assert values[20] == pytest.approx(1 / 25 / 1e4)
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[6] == pytest.approx(0.85)
    assert all(a < b for a, b in zip(values[:6], values[1:7]))
    assert all(a > b for a, b in zip(values[6:], values[7:]))
    scheduler.step()
    with pytest.raises(ValueError, match="at most 21 times"):
        scheduler.step()


def test_one_cycle_moves_beta1():
    optimizer = Adam([Parameter(np.ones(1))])
    OneCycleLR(optimizer, max_lr=1.0, epochs=3, steps_per_epoch=4)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)


def test_sequential():
    optimizer = sgd(lr=1.0)
    warm_up = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    cosine = CosineAnnealingLR(optimizer, T_max=4)
    scheduler = SequentialLR(optimizer, [warm_up, cosine], milestones=[3])
    wanted = [0.25, 0.5, 0.75] + [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    np.testing.assert_allclose(rates(scheduler, 8), wanted, atol=1e-12)


def test_chained():
    optimizer = sgd(lr=1.0)
    parts = [ConstantLR(optimizer, 0.5, total_iters=3), ExponentialLR(optimizer, 0.9)]
    scheduler = ChainedScheduler(parts)
    wanted = [(0.5 if t < 3 else 1) * 0.9**t for t in range(6)]
    np.testing.assert_allclose(rates(scheduler, 6), wanted, rtol=1e-12)
    state = scheduler.state_dict()
    assert [part["last_epoch"] for part in state["_schedulers"]] == [6, 6]
    scheduler.load_state_dict(state)
    assert scheduler.get_last_lr() == pytest.approx([0.9**6])


def test_warm_restarts_within_an_epoch():
    scheduler = CosineAnnealingWarmRestarts(sgd(lr=1.0), T_0=2, T_mult=3)
    for epoch, share in ((0.5, 0.25), (1.75, 0.875), (2.0, 0.0), (5.0, 0.5), (8.5, 0.5 / 18)):
        scheduler.step(epoch)
        assert scheduler.get_last_lr() == pytest.approx([(1 + math.cos(math.pi * share)) / 2])
    assert scheduler.last_epoch == 8


def test_cyclic_moves_momentum():
    optimizer = Adam([Parameter(np.ones(1))])
    scheduler = CyclicLR(optimizer, 0.1, 0.9, step_size_up=4, base_momentum=0.5)
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["betas"])
        scheduler.step()
    assert [beta1 for beta1, _ in seen] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert {beta2 for _, beta2 in seen} == {0.999}


def test_plateau():
    optimizer = sgd(lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2, min_lr=0.2)
    seen = []
    for metric in [5, 4, 4, 4, 4, 4, 4, 4, math.nan, 4, 4, 4, 4]:
        scheduler.step(metric)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]
    best = ReduceLROnPlateau(sgd(), "max", patience=0, threshold=0.5, threshold_mode="abs")
    for metric in (1.0, 1.6, 2.0):
        best.step(np.array(metric))
    assert best.best == 1.6
    assert best.get_last_lr() == pytest.approx([0.05])


BAD = [
    (lambda: StepLR(None, 1), TypeError, "StepLR: optimizer must be an Optimizer, got NoneType"),
    (lambda: StepLR(sgd(), 0), ValueError, "StepLR: step_size must be an int >= 1, got 0"),
    (lambda: StepLR(sgd(), 1, last_epoch=3), ValueError, "must have 'initial_lr' to continue"),
    (lambda: LinearLR(sgd(), start_factor=0), ValueError, r"start_factor must be in \(0, 1\]"),
    (lambda: ConstantLR(sgd(), 2), ValueError, r"factor must be in \(0, 1\], got 2"),
    (lambda: LambdaLR(sgd(), [abs, abs]), ValueError, "lr_lambda must have 1 functions .* got 2"),
    (lambda: OneCycleLR(sgd(), 1.0), ValueError, "total_steps, or epochs and steps_per_epoch"),
    (lambda: OneCycleLR(sgd(), [1.0, 2.0], 5), ValueError, "max_lr must have 1 values"),
    (lambda: OneCycleLR(sgd(), 1.0, 5, pct_start=2), ValueError, r"pct_start must be in \[0, 1\]"),
    (lambda: OneCycleLR(sgd(), 1.0, 5, anneal_strategy="up"), ValueError, "'cos' or 'linear'"),
    (lambda: ReduceLROnPlateau(sgd(), "least"), ValueError, "mode must be 'min' or 'max'"),
    (lambda: ReduceLROnPlateau(sgd(), factor=1), ValueError, r"factor must be in \[0, 1\), got 1"),
    (lambda: PolynomialLR(sgd(), 0), ValueError, "PolynomialLR: total_iters must be an int >= 1"),
    (lambda: PolynomialLR(sgd(), 5, "2"), TypeError, "PolynomialLR: power must be a number"),
    (lambda: MultiplicativeLR(sgd(), []), ValueError, "MultiplicativeLR: lr_lambda must have 1"),
    (lambda: CosineAnnealingWarmRestarts(sgd(), 0), ValueError, "T_0 must be an int >= 1, got 0"),
    (lambda: CosineAnnealingWarmRestarts(sgd(), 1).step(-1), ValueError, "epoch must be >= 0"),
    (lambda: CyclicLR(sgd(), 0.1, 1.0, mode="square"), ValueError, "mode must be 'triangular'"),
    (lambda: CyclicLR(sgd(), 0.1, 1.0, scale_mode="x"), ValueError, "scale_mode must be 'cycle'"),
    (lambda: CyclicLR(sgd(), 0.1, 1.0, scale_fn=2), TypeError, "scale_fn must be callable"),
    (lambda: CyclicLR(sgd(), 0.1, 1.0, 0), ValueError, "step_size_up must be an int >= 1"),
    (lambda: CyclicLR(sgd(), [0.1, 0.2], 1.0), ValueError, "base_lr must have 1 values"),
    (
        lambda: CyclicLR(Adagrad([Parameter(np.ones(1))]), 0.1, 1.0),
        ValueError,
        "cycle_momentum must be False",
    ),
    (lambda: ChainedScheduler([]), ValueError, "schedulers must not be empty"),
    (
        lambda: ChainedScheduler([StepLR(sgd(), 1), StepLR(sgd(), 1)]),
        ValueError,
        r"ChainedScheduler: schedulers\[1\] must have this optimizer",
    ),
    (lambda: SequentialLR(sgd(), [], []), ValueError, "one fewer than schedulers"),
    (
        lambda: SequentialLR(sgd(), [StepLR(sgd(), 1)], []),
        ValueError,
        r"schedulers\[0\] must have this optimizer",
    ),
    (
        lambda: SequentialLR(sgd(), [ReduceLROnPlateau(sgd())], []),
        TypeError,
        r"schedulers\[0\] must be an LRScheduler that needs no metric",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.filterwarnings("ignore")
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler
    one_cycle = {"max_lr": 1.0, "total_steps": STEPS}
    cases = [(cls, options) for cls, options, _ in CASES] + [
        (OneCycleLR, one_cycle),
        (OneCycleLR, {**one_cycle, "three_phase": True, "anneal_strategy": "linear"}),
    ]
    for cls, options in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.5, momentum=0.9)
        wanted = rates(getattr(theirs, cls.__name__)(optimizer, **options))
        np.testing.assert_allclose(rates(cls(sgd(), **options)), wanted, rtol=1e-9, atol=1e-12)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.5, momentum=0.9)
    outcomes = []
    for module, trained in ((theirs, optimizer), (lr_scheduler, sgd())):
        parts = [
            module.LinearLR(trained, 0.1, total_iters=4),
            module.StepLR(trained, 2, 0.5),
            module.ExponentialLR(trained, 0.9),
        ]
        outcomes.append(rates(module.SequentialLR(trained, parts, [4, 10])))
    np.testing.assert_allclose(outcomes[1], outcomes[0], rtol=1e-9)
