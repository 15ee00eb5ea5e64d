"""Scaled dot-product attention: one call for every mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, array, record
from fastnn.functional._args import flag, integer, number, recorded, refuse_out_while_recording
from fastnn.functional.gemm import _sum_to_shape
from fastnn.random import next_philox_key

__all__ = ["rotary_embedding", "scaled_dot_product_attention"]

Rules = tuple[Any, ...]

# Left and right limit, lower-right alignment, lengths of queries and keys, softcap, ALiBi slopes.
CAUSAL: Rules = (None, 0, False, None, None, 0.0, None)


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    causal_alignment: str = "upper_left",
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | Sequence[float] = None,
    lengths: Sequence[int] | Array | None = None,
    kv_lengths: Sequence[int] | Array | None = None,
    return_lse: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Any:
    r"""Attention of every query over the keys that it may see.

    .. math:: \mathrm{softmax}(\mathrm{scale} \cdot Q K^T + \mathrm{mask})\, V

    Scores are made, used and dropped in tiles that stay in the cache (FlashAttention [1]_ [2]_), so
    memory grows with L + S, not with L * S; blocks that masks or limits leave empty are not
    computed. A masked position contributes nothing, even if it holds NaN or infinity. A query that
    sees no key gets zeros, and zero gradients.

    The last five options change the scores in this order: softcap, ALiBi, attn_mask, then the
    limits of causality, window and lengths.

    Parameters
    ----------
    query : array or Tensor, shape (..., H, L, E), float32, float64 or bfloat16
    key : array or Tensor, shape (..., H, S, E)
    value : array or Tensor, shape (..., H, S, Ev)
        Leading dimensions broadcast; any strides are read in place.
    attn_mask : array or Tensor, broadcastable to (..., H, L, S), optional
        Boolean: True where a query may see a key. Of query's dtype (beside bfloat16 also float32):
        added to the scores; it gets a gradient. It is read with its strides, never expanded.
    dropout_p : float
        Probability with which a weight is dropped (always: pass 0 outside of training).
    is_causal : bool
        Query i sees keys up to i; attn_mask must then be None.
    scale : float, optional
        1 / sqrt(E) if not given.
    enable_gqa : bool
        Grouped queries: key and value have fewer heads, of which each serves H / heads consecutive
        heads of query.
    causal_alignment : {"upper_left", "lower_right"}
        Where the diagonal of is_causal, window and alibi_slopes ends: query i sits at key i, or
        at key i + S - L, so that the last query sits at the last key (with lengths: of the item).
    window : (left, right), optional
        A query sees at most so many keys to either side of its own; None is no limit.
    softcap : float, optional
        Scores become softcap * tanh(score / softcap).
    alibi_slopes : array of query's dtype or list, broadcastable to (..., H), optional
        Slope times the distance between query and key is subtracted from the scores [3]_.
    lengths, kv_lengths : int array, broadcastable to query.shape[:-3], optional
        How many queries and keys of each item of the batch count; the rest is as if masked.
    return_lse : bool
        Also return the logarithm of the sum of exponentials of each query's scores, (..., H, L);
        -inf for a query that sees no key.
    return_weights : bool
        Also return the weights (after dropout), (..., H, L, S).
    out : array, optional
        C-contiguous, of the output's shape and query's dtype: receives the output. Not while
        recording.

    Returns
    -------
    array or Tensor, shape (..., H, L, Ev), or a tuple with what else was asked for, in that order
        Laid out in memory as query is: heads outside of positions or inside.

    Raises
    ------
    TypeError
        For dtypes other than float32, float64 and bfloat16, or mixed ones.
    ValueError
        For shapes that do not fit, and options out of range.

    Notes
    -----
    bfloat16 (``ml_dtypes.bfloat16``) is how query, key, value, the output and their gradients are
    stored; sums, weights and the logarithms are of float32.

    References
    ----------
    .. [1] Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with
       IO-Awareness", 2022.
    .. [2] Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work
       Partitioning", 2023.
    .. [3] Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input
       Length Extrapolation", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> x = np.eye(2)
    >>> F.scaled_dot_product_attention(x, x, np.array([[1.0], [3.0]]), is_causal=True, scale=0.0)
    array([[1.],
           [2.]])
    """
    is_causal = flag("scaled_dot_product_attention", "is_causal", is_causal)
    enable_gqa = flag("scaled_dot_product_attention", "enable_gqa", enable_gqa)
    if is_causal and attn_mask is not None:
        raise ValueError("scaled_dot_product_attention: attn_mask must be None with is_causal=True")
    if scale is not None:
        scale = number("scaled_dot_product_attention", "scale", scale)
    rules = CAUSAL if is_causal else None
    if (
        window is not None
        or softcap is not None
        or alibi_slopes is not None
        or lengths is not None
        or kv_lengths is not None
        or causal_alignment != "upper_left"
    ):
        if isinstance(alibi_slopes, (list, tuple)):
            wide = array(query).dtype == np.float64
            alibi_slopes = np.asarray(alibi_slopes, np.float64 if wide else np.float32)
        rules = _rules(
            is_causal, causal_alignment, window, softcap, alibi_slopes, lengths, kv_lengths
        )
    inputs = (query, key, value, attn_mask)
    return attend(inputs, dropout_p, scale, enable_gqa, rules, return_lse, return_weights, out)


def attend(
    inputs: tuple[ArrayLike, ...],
    dropout_p: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
    rules: Rules | None = None,
    return_lse: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Any:
    """Attention of (query, key, value, attn_mask) under checked rules; a mask may join `CAUSAL`."""
    q, k, v, mask = map(array, inputs)
    dropout = _dropout(dropout_p) if dropout_p else None
    recording = recorded(*inputs)
    if out is not None:
        refuse_out_while_recording("scaled_dot_product_attention", out, *inputs)
    out, lse = _core.scaled_dot_product_attention_forward(
        q, k, v, mask, scale, enable_gqa, rules, dropout, out
    )
    weights = None
    if return_weights:
        weights = _core.attention_weights(q, k, v, mask, scale, enable_gqa, rules, dropout, lse)
    several = return_lse or return_weights
    outputs = (out, *((lse,) if return_lse else ()), *((weights,) if return_weights else ()))
    if not recording:
        return outputs if several else out

    def gradients(
        grad: Array | None, grad_lse: Array | None, grad_w: Array | None, needs: tuple[bool, ...]
    ) -> Gradients:
        grads = _core.scaled_dot_product_attention_backward(
            q, k, v, mask, scale, enable_gqa, rules, dropout,
            np.zeros_like(out) if grad is None else grad, out, lse, grad_lse,
            None if grad_w is None else weights, grad_w, needs,
        )  # fmt: skip
        return tuple(
            None if g is None else _sum_to_shape(g, x.shape).astype(x.dtype, copy=False)
            for g, x in zip(grads, (q, k, v, mask))
        )

    if not several:
        return record(
            out,
            inputs,
            lambda grad, needs: gradients(grad, None, None, needs),
            name="scaled_dot_product_attention",
            bfloat16=True,
        )

    def backward(grads: tuple[Array | None, ...], needs: tuple[bool, ...]) -> Gradients:
        grad_lse = grads[1] if return_lse else None
        return gradients(grads[0], grad_lse, grads[-1] if return_weights else None, needs)

    return record(outputs, inputs, backward, "scaled_dot_product_attention", bfloat16=True)


def _dropout(p: Any) -> tuple[int, float, int, int]:
    """Return the threshold of 2**32 below which a weight is dropped, the factor of the others, and
    the key of their random numbers.
    """
    p = number("scaled_dot_product_attention", "dropout_p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"scaled_dot_product_attention: dropout_p must be in 0..1, got {p}")
    return (round(p * 2**32), 0.0 if p == 1 else 1 / (1 - p), *next_philox_key())


def _rules(
    is_causal: bool,
    alignment: Any,
    window: Any,
    softcap: Any,
    alibi_slopes: Any,
    lengths: Any,
    kv_lengths: Any,
) -> Rules:
    op = "scaled_dot_product_attention"
    if alignment not in ("upper_left", "lower_right"):
        raise ValueError(
            f"{op}: causal_alignment must be 'upper_left' or 'lower_right', got {alignment!r}"
        )
    left, right = None, None
    if window is not None:
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise TypeError(f"{op}: window must be a tuple (left, right), got {window!r}")
        left, right = (
            None if side is None else integer(op, f"window[{i}]", side)
            for i, side in enumerate(window)
        )
        if (left is not None and left < 0) or (right is not None and right < 0):
            raise ValueError(f"{op}: window must not be negative, got {window!r}")
    if softcap is not None:
        softcap = number(op, "softcap", softcap)
        if not 0 < softcap < float("inf"):
            raise ValueError(f"{op}: softcap must be positive and finite, got {softcap}")
    return (
        left,
        0 if is_causal else right,
        alignment == "lower_right",
        None if lengths is None else np.asarray(lengths),
        None if kv_lengths is None else np.asarray(kv_lengths),
        softcap or 0.0,
        array(alibi_slopes),
    )


def rotary_embedding(
    input: ArrayLike,
    positions: Sequence[int] | Array | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    rotary_dim: int | None = None,
    out: Array | None = None,
) -> Result:
    r"""Rotate pairs of features by an angle that grows with the position.

    Pair i of R / 2 at position p turns by :math:`p \cdot base^{-2i/R}`, so that the product of a
    query and a key depends on the distance of their positions alone.

    Parameters
    ----------
    input : array or Tensor, shape (..., L, E), float32, float64 or bfloat16
        Queries or keys.
    positions : int array, broadcastable to (..., L), optional
        0 .. L - 1 if not given.
    base : float
    interleaved : bool
        Whether a pair is features (2 i, 2 i + 1), as in the paper and GPT-J, or features
        (i, i + R / 2), as in GPT-NeoX and Llama.
    rotary_dim : int, optional
        R: only the first R features are rotated; all E if not given.
    out : array, optional
        C-contiguous, of input's shape and dtype: receives the result. Not while recording.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        If input is not float32, float64 or bfloat16, or positions are not integers.
    ValueError
        If R is odd or greater than E, positions do not fit, or base is not positive and finite.

    References
    ----------
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.rotary_embedding(np.ones((2, 2))).round(4)
    array([[ 1.    ,  1.    ],
           [-0.3012,  1.3818]])
    """
    op = "rotary_embedding"
    where = None if positions is None else np.asarray(positions)
    count = None if rotary_dim is None else integer(op, "rotary_dim", rotary_dim)
    base = number(op, "base", base)
    if not 0 < base < float("inf"):
        raise ValueError(f"{op}: base must be positive and finite, got {base}")
    options = (where, base, bool(interleaved), count)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.rotary_embedding_forward(grad, *options, True),)

    refuse_out_while_recording(op, out, input)
    result = _core.rotary_embedding_forward(array(input), *options, False, out)
    return record(result, (input,), backward, name=op, bfloat16=True)
