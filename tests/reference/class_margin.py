"""Margin losses of classes in plain NumPy, one row at a time, without reduction."""

import numpy as np


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
