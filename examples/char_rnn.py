"""A character language model: Embedding -> LSTM (or GRU, RNN) of two layers -> Linear.

    python examples/char_rnn.py input.txt
    python examples/char_rnn.py input.txt --cell gru --hidden 512 --epochs 20

The text is any file in UTF-8; the works of Shakespeare of A. Karpathy's char-rnn (1.1 million
characters) are the usual one. The last tenth is kept for validation.

The text is cut into as many parallel streams as the batch has rows. They are read a chunk of
characters at a time, and the state of a chunk's end is where the next one starts: the network
remembers more than it is trained through (truncated backpropagation through time). Gradients are
clipped, for those of a recurrent network can explode; the norms that are printed show it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import nn

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class CharacterModel(nn.Module):
    """Gives the scores of the next character at every step.

    Parameters
    ----------
    characters : int
        How many different ones there are.
    cell : {"lstm", "gru", "rnn"}
    hidden : int
        Width of the two recurrent layers.
    """

    def __init__(self, characters: int, cell: str, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, min(hidden, 64))
        self.recurrent = CELLS[cell](min(hidden, 64), hidden, num_layers=2)
        self.output = nn.Linear(hidden, characters)

    def forward(self, tokens: Any, state: Any = None) -> tuple[Any, Any]:
        """Map tokens (T, B) and a state to scores (T, B, characters) and the next state."""
        y, state = self.recurrent(self.embedding(tokens), state)
        return self.output(y), state


def read(path: Path) -> tuple[str, np.ndarray]:
    """Return the alphabet and the text as indices into it."""
    text = path.read_text(encoding="utf-8")
    alphabet = "".join(sorted(set(text)))
    index = {character: i for i, character in enumerate(alphabet)}
    return alphabet, np.array([index[character] for character in text], np.int64)


def chunks(tokens: np.ndarray, batch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (input, target) of shape (T, batch); each stream goes on from chunk to chunk."""
    length = (len(tokens) - 1) // batch
    inputs = tokens[: batch * length].reshape(batch, length).T
    targets = tokens[1 : batch * length + 1].reshape(batch, length).T
    for start in range(0, length, steps):
        yield inputs[start : start + steps], targets[start : start + steps]


def detached(state: Any) -> Any:
    """The state's values: the gradient does not flow into the chunk before."""
    if isinstance(state, tuple):
        return tuple(np.asarray(part) for part in state)
    return np.asarray(state)


def mean_loss(scores: Any, targets: np.ndarray) -> Any:
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1))


def train_epoch(
    model: CharacterModel,
    optimizer: fastnn.optim.Optimizer,
    tokens: np.ndarray,
    *,
    batch: int,
    steps: int,
    max_norm: float,
) -> tuple[float, float]:
    """Read the text once; return the mean loss and the largest norm of a gradient."""
    model.train()
    state, losses, largest = None, [], 0.0
    for inputs, targets in chunks(tokens, batch, steps):
        optimizer.zero_grad()
        scores, state = model(inputs, state)
        loss = mean_loss(scores, targets)
        loss.backward()
        state = detached(state)
        largest = max(largest, float(nn.utils.clip_grad_norm_(model.parameters(), max_norm)))
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses)), largest


def evaluate(model: CharacterModel, tokens: np.ndarray, *, batch: int, steps: int) -> float:
    """Return the mean loss."""
    model.eval()
    state, losses = None, []
    with fastnn.no_grad():
        for inputs, targets in chunks(tokens, batch, steps):
            scores, state = model(inputs, state)
            losses.append(float(mean_loss(scores, targets)))
    return float(np.mean(losses))


def sample(model: CharacterModel, alphabet: str, length: int, temperature: float) -> str:
    """Write a text, one character after the other, each drawn from the model's distribution."""
    rng = np.random.default_rng(0)
    model.eval()
    state, token, text = None, np.zeros((1, 1), np.int64), []
    with fastnn.no_grad():
        for _ in range(length):
            scores, state = model(token, state)
            weights = F.softmax(scores[0, 0].astype(np.float64) / temperature, dim=0)
            token[0, 0] = rng.choice(len(alphabet), p=weights)
            text.append(alphabet[token[0, 0]])
    return "".join(text)


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a text file")
    parser.add_argument("--cell", choices=list(CELLS), default="lstm")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32, help="parallel streams of text")
    parser.add_argument("--steps", type=int, default=64, help="characters that are trained through")
    parser.add_argument("--max-norm", type=float, default=1.0, help="limit of the gradient's norm")
    parser.add_argument("--sample", type=int, default=300, help="characters to write at the end")
    options = parser.parse_args(arguments)
    if not options.text.is_file():
        parser.error(f"there is no file {options.text}")

    fastnn.manual_seed(0)
    alphabet, tokens = read(options.text)
    held_out = len(tokens) // 10
    if held_out <= options.batch:
        parser.error(f"{options.text} is too short for a batch of {options.batch}")
    model = CharacterModel(len(alphabet), options.cell, options.hidden)
    optimizer = fastnn.optim.Adam(model.parameters(), lr=2e-3)
    chunk = {"batch": options.batch, "steps": options.steps}
    for epoch in range(options.epochs):
        loss, norm = train_epoch(
            model, optimizer, tokens[:-held_out], max_norm=options.max_norm, **chunk
        )
        bits = evaluate(model, tokens[-held_out:], **chunk) / math.log(2)
        print(
            f"epoch {epoch + 1}: loss {loss:.3f}, validation {bits:.3f} bits a character, "
            f"largest gradient {norm:.2g}"
        )
    print(sample(model, alphabet, options.sample, temperature=0.8))


if __name__ == "__main__":
    main()
