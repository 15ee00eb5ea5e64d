"""examples/char_gpt.py learns, saves, loads and writes; the cache changes nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import nn

PATH = Path(__file__).parents[1] / "examples" / "char_gpt.py"


@pytest.fixture(scope="module")
def char_gpt():
    spec = importlib.util.spec_from_file_location("char_gpt", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("to be or not to be, that is the question.\n" * 100)
    return path


def tiny(*more):
    sizes = ("--width", "16", "--heads", "2", "--layers", "2", "--context", "16")
    return (*sizes, "--batch-size", "8", "--report", "30", "--length", "40", *more)


def test_learns_and_writes(char_gpt, text, tmp_path, capsys):
    weights = tmp_path / "gpt.safetensors"
    arguments = [str(text), *tiny("--steps", "60", "--learning-rate", "1e-2")]
    loss = char_gpt.main([*arguments, "--save", str(weights)])
    assert loss < 1.2  # before training it is log(18) = 2.9
    first = capsys.readouterr().out
    assert "validation loss" in first
    assert "characters a second" in first
    assert char_gpt.main([str(text), *tiny("--load", str(weights))]) is None
    written = [out.split("\n\n")[0].split("\n")[-1] for out in (first, capsys.readouterr().out)]
    assert written[0] == written[1]


def test_cache_gives_what_the_whole_text_gives(char_gpt, rng):
    fastnn.manual_seed(0)
    model = char_gpt.CharGPT(20, 16, 2, 2).eval()
    tokens = rng.integers(0, 20, (1, 12))
    with fastnn.no_grad():
        whole = model(tokens)
        caches = [nn.KVCache() for _ in model.blocks]
        parts = [
            model(tokens[:, part], caches) for part in (slice(0, 5), slice(5, 6), slice(6, 12))
        ]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-6)


def test_missing_text(char_gpt, capsys):
    with pytest.raises(SystemExit):
        char_gpt.main(["nowhere.txt"])
    assert "there is no file" in capsys.readouterr().err
