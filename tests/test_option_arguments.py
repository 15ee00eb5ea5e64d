"""Optimizers, schedules, clipping and Tensor's methods refuse what their arguments cannot be."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.optim import lr_scheduler

NOT_NUMBERS = [None, "a", (1.0,), {}, 1j, np.zeros(3)]


def parameters():
    return [nn.Parameter(np.ones(3, np.float32))]


OPTIONS = [
    (optim.SGD, "lr"),
    (optim.SGD, "momentum"),
    (optim.Adam, "eps"),
    (optim.AdamW, "weight_decay"),
    (optim.RMSprop, "alpha"),
    (optim.Adagrad, "lr_decay"),
    (optim.Lion, "lr"),
]


@pytest.mark.parametrize(("kind", "option"), OPTIONS, ids=str)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=str)
def test_options_of_optimizers_are_numbers(kind, option, value):
    options = {"lr": 0.1, option: value}
    with pytest.raises(TypeError, match=f"{kind.__name__.lower()}: {option} must be a number"):
        kind(parameters(), **options)


@pytest.mark.parametrize("value", [None, 0.9, (0.9,), (0.9, "a"), "ab"])
def test_betas_are_a_pair(value):
    with pytest.raises(TypeError, match="adam: betas must be a"):
        optim.Adam(parameters(), betas=value)


def test_flags_of_optimizers():
    with pytest.raises(TypeError, match="adam: amsgrad must be a bool"):
        optim.Adam(parameters(), amsgrad="no")


def test_parameters_that_are_none():
    with pytest.raises(TypeError, match="sgd: params must be Tensors, got NoneType"):
        optim.SGD(None, 0.1)


def test_groups_may_carry_more_than_options():
    group = {"params": parameters(), "name": "encoder"}
    assert optim.Adam([group]).param_groups[0]["name"] == "encoder"


SCHEDULES = [
    (lr_scheduler.StepLR, {"step_size": 2}, "gamma"),
    (lr_scheduler.MultiStepLR, {"milestones": [2]}, "gamma"),
    (lr_scheduler.ExponentialLR, {}, "gamma"),
    (lr_scheduler.ConstantLR, {}, "factor"),
    (lr_scheduler.LinearLR, {}, "end_factor"),
    (lr_scheduler.CosineAnnealingLR, {"T_max": 3}, "eta_min"),
    (lr_scheduler.ReduceLROnPlateau, {}, "factor"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 5}, "pct_start"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 5}, "div_factor"),
]


@pytest.mark.parametrize(("kind", "options", "name"), SCHEDULES, ids=str)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=str)
def test_options_of_schedules_are_numbers(kind, options, name, value):
    optimizer = optim.SGD(parameters(), 0.1, momentum=0.9)
    with pytest.raises(TypeError, match=f"{kind.__name__}: {name} must be a number"):
        kind(optimizer, **{**options, name: value})


@pytest.mark.parametrize("name", ["div_factor", "final_div_factor"])
def test_one_cycle_divides_by_positive_numbers(name):
    optimizer = optim.SGD(parameters(), 0.1, momentum=0.9)
    with pytest.raises(ValueError, match=f"OneCycleLR: {name} must be > 0, got 0"):
        lr_scheduler.OneCycleLR(optimizer, 0.1, 5, **{name: 0})


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=str)
def test_limits_of_clipping_are_numbers(value):
    with pytest.raises(TypeError, match="clip_grad_norm_: max_norm must be a number"):
        optim.clip_grad_norm_(parameters(), value)
    with pytest.raises(TypeError, match="clip_grad_value_: clip_value must be a number"):
        optim.clip_grad_value_(parameters(), value)


@pytest.mark.parametrize("method", ["sum", "mean", "max", "min", "var", "argmax", "squeeze"])
def test_axes_are_ints(method):
    t = fastnn.Tensor(np.ones((2, 3)))
    with pytest.raises(TypeError, match=f"{method}: axis must be an int, got 'a'"):
        getattr(t, method)("a")
    with pytest.raises(ValueError, match=f"{method}: axis must fit into int64"):
        getattr(t, method)(2**70)


def test_other_methods_of_tensors():
    t = fastnn.Tensor(np.ones((2, 3)))
    with pytest.raises(TypeError, match="unsqueeze: dim must be an int, got None"):
        t.unsqueeze(None)
    with pytest.raises(TypeError, match=r"flatten: start_dim must be an int, got 1\.5"):
        t.flatten(1.5)
    with pytest.raises(ValueError, match="split: indices_or_sections must be >= 1, got 0"):
        t.split(0)
    with pytest.raises(TypeError, match="reshape: needs integers, got ndarray"):
        t.reshape(np.zeros(3))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (lr_scheduler.MultiStepLR, {"milestones": 3}, "milestones must be a list of ints, got int"),
        (lr_scheduler.MultiStepLR, {"milestones": [0.5]}, "milestones must be an int, got 0.5"),
        (lr_scheduler.LambdaLR, {"lr_lambda": None}, "lr_lambda must be a list of functions, got"),
        (lr_scheduler.LambdaLR, {"lr_lambda": [0.5]}, "lr_lambda must be callable, got 0.5"),
        (lr_scheduler.CyclicLR, {"base_lr": 0.1, "max_lr": None}, "max_lr must be a number"),
        (lr_scheduler.OneCycleLR, {"max_lr": None, "total_steps": 9}, "max_lr must be a number"),
        (
            lr_scheduler.SequentialLR,
            {"schedulers": None, "milestones": []},
            "schedulers must be a list of LRScheduler, got NoneType",
        ),
    ],
)
def test_lists_of_schedules(kind, options, message):
    optimizer = optim.SGD(parameters(), 0.1, momentum=0.9)
    with pytest.raises(TypeError, match=f"{kind.__name__}: {message}"):
        kind(optimizer, **options)


def test_callbacks():
    stopping = fastnn.training.EarlyStopping
    with pytest.raises(TypeError, match="EarlyStopping: monitor must be a str, got NoneType"):
        stopping(None)
    with pytest.raises(TypeError, match="EarlyStopping: patience must be an int, got None"):
        stopping("loss", None)
    with pytest.raises(TypeError, match="EarlyStopping: min_delta must be a number, got 'a'"):
        stopping("loss", min_delta="a")
