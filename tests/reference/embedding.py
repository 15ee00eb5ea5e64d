"""Look-ups in plain NumPy."""

import numpy as np


def embedding(ids, weight):
    return weight[ids]


def embedding_gradient(ids, weight, grad, padding_idx=None, scale_grad_by_freq=False):
    result = np.zeros_like(weight)
    flat = ids.reshape(-1)
    np.add.at(result, flat, grad.reshape(len(flat), weight.shape[1]))
    if scale_grad_by_freq:
        result /= np.maximum(np.bincount(flat, minlength=len(weight)), 1)[:, None]
    if padding_idx is not None:
        result[padding_idx] = 0
    return result


def embedding_bag(ids, weight, offsets, mode="mean", per_sample_weights=None, padding_idx=None):
    """`offsets` includes the end of the last bag."""
    result = np.zeros((len(offsets) - 1, weight.shape[1]))
    for bag, (begin, end) in enumerate(zip(offsets[:-1], offsets[1:])):
        here = ids[begin:end]
        rows = weight[here]
        if per_sample_weights is not None:
            rows = rows * per_sample_weights[begin:end, None]
        if padding_idx is not None:
            rows = rows[here != padding_idx]
        if len(rows):
            result[bag] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)
    return result
