"""Every case of every family as a pytest-benchmark group with a row a library; see conftest.py."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from harness import HERE, LIBRARIES, Case, replay

MODULES = sorted(path.stem for path in HERE.glob("bench_*.py"))
CASES = [(module, case) for module in MODULES for case in importlib.import_module(module).CASES]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("module", "case"), CASES, ids=[f"{m[6:]}:{c.name}" for m, c in CASES])
def test_case(
    module: str, case: Case, library: str, timings: Any, benchmark: Any, request: Any
) -> None:
    if request.config.getoption("--quick") and not case.quick:
        pytest.skip("not in the short table")
    timing = timings(module, case).get(library)
    if timing is None:
        pytest.skip(f"{library} is not installed or does not know this case")
    assert not timing.error, timing.error
    samples = iter(timing.samples)

    benchmark.group = f"{module[6:]}: {case.name}"
    benchmark.extra_info.update(flops=case.flops, bytes=case.bytes, library=library)
    benchmark.pedantic(lambda: replay(next(samples)), rounds=len(timing.samples), iterations=1)
