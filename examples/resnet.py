"""A small residual network on pictures of clothes (Fashion-MNIST).

    python examples/resnet.py fashion-mnist

The argument is a folder with the data set's four files (H. Xiao, K. Rasul, R. Vollgraf, 2017). The
network is ResNet-8 of K. He et al., "Deep Residual Learning for Image Recognition", 2016, section
4.2, for one channel: a convolution, three residual blocks, an average over the map. The rate goes
up and down once (Smith and Topin, "Super-convergence", 2018).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from lenet import load

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn.optim.lr_scheduler import LRScheduler, OneCycleLR
from fastnn.training import Callback


class Block(nn.Module):
    """relu(x + f(x)) with f of two convolutions; where the size changes, x passes a 1x1 one."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Any) -> Any:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def build(channels: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        Block(channels, channels, 1),
        Block(channels, 2 * channels, 2),
        Block(2 * channels, 4 * channels, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * channels, 10),
    )


class EachBatch(Callback):
    """Takes a step of a schedule after each batch."""

    def __init__(self, schedule: LRScheduler) -> None:
        self.schedule = schedule

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.schedule.step()


def main(arguments: list[str] | None = None) -> float:
    """Train, print the accuracy on the test pictures and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with Fashion-MNIST's files")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=16, help="of the first block")
    options = parser.parse_args(arguments)
    if not (options.data / "train-images-idx3-ubyte.gz").is_file():
        parser.error(f"data: there is no train-images-idx3-ubyte.gz in {options.data}")

    fastnn.manual_seed(0)
    x_train, y_train, x_test, y_test = load(options.data)
    model = build(options.channels)
    optimizer = fastnn.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    batches = -(-len(x_train) // options.batch_size)
    schedule = OneCycleLR(optimizer, max_lr=1e-2, epochs=options.epochs, steps_per_epoch=batches)
    start = time.perf_counter()
    fastnn.fit(
        model,
        x_train,
        y_train,
        loss="cross_entropy",
        optimizer=optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        metrics=["accuracy"],
        callbacks=[EachBatch(schedule)],
    )
    seconds = time.perf_counter() - start
    # For inference the norms become part of the convolutions.
    scores = fastnn.predict(nn.fuse(model.eval()), x_test, 250)
    accuracy = float((np.argmax(scores, 1) == y_test).mean())
    print(f"test accuracy {accuracy:.2%} after {options.epochs} epochs in {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
