"""Recognise spoken digits: log-mel features in NumPy, then a bidirectional GRU.

    python examples/spoken_digits.py recordings.tar.gz

The argument is an archive of the Free Spoken Digit Dataset (Z. Jackson and contributors): files
{digit}_{speaker}_{index}.wav, 16 bits, 8 kHz. Takes 0 to 4 of each speaker are kept for the test.
The recordings have different lengths: each goes in as long as it is, and padded steps cost nothing.
"""

from __future__ import annotations

import argparse
import tarfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn

RATE, FRAME, HOP, BANDS, LONGEST = 8000, 256, 80, 40, 100


def mel_bands() -> np.ndarray:
    """(FRAME / 2 + 1, BANDS): triangles, evenly spaced on the mel scale 2595 log10(1 + f / 700)."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, FRAME // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(frames, BANDS): the logarithm of the energy by band, every 10 ms, less its mean."""
    padded = np.pad(samples / 32768, (0, max(FRAME - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:LONGEST]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    features = np.log(spectrum @ mel_bands() + 1e-6)
    return features - features.mean(axis=0)


def load(archive: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, LONGEST, BANDS), lengths (N,), digits (N,), and whether to keep for the test."""
    features, lengths, digits, test = [], [], [], []
    with tarfile.open(archive) as files:
        for member in files:
            if not member.name.endswith(".wav"):
                continue
            digit, _, take = Path(member.name).stem.split("_")
            with wave.open(files.extractfile(member)) as sound:
                samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
            rows = log_mel(samples)
            features.append(np.pad(rows, ((0, LONGEST - len(rows)), (0, 0))))
            lengths.append(len(rows))
            digits.append(int(digit))
            test.append(int(take) < 5)
    x = np.array(features, np.float32)
    return x / x.std(), np.array(lengths), np.array(digits), np.array(test)


class Recogniser(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(BANDS, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(2 * hidden, 10)

    def forward(self, features: Any, lengths: np.ndarray) -> Any:
        """Map features (N, T, BANDS) to scores (N, 10), from both directions' last states."""
        _, last = self.recurrent(features, lengths=lengths)
        return self.output(self.dropout(last.transpose(1, 0, 2).reshape(len(lengths), -1)))


def main(arguments: list[str] | None = None) -> float:
    """Train, print the accuracy on the takes kept for the test and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="archive of the recordings (.tar.gz)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=96, help="units of a direction")
    options = parser.parse_args(arguments)
    if not options.data.is_file():
        parser.error(f"data: there is no file {options.data}")

    fastnn.manual_seed(0)
    x, lengths, y, test = load(options.data)
    model = Recogniser(options.hidden)
    start = time.perf_counter()
    fastnn.fit(
        model,
        (x[~test], lengths[~test]),
        y[~test],
        loss="cross_entropy",
        optimizer=fastnn.optim.Adam(model.parameters(), lr=2e-3),
        epochs=options.epochs,
        batch_size=options.batch_size,
        metrics=["accuracy"],
    )
    seconds = time.perf_counter() - start
    scores = fastnn.predict(model, (x[test], lengths[test]), 100)
    accuracy = float((scores.argmax(1) == y[test]).mean())
    print(f"test accuracy {accuracy:.2%} after {options.epochs} epochs in {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
