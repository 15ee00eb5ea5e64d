"""Attention in several heads between linear maps of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import integer, refuse_none
from fastnn.functional.attention import CAUSAL, attend
from fastnn.functional.gemm import linear
from fastnn.tensor import concatenate

__all__ = ["multi_head_attention_forward"]

# project(x, first, count): x times the weights number first .. first + count - 1 of query, key and
# value, side by side.
Project = Callable[[Any, int, int], Any]


def multi_head_attention_forward(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: ArrayLike,
    in_proj_bias: ArrayLike,
    bias_k: ArrayLike,
    bias_v: ArrayLike,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: ArrayLike,
    out_proj_bias: ArrayLike,
    training: bool = True,
    key_padding_mask: ArrayLike = None,
    need_weights: bool = True,
    attn_mask: ArrayLike = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: ArrayLike = None,
    k_proj_weight: ArrayLike = None,
    v_proj_weight: ArrayLike = None,
    static_k: ArrayLike = None,
    static_v: ArrayLike = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Result, Result | None]:
    r"""Multi-head attention with all weights given, as :class:`fastnn.nn.MultiheadAttention`.

    .. math:: \mathrm{softmax}(Q K^T / \sqrt{E / H})\, V

    for each of the H heads, with Q, K and V the projections of query, key and value; the heads side
    by side are projected once more (Vaswani et al., "Attention Is All You Need", 2017).

    Parameters
    ----------
    query : array or Tensor, shape (L, N, E) or (L, E), float32 or float64
    key, value : array or Tensor, shape (S, N, E_k), (S, N, E_v), or without N
    embed_dim_to_check, num_heads : int
        E, which must be query's, and H, which divides it.
    in_proj_weight : shape (3 E, E)
        The projections of query, key and value, one below the other. Not read with
        use_separate_proj_weight, where q_proj_weight (E, E), k_proj_weight (E, E_k) and
        v_proj_weight (E, E_v) take its place.
    in_proj_bias : shape (3 E,), or None
    bias_k, bias_v : shape (1, 1, E), or None
        A key and a value that follow those given.
    add_zero_attn : bool
        Whether a key and a value of zeros follow.
    dropout_p : float
        Probability with which a weight is dropped; if training.
    out_proj_weight, out_proj_bias : shape (E, E), and (E,) or None
    key_padding_mask : shape (N, S) or (S,), optional
        Boolean: True for a key to ignore. Floating: added to the scores.
    need_weights : bool
        Whether to return the weights; without them less memory and time is needed.
    attn_mask : shape (L, S) or (N * H, L, S), optional
        Boolean: True where a query may not see a key. Floating: added to the scores.
    static_k, static_v : shape (N * H, S, E / H), optional
        Used instead of the projections of key and value.
    average_attn_weights : bool
        Whether the weights are (N, L, S), the mean of the heads, or (N, H, L, S).
    is_causal : bool
        Query i sees keys up to i. An attn_mask given as well is taken to say just that, and is not
        read.

    Returns
    -------
    output : array or Tensor of query's shape
    weights : array or Tensor, or None

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x, w = np.ones((3, 1, 2)), np.ones((6, 2))
    >>> y, weights = F.multi_head_attention_forward(
    ...     x, x, x, 2, 1, w, None, None, None, False, 0.0, np.eye(2), None)
    >>> y[0], weights[0, 0]
    (array([[2., 2.]]), array([0.33333333, 0.33333333, 0.33333333]))
    """
    op = "multi_head_attention_forward"
    refuse_none(op, query=query, key=key, value=value)
    num_heads = integer(op, "num_heads", num_heads)
    size = array(query).shape[-1] if array(query).ndim else 0
    if size != embed_dim_to_check or num_heads < 1 or size % num_heads:
        raise ValueError(
            f"{op}: query.shape[-1] must be {embed_dim_to_check} (embed_dim_to_check) and a "
            f"multiple of num_heads ({num_heads}), got {size}"
        )
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    needed = separate if use_separate_proj_weight else (in_proj_weight,)
    if any(w is None for w in needed):
        names = "q_, k_ and v_proj_weight" if use_separate_proj_weight else "in_proj_weight"
        raise ValueError(
            f"{op}: {names} must be given with use_separate_proj_weight={use_separate_proj_weight}"
        )
    if not use_separate_proj_weight:
        _check_shape(op, "in_proj_weight", in_proj_weight, (3 * size, size))
    _check_shape(op, "in_proj_bias", in_proj_bias, (3 * size,))

    def project(x: Any, first: int, count: int) -> Any:
        part = slice(first * size, (first + count) * size)
        bias: Any = in_proj_bias
        weight: Any = in_proj_weight
        weight = separate[first] if use_separate_proj_weight else weight[part]
        return linear(x, weight, None if bias is None else bias[part])

    return attend_heads(
        op,
        (query, key, value),
        num_heads,
        project,
        lambda x: linear(x, out_proj_weight, out_proj_bias),
        fused=not use_separate_proj_weight,
        bias_kv=(bias_k, bias_v),
        add_zero_attn=add_zero_attn,
        dropout_p=dropout_p if training else 0.0,
        key_padding_mask=key_padding_mask,
        need_weights=need_weights,
        attn_mask=attn_mask,
        static_kv=(static_k, static_v),
        average_attn_weights=average_attn_weights,
        is_causal=is_causal,
    )


def attend_heads(
    op: str,
    inputs: tuple[ArrayLike, ArrayLike, ArrayLike],
    heads: int,
    project: Project,
    out_proj: Callable[[Any], Any],
    *,
    fused: bool,
    batch_first: bool = False,
    bias_kv: tuple[ArrayLike, ArrayLike] = (None, None),
    add_zero_attn: bool = False,
    dropout_p: float = 0.0,
    key_padding_mask: ArrayLike = None,
    need_weights: bool = True,
    attn_mask: ArrayLike = None,
    static_kv: tuple[ArrayLike, ArrayLike] = (None, None),
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Result, Result | None]:
    """Project, attend, project. With `fused`, equal inputs may be projected in one call."""
    _check(op, inputs, batch_first)
    batched = array(inputs[0]).ndim == 3
    batch_first = batch_first or not batched
    q, k, v = _projections(inputs, heads, project, fused, batch_first)
    if static_kv[0] is not None:
        k = _static(op, static_kv[0], q, "static_k")
    if static_kv[1] is not None:
        v = _static(op, static_kv[1], q, "static_v")
    mask = _mask(op, key_padding_mask, None if is_causal else attn_mask, q, k.shape[2])
    bias_k, bias_v = bias_kv
    if (bias_k is None) != (bias_v is None):
        raise ValueError(f"{op}: bias_k and bias_v must be given together")
    extra = (bias_k is not None) + bool(add_zero_attn)
    if extra:
        _check_shape(op, "bias_k", bias_k, (1, 1, heads * q.shape[3]))
        _check_shape(op, "bias_v", bias_v, (1, 1, heads * q.shape[3]))
        if is_causal:
            raise ValueError(
                f"{op}: is_causal must be False with bias_k or add_zero_attn; pass attn_mask"
            )
        k, v = _extended(k, v, bias_kv, add_zero_attn)
        mask = _extended_mask(mask, extra)
    rules = CAUSAL if is_causal else None
    result = attend((q, k, v, mask), dropout_p, rules=rules, return_weights=need_weights)
    out, weights = result if need_weights else (result, None)
    out = out_proj(_join_heads(out, batch_first))
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        out = out[0]
        weights = None if weights is None else weights[0]
    return out, weights


def _check_shape(op: str, name: str, value: ArrayLike, shape: tuple[int, ...]) -> None:
    if value is not None and array(value).shape != shape:
        raise ValueError(f"{op}: {name}.shape must be {shape}, got {array(value).shape}")


def _check(op: str, inputs: tuple[ArrayLike, ...], batch_first: bool) -> None:
    shapes = [array(x).shape for x in inputs]
    rank = len(shapes[0])
    if rank not in (2, 3):
        raise ValueError(f"{op}: query must have 2 or 3 dimensions, got shape {shapes[0]}")
    if shapes[0] == shapes[1] == shapes[2]:
        return
    for name, shape in zip(("key", "value"), shapes[1:]):
        if len(shape) != rank:
            raise ValueError(f"{op}: {name} must have {rank} dimensions, got shape {shape}")
    if shapes[1][:-1] != shapes[2][:-1]:
        raise ValueError(
            f"{op}: value.shape[:-1] must be {shapes[1][:-1]} (key.shape[:-1]), got "
            f"{shapes[2][:-1]}"
        )
    axis = 0 if batch_first else 1
    if rank == 3 and shapes[0][axis] != shapes[1][axis]:
        raise ValueError(
            f"{op}: key.shape[{axis}] must be {shapes[0][axis]} (query.shape[{axis}]), got "
            f"{shapes[1][axis]}"
        )


def _projections(
    inputs: tuple[Any, Any, Any], heads: int, project: Project, fused: bool, batch_first: bool
) -> tuple[Any, Any, Any]:
    """Return the projections as (N, heads, L or S, width)."""
    query, key, value = inputs
    if fused and query is key and key is value:
        q, k, v = _split_heads(project(query, 0, 3), 3, heads, batch_first)
        return q, k, v
    (q,) = _split_heads(project(query, 0, 1), 1, heads, batch_first)
    if fused and key is value:
        k, v = _split_heads(project(key, 1, 2), 2, heads, batch_first)
        return q, k, v
    (k,) = _split_heads(project(key, 1, 1), 1, heads, batch_first)
    (v,) = _split_heads(project(value, 2, 1), 1, heads, batch_first)
    return q, k, v


def _static(op: str, static: Any, q: Any, name: str) -> Any:
    batch, heads, _, width = q.shape
    shape = array(static).shape
    if len(shape) != 3 or shape[0] != batch * heads or shape[2] != width:
        raise ValueError(
            f"{op}: {name}.shape must be ({batch * heads}, S, {width}) (N * heads, S, E / heads), "
            f"got {shape}"
        )
    return static.reshape(batch, heads, shape[1], width)


def _mask(op: str, padding: Any, attn_mask: Any, q: Any, keys: int) -> Any:
    """Join both masks into what attention takes: True, or what to add, where seen."""
    if padding is None and attn_mask is None:
        return None
    batch, heads, queries = q.shape[:3]
    padding, attn_mask = (
        np.asarray(mask) if isinstance(mask, (list, tuple)) else mask
        for mask in (padding, attn_mask)
    )
    masks = []
    if padding is not None:
        shape = array(padding).shape
        if shape not in ((batch, keys), (keys,)) or (len(shape) == 1 and batch != 1):
            raise ValueError(f"{op}: key_padding_mask.shape must be ({batch}, {keys}), got {shape}")
        masks.append(padding.reshape(batch, 1, 1, keys))
    if attn_mask is not None:
        shape = array(attn_mask).shape
        if shape == (queries, keys):
            masks.append(attn_mask)
        elif shape == (batch * heads, queries, keys):
            masks.append(attn_mask.reshape(batch, heads, queries, keys))
        else:
            raise ValueError(
                f"{op}: attn_mask.shape must be ({queries}, {keys}) or "
                f"({batch * heads}, {queries}, {keys}), got {shape}"
            )
    if all(array(mask).dtype == bool for mask in masks):
        hidden = array(masks[0]) if len(masks) == 1 else array(masks[0]) | array(masks[1])
        return ~hidden
    if len(masks) == 1:
        return masks[0]
    first, second = (_as_bias(mask, array(q).dtype) for mask in masks)
    return first + second


def _as_bias(mask: Any, dtype: Any) -> Any:
    values = array(mask)
    if values.dtype != bool:
        return mask
    return np.where(values, -np.inf, 0.0).astype(dtype)


def _extended(k: Any, v: Any, bias_kv: tuple[Any, Any], add_zero_attn: bool) -> tuple[Any, Any]:
    """Append the learned and the zero key and value, which every query sees."""
    batch, heads, _, width = k.shape
    if bias_kv[0] is not None:
        repeat = np.ones((batch, 1, 1, 1), array(k).dtype)
        k, v = (
            concatenate([x, bias.reshape(1, heads, 1, width) * repeat], axis=2)
            for x, bias in zip((k, v), bias_kv)
        )
    if add_zero_attn:
        zero = np.zeros((batch, heads, 1, width), array(k).dtype)
        k, v = (concatenate([x, zero], axis=2) for x in (k, v))
    return k, v


def _extended_mask(mask: Any, extra: int) -> Any:
    if mask is None:
        return None
    values = array(mask)
    seen = np.full((*values.shape[:-1], extra), values.dtype == bool, values.dtype)
    return concatenate([mask, seen], axis=-1)


def _split_heads(projected: Any, count: int, heads: int, batch_first: bool) -> tuple[Any, ...]:
    """Cut (N, L, count * E) or (L, N, count * E) into `count` views (N, heads, L, E / heads)."""
    x = array(projected)
    shape = x.shape if x.ndim == 3 else (1, *x.shape)
    split = (*shape[:2], count, heads, shape[2] // count // heads)
    axes = (2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4)

    def backward(
        grads: tuple[Array | None, ...], needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        grad_x = np.empty(x.shape, x.dtype)
        parts = grad_x.reshape(split).transpose(axes)
        for part, grad in zip(parts, grads):
            part[...] = 0 if grad is None else grad
        return (grad_x,)

    outs = tuple(x.reshape(split).transpose(axes))
    result: tuple[Any, ...] = record(outs, (projected,), backward, name="split_heads")
    return result


def _join_heads(out: Any, batch_first: bool) -> Any:
    """(N, heads, L, width) to (N, L, heads * width) or (L, N, heads * width)."""
    x = array(out)
    batch, heads, length, width = x.shape
    axes = (0, 2, 1, 3) if batch_first else (2, 0, 1, 3)
    sizes = (batch, length) if batch_first else (length, batch)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (grad.reshape(*sizes, heads, width).transpose(np.argsort(axes)),)

    joined = x.transpose(axes).reshape(*sizes, heads * width)
    return record(joined, (out,), backward, name="join_heads")
