"""Averages of weights against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn import nn, no_grad
from fastnn.optim.swa_utils import AveragedModel, get_ema_avg_fn


def build() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def visited(averaged: AveragedModel, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    """Random weights, each taken into the average."""
    states = []
    model = build()
    for step in range(4):
        state = {
            name: np.asarray(step if value.dtype.kind == "i" else rng.normal(size=value.shape))
            for name, value in model.state_dict().items()
        }
        model.load_state_dict(state)
        averaged.update_parameters(model)
        with no_grad():
            averaged.eval()(np.ones((2, 3), np.float32))  # packs weights
        states.append(state)
    return states


def check(averaged: AveragedModel, expected: dict[str, np.ndarray]) -> None:
    for name, value in averaged.module.state_dict().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_mean_of_parameters_and_last_buffers(rng: np.random.Generator) -> None:
    averaged = AveragedModel(build())
    states = visited(averaged, rng)
    mean = {n: np.mean([s[n] for s in states], axis=0) for n in states[0]}
    last = {n: v for n, v in states[-1].items() if "running" in n or "num" in n}
    check(averaged, {**mean, **last})
    assert averaged.n_averaged == 4


def test_exponential_average_with_buffers(rng: np.random.Generator) -> None:
    averaged = AveragedModel(build(), get_ema_avg_fn(0.75), use_buffers=True)
    states = visited(averaged, rng)
    expected = states[0]
    for state in states[1:]:
        expected = {n: 0.75 * expected[n] + 0.25 * state[n] for n in state}
    expected["1.num_batches_tracked"] = np.asarray(3)
    check(averaged, expected)


def test_the_copy_is_saved_and_not_trained() -> None:
    averaged = AveragedModel(build())
    assert not any(p.requires_grad for p in averaged.parameters())
    assert {"n_averaged", "module.0.weight"} <= set(averaged.state_dict())


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="AveragedModel: model must be a Module, got int"):
        AveragedModel(3)
    with pytest.raises(TypeError, match="AveragedModel: avg_fn must be callable, got float"):
        AveragedModel(build(), 0.9)
    with pytest.raises(ValueError, match=r"get_ema_avg_fn: decay must be in \[0, 1\], got 2"):
        get_ema_avg_fn(2)
    with pytest.raises(ValueError, match="Missing key"):
        AveragedModel(build()).update_parameters(nn.Linear(1, 1))
