"""examples/char_rnn.py learns a small text; its chunks join up to the whole."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn

PATH = Path(__file__).parents[1] / "examples" / "char_rnn.py"
TEXT = "To be, or not to be: that is the question.\n" * 50


@pytest.fixture(scope="module")
def char_rnn():
    spec = importlib.util.spec_from_file_location("char_rnn", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_learning_a_sentence(char_rnn, path, cell, capsys):
    options = ["--hidden", "48", "--epochs", "8", "--batch", "4", "--steps", "20", "--sample", "60"]
    char_rnn.main([str(path), "--cell", cell, *options])
    lines = capsys.readouterr().out.split("\n")
    bits = [float(line.split("validation ")[1].split()[0]) for line in lines[:8]]
    assert bits[-1] < 0.5 < 1 < bits[0]
    assert "question" in " ".join(lines[8:])


def test_chunks_are_the_streams_of_the_text(char_rnn):
    tokens = np.arange(23)
    parts = list(char_rnn.chunks(tokens, 2, 4))
    inputs, targets = (np.concatenate(p) for p in zip(*parts))
    np.testing.assert_array_equal(inputs.T, [np.arange(11), np.arange(11, 22)])
    np.testing.assert_array_equal(targets, inputs + 1)


def test_the_state_carries_on_from_chunk_to_chunk(char_rnn):
    fastnn.manual_seed(0)
    model = char_rnn.CharacterModel(5, "lstm", 8)
    tokens = np.arange(12).reshape(6, 2) % 5
    with fastnn.no_grad():
        whole, _ = model(tokens)
        first, state = model(tokens[:2])
        rest, _ = model(tokens[2:], state)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)


def test_a_file_that_is_missing_or_too_short(char_rnn, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("To be")
    for name, message in (("none.txt", "there is no file"), ("short.txt", "is too short")):
        with pytest.raises(SystemExit):
            char_rnn.main([str(tmp_path / name)])
        assert message in capsys.readouterr().err
