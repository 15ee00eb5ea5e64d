"""Losses in plain NumPy, float64, as their definitions read."""

from __future__ import annotations

import numpy as np


def reduce(losses, reduction, divisor=None):
    if reduction == "none":
        return losses
    total = np.sum(losses)
    if reduction == "sum":
        return total
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.float64(total) / np.float64(np.size(losses) if divisor is None else divisor)


def log_softmax(x, axis):
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def with_classes_last(x):
    """(C,) as it is, (N, C, d1, ...) as (N, d1, ..., C)."""
    return x if x.ndim == 1 else np.moveaxis(x, 1, -1)


def nll_loss(log_probabilities, target, weight=None, ignore_index=-100, reduction="mean"):
    log_p = with_classes_last(log_probabilities)
    losses, weights = np.zeros(target.shape), np.zeros(target.shape)
    for position in np.ndindex(target.shape):
        t = target[position]
        if t != ignore_index:
            weights[position] = 1.0 if weight is None else weight[t]
            losses[position] = -weights[position] * log_p[position][t]
    return reduce(losses, reduction, weights.sum())


def cross_entropy(
    logits, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    classes_last = with_classes_last(logits)
    classes = classes_last.shape[-1]
    w = np.ones(classes) if weight is None else weight
    log_p = log_softmax(classes_last, -1)
    if target.shape == logits.shape:
        smooth = (1 - label_smoothing) * with_classes_last(target) + label_smoothing / classes
        losses = -np.sum(w * smooth * log_p, axis=-1)
        return reduce(losses, reduction)
    counted = target != ignore_index
    safe = np.where(counted, target, 0)
    own = -w[safe] * np.take_along_axis(log_p, safe[..., None], -1)[..., 0]
    losses = (1 - label_smoothing) * own
    if label_smoothing > 0:
        losses = losses - label_smoothing * np.mean(w * log_p, axis=-1)
    losses = np.where(counted, losses, 0.0)
    return reduce(losses, reduction, np.sum(w[safe] * counted))


def binary_cross_entropy(x, target, weight=1.0, reduction="mean"):
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return reduce(-weight * (target * log_x + (1 - target) * log_rest), reduction)


def binary_cross_entropy_with_logits(x, target, weight=1.0, reduction="mean", pos_weight=1.0):
    log_sigmoid, log_rest = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    losses = -weight * (pos_weight * target * log_sigmoid + (1 - target) * log_rest)
    return reduce(losses, reduction)


def mse_loss(x, target, reduction="mean", weight=None):
    losses = (1 if weight is None else weight) * (x - target) ** 2
    return reduce(losses, reduction, None if weight is None else np.sum(weight))


def l1_loss(x, target, reduction="mean", weight=None):
    losses = (1 if weight is None else weight) * np.abs(x - target)
    return reduce(losses, reduction, None if weight is None else np.sum(weight))


def smooth_l1_loss(x, target, reduction="mean", beta=1.0):
    d = np.abs(x - target)
    with np.errstate(divide="ignore", invalid="ignore"):
        return reduce(np.where(d < beta, d**2 / (2 * beta), d - beta / 2), reduction)


def huber_loss(x, target, reduction="mean", delta=1.0, weight=1.0):
    d = np.abs(x - target)
    return reduce(weight * np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)), reduction)
