"""examples/sentiment.py runs, on its three sentences and on files in the layout of rt-polarity."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn

PATH = Path(__file__).parents[1] / "examples" / "sentiment.py"


@pytest.fixture(scope="module")
def sentiment():
    spec = importlib.util.spec_from_file_location("sentiment", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """Sentences that one word decides, with bytes that only cp1252 gives a meaning."""
    for name, word in (("pos", "good"), ("neg", "bad")):
        lines = [f"a {word} film \x85 number {i} , caf\xe9" for i in range(100)]
        (tmp_path / f"rt-polarity.{name}").write_bytes(
            "".join(line + "\n" for line in lines).encode("latin-1")
        )
    return tmp_path


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_three_sentences(sentiment, cell, capsys):
    sentiment.main(["--cell", cell])
    printed = capsys.readouterr().out
    assert f"{cell}: three sentences" in printed
    assert "accuracy 100.0%" in printed


def test_reading_reviews(sentiment, folder):
    texts, labels = sentiment.read_reviews(folder)
    assert len(texts) == 200
    assert texts[0] == "a good film \N{HORIZONTAL ELLIPSIS} number 0 , café"
    np.testing.assert_array_equal(labels, [1] * 100 + [0] * 100)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_reviews(sentiment, folder, cell):
    fastnn.manual_seed(0)
    assert sentiment.reviews(cell, 60, folder) == 1.0


def test_a_folder_without_reviews(sentiment, tmp_path, capsys):
    with pytest.raises(SystemExit):
        sentiment.main(["--data", str(tmp_path)])
    assert "there is no rt-polarity.pos" in capsys.readouterr().err
