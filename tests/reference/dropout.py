"""Dropout in plain NumPy, on the Philox4x32-10 generator written out."""

import numpy as np


def philox4x32(counter, key):
    """Ten rounds on counters (..., 4) with keys (2,), uint32 values held in uint64."""
    c = np.array(counter, np.uint64)
    k0, k1 = int(key[0]), int(key[1])
    low = np.uint64(0xFFFFFFFF)
    high = np.uint64(32)
    for _ in range(10):
        a = c[..., 0] * np.uint64(0xD2511F53)
        b = c[..., 2] * np.uint64(0xCD9E8D57)
        c = np.stack(
            [
                (b >> high) ^ c[..., 1] ^ np.uint64(k0),
                b & low,
                (a >> high) ^ c[..., 3] ^ np.uint64(k1),
                a & low,
            ],
            axis=-1,
        )
        k0 = (k0 + 0x9E3779B9) % 2**32
        k1 = (k1 + 0xBB67AE85) % 2**32
    return c


def philox_words(n, seed, stream):
    """Element i: word (i // 16) % 4 of the block i // 64 * 16 + i % 16."""
    i = np.arange(n)
    block = i // 64 * 16 + i % 16
    counter = np.zeros((n, 4), np.uint64)
    counter[:, 0] = block % 2**32
    counter[:, 1] = block // 2**32
    counter[:, 2] = stream % 2**32
    counter[:, 3] = stream // 2**32
    words = philox4x32(counter, (seed % 2**32, seed // 2**32))
    return words[i, i // 16 % 4]


def keep(shape, p, seed, stream):
    words = philox_words(int(np.prod(shape)), seed, stream)
    return (words >= round(p * 2**32)).reshape(shape)


def dropout(x, p, seed, stream):
    return np.where(keep(x.shape, p, seed, stream), x / (1 - p), 0)


def feature_dropout(x, p, seed, stream, axes):
    kept = keep(x.shape[:axes], p, seed, stream)
    return np.where(kept.reshape(*kept.shape, *[1] * (x.ndim - axes)), x / (1 - p), 0)


def alpha_dropout(x, p, seed, stream):
    limit = -1.0507009873554805 * 1.6732632423543772
    a = (1 - p + p * (1 - p) * limit**2) ** -0.5
    b = -a * p * limit
    return a * np.where(keep(x.shape, p, seed, stream), x, limit) + b
