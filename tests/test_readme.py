"""The README's quick start keeps its form; its examples and those of docs/ run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks as (language, contents)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_quick_start_has_two_blocks():
    (section,) = re.findall(r"^## Quick start\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    main_job, tests = blocks(section)
    assert "examples/digits.py" in main_job[1]
    assert "pytest" in tests[1]


# docs/reduced_precision.md shows lines for a model of the reader's.
@pytest.mark.parametrize("page", ["README.md", "docs/porting.md", "docs/convolution.md"])
def test_python_examples_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- needs torch -->\n```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    examples = [contents for language, contents in blocks(text) if language == "python"]
    assert examples
    names = {"__name__": "readme"}
    for example in examples:
        exec(compile(example, page, "exec"), names)
