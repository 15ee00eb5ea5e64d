"""Fixtures that every test file shares, and the hypothesis profiles.

``HYPOTHESIS_PROFILE=dev`` (or ``pytest --hypothesis-profile=dev``) searches longer and at random;
the default, ``ci``, is short and gives the same examples on every run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fastnn
from fastnn import _core

# `isa` and `dtype` are function-scoped and hold still while hypothesis draws its examples.
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=_SUPPRESSED,
)
settings.register_profile(
    "dev",
    deadline=None,
    max_examples=200,
    suppress_health_check=_SUPPRESSED,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn; the test runs on its kernels."""
    previous = _core.active_isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(previous)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """float32, then float64."""
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """Make a generator that starts from the same state in every test."""
    return np.random.default_rng(20)


@pytest.fixture(autouse=True)
def _keep_num_threads() -> Iterator[None]:
    """Restore the number of threads after a test that changed it."""
    before = fastnn.get_num_threads()
    yield
    if fastnn.get_num_threads() != before:
        fastnn.set_num_threads(before)
