"""Normalisations in plain NumPy."""

import numpy as np


def normalised(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)


def along_channels(a, x):
    """(C,) as (1, C, 1, ...), to go with x."""
    return a.reshape(1, -1, *[1] * (x.ndim - 2))


def layer_norm(x, normalized_shape, weight=1.0, bias=0.0, eps=1e-5):
    return normalised(x, tuple(range(-len(normalized_shape), 0)), eps) * weight + bias


def rms_norm(x, normalized_shape, weight=1.0, eps=0.0):
    axes = tuple(range(-len(normalized_shape), 0))
    return x / np.sqrt((x**2).mean(axes, keepdims=True) + eps) * weight


def group_norm(x, num_groups, weight, bias, eps=1e-5):
    grouped = x.reshape(x.shape[0], num_groups, -1)
    y = normalised(grouped, (2,), eps).reshape(x.shape)
    return y * along_channels(weight, x) + along_channels(bias, x)


def instance_norm(x, weight, bias, eps=1e-5):
    return group_norm(x, x.shape[1], weight, bias, eps)


def batch_norm(x, weight, bias, eps=1e-5, mean=None, var=None):
    """In training without `mean` and `var`, else with them as the running statistics."""
    if mean is None:
        y = normalised(x, (0, *range(2, x.ndim)), eps)
    else:
        y = (x - along_channels(mean, x)) / np.sqrt(along_channels(var, x) + eps)
    return y * along_channels(weight, x) + along_channels(bias, x)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / size * (window**2).sum(1)) ** beta
    return y


def normalize(x, p=2.0, dim=1, eps=1e-12):
    return x / np.maximum(np.linalg.norm(x, p, dim, keepdims=True), eps)
