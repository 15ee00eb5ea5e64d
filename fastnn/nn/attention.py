"""Multi-head attention, and the cache of keys and values that decoding needs."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled, record
from fastnn.functional.attention import CAUSAL, attend
from fastnn.nn import init
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter
from fastnn.tensor import concatenate

__all__ = ["KVCache", "MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several heads between projections of its inputs.

    ``softmax(Q K^T / sqrt(head_dim)) V`` for each head, with Q, K, V the projections of query, key
    and value, and the heads side by side projected once more (Vaswani et al., "Attention Is All
    You Need", 2017).

    Parameters
    ----------
    embed_dim, num_heads : int
        embed_dim is a multiple of num_heads.
    dropout : float
        Probability with which a weight is dropped in training.
    bias : bool
        Whether the projections have biases.
    add_bias_kv : bool
        Whether a learned key and value follow those given.
    add_zero_attn : bool
        Whether a key and value of zeros follow.
    kdim, vdim : int, optional
        Features of key and value; embed_dim if not given.
    batch_first : bool
        Whether arrays are (N, L, E) instead of (L, N, E).
    dtype : numpy dtype
        float32 (default) or float64.

    Attributes
    ----------
    in_proj_weight : Parameter, shape (3 * embed_dim, embed_dim), or None
        The projections of query, key and value, one below the other. If kdim or vdim differ, they
        are q_proj_weight, k_proj_weight and v_proj_weight instead.
    in_proj_bias : Parameter, shape (3 * embed_dim,), or None
    out_proj : Linear
    bias_k, bias_v : Parameter, shape (1, 1, embed_dim), or None

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = np.ones((3, 5, 8), np.float32)
    >>> output, weights = layer(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be a positive multiple of num_heads, got "
                f"{embed_dim} and {num_heads}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.add_zero_attn = add_zero_attn

        def parameter(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(np.empty(shape, dtype)) if wanted else None

        fused = self.kdim == embed_dim and self.vdim == embed_dim
        self.q_proj_weight = parameter(not fused, embed_dim, embed_dim)
        self.k_proj_weight = parameter(not fused, embed_dim, self.kdim)
        self.v_proj_weight = parameter(not fused, embed_dim, self.vdim)
        self.in_proj_weight = parameter(fused, 3 * embed_dim, embed_dim)
        self.in_proj_bias = parameter(bias, 3 * embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        self.bias_k = parameter(add_bias_kv, 1, 1, embed_dim)
        self.bias_v = parameter(add_bias_kv, 1, 1, embed_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (
            self.in_proj_weight,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
        ):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        key_padding_mask: ArrayLike = None,
        need_weights: bool = True,
        attn_mask: ArrayLike = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Result, Result | None]:
        """Return the output and, if `need_weights`, the weights.

        Parameters
        ----------
        query : array or Tensor, shape (L, N, E), (N, L, E) with batch_first, or (L, E)
        key, value : array or Tensor
            The same with S positions and kdim or vdim features.
        key_padding_mask : array, shape (N, S) or (S,), optional
            Boolean: True for a key to ignore. Floating: added to the scores.
        need_weights : bool
            Whether to return the weights; without them less memory and time is needed.
        attn_mask : array, shape (L, S) or (N * num_heads, L, S), optional
            Boolean: True where a query may not see a key. Floating: added to the scores.
        average_attn_weights : bool
            Whether the weights are (N, L, S), the mean of the heads, or (N, num_heads, L, S).
        is_causal : bool
            Query i sees keys up to i. An attn_mask given as well is taken to say just that, and
            not read.
        """
        batched = array(query).ndim == 3
        self._check(query, key, value)
        q, k, v = self._project(query, key, value, batched)
        mask = self._mask(key_padding_mask, None if is_causal else attn_mask, q, k.shape[2])
        k, v, mask = self._extend(k, v, mask, is_causal)
        rules = CAUSAL if is_causal else None
        dropout = self.dropout if self.training else 0.0
        result = attend((q, k, v, mask), dropout, rules=rules, return_weights=need_weights)
        out, weights = result if need_weights else (result, None)
        out = self.out_proj(_join_heads(out, self.batch_first or not batched))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            out = out[0]
            weights = None if weights is None else weights[0]
        return out, weights

    def _check(self, query: Any, key: Any, value: Any) -> None:
        shapes = [array(x).shape for x in (query, key, value)]
        rank = len(shapes[0])
        if rank not in (2, 3):
            raise ValueError(
                f"MultiheadAttention: query must have 2 or 3 dimensions, got shape {shapes[0]}"
            )
        sizes = (self.embed_dim, self.kdim, self.vdim)
        for name, shape, size in zip(("query", "key", "value"), shapes, sizes):
            if len(shape) != rank or shape[-1] != size:
                raise ValueError(
                    f"MultiheadAttention: {name} must have {rank} dimensions, the last of size "
                    f"{size}, got shape {shape}"
                )
        if shapes[1][:-1] != shapes[2][:-1]:
            raise ValueError(
                f"MultiheadAttention: value.shape[:-1] must be {shapes[1][:-1]} (key.shape[:-1]), "
                f"got {shapes[2][:-1]}"
            )
        axis = 0 if self.batch_first else 1
        if rank == 3 and shapes[0][axis] != shapes[1][axis]:
            raise ValueError(
                f"MultiheadAttention: key.shape[{axis}] must be {shapes[0][axis]} "
                f"(query.shape[{axis}]), got {shapes[1][axis]}"
            )

    def _project(self, query: Any, key: Any, value: Any, batched: bool) -> tuple[Any, Any, Any]:
        """Return the projections as (N, num_heads, L or S, head_dim)."""
        heads, batch_first, size = self.num_heads, self.batch_first or not batched, self.embed_dim
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is not None and query is key and key is value:
            if is_grad_enabled():
                projected = F.linear(query, weight, bias)
            else:
                packed = weight.pack(_core.active_isa(), _core.pack_linear)
                projected = _core.linear_forward(array(query), packed, array(bias))
            q, k, v = _split_heads(projected, 3, heads, batch_first)
            return q, k, v
        biases = [None] * 3 if bias is None else [bias[i * size : (i + 1) * size] for i in range(3)]
        if weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif key is value:
            (q,) = _split_heads(F.linear(query, weight[:size], biases[0]), 1, heads, batch_first)
            rest = F.linear(key, weight[size:], None if bias is None else bias[size:])
            k, v = _split_heads(rest, 2, heads, batch_first)
            return q, k, v
        else:
            weights = [weight[i * size : (i + 1) * size] for i in range(3)]
        projections = zip((query, key, value), weights, biases)
        q, k, v = (
            _split_heads(F.linear(x, w, b), 1, heads, batch_first)[0] for x, w, b in projections
        )
        return q, k, v

    def _mask(self, padding: Any, attn_mask: Any, q: Any, keys: int) -> ArrayLike:
        """Join both masks into what attention takes: True, or what to add, where seen."""
        batch, heads, queries = q.shape[:3]
        masks = []
        if padding is not None:
            shape = array(padding).shape
            if shape not in ((batch, keys), (keys,)) or (len(shape) == 1 and batch != 1):
                raise ValueError(
                    f"MultiheadAttention: key_padding_mask.shape must be ({batch}, {keys}), got "
                    f"{shape}"
                )
            masks.append(_reshaped(padding, (batch, 1, 1, keys)))
        if attn_mask is not None:
            shape = array(attn_mask).shape
            if shape == (queries, keys):
                masks.append(attn_mask)
            elif shape == (batch * heads, queries, keys):
                masks.append(_reshaped(attn_mask, (batch, heads, queries, keys)))
            else:
                raise ValueError(
                    f"MultiheadAttention: attn_mask.shape must be ({queries}, {keys}) or "
                    f"({batch * heads}, {queries}, {keys}), got {shape}"
                )
        if len(masks) == 2 and array(masks[0]).dtype == bool and array(masks[1]).dtype == bool:
            return ~(array(masks[0]) | array(masks[1]))
        if len(masks) == 2:
            first, second = (_to_bias(mask, array(q).dtype) for mask in masks)
            return first + second
        if not masks:
            return None
        return ~array(masks[0]) if array(masks[0]).dtype == bool else masks[0]

    def _extend(self, k: Any, v: Any, mask: Any, is_causal: bool) -> tuple[Any, Any, Any]:
        """Append the learned and the zero key and value, which every query sees."""
        extra = (self.bias_k is not None) + bool(self.add_zero_attn)
        if not extra:
            return k, v, mask
        if is_causal:
            raise ValueError(
                "MultiheadAttention: is_causal must be False with add_bias_kv or add_zero_attn; "
                "pass attn_mask"
            )
        batch, heads, _, width = k.shape
        if self.bias_k is not None and self.bias_v is not None:
            repeat = np.ones((batch, 1, 1, 1), array(k).dtype)
            k, v = (
                concatenate([x, bias.reshape(1, heads, 1, width) * repeat], axis=2)
                for x, bias in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            zero = np.zeros((batch, heads, 1, width), array(k).dtype)
            k, v = (concatenate([x, zero], axis=2) for x in (k, v))
        if mask is not None:
            values = array(mask)
            seen = np.full((*values.shape[:-1], extra), values.dtype == bool, values.dtype)
            mask = concatenate([mask, seen], axis=-1)
        return k, v, mask

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


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


def _reshaped(mask: Any, shape: tuple[int, ...]) -> Any:
    return mask.reshape(shape) if hasattr(mask, "reshape") else array(mask).reshape(shape)


def _to_bias(mask: Any, dtype: Any) -> Any:
    values = array(mask)
    if values.dtype != bool:
        return mask
    return np.where(values, -np.inf, 0.0).astype(dtype)


class KVCache:
    """Keys and values of the positions seen so far, for decoding token by token.

    Memory is allocated ahead and doubled when it is full, so that appending costs little however
    long the sequence gets.

    Parameters
    ----------
    window : int, optional
        Keep only so many positions: a sliding window.
    capacity : int
        Positions to allocate memory for at first.

    Attributes
    ----------
    length : int
        How many positions have been appended, those that left the window included: the position of
        the next one.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> cache = fastnn.nn.KVCache(window=4)
    >>> for token in range(6):
    ...     keys, values = cache.append(np.full((1, 2, 1, 8), token), np.ones((1, 2, 1, 8)))
    >>> keys[0, 0, :, 0].tolist(), cache.length
    ([2, 3, 4, 5], 6)
    """

    def __init__(self, window: int | None = None, capacity: int = 64) -> None:
        if window is not None and window < 1:
            raise ValueError(f"KVCache: window must be >= 1, got {window}")
        if capacity < 1:
            raise ValueError(f"KVCache: capacity must be >= 1, got {capacity}")
        self.window = window
        self.length = 0
        self._capacity = capacity
        self._begin = self._end = 0
        self._memory: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, key: ArrayLike, value: ArrayLike) -> tuple[Array, Array]:
        """Add positions; return all keys and values that are kept.

        Parameters
        ----------
        key : array, shape (..., heads, new, width)
        value : array, shape (..., heads, new, value_width)

        Returns
        -------
        keys, values : array, shape (..., heads, kept, width)
            Views, valid until the next call. With a window, of the last `window` positions.

        Raises
        ------
        ValueError
            If the arrays do not fit each other, or what was appended before.
        """
        arrays = array(key), array(value)
        self._check(*arrays)
        new = arrays[0].shape[-2]
        self._make_room(arrays, new)
        assert self._memory is not None
        for memory, x in zip(self._memory, arrays):
            memory[..., self._end : self._end + new, :] = x
        self._end += new
        self.length += new
        if self.window is not None:
            self._begin = max(self._begin, self._end - self.window)
        keys, values = (m[..., self._begin : self._end, :] for m in self._memory)
        return keys, values

    def truncate(self, length: int) -> None:
        """Forget the positions from `length` on.

        Raises
        ------
        ValueError
            If they are not kept any more, or never were.
        """
        if not self.length - len(self) <= length <= self.length:
            raise ValueError(
                f"KVCache: length must be in {self.length - len(self)}..{self.length}, got {length}"
            )
        self._end -= self.length - length
        self.length = length

    def reset(self) -> None:
        """Forget everything, and keep the memory."""
        self.length = self._begin = self._end = 0

    def _check(self, key: Array, value: Array) -> None:
        if key.ndim < 2 or key.ndim != value.ndim or key.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                "KVCache: key and value must have equal shapes but for the last dimension, got "
                f"{key.shape} and {value.shape}"
            )
        if self._memory is None:
            return
        for name, x, memory in zip(("key", "value"), (key, value), self._memory):
            same = x.shape[:-2] == memory.shape[:-2] and x.shape[-1] == memory.shape[-1]
            if not same or x.dtype != memory.dtype:
                wanted = (*memory.shape[:-2], "n", memory.shape[-1])
                raise ValueError(
                    f"KVCache: {name} must be {memory.dtype} of shape {wanted} as before, got "
                    f"{x.dtype} of shape {x.shape}"
                )

    def _make_room(self, arrays: tuple[Array, Array], new: int) -> None:
        kept = len(self)
        room = 0 if self._memory is None else self._memory[0].shape[-2]
        if self._end + new <= room:
            return
        if kept + new > room // 2:  # otherwise moving to the front is enough, and rare
            room = max(self._capacity, 2 * (kept + new))
            shapes = [(*x.shape[:-2], room, x.shape[-1]) for x in arrays]
            memory = np.empty(shapes[0], arrays[0].dtype), np.empty(shapes[1], arrays[1].dtype)
        else:
            assert self._memory is not None
            memory = self._memory
        if self._memory is not None:
            for target, source in zip(memory, self._memory):
                target[..., :kept, :] = source[..., self._begin : self._end, :]
        self._memory = memory
        self._begin, self._end = 0, kept
