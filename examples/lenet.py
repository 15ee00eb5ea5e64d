"""LeNet-5 on handwritten digits: two convolutions, three linear layers.

    python examples/lenet.py mnist

The argument is a folder with MNIST's four files as they are published (train-images-idx3-ubyte.gz
and so on). The network is that of Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based
Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998, with today's ReLU and maximum
in place of tanh and average.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn


def read_idx(path: Path) -> np.ndarray:
    """Return the array in a file of the IDX format, packed with gzip or not."""
    contents = path.read_bytes()
    if contents[:2] == b"\x1f\x8b":
        contents = gzip.decompress(contents)
    zeros, kind, rank = struct.unpack_from(">HBB", contents)
    if zeros != 0 or kind != 8:
        raise ValueError(f"{path} is not an IDX file of bytes")
    shape = struct.unpack_from(f">{rank}I", contents, 4)
    return np.frombuffer(contents, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train (N, 1, 28, 28) with mean 0 and variance 1, y_train (N,), x_test, y_test."""
    arrays = []
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")[:, None]
        arrays.append(images.astype(np.float32) / 255)
        arrays.append(read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64))
    mean, deviation = arrays[0].mean(), arrays[0].std()
    for i in (0, 2):
        arrays[i] = (arrays[i] - mean) / deviation
    return tuple(arrays)


def build() -> nn.Sequential:
    """The layers, with the names of the paper beside them."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),  # C1
        nn.ReLU(),
        nn.MaxPool2d(2),  # S2
        nn.Conv2d(6, 16, 5),  # C3
        nn.ReLU(),
        nn.MaxPool2d(2),  # S4
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),  # C5
        nn.ReLU(),
        nn.Linear(120, 84),  # F6
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def main(arguments: list[str] | None = None) -> float:
    """Train, print the accuracy on the test images and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with MNIST's files")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--save", type=Path, help="file for the weights (.safetensors)")
    options = parser.parse_args(arguments)
    if not (options.data / "train-images-idx3-ubyte.gz").is_file():
        parser.error(f"data: there is no train-images-idx3-ubyte.gz in {options.data}")

    fastnn.manual_seed(0)
    x_train, y_train, x_test, y_test = load(options.data)
    model = build()
    start = time.perf_counter()
    fastnn.fit(
        model,
        x_train,
        y_train,
        loss="cross_entropy",
        optimizer=fastnn.optim.Adam(model.parameters(), lr=1e-3),
        epochs=options.epochs,
        batch_size=options.batch_size,
        metrics=["accuracy"],
    )
    seconds = time.perf_counter() - start
    accuracy = float((fastnn.predict(model, x_test, 250).argmax(1) == y_test).mean())
    print(f"test accuracy {accuracy:.2%} after {options.epochs} epochs in {seconds:.1f} s")
    if options.save:
        fastnn.save(model, options.save)
    return accuracy


if __name__ == "__main__":
    main()
