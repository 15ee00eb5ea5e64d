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


def kl_div(x, target, reduction="mean", log_target=False):
    if log_target:
        losses = np.exp(target) * (target - x)
    else:
        positive = np.where(target > 0, target, 1.0)
        losses = np.where(target > 0, target * np.log(positive), 0.0) - target * x
    if reduction == "batchmean":
        return np.sum(losses) / len(x)
    return reduce(losses, reduction)


def hinge_embedding_loss(x, target, margin=1.0, reduction="mean"):
    return reduce(np.where(target == 1, x, np.maximum(0, margin - x)), reduction)


def margin_ranking_loss(x1, x2, target, margin=0.0, reduction="mean"):
    return reduce(np.maximum(0, margin - target * (x1 - x2)), reduction)


def soft_margin_loss(x, y, reduction="mean"):
    return reduce(np.log(1 + np.exp(-y * x)), reduction)


def poisson_nll_loss(x, target, log_input=True, full=False, eps=1e-8, reduction="mean"):
    losses = np.exp(x) - target * x if log_input else x - target * np.log(x + eps)
    if full:
        n = np.maximum(target, 1)
        stirling = n * np.log(n) - n + 0.5 * np.log(2 * np.pi * n)
        losses = losses + np.where(target > 1, stirling, 0)
    return reduce(losses, reduction)


def gaussian_nll_loss(x, target, var, full=False, eps=1e-6, reduction="mean"):
    var = np.maximum(var, eps)
    losses = 0.5 * (np.log(var) + (x - target) ** 2 / var)
    return reduce(losses + (0.5 * np.log(2 * np.pi) if full else 0), reduction)


def cosine_similarity(x1, x2, axis=1, eps=1e-8):
    dot = np.sum(x1 * x2, axis=axis)
    norms = [np.maximum(np.sqrt(np.sum(x * x, axis=axis)), eps) for x in (x1, x2)]
    return dot / (norms[0] * norms[1])


def cosine_embedding_loss(x1, x2, target, margin=0.0, reduction="mean"):
    c = cosine_similarity(x1, x2, axis=-1, eps=0)
    return reduce(np.where(target == 1, 1 - c, np.maximum(0, c - margin)), reduction)


def pdist(x, p=2.0):
    pairs = [(i, j) for i in range(len(x)) for j in range(i + 1, len(x))]
    return np.array([np.linalg.norm(x[i] - x[j], p) for i, j in pairs])


def pairwise_distance(x1, x2, p=2.0, eps=1e-6):
    return np.linalg.norm(x1 - x2 + eps, ord=p, axis=-1)


def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean"
):
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = np.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduce(np.maximum(0, margin + near - far), reduction)


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0):
    """The losses of the samples, summing over every alignment by the forward recursion."""
    losses = []
    for n, (steps, length) in enumerate(zip(input_lengths, target_lengths)):
        states = [blank]
        for label in targets[n][:length]:
            states += [label, blank]
        # log P of having emitted up to and including state s; before the first step, only the
        # place in front of the first two states is possible.
        alpha = np.full(len(states), -np.inf)
        for t in range(steps):
            before = alpha
            alpha = np.full(len(states), -np.inf)
            for s, label in enumerate(states):
                ways = [before[s]]
                if s >= 1:
                    ways.append(before[s - 1])
                if s >= 2 and label not in (blank, states[s - 2]):
                    ways.append(before[s - 2])
                if t == 0:
                    ways = [0.0 if s < 2 else -np.inf]
                alpha[s] = np.logaddexp.reduce(ways) + log_probs[t, n, label]
        if steps == 0:
            losses.append(0.0 if length == 0 else np.inf)
        else:
            losses.append(-np.logaddexp.reduce(alpha[-2:]))
    return np.array(losses)


def multi_margin_loss(x, y, p=1, margin=1.0, weight=None):
    losses = []
    for row, right in zip(x, y):
        excess = [max(0, margin - row[right] + v) ** p for j, v in enumerate(row) if j != right]
        losses.append(sum(excess) / len(row) * (1 if weight is None else weight[right]))
    return np.array(losses)


def multilabel_margin_loss(x, y):
    losses = []
    for row, labels in zip(x, y):
        labels = list(labels)
        right = labels[: labels.index(-1)] if -1 in labels else labels
        wrong = [i for i in range(len(row)) if i not in right]
        losses.append(sum(max(0, 1 - row[y] + row[i]) for y in right for i in wrong) / len(row))
    return np.array(losses)


def multilabel_soft_margin_loss(x, y, weight=1.0):
    sigmoid = 1 / (1 + np.exp(-x))
    return -np.mean(weight * (y * np.log(sigmoid) + (1 - y) * np.log(1 - sigmoid)), axis=-1)
