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


def multi_head_attention_forward(
    query,
    key,
    value,
    heads,
    in_proj,
    out_proj,
    bias_kv=None,
    add_zero_attn=False,
    key_padding_mask=None,
    attn_mask=None,
    static_kv=(None, None),
    is_causal=False,
):
    """(L, N, E) inputs, one head of one item at a time: output, and weights of every head.

    in_proj has a weight and a bias (or None) each for query, key and value; a boolean mask is True
    for what is not seen, another one is added.
    """
    queries, batch, size = query.shape
    width = size // heads

    def project(x, weight, bias):
        return x @ weight.T + (0 if bias is None else bias)

    def to_add(mask, shape):
        if mask is None:
            return np.zeros(shape)
        mask = np.where(mask, -np.inf, 0.0) if mask.dtype == bool else mask
        return np.broadcast_to(mask, shape)

    q, k, v = (project(x, *p) for x, p in zip((query, key, value), in_proj))
    joined = np.zeros((queries, batch, size))
    all_weights = []
    for item in range(batch):
        for head in range(heads):
            columns = slice(head * width, (head + 1) * width)
            own_k, own_v = (
                x[:, item, columns] if static is None else static[item * heads + head]
                for x, static in zip((k, v), static_kv)
            )
            keys = len(own_k)
            hidden = None if key_padding_mask is None else key_padding_mask[item]
            mask = attn_mask
            if mask is not None and mask.ndim == 3:
                mask = mask[item * heads + head]
            bias = to_add(hidden, (queries, keys)) + to_add(mask, (queries, keys))
            if is_causal:
                bias = bias + to_add(np.triu(np.ones((queries, keys), bool), k=1), bias.shape)
            if bias_kv is not None:  # a key and a value that every query sees
                own_k, own_v = (
                    np.vstack([x, b[0, :, columns]]) for x, b in zip((own_k, own_v), bias_kv)
                )
            if add_zero_attn:
                own_k, own_v = (np.vstack([x, np.zeros(width)]) for x in (own_k, own_v))
            bias = np.pad(bias, ((0, 0), (0, len(own_k) - keys)))
            scores = q[:, item, columns] @ own_k.T / np.sqrt(width) + bias
            weights, _ = attention.attention_weights(scores)
            joined[:, item, columns] = weights @ own_v
            all_weights.append(weights)
    return project(joined, *out_proj), np.reshape(all_weights, (batch, heads, queries, -1))
