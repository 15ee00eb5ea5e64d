"""Classify sentences: Embedding -> LSTM or RNN (32) -> Linear(1) -> sigmoid.

    python examples/sentiment.py                      three sentences, both kinds of cell
    python examples/sentiment.py --data rt-polarity   then movie reviews as well

--data names a folder with rt-polarity.pos and rt-polarity.neg (B. Pang, L. Lee, "Seeing stars",
ACL 2005): 5,331 positive and as many negative sentences, one a line, in the encoding cp1252. A
tenth of them, drawn with a fixed seed, is kept for the test.

All three sentences are positive, so they show how the parts fit together, not that the network
can tell anything apart. The reviews do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn.text import Tokenizer, pad_sequences

SENTENCES = ["I love AI", "AI is amazing", "AI will change the world"]
LABELS = np.ones(3, np.float32)
CELLS = {"lstm": nn.LSTM, "rnn": nn.RNN}


class Classifier(nn.Module):
    """Gives the probability that a sentence is positive.

    Parameters
    ----------
    words : int
        Size of the vocabulary, with the padding (index 0).
    cell : {"lstm", "rnn"}
        The recurrent layer.
    """

    def __init__(self, words: int, cell: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 32, padding_idx=0)
        self.recurrent = CELLS[cell](32, 32, batch_first=True)
        self.output = nn.Linear(32, 1)

    def forward(self, tokens: Any) -> Any:
        """Map tokens (N, T), padded in front, to probabilities (N,)."""
        states, _ = self.recurrent(self.embedding(tokens))
        return F.sigmoid(self.output(states[:, -1]))[:, 0]


def read_reviews(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return the sentences and their labels, 1 for positive."""
    texts: list[str] = []
    counts = []
    for name in ("rt-polarity.pos", "rt-polarity.neg"):
        # Bytes 0x85 (an ellipsis in cp1252) must not count as ends of lines.
        lines = (folder / name).read_bytes().decode("cp1252").rstrip("\n").split("\n")
        texts += lines
        counts.append(len(lines))
    return texts, np.repeat(np.array([1, 0], np.float32), counts)


def fit(
    model: Classifier,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Train with Adam and binary cross-entropy."""
    fastnn.fit(
        model,
        x,
        y,
        loss=F.binary_cross_entropy,
        optimizer=fastnn.optim.Adam(model.parameters(), lr=learning_rate),
        epochs=epochs,
        batch_size=batch_size,
        metrics=["accuracy"],
    )


def three_sentences(cell: str, epochs: int) -> float:
    """Train on the three sentences and return the accuracy on them."""
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(SENTENCES)
    x = pad_sequences(tokenizer.texts_to_sequences(SENTENCES), dtype="int64")
    model = Classifier(len(tokenizer.word_index) + 1, cell)
    # One step an epoch: few, so they are long.
    fit(model, x, LABELS, epochs=epochs, batch_size=3, learning_rate=1e-2)
    probabilities = fastnn.predict(model, x)
    for sentence, probability in zip(SENTENCES, probabilities):
        print(f"  {probability:.3f}  {sentence}")
    return float(np.mean((probabilities > 0.5) == LABELS))


def reviews(cell: str, epochs: int, folder: Path) -> float:
    """Train on nine tenths of the reviews and return the accuracy on the rest."""
    texts, y = read_reviews(folder)
    order = np.random.default_rng(0).permutation(len(texts))
    test, train = np.split(order, [len(texts) // 10])

    tokenizer = Tokenizer(num_words=5000, oov_token="<unknown>")
    tokenizer.fit_on_texts([texts[i] for i in train])
    x = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=40, dtype="int64")
    model = Classifier(5000, cell)
    fit(model, x[train], y[train], epochs=epochs, batch_size=64, learning_rate=1e-3)
    result = fastnn.evaluate(
        model, x[test], y[test], loss=F.binary_cross_entropy, metrics=["accuracy"]
    )
    return result["accuracy"]


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=[*CELLS, "both"], default="both")
    parser.add_argument("--data", type=Path, help="folder with rt-polarity.pos and .neg")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args(arguments)
    if options.data and not (options.data / "rt-polarity.pos").is_file():
        parser.error(f"--data: there is no rt-polarity.pos in {options.data}")

    for cell in CELLS if options.cell == "both" else [options.cell]:
        fastnn.manual_seed(0)
        print(f"{cell}: three sentences")
        print(f"  accuracy {three_sentences(cell, options.epochs):.1%}")
        if options.data:
            print(f"{cell}: movie reviews")
            print(f"  test accuracy {reviews(cell, options.epochs, options.data):.1%}")


if __name__ == "__main__":
    main()
