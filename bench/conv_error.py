"""Prints the rounding error of each convolution algorithm, max |y - y64| / max |y64|, by shape.

    python bench/conv_error.py

x and w are normal; y64 is the same convolution in float64. "highest" is
``fastnn.set_conv_precision("highest")``, the direct sum; "default" uses Winograd where it is
allowed: tiles of 4 on larger maps, tiles of 2 on small ones.
"""

from __future__ import annotations

import numpy as np

import fastnn
import fastnn.functional as F

# channels, filters, size, kernel
SHAPES = [
    (16, 16, 56, 3),
    (64, 64, 56, 3),
    (128, 128, 28, 3),
    (256, 256, 14, 3),
    (512, 512, 14, 3),
    (512, 512, 7, 3),
    (1024, 256, 7, 3),
    (64, 64, 28, 1),
    (64, 64, 28, 5),
]


def error(y: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(y - expected).max() / np.abs(expected).max())


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'channels':>8} {'filters':>8} {'size':>5} {'kernel':>6} {'default':>9} {'highest':>9}")
    for channels, filters, size, kernel in SHAPES:
        x = rng.standard_normal((1, channels, size, size))
        w = rng.standard_normal((filters, channels, kernel, kernel))
        x32, w32 = x.astype(np.float32), w.astype(np.float32)
        expected = F.conv2d(x32.astype(np.float64), w32.astype(np.float64), padding="same")
        errors = []
        for precision in ("default", "highest"):
            fastnn.set_conv_precision(precision)
            errors.append(error(F.conv2d(x32, w32, padding="same"), expected))
        fastnn.set_conv_precision("default")
        print(f"{channels:8d} {filters:8d} {size:5d} {kernel:6d} {errors[0]:9.1e} {errors[1]:9.1e}")


if __name__ == "__main__":
    main()
