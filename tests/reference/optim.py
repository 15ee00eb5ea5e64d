"""Optimizers element by element, as the algorithm boxes of PyTorch's documentation state them.

``<name>_step`` takes the parameter, its gradient, the state (a dict, empty at first) and the
options, and returns the new parameter. ``<name>`` maps a start value and a list of gradients to
the value after each step.
"""

from __future__ import annotations

import math

import numpy as np


def decayed(grad, theta, weight_decay, maximize):
    """The gradient to descend along, with L2 regularisation."""
    return (-grad if maximize else grad) + weight_decay * theta


def sgd_step(
    theta,
    grad,
    state,
    *,
    lr,
    momentum=0.0,
    dampening=0.0,
    weight_decay=0.0,
    nesterov=False,
    maximize=False,
):
    g = decayed(grad, theta, weight_decay, maximize)
    if momentum != 0:
        b = state.get("b")
        b = g if b is None else momentum * b + (1 - dampening) * g
        state["b"] = b
        g = g + momentum * b if nesterov else b
    return theta - lr * g


def adam_step(
    theta,
    grad,
    state,
    *,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
):
    t = state["t"] = state.get("t", 0) + 1
    g = -grad if maximize else grad
    if decoupled_weight_decay:
        theta = theta - lr * weight_decay * theta
    else:
        g = g + weight_decay * theta
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
    if amsgrad:
        v = state["largest"] = np.maximum(state.get("largest", 0), v)
    m_hat = m / (1 - betas[0] ** t)
    v_hat = v / (1 - betas[1] ** t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


def rmsprop_step(
    theta,
    grad,
    state,
    *,
    lr,
    alpha=0.99,
    eps=1e-8,
    weight_decay=0.0,
    momentum=0.0,
    centered=False,
    maximize=False,
):
    g = decayed(grad, theta, weight_decay, maximize)
    v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g * g
    if centered:
        mean = state["mean"] = alpha * state.get("mean", 0) + (1 - alpha) * g
        v = v - mean**2
    b = g / (np.sqrt(np.maximum(v, 0)) + eps)
    if momentum > 0:
        b = state["b"] = momentum * state.get("b", 0) + b
    return theta - lr * b


def adagrad_step(
    theta,
    grad,
    state,
    *,
    lr,
    lr_decay=0.0,
    weight_decay=0.0,
    initial_accumulator_value=0.0,
    eps=1e-10,
    maximize=False,
):
    t = state["t"] = state.get("t", 0) + 1
    g = decayed(grad, theta, weight_decay, maximize)
    total = state["sum"] = state.get("sum", initial_accumulator_value) + g * g
    return theta - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)


def lion_step(theta, grad, state, *, lr, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    g = -grad if maximize else grad
    m = state.get("m", np.zeros_like(theta))
    theta = theta - lr * weight_decay * theta
    theta = theta - lr * np.sign(betas[0] * m + (1 - betas[0]) * g)
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    return theta


def adamax_step(
    theta, grad, state, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False
):
    t = state["t"] = state.get("t", 0) + 1
    g = decayed(grad, theta, weight_decay, maximize)
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    u = state["u"] = np.maximum(betas[1] * state.get("u", 0), np.abs(g) + eps)
    return theta - lr / (1 - betas[0] ** t) * m / u


def nadam_step(
    theta,
    grad,
    state,
    *,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
    maximize=False,
):
    t = state["t"] = state.get("t", 0) + 1
    g = -grad if maximize else grad
    if decoupled_weight_decay:
        theta = theta - lr * weight_decay * theta
    else:
        g = g + weight_decay * theta
    mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
    product = state["product"] = state.get("product", 1) * mu
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
    m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    return theta - lr * m_hat / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def radam_step(
    theta,
    grad,
    state,
    *,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    maximize=False,
):
    t = state["t"] = state.get("t", 0) + 1
    g = -grad if maximize else grad
    if decoupled_weight_decay:
        theta = theta - lr * weight_decay * theta
    else:
        g = g + weight_decay * theta
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
    m_hat = m / (1 - betas[0] ** t)
    rho = 2 / (1 - betas[1]) - 1
    rho_t = rho - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho_t <= 5:
        return theta - lr * m_hat
    r = np.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
    return theta - lr * m_hat * r * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)


def adadelta_step(
    theta, grad, state, *, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False
):
    g = decayed(grad, theta, weight_decay, maximize)
    v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g * g
    u = state.get("u", 0)
    step = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    state["u"] = rho * u + (1 - rho) * step * step
    return theta - lr * step


def every_step(step, start, grads, **options):
    values, state = [np.array(start, np.float64)], {}
    for grad in grads:
        values.append(step(values[-1], grad, state, **options))
    return values[1:]


def sgd(start, grads, **options):
    return every_step(sgd_step, start, grads, **options)


def adam(start, grads, **options):
    return every_step(adam_step, start, grads, **options)


def rmsprop(start, grads, **options):
    return every_step(rmsprop_step, start, grads, **options)


def adagrad(start, grads, **options):
    return every_step(adagrad_step, start, grads, **options)


def lion(start, grads, **options):
    return every_step(lion_step, start, grads, **options)


def adamax(start, grads, **options):
    return every_step(adamax_step, start, grads, **options)


def nadam(start, grads, **options):
    return every_step(nadam_step, start, grads, **options)


def radam(start, grads, **options):
    return every_step(radam_step, start, grads, **options)


def adadelta(start, grads, **options):
    return every_step(adadelta_step, start, grads, **options)


def sum_of_squares(arrays):
    return math.fsum(float(e) ** 2 for a in arrays for e in a.ravel())


def scale_arrays(arrays, factor):
    return [a * factor for a in arrays]


def clip_grad_norm_(grads, max_norm, norm_type=2.0):
    """Return the clipped gradients and the norm before clipping."""
    elements = [abs(float(e)) for g in grads for e in g.ravel()]
    if math.isinf(norm_type):
        total = max(elements, default=0.0)
    elif norm_type == 2:
        total = math.sqrt(sum_of_squares(grads))
    else:
        total = math.fsum(e**norm_type for e in elements) ** (1 / norm_type)
    return scale_arrays(grads, min(1.0, max_norm / (total + 1e-6))), total
