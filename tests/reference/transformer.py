"""Transformer layers in plain NumPy, from a dict of parameters with PyTorch's names."""

import numpy as np
from reference import attention


def linear(x, p, name):
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def layer_norm(x, p, name, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return y * p[f"{name}.weight"] + p[f"{name}.bias"]


def multihead_attention(query, key, value, p, heads, allowed=None):
    """(N, L, E) inputs; `allowed` broadcasts to (N, heads, L, S). Output and weights per head."""
    size = query.shape[-1]
    weights = np.split(p["in_proj_weight"], 3)
    biases = np.split(p["in_proj_bias"], 3)

    def project(x, w, b):
        y = x @ w.T + b
        return y.reshape(*y.shape[:2], heads, size // heads).transpose(0, 2, 1, 3)

    q, k, v = (project(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
    out, attention_weights, _ = attention.scaled_dot_product_attention(q, k, v, allowed)
    joined = out.transpose(0, 2, 1, 3).reshape(query.shape)
    return linear(joined, p, "out_proj"), attention_weights


def below(p, prefix):
    """The parameters of a sub-module."""
    return {k[len(prefix) + 1 :]: v for k, v in p.items() if k.startswith(prefix + ".")}


def encoder_layer(x, p, heads, allowed=None, norm_first=False):
    def attend(x):
        return multihead_attention(x, x, x, below(p, "self_attn"), heads, allowed)[0]

    def feed_forward(x):
        return linear(np.maximum(linear(x, p, "linear1"), 0), p, "linear2")

    if norm_first:
        x = x + attend(layer_norm(x, p, "norm1"))
        return x + feed_forward(layer_norm(x, p, "norm2"))
    x = layer_norm(x + attend(x), p, "norm1")
    return layer_norm(x + feed_forward(x), p, "norm2")
