"""The pytest-benchmark front end: ``pytest bench`` has one group a case and a row a library.

A row replays samples that were taken in worker processes with the libraries taking turns
(harness.py), so a clock that only the samples advance stands in for the real one:
``pytest bench --benchmark-json=result.json`` and then ``python bench/report.py result.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness import LIBRARIES, Bench, Case, Timing


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastnn bench")
    group.addoption("--bench-threads", type=int, default=1, help="threads of every library")
    group.addoption("--peer-python", default=None, help="interpreter that has the peers")
    group.addoption("--quick", action="store_true", help="only the short table's cases")


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Worker processes of all installed libraries."""
    threads = request.config.getoption("--bench-threads")
    with Bench(threads, LIBRARIES, request.config.getoption("--peer-python")) as running:
        yield running


@pytest.fixture(scope="session")
def timings(bench: Bench) -> Any:
    """Measured samples by (module, case), taken when first asked for."""
    known: dict[tuple[str, str], dict[str, Timing]] = {}

    def of(module: str, case: Case) -> dict[str, Timing]:
        if (module, case.name) not in known:
            measured = bench.measure(module, case)
            known[module, case.name] = {t.library: t for t in measured}
        return known[module, case.name]

    return of
