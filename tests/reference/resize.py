"""Padding, interpolation and pixel shuffling in plain NumPy."""

import numpy as np

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x, amounts, mode="constant", value=0.0):
    """`amounts` holds (left, right) from the last dimension on; negative ones cut off."""
    pairs = [(0, 0)] * (x.ndim - len(amounts) // 2)
    pairs += [amounts[i : i + 2] for i in range(len(amounts) - 2, -1, -2)]
    if mode == "circular":  # what is cut off does not come back at the other end
        x = crop(x, pairs)
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    grow = [(max(a, 0), max(b, 0)) for a, b in pairs]
    if mode == "constant":
        x = np.pad(x, grow, constant_values=value)
    else:
        x = np.pad(x, grow, mode=NUMPY_MODES[mode])
    return crop(x, pairs)


def crop(x, pairs):
    # A constant border may lie where something is cut off: sizes are those after padding.
    return x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape))]


def axis_matrix(size, out, mode, align_corners):
    """The (out, size) matrix that resizes one dimension."""
    o = np.arange(out)
    matrix = np.zeros((out, size))
    if mode in ("nearest", "nearest-exact"):
        half = 0.5 if mode == "nearest-exact" else 0
        matrix[o, np.minimum(np.floor((o + half) * size / out).astype(int), size - 1)] = 1
        return matrix
    if align_corners:
        x = o * (size - 1) / (out - 1) if out > 1 else o * 0.0
    else:
        x = np.maximum((o + 0.5) * size / out - 0.5, 0)
    first = np.minimum(np.floor(x).astype(int), size - 1)
    second = np.minimum(first + 1, size - 1)
    np.add.at(matrix, (o, first), 1 - (x - first))
    np.add.at(matrix, (o, second), x - first)
    return matrix


def interpolate(x, out, mode="nearest", align_corners=False):
    """`out` has the spatial sizes; resizes one dimension after another."""
    for axis, n in enumerate(out, start=2):
        matrix = axis_matrix(x.shape[axis], n, mode, align_corners)
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x


def pixel_shuffle(x, r):
    *lead, c, h, w = x.shape
    x = x.reshape(*lead, c // (r * r), r, r, h, w)
    n = len(lead)
    return x.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2).reshape(
        *lead, c // (r * r), h * r, w * r
    )


def pixel_unshuffle(x, r):
    *lead, c, h, w = x.shape
    x = x.reshape(*lead, c, h // r, r, w // r, r)
    n = len(lead)
    return x.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(
        *lead, c * r * r, h // r, w // r
    )
