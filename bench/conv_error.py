"""Prints the rounding error of each convolution algorithm, max |y - y64| / max |y64|, by shape.

    python bench/conv_error.py

x and w are normal; y64 is the same convolution in float64. A second table has the gradient of the
weights, summed over all positions of a batch of 4, for normal gradients. "highest" is
``fastnn.set_conv_precision("highest")``, the direct sum; "default" uses Winograd where it is
allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F

# algorithm, channels, filters, size, kernel; "/2" is a stride; 4x4 without it is transposed with 2
SHAPES = [
    ("F(4x4, 3x3)", 16, 16, (56, 56), (3, 3)),
    ("F(4x4, 3x3)", 64, 64, (56, 56), (3, 3)),
    ("F(4x4, 3x3)", 128, 128, (28, 28), (3, 3)),
    ("F(4x4, 3x3)", 256, 256, (14, 14), (3, 3)),
    ("F(4x4, 3x3)", 512, 512, (14, 14), (3, 3)),
    ("F(4x2, 3x3)", 512, 512, (7, 7), (3, 3)),
    ("F(2x2, 3x3)", 1024, 256, (7, 7), (3, 3)),
    ("F(2x2, 5x5)", 16, 32, (28, 28), (5, 5)),
    ("F(2x2, 5x5)", 256, 64, (28, 28), (5, 5)),
    ("F(1x4, 1x3)", 512, 512, (1, 300), (1, 3)),
    ("F(1x2, 1x5)", 512, 512, (1, 300), (1, 5)),
    ("F(1x3, 1x7)", 512, 512, (17, 17), (1, 7)),
    ("F(2x2, 3x3/2)", 512, 512, (28, 28), (3, 3)),
    ("F(3x3, 4x4/2)", 512, 512, (28, 28), (4, 4)),
    ("F(1x5, 1x3/2)", 512, 512, (1, 1500), (1, 3)),
    ("F(5x1, 2x1)", 512, 512, (96, 96), (2, 1)),
    ("F(4x5, 3x2)", 512, 512, (28, 28), (3, 2)),
    ("F(2x5, 5x2)", 512, 512, (28, 28), (5, 2)),
    ("F(2x4, 5x3)", 512, 512, (28, 28), (5, 3)),
    ("F(5x5, 2x2)", 256, 128, (32, 32), (4, 4)),
    ("F(3x3, 2x2)", 256, 128, (7, 7), (4, 4)),
    ("patches in place", 128, 128, (28, 28), (3, 4)),
    ("im2col", 128, 128, (17, 17), (4, 7)),
    ("1x1", 256, 256, (28, 28), (1, 1)),
]

# algorithm, channels, filters, size, kernel, stride
GRADIENTS = [
    ("F(3x3, 4x4)", 64, 64, (56, 56), (3, 3), 1),
    ("F(3x3, 4x4)", 64, 64, (224, 224), (3, 3), 1),
    ("F(3x3, 4x4)", 256, 256, (14, 14), (3, 3), 1),
    ("F(3x3, 4x4)", 512, 512, (7, 7), (3, 3), 1),
    ("F(1x3, 1x4)", 80, 512, (1, 3000), (1, 3), 1),
    ("1x4 and 1x3 taps", 128, 128, (17, 17), (1, 7), 1),
    ("2 and 1 taps", 128, 128, (56, 56), (3, 3), 2),
    ("2 and 1 taps", 512, 512, (1, 1500), (1, 3), 2),
    ("F(3x3, 4x4)", 16, 32, (28, 28), (5, 5), 1),
    ("F(2x2, 5x5)", 128, 256, (64, 64), (4, 4), 2),
    ("F(3x3, 4x4)", 32, 32, (341, 79), (10, 5), 2),
    ("F(4x4, 3x3)", 3, 64, (224, 224), (7, 7), 2),
]


def error(y: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(y - expected).max() / np.abs(expected).max())


def errors(call: Callable[..., np.ndarray], *arrays: np.ndarray) -> list[float]:
    """With each precision, against the same in float64."""
    expected = call(*(a.astype(np.float64) for a in arrays))
    found = []
    for precision in ("default", "highest"):
        fastnn.set_conv_precision(precision)
        found.append(error(call(*arrays), expected))
    fastnn.set_conv_precision("default")
    return found


def show(
    name: str,
    channels: int,
    filters: int,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    found: Any,
) -> None:
    sizes = f"{size[0]}x{size[1]}", f"{kernel[0]}x{kernel[1]}"
    print(f"{name:>16} {channels:8} {filters:7} {sizes[0]:>9} {sizes[1]:>7}", end="")
    print(f" {found[0]:9.1e} {found[1]:9.1e}")


def head(title: str) -> None:
    print(f"{title:>16} {'channels':>8} {'filters':>7} {'size':>9} {'kernel':>7}", end="")
    print(f" {'default':>9} {'highest':>9}")


def forward(rng: np.random.Generator) -> None:
    for name, channels, filters, size, kernel in SHAPES:
        x = rng.standard_normal((1, channels, *size)).astype(np.float32)
        transposed = kernel == (4, 4) and "/2" not in name
        first, second = (channels, filters) if transposed else (filters, channels)
        w = rng.standard_normal((first, second, *kernel)).astype(np.float32)

        stride = (2 if size[0] > 1 else 1, 2) if transposed or "/2" in name else 1
        operation = F.conv_transpose2d if transposed else F.conv2d
        settings = {"stride": stride, "padding": 1 if transposed else "same"}

        def call(x: np.ndarray, w: np.ndarray) -> np.ndarray:
            return np.asarray(operation(x, w, **settings))  # noqa: B023

        show(name, channels, filters, size, kernel, errors(call, x, w))


def gradients(rng: np.random.Generator) -> None:
    for name, channels, filters, size, kernel, stride in GRADIENTS:
        x = rng.standard_normal((4, channels, *size)).astype(np.float32)
        w_shape = (filters, channels, *kernel)
        settings = (stride, tuple(k // 2 for k in kernel))
        shape = np.asarray(F.conv2d(x, np.zeros(w_shape, np.float32), None, *settings)).shape
        grad = rng.standard_normal(shape).astype(np.float32)

        def call(
            x: np.ndarray,
            grad: np.ndarray,
            w_shape: Any = w_shape,
            settings: Any = settings,
        ) -> np.ndarray:
            w = fastnn.Tensor(np.zeros(w_shape, x.dtype), requires_grad=True)
            F.conv2d(x, w, None, *settings).backward(grad)
            return np.asarray(w.grad)

        show(name, channels, filters, size, kernel, errors(call, x, grad))


def main() -> None:
    rng = np.random.default_rng(0)
    head("y")
    forward(rng)
    head("gradient of w")
    gradients(rng)


if __name__ == "__main__":
    main()
