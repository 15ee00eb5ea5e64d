"""Multi-head attention, and the cache of keys and values that decoding needs."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import natural, probability, refuse_none
from fastnn.functional.multi_head_attention import attend_heads
from fastnn.nn import init
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter
from fastnn.nn.parameter import empty

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
        name = type(self).__name__
        embed_dim = natural(name, "embed_dim", embed_dim, 1)
        num_heads = natural(name, "num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be a positive multiple of num_heads, got "
                f"{embed_dim} and {num_heads}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = probability(name, "dropout", dropout)
        self.batch_first = batch_first
        self.kdim = embed_dim if kdim is None else natural(name, "kdim", kdim)
        self.vdim = embed_dim if vdim is None else natural(name, "vdim", vdim)
        self.add_zero_attn = add_zero_attn

        def parameter(wanted: bool, *shape: int) -> Parameter | None:
            return empty(name, shape, dtype) if wanted else None

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
        return self._attend(
            self.out_proj,
            (query, key, value),
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )

    def _attend(
        self, out_proj: Any, inputs: tuple[ArrayLike, ArrayLike, ArrayLike], **options: Any
    ) -> tuple[Result, Result | None]:
        """`forward` with another last map: a layer of a Transformer joins the sum to it."""
        sizes = (self.embed_dim, self.kdim, self.vdim)
        for name, x, size in zip(("query", "key", "value"), inputs, sizes):
            if x is None:
                refuse_none("MultiheadAttention", **{name: x})
            if array(x).shape[-1:] != (size,):
                raise ValueError(
                    f"MultiheadAttention: {name}.shape[-1] must be {size}, got shape "
                    f"{array(x).shape}"
                )
        return attend_heads(
            "MultiheadAttention",
            inputs,
            self.num_heads,
            self._project,
            out_proj,
            fused=self.in_proj_weight is not None,
            batch_first=self.batch_first,
            bias_kv=(self.bias_k, self.bias_v),
            add_zero_attn=self.add_zero_attn,
            dropout_p=self.dropout if self.training else 0.0,
            **options,
        )

    def _project(self, x: Any, first: int, count: int) -> Any:
        """Project by weights number first .. first + count - 1 of query, key and value."""
        size, bias = self.embed_dim, self.in_proj_bias
        rows = slice(first * size, (first + count) * size)
        weight, part = self.in_proj_weight, rows
        if weight is None:
            weight = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[first]
            part = slice(None)
        assert weight is not None
        if is_grad_enabled():
            whole = count == 3 or self.in_proj_weight is None
            return F.linear(
                x,
                weight if whole else weight[part],
                bias if bias is None or count == 3 else bias[rows],
            )
        packed = weight.pack(
            (_core.active_isa(), first, count), lambda w: _core.pack_linear(w[part])
        )
        return _core.linear_forward(array(x), packed, None if bias is None else bias.data[rows])

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


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
        self.window = None if window is None else natural("KVCache", "window", window, 1)
        self.length = 0
        self._capacity = natural("KVCache", "capacity", capacity, 1)
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
            Views, valid until the next call. With a window, of the last `window` positions: what
            the last query sees. The queries of a prompt attend over the prompt's own keys, with
            `window` of :func:`~fastnn.functional.scaled_dot_product_attention`.

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
