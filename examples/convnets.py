"""Residual, Inception and Xception networks on pictures of clothes (Fashion-MNIST).

    python examples/convnets.py fashion-mnist --network xception

The first argument is a folder with the data set's four files (H. Xiao, K. Rasul, R. Vollgraf,
2017). The networks are small ones of the kinds that made history, for one channel of 28x28:

- ``resnet``: ResNet-8 of K. He et al., "Deep Residual Learning for Image Recognition", 2016,
  section 4.2;
- ``inception``: modules with dimension reductions of C. Szegedy et al., "Going Deeper with
  Convolutions", 2015, figure 2b, with batch normalisation after each convolution;
- ``xception``: separable convolutions of F. Chollet, "Xception: Deep Learning with Depthwise
  Separable Convolutions", 2017, figure 5.

The rate goes up and down once (Smith and Topin, "Super-convergence", 2018).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from lenet import load

import fastnn
from fastnn import nn
from fastnn.optim.lr_scheduler import OneCycleLR
from fastnn.training import LRSchedule


def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
    """A convolution without bias, and the norm that brings one."""
    return [convolution, nn.BatchNorm2d(channels)]


def conv(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size, or divides it by the stride, and its norm."""
    padding = kernel_size // 2
    return normed(
        nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False), channels
    )


def separable(in_channels: int, channels: int) -> list[nn.Module]:
    """A separable 3x3 convolution and its norm."""
    return normed(nn.SeparableConv2d(in_channels, channels, 3, padding=1, bias=False), channels)


class Residual(nn.Module):
    """body(x) + x; where the shape changes, x passes a 1x1 convolution and a norm."""

    def __init__(self, body: nn.Module, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(*conv(in_channels, channels, 1, stride))

    def forward(self, x: Any) -> Any:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)


class Inception(nn.Module):
    """Convolutions of 1x1, 3x3 and 5x5 and a pooled 1x1 one, their channels side by side."""

    def __init__(self, in_channels: int, quarter: int) -> None:
        super().__init__()
        # The larger kernels see half the channels that they make.
        half = max(1, quarter // 2)
        relu = nn.ReLU
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*conv(in_channels, quarter, 1), relu()),
                nn.Sequential(*conv(in_channels, half, 1), relu(), *conv(half, quarter, 3), relu()),
                nn.Sequential(*conv(in_channels, half, 1), relu(), *conv(half, quarter, 5), relu()),
                nn.Sequential(
                    nn.MaxPool2d(3, stride=1, padding=1), *conv(in_channels, quarter, 1), relu()
                ),
            ]
        )

    def forward(self, x: Any) -> Any:
        """Map (N, in_channels, H, W) to (N, 4 quarter, H, W)."""
        return fastnn.concatenate([branch(x) for branch in self.branches], axis=1)


def resnet(channels: int) -> nn.Sequential:
    def block(inside: int, outside: int, stride: int) -> list[nn.Module]:
        body = nn.Sequential(
            *conv(inside, outside, 3, stride), nn.ReLU(), *conv(outside, outside, 3)
        )
        return [Residual(body, inside, outside, stride), nn.ReLU()]

    return nn.Sequential(
        *conv(1, channels, 3),
        nn.ReLU(),
        *block(channels, channels, 1),
        *block(channels, 2 * channels, 2),
        *block(2 * channels, 4 * channels, 2),
        *head(4 * channels),
    )


def inception(channels: int) -> nn.Sequential:
    return nn.Sequential(
        *conv(1, channels, 3),
        nn.ReLU(),
        Inception(channels, channels // 2),
        nn.MaxPool2d(3, stride=2, padding=1),
        Inception(2 * channels, channels),
        nn.MaxPool2d(3, stride=2, padding=1),
        Inception(4 * channels, channels),
        *head(4 * channels),
    )


def xception(channels: int) -> nn.Sequential:
    def block(inside: int, outside: int) -> nn.Module:
        body = nn.Sequential(
            nn.ReLU(),
            *separable(inside, outside),
            nn.ReLU(),
            *separable(outside, outside),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        return Residual(body, inside, outside, 2)

    return nn.Sequential(
        *conv(1, channels, 3),
        block(channels, 2 * channels),
        block(2 * channels, 4 * channels),
        *separable(4 * channels, 8 * channels),
        nn.ReLU(),
        *head(8 * channels),
    )


def head(channels: int) -> list[nn.Module]:
    """An average over the map, and a score for each of ten classes."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


NETWORKS = {"resnet": resnet, "inception": inception, "xception": xception}


def main(arguments: list[str] | None = None) -> float:
    """Train, print the accuracy on the test pictures and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with Fashion-MNIST's files")
    parser.add_argument("--network", choices=NETWORKS, default="resnet")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=16, help="of the first convolution")
    options = parser.parse_args(arguments)
    if not (options.data / "train-images-idx3-ubyte.gz").is_file():
        parser.error(f"data: there is no train-images-idx3-ubyte.gz in {options.data}")

    fastnn.manual_seed(0)
    x_train, y_train, x_test, y_test = load(options.data)
    model = NETWORKS[options.network](options.channels)
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
        callbacks=[LRSchedule(schedule, each="batch")],
    )
    seconds = time.perf_counter() - start
    # For inference the norms become part of the convolutions.
    scores = fastnn.predict(nn.fuse(model.eval()), x_test, 250)
    accuracy = float((np.argmax(scores, 1) == y_test).mean())
    print(f"test accuracy {accuracy:.2%} after {options.epochs} epochs in {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
