"""Prints the rounding error of each convolution algorithm, max |y - y64| / max |y64|, by shape.

    python bench/conv_error.py

x and w are normal; y64 is the same convolution in float64. "highest" is
``fastnn.set_conv_precision("highest")``, the direct sum; "default" uses Winograd where it is
allowed.
"""

from __future__ import annotations

import numpy as np

import fastnn
import fastnn.functional as F

# algorithm, channels, filters, size, kernel; a transposed convolution has stride 2
SHAPES = [
    ("direct", 16, 16, (56, 56), (3, 3)),
    ("F(4x4, 3x3)", 64, 64, (56, 56), (3, 3)),
    ("F(4x4, 3x3)", 128, 128, (28, 28), (3, 3)),
    ("F(4x4, 3x3)", 256, 256, (14, 14), (3, 3)),
    ("F(4x4, 3x3)", 512, 512, (14, 14), (3, 3)),
    ("F(2x2, 3x3)", 512, 512, (7, 7), (3, 3)),
    ("F(2x2, 3x3)", 1024, 256, (7, 7), (3, 3)),
    ("F(2x2, 5x5)", 16, 32, (28, 28), (5, 5)),
    ("F(2x2, 5x5)", 256, 64, (28, 28), (5, 5)),
    ("F(1x4, 1x3)", 512, 512, (1, 300), (1, 3)),
    ("F(5x5, 2x2)", 256, 128, (32, 32), (4, 4)),
    ("F(3x3, 2x2)", 256, 128, (7, 7), (4, 4)),
    ("patches in place", 128, 128, (28, 28), (3, 4)),
    ("im2col", 128, 128, (17, 17), (1, 7)),
    ("1x1", 256, 256, (28, 28), (1, 1)),
]


def error(y: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(y - expected).max() / np.abs(expected).max())


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'default':>16} {'channels':>8} {'filters':>7} {'size':>9} {'kernel':>7}", end="")
    print(f" {'default':>9} {'highest':>9}")
    for name, channels, filters, size, kernel in SHAPES:
        x = rng.standard_normal((1, channels, *size)).astype(np.float32)
        transposed = kernel == (4, 4)
        first, second = (channels, filters) if transposed else (filters, channels)
        w = rng.standard_normal((first, second, *kernel)).astype(np.float32)

        def call(x: np.ndarray, w: np.ndarray, transposed: bool = transposed) -> np.ndarray:
            if transposed:
                return np.asarray(F.conv_transpose2d(x, w, stride=2, padding=1))
            return np.asarray(F.conv2d(x, w, padding="same"))

        expected = call(x.astype(np.float64), w.astype(np.float64))
        errors = []
        for precision in ("default", "highest"):
            fastnn.set_conv_precision(precision)
            errors.append(error(call(x, w), expected))
        fastnn.set_conv_precision("default")
        sizes = f"{size[0]}x{size[1]}", f"{kernel[0]}x{kernel[1]}"
        print(f"{name:>16} {channels:8d} {filters:7d} {sizes[0]:>9} {sizes[1]:>7}", end="")
        print(f" {errors[0]:9.1e} {errors[1]:9.1e}")


if __name__ == "__main__":
    main()
