"""Padding, interpolation, sampling and shuffling in plain NumPy."""

import itertools

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


def cubic(distance, a):
    """Keys' cubic convolution."""
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d < 1, near, np.where(d < 2, far, 0))


def cubic_matrix(size, out, align_corners):
    """What lies outside counts for the edge."""
    o = np.arange(out)
    if align_corners:
        x = o * ((size - 1) / (out - 1) if out > 1 else 0)
    else:
        x = (o + 0.5) * size / out - 0.5
    matrix = np.zeros((out, size))
    for k in range(-1, 3):
        i = np.floor(x).astype(int) + k
        np.add.at(matrix, (o, np.clip(i, 0, size - 1)), cubic(x - i, -0.75))
    return matrix


def antialias_matrix(size, out, kind):
    """A kernel that is stretched where outputs lie more than one input apart."""
    scale = size / out
    stretch = max(scale, 1)
    distance = (np.arange(size) + 0.5 - scale * (np.arange(out)[:, None] + 0.5)) / stretch
    matrix = cubic(distance, -0.5) if kind == "cubic" else np.maximum(0, 1 - np.abs(distance))
    return matrix / matrix.sum(1, keepdims=True)


def resample(x, matrices):
    for axis, matrix in enumerate(matrices, start=2):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x


def sample_position(coordinate, size, padding, align_corners):
    """From [-1, 1] to elements, with what lies outside brought in."""
    x = (coordinate + 1) / 2 * (size - 1) if align_corners else (coordinate + 1) * size / 2 - 0.5
    return pad_position(x, size, padding, align_corners)


def pad_position(x, size, padding, align_corners):
    if padding == "reflection":
        low, span = (0, size - 1) if align_corners else (-0.5, size)
        if span == 0:
            return 0.0
        x = abs(x - low) % (2 * span)
        x = low + min(x, 2 * span - x)
    return x if padding == "zeros" else min(max(x, 0), size - 1)


def sample_taps(coordinate, size, mode, padding, align_corners):
    """Pairs of an index and a weight along one axis."""
    if mode == "bicubic":
        x = sample_position(coordinate, size, "zeros", align_corners)
        taps = [int(np.floor(x)) + k for k in range(-1, 3)]
        return [
            (int(np.floor(pad_position(i, size, padding, align_corners))), cubic(x - i, -0.75))
            for i in taps
        ]
    x = sample_position(coordinate, size, padding, align_corners)
    if mode == "nearest":
        return [(round(x), 1.0)]
    first = int(np.floor(x))
    return [(first, 1 - (x - first)), (first + 1, x - first)]


def grid_sample(x, grid, mode="bilinear", padding="zeros", align_corners=False):
    """One point at a time; coordinates begin with the last axis."""
    spatial = x.shape[2:]
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for place in np.ndindex(grid.shape[:-1]):
        axes = [
            sample_taps(c, n, mode, padding, align_corners)
            for c, n in zip(grid[place][::-1], spatial)
        ]
        for taps in itertools.product(*axes):
            index = tuple(i for i, _ in taps)
            if all(0 <= i < n for i, n in zip(index, spatial)):
                weight = np.prod([w for _, w in taps])
                y[(place[0], slice(None), *place[1:])] += (
                    weight * x[(place[0], slice(None), *index)]
                )
    return y


def affine_grid(theta, size, align_corners=False):
    lines = [
        (np.linspace(-1, 1, n) if n > 1 else np.zeros(1)) * (1 if align_corners else (n - 1) / n)
        for n in size[2:]
    ]
    points = np.meshgrid(*lines, indexing="ij")
    base = np.stack([*points[::-1], np.ones(size[2:])], -1)
    return np.einsum("...k,njk->n...j", base, theta)


def channel_shuffle(x, groups):
    n, c, *rest = x.shape
    return x.reshape(n, groups, c // groups, *rest).swapaxes(1, 2).reshape(x.shape)


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
