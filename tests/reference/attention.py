"""Scaled dot-product attention in plain NumPy."""

import math

import numpy as np


def allowed_by_limits(
    queries, keys, *, diagonal=0, is_causal=False, window=None, length=None, kv_length=None
):
    """(queries, keys) booleans: what causality, window and lengths let through."""
    i, j = np.arange(queries)[:, None], np.arange(keys)[None, :]
    offset = j - (i + diagonal)
    allowed = np.ones((queries, keys), bool)
    if is_causal:
        allowed &= offset <= 0
    left, right = window or (None, None)
    if left is not None:
        allowed &= offset >= -left
    if right is not None:
        allowed &= offset <= right
    if length is not None:
        allowed &= i < length
    if kv_length is not None:
        allowed &= j < kv_length
    return allowed


def attention_scores(
    query,
    key,
    attn_mask=None,
    is_causal=False,
    scale=None,
    *,
    causal_alignment="upper_left",
    window=None,
    softcap=None,
    alibi_slopes=None,
    lengths=None,
    kv_lengths=None,
):
    """(..., H, L, S) scores, -inf where masked; query and key have the same heads."""
    queries, width = query.shape[-2:]
    keys = key.shape[-2]
    if scale is None:
        scale = 1 / math.sqrt(max(1, width))
    with np.errstate(invalid="ignore"):
        scores = scale * np.matmul(query, np.swapaxes(key, -1, -2))
        if softcap is not None:
            scores = softcap * np.tanh(scores / softcap)
    lead = scores.shape[:-2]
    scores = scores.reshape(-1, queries, keys).copy()
    heads = scores.shape[0]

    def per_item(values, shape):
        """One value a matrix, or None."""
        if values is None:
            return [None] * heads
        values = np.broadcast_to(values, shape)
        return np.broadcast_to(
            values.reshape(*shape, *[1] * (len(lead) - len(shape))), lead
        ).ravel()

    length = per_item(lengths, lead[:-1])
    kv_length = per_item(kv_lengths, lead[:-1])
    slope = per_item(alibi_slopes, lead)
    if attn_mask is None:
        masks = [None] * heads
    else:
        masks = np.broadcast_to(attn_mask, (*lead, queries, keys)).reshape(heads, queries, keys)

    for h in range(heads):
        diagonal = 0
        if causal_alignment == "lower_right":
            count = queries if length[h] is None else int(length[h])
            diagonal = (keys if kv_length[h] is None else int(kv_length[h])) - count
        if slope[h] is not None:
            distance = np.abs(np.arange(queries)[:, None] + diagonal - np.arange(keys)[None, :])
            scores[h] -= slope[h] * distance
        allowed = allowed_by_limits(
            queries,
            keys,
            diagonal=diagonal,
            is_causal=is_causal,
            window=window,
            length=length[h],
            kv_length=kv_length[h],
        )
        if masks[h] is not None and masks[h].dtype == bool:
            allowed = allowed & masks[h]
        elif masks[h] is not None:
            allowed = allowed & (masks[h] != -np.inf)
            scores[h] = scores[h] + masks[h]
        scores[h] = np.where(allowed, scores[h], -np.inf)
    return scores.reshape(*lead, queries, keys)


def attention_weights(scores):
    """Softmax over the keys (zeros for a query that sees none), and the log of its sum."""
    if scores.shape[-1] == 0:
        return scores, np.full(scores.shape[:-1], -np.inf)
    top = scores.max(-1, keepdims=True)
    shift = np.where(np.isneginf(top), 0, top)
    e = np.exp(scores - shift)
    total = e.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + shift)[..., 0]
    return np.divide(e, total, out=np.zeros_like(e), where=total != 0), lse


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, is_causal=False, scale=None, enable_gqa=False, **options
):
    """Output, weights and log-sum-exp. What has no weight contributes nothing."""
    if enable_gqa:
        group = query.shape[-3] // key.shape[-3]
        key, value = np.repeat(key, group, -3), np.repeat(value, group, -3)
    scores = attention_scores(query, key, attn_mask, is_causal, scale, **options)
    weights, lse = attention_weights(scores)
    if np.isfinite(value).all():
        return np.matmul(weights, value), weights, lse
    # Row by row: 0 * NaN must not get in.
    value = np.broadcast_to(value, (*weights.shape[:-2], *value.shape[-2:]))
    output = np.zeros((*weights.shape[:-1], value.shape[-1]))
    for index in np.ndindex(*weights.shape):
        if weights[index] != 0:
            output[index[:-1]] += weights[index] * value[(*index[:-2], index[-1])]
    return output, weights, lse


def rotary_embedding(x, positions, base=10000.0, interleaved=False):
    """Pairs as complex numbers."""
    half = x.shape[-1] // 2
    first, second = (slice(0, None, 2), slice(1, None, 2))
    if not interleaved:
        first, second = slice(0, half), slice(half, None)
    z = x[..., first] + 1j * x[..., second]
    z = z * np.exp(1j * positions[..., None] * base ** (-np.arange(half) / half))
    y = np.empty_like(x)
    y[..., first], y[..., second] = z.real, z.imag
    return y
