"""The main job: look at the machine, train a small CNN on real digits, race the kernels.

    python examples/digits.py

Trains on the 1,797 scans that come with scikit-learn (8 x 8 pixels, no download), reports the
accuracy on the 360 held out, then times each kernel family against NumPy and the peers that are
installed. About a minute on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastnn
from fastnn import nn
from fastnn.optim.lr_scheduler import CosineAnnealingLR
from fastnn.training import LRSchedule

REQUIRED_ACCURACY = 0.98


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train (N, 1, 8, 8) in [0, 1], x_test, y_train (N,), y_test."""
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    y = digits.target.astype(np.int64)
    parts = train_test_split(x, y, test_size=360, random_state=0, stratify=y)
    return tuple(parts)


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def train(epochs: int) -> float:
    """Train and return the accuracy on the test digits."""
    fastnn.manual_seed(0)
    x_train, x_test, y_train, y_test = load()
    model = build()
    optimizer = fastnn.optim.Adam(model.parameters(), lr=3e-3)
    start = time.perf_counter()
    fastnn.fit(
        model,
        x_train,
        y_train,
        loss="cross_entropy",
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        validation_data=(x_test, y_test),
        metrics=["accuracy"],
        callbacks=[LRSchedule(CosineAnnealingLR(optimizer, epochs))],
    )
    seconds = time.perf_counter() - start
    accuracy = float((fastnn.predict(model, x_test, batch_size=120).argmax(1) == y_test).mean())
    print(f"\ntest accuracy {accuracy:.2%} after {epochs} epochs in {seconds:.1f} s")
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--no-bench", action="store_true", help="only train")
    parser.add_argument("--peer-python", help="interpreter that has the peers installed")
    arguments = parser.parse_args()
    fastnn.show_config()
    accuracy = train(arguments.epochs)
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(f"the accuracy should have reached {REQUIRED_ACCURACY:.0%}")
    bench = Path(__file__).resolve().parent.parent / "bench" / "run.py"
    if not arguments.no_bench and bench.exists():
        print()
        command = [sys.executable, str(bench), "--quick", "--samples", "5"]
        if arguments.peer_python:
            command += ["--peer-python", arguments.peer_python]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
