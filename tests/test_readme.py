"""The README's quick start keeps its form, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks as (language, contents)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_quick_start_has_two_blocks():
    (section,) = re.findall(r"^## Quick start\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    main_job, tests = blocks(section)
    assert "examples/digits.py" in main_job[1]
    assert "pytest" in tests[1]


def test_python_examples_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    examples = [contents for language, contents in blocks(README) if language == "python"]
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
