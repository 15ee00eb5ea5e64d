"""Metrics for ``fit`` and ``evaluate``: functions of arrays that return a mean over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.autograd import Array

__all__ = ["Metric", "accuracy", "resolve_metrics"]

Metric = Callable[[Any, Any], Any]


def accuracy(prediction: Array, target: Array, threshold: float = 0.5) -> float:
    """Return the share of right answers.

    Parameters
    ----------
    prediction : ndarray
        (N, C, ...) scores of C > 1 classes, the highest counts; or, for two classes, one number
        a sample that is compared with `threshold`.
    target : ndarray
        Classes (N, ...), or (N, C) with one-hot rows or probabilities; or 0 and 1 for two.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    Examples
    --------
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    >>> accuracy(np.array([0.2, 0.7]), np.array([0, 1]))
    1.0
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    classes = prediction.shape[1] if prediction.ndim > 1 else 1
    if classes > 1 and prediction.shape[:1] + prediction.shape[2:] == target.shape:
        right = prediction.argmax(axis=1) == target
    elif classes > 1 and prediction.ndim == 2 and prediction.shape == target.shape:
        right = prediction.argmax(axis=1) == target.argmax(axis=1)
    elif prediction.size == target.size and len(prediction) == len(target):
        right = (prediction.reshape(target.shape) > threshold) == (target > 0.5)
    else:
        raise ValueError(
            f"accuracy: target must have one class for each sample of a prediction of shape "
            f"{prediction.shape}, got shape {target.shape}"
        )
    return float(right.mean())


def resolve_metrics(
    name: str, metrics: Sequence[str | Metric], threshold: float
) -> dict[str, Metric]:
    """Return the metrics by name; `threshold` is where a binary prediction turns."""
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(f"{name}: metrics must be a list or tuple, got {metrics!r}")
    found: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric):
            label, function = getattr(metric, "__name__", type(metric).__name__), metric
        elif metric == "accuracy":
            label, function = metric, lambda p, t: accuracy(p, t, threshold)
        else:
            raise ValueError(f"{name}: metrics must be 'accuracy' or callables, got {metric!r}")
        if label in found or label == "loss":
            raise ValueError(f"{name}: metrics must have distinct names, got {label!r} twice")
        found[label] = function
    return found
