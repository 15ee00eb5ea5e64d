"""Optimizers element by element, as the algorithm boxes of PyTorch's documentation state them.

Each function maps a start value and a list of gradients to the value after each step.
"""

from __future__ import annotations

import math

import numpy as np


def sgd(
    start: np.ndarray,
    grads: list[np.ndarray],
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> list[np.ndarray]:
    values = [np.array(start, np.float64)]
    b = None
    for grad in grads:
        theta = values[-1]
        g = -grad if maximize else grad
        g = g + weight_decay * theta
        if momentum != 0:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        values.append(theta - lr * g)
    return values[1:]


def adam(
    start: np.ndarray,
    grads: list[np.ndarray],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled: bool = False,
) -> list[np.ndarray]:
    values = [np.array(start, np.float64)]
    m = np.zeros_like(values[0])
    v = np.zeros_like(values[0])
    v_hat_max = np.zeros_like(values[0])
    for t, grad in enumerate(grads, start=1):
        theta = values[-1]
        g = -grad if maximize else grad
        if decoupled:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat = m / (1 - betas[0] ** t)
        if amsgrad:
            v_hat_max = np.maximum(v_hat_max, v)
            v_hat = v_hat_max / (1 - betas[1] ** t)
        else:
            v_hat = v / (1 - betas[1] ** t)
        values.append(theta - lr * m_hat / (np.sqrt(v_hat) + eps))
    return values[1:]


def clip_grad_norm(
    grads: list[np.ndarray], max_norm: float, norm_type: float = 2.0
) -> tuple[list[np.ndarray], float]:
    """Return the clipped gradients and the norm before clipping."""
    elements = [abs(float(e)) for g in grads for e in g.ravel()]
    if math.isinf(norm_type):
        total = max(elements, default=0.0)
    else:
        total = math.fsum(e**norm_type for e in elements) ** (1 / norm_type)
    factor = min(1.0, max_norm / (total + 1e-6))
    return [g * factor for g in grads], total
