"""The examples in the docstrings run and show what they print."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import fastnn

MODULES = ["fastnn"] + [
    module.name
    for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if module.name not in ("fastnn.__main__", "fastnn._core")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
